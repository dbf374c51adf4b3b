package wire

// Consumers lists the subsystems that read each topic: those of HLD section
// 9.1, and those of the topics that the section lacks.
var Consumers = map[string][]string{
	"compilation.blueprint.submitted": {"tezzeret"},
	"compilation.kernel.ready":        {"urabrask"},
	"control.command.results":         {"tamiyo", "nissa"},
	"control.kasmina.commands":        {"kasmina"},
	"control.tolaria.commands":        {"tolaria"},
	"innovation.field_reports":        {"karn", "simic"},
	"system.events.epoch":             {"tamiyo", "nissa"},
	"telemetry.seed.health":           {"tamiyo", "nissa"},
	"validation.kernel.characterized": {"tamiyo", "nissa", "karn"},
}
