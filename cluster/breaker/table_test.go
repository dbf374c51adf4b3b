package breaker_test

import (
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/breaker"
)

// The table once more, as the digest of the companion documents has it: owner,
// breaker, failures, recovery in seconds, half-open. Typed by itself, so that
// a slip in one of the two shows. It found gradient isolation and memory bounds
// with each other's recovery.
func TestTableIsTheDigests(t *testing.T) {
	rows := []struct {
		owner, name                  string
		failures, recovery, halfOpen int
	}{
		{"kasmina", "default", 5, 60, 3},
		{"kasmina", "gradient_isolation", 3, 30, 3},
		{"kasmina", "memory_bounds", 5, 60, 3},
		{"kasmina", "kernel_load", 10, 30, 3},
		{"kasmina", "checkpoint_recompilation", 3, 120, 3},
		{"kasmina", "teacher_memory", 2, 180, 3},
		{"tolaria", "lr_integrity", 3, 0, 1},
		{"oona", "publish", 3, 30, 5},
		{"oona", "consume", 3, 30, 5},
		{"urza", "query", 3, 30, 1},
		{"tezzeret", "memory", 3, 30, 3},
		{"tezzeret", "gpu", 5, 60, 3},
		{"tezzeret", "timeout", 2, 300, 3},
		{"urabrask", "general", 3, 30, 5},
		{"urabrask", "structural", 2, 60, 5},
		{"karn", "default", 3, 30, 1},
		{"simic", "training", 5, 60, 1},
		{"simic", "storage", 3, 30, 1},
		{"simic", "sampling", 5, 30, 1},
		{"simic", "report_processing", 3, 60, 1},
		{"nissa", "default", 5, 30, 3},
		{"jace", "default", 5, 30, 3},
		{"leyline", "serialisation", 3, 30, 1},
		{"leyline", "governance", 5, 3600, 1},
		{"bus", "tezzeret_compilation", 5, 60, 1},
		{"bus", "urabrask_validation", 3, 30, 1},
		{"bus", "urza_storage", 10, 120, 1},
	}
	if len(rows) != len(breaker.Table) {
		t.Errorf("%d rows, the table has %d", len(rows), len(breaker.Table))
	}
	for _, r := range rows {
		s, ok := breaker.Find(r.owner, r.name)
		if !ok || s.Failures != r.failures || s.Recovery != time.Duration(r.recovery)*time.Second ||
			s.Probes != r.halfOpen || s.Successes != r.halfOpen {
			t.Errorf("%+v, the table has %+v", r, s)
		}
	}
	urza, _ := breaker.Find("urza", "query")
	jace, _ := breaker.Find("jace", "default")
	if urza.Window != time.Minute || urza.OpTimeout != 400*time.Millisecond || jace.OpTimeout != 18*time.Millisecond {
		t.Errorf("%+v, %+v", urza, jace)
	}
	for _, s := range breaker.Table {
		if s.RollBack != (s.ID() == "urabrask/structural") {
			t.Errorf("%s rolls back: %t", s.ID(), s.RollBack)
		}
	}
}
