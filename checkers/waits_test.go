package checkers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/checkers"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

func waits(t *testing.T, run func(p *tape)) *checkers.WaitReport {
	t.Helper()
	p := params()
	p.Phases, p.Follow = checkers.Phases{}, true
	s, err := checkers.NewSuite([]string{"T6"}, p, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	tape := newTape(t, s)
	run(tape)
	if _, err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	return s.Waits()
}

// Each of three waits for the next: the report shows the cycle.
func TestWaitCycle(t *testing.T) {
	r := waits(t, func(p *tape) {
		p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: 1})
		p.sent("kasmina", "oona", &busv2.ReadLog{QueryId: "q"})
		p.sent("oona", "tolaria", &trainingv2.CheckpointQuery{QueryId: "q"})
		p.wait(3 * time.Second)
		p.event(trace.TimerFired, "tolaria", nil)
	})
	if text := strings.Join(r.Lines(), "\n"); len(r.Cycle) != 3 || len(r.Roots) != 0 || !strings.Contains(text, "a cycle: kasmina → oona → tolaria → kasmina") {
		t.Errorf("%v\n%s", r.Cycle, text)
	}
}

// An answer ends a waiting; what nobody repeats any more was given up; chains
// end in who waits for nobody.
func TestWaitRoots(t *testing.T) {
	r := waits(t, func(p *tape) {
		p.sent("tolaria", "tamiyo", &systemstatev2.SystemStatePacket{PacketId: "1"}) // given up
		p.sent("tolaria", "tamiyo", &rollbackv2.RollbackRequest{RollbackId: "r"})
		p.mail("tamiyo", "tolaria", &rollbackv2.RollbackVote{RollbackId: "r"}) // answered
		p.sent("tamiyo", "oona", &busv2.Ack{Group: "g"})
		for range 6 {
			p.wait(2 * time.Second)
			p.sent("tolaria", "kasmina", &trainingv2.BoundaryRequest{Epoch: 1})
			p.event(trace.TimerFired, "tolaria", func(e *trace.Event) { e.Text = "cross" })
		}
	})
	text := strings.Join(r.Lines(), "\n")
	if len(r.Cycle) != 0 || !slices.Equal(r.Roots, []string{"kasmina", "oona"}) {
		t.Errorf("cycle %v, roots %v\n%s", r.Cycle, r.Roots, text)
	}
	if strings.Contains(text, "waits for tamiyo") || !strings.Contains(text, "asked 6 times") || !strings.Contains(text, `tolaria's timer "cross" fires again and again: 6 times`) {
		t.Errorf("%s", text)
	}
}
