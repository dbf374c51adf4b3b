package wire

// Consumers lists the subsystems that read each topic: those of HLD section
// 9.1, and those of the topics that the section lacks.
var Consumers = map[string][]string{
	"compilation.blueprint.submitted": {"tezzeret"},
	"compilation.kernel.ready":        {"urabrask"},
	"control.command.results":         {"tamiyo", "nissa"},
	"control.kasmina.commands":        {"kasmina"},
	"control.tolaria.commands":        {"tolaria"},
	"innovation.curriculum":           {"simic"},
	"innovation.field_reports":        {"karn", "simic"},
	"innovation.jobs":                 {"nissa"},
	"innovation.policy":               {"tamiyo", "jace"},
	"innovation.strategy":             {"jace"},
	"operations.alerts":               {"nissa"}, // for those who watch: people and their pagers
	"operations.config":               {"tolaria", "kasmina", "tamiyo", "nissa", "narset"},
	"system.events.epoch":             {"tamiyo", "nissa", "mycosynth", "jace", "emrakul"},
	"telemetry.region.summaries":      {"nissa"},
	"telemetry.seed.health":           {"tamiyo", "nissa", "narset"},
	"telemetry.subsystem.health":      {"nissa"},
	"validation.kernel.characterized": {"tamiyo", "nissa", "karn"},
}
