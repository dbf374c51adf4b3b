package kv

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/esper-sim/espersim/contracts/canon"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/trace"
	"github.com/esper-sim/espersim/simtest"
)

// fresh judges that a read sees what was acknowledged.
type fresh struct{ reads int }

func (f *fresh) Observe(e *trace.Event, m canon.Message) error {
	n, ok := m.(*evidencev2.Note)
	if !ok || e.Kind != trace.MessageDelivered || n.Kind != "value" {
		return nil
	}
	if f.reads++; n.Numbers[1] < n.Numbers[0] {
		return fmt.Errorf("%s has version %d of %s, and %d was acknowledged", e.Node, n.Numbers[1], n.Words[0], n.Numbers[0])
	}
	return nil
}

func (f *fresh) Finish() error {
	if f.reads > 0 {
		return nil
	}
	return errors.New("nothing was read")
}

func store(fixed bool) simtest.System {
	r := newReplica(fixed)
	return simtest.System{
		Nodes: []sim.Node{{ID: "a", Host: "one", Make: r}, {ID: "b", Host: "two", Make: r}, {ID: "c", Host: "three", Make: r},
			{ID: "client", Host: "desk", Make: newUser, Callback: true}},
		Link:     sim.Link{Latency: sim.Latency{Min: time.Millisecond, P50: 2 * time.Millisecond, P99: 5 * time.Millisecond, Max: 9 * time.Millisecond}},
		Duration: 10 * time.Second,
		Random: []simtest.Random{
			{Fault: "drop a -> c rate=0.3", Every: 2 * time.Second, For: 500 * time.Millisecond},
			{Fault: "duplicate b,c -> a delay=5ms rate=0.5", Every: 2 * time.Second, For: 500 * time.Millisecond},
		},
		Own: []simtest.Fault{{Name: "both-backups-crash", Every: 4 * time.Second, Do: func(w *sim.World, _ string) {
			_, _ = w.CrashNode("b", 50*time.Millisecond, 0) // the names are right
			_, _ = w.CrashNode("c", 50*time.Millisecond, 0)
		}}},
		Checkers: func() []simtest.Checker { return []simtest.Checker{&fresh{}} },
	}
}

func TestBugIsFound(t *testing.T) {
	r, _, err := simtest.Hunt(store(false))
	if err != nil || r == nil || len(r.Steps) > 3 {
		t.Fatal(r, err)
	}
	fmt.Println(r)
}

// TestStore is how a test of one's own looks: without the bug it passes.
func TestStore(t *testing.T) { simtest.Test(t, store(true), "a replica has what it says it has") }
