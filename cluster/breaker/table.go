package breaker

import "time"

// Table has the settings of the companion documents. Where a document gives a
// number of half-open successes, as many probes are admitted; where it gives
// a number of calls, that many are, and all must succeed; where it gives
// nothing, one of both (resolution). A recovery of 0 is not given: Reset.
var Table = []Settings{
	three("kasmina", "default", 5, 60),
	three("kasmina", "gradient_isolation", 3, 30),
	three("kasmina", "memory_bounds", 5, 60),
	three("kasmina", "kernel_load", 10, 30),
	three("kasmina", "checkpoint_recompilation", 3, 120),
	three("kasmina", "teacher_memory", 2, 180),
	of("tolaria", "lr_integrity", 3, 0, 1),
	of("oona", "publish", 3, 30, 5),
	of("oona", "consume", 3, 30, 5),
	{Owner: "urza", Name: "query", Failures: 3, Window: 60 * time.Second, Recovery: 30 * time.Second,
		Probes: 1, Successes: 1, OpTimeout: 400 * time.Millisecond},
	three("tezzeret", "memory", 3, 30),
	three("tezzeret", "gpu", 5, 60),
	three("tezzeret", "timeout", 2, 300),
	of("urabrask", "general", 3, 30, 5),
	{Owner: "urabrask", Name: "structural", Failures: 2, Recovery: 60 * time.Second,
		Probes: 5, Successes: 5, RollBack: true},
	of("karn", "default", 3, 30, 1),
	of("simic", "training", 5, 60, 1),
	of("simic", "storage", 3, 30, 1),
	of("simic", "sampling", 5, 30, 1),
	of("simic", "report_processing", 3, 60, 1),
	of("nissa", "default", 5, 30, 3),
	{Owner: "jace", Name: "default", Failures: 5, Recovery: 30 * time.Second,
		Probes: 3, Successes: 3, OpTimeout: 18 * time.Millisecond},
	of("leyline", "serialisation", 3, 30, 1),
	of("leyline", "governance", 5, 3600, 1),
	of("bus", "tezzeret_compilation", 5, 60, 1),
	of("bus", "urabrask_validation", 3, 30, 1),
	of("bus", "urza_storage", 10, 120, 1),
}

// three is a breaker that three successes close.
func three(owner, name string, failures, recovery int) Settings {
	return of(owner, name, failures, recovery, 3)
}

func of(owner, name string, failures, recovery, halfOpen int) Settings {
	return Settings{
		Owner: owner, Name: name, Failures: failures,
		Recovery: time.Duration(recovery) * time.Second,
		Probes:   halfOpen, Successes: halfOpen,
	}
}

// Find is the row of Table with an owner and a name.
func Find(owner, name string) (Settings, bool) {
	for _, s := range Table {
		if s.Owner == owner && s.Name == name {
			return s, true
		}
	}
	return Settings{}, false
}
