package checkers_test

import (
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/checkers"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// prune is how a pruning cycle differs from a good one.
type prune struct {
	verdict     pruningv2.PruningVerdict // zero: GO
	early       bool                     // before epoch 31
	needed      bool                     // what is masked is not redundant
	unknown     bool
	many        int    // structures beyond the one
	structure   string // empty: channels
	outside     bool   // it is applied, and nothing is loaded
	resurrected bool   // it is applied after it was taken back
	host        string // how the host network is masked: well, or not
}

// prune makes a cycle with 30 parameters of 24 structures each.
func (p *tape) prune(r prune) {
	structure := "channel"
	if r.structure != "" {
		structure = r.structure
	}
	reply := &pruningv2.StatisticsReply{IdempotencyKey: "k"}
	for param := range 30 {
		for i := range 24 {
			t := &pruningv2.PruningTarget{ParameterId: fmt.Sprint("p", param), Structure: structure, Index: int32(i), Redundancy: 0.97}
			if r.needed {
				t.Redundancy = 0.9
			}
			reply.Candidates = append(reply.Candidates, t)
		}
	}
	p.mail("kasmina", "emrakul", reply)
	verdict := pruningv2.PruningVerdict_GO
	if r.verdict != 0 {
		verdict = r.verdict
	}
	p.mail("urabrask", "emrakul", &pruningv2.PruningValidation{IdempotencyKey: "k", Verdict: verdict})
	m := &pruningv2.PruningMask{IdempotencyKey: "k", Epoch: 31, Targets: reply.Candidates[:1+r.many]}
	if r.early {
		m.Epoch = 30
	}
	if r.unknown {
		m.Targets = []*pruningv2.PruningTarget{{ParameterId: "other", Structure: structure}}
	}
	p.sent("emrakul", "kasmina", m)
	apply := func(key string, load bool) {
		cause := p.sent("emrakul", "kasmina", m)
		if load {
			p.factBy("kasmina", &evidencev2.PruningFact{State: "LOADED"}, cause)
		}
		p.factBy("kasmina", &evidencev2.PruningFact{State: "MASKED", IdempotencyKey: key}, cause)
	}
	if r.host != "" {
		p.hostMask(r.host, reply.Candidates[:1])
		return
	}
	apply("k", !r.outside)
	if r.resurrected {
		p.sent("emrakul", "kasmina", &pruningv2.PruningMask{IdempotencyKey: "k:back", Epoch: 31})
		apply("k:back", true)
		apply("k", true)
	}
}

// hostMask is a mask that Tolaria brings into force.
func (p *tape) hostMask(how string, targets []*pruningv2.PruningTarget) {
	send := func(key string, version uint64) uint64 {
		return p.sent("emrakul", "tolaria", &pruningv2.PruningMask{IdempotencyKey: key, Epoch: 31, Version: version, Targets: targets})
	}
	cause := send("k", 5)
	switch how {
	case "in a pause":
		p.fact("tolaria", &evidencev2.PauseFact{Subsystem: "tolaria", State: "PAUSED"})
	case "in a rollback":
		p.fact("tolaria", &evidencev2.RollbackFact{Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_STARTED})
	case "after both":
		p.fact("tolaria", &evidencev2.PauseFact{Subsystem: "tolaria", State: "PAUSED"})
		p.fact("tolaria", &evidencev2.PauseFact{Subsystem: "tolaria", State: "RUNNING"})
		p.fact("tolaria", &evidencev2.RollbackFact{Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_STARTED})
		p.fact("tolaria", &evidencev2.RollbackFact{Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_DONE})
	}
	apply := func(key string, version uint64, units int) {
		f := &evidencev2.PruningFact{Subsystem: "tolaria", State: "MASKED", IdempotencyKey: key, Epoch: 33, Version: version}
		for i := range units {
			f.Units = append(f.Units, &evidencev2.MaskedUnit{LayerId: 1, Channel: int32(i)})
		}
		if how != "without a checkpoint" {
			p.factBy("tolaria", &evidencev2.CheckpointFact{Action: evidencev2.CheckpointAction_CHECKPOINT_SAVED, CheckpointId: "c", Epoch: 33}, cause)
		}
		p.factBy("tolaria", f, cause)
	}
	switch how {
	case "not whole":
		apply("k", 5, 0)
	case "too early":
		p.factBy("tolaria", &evidencev2.CheckpointFact{Action: evidencev2.CheckpointAction_CHECKPOINT_SAVED, CheckpointId: "c", Epoch: 30}, cause)
		p.factBy("tolaria", &evidencev2.PruningFact{Subsystem: "tolaria", State: "MASKED", IdempotencyKey: "k", Epoch: 30, Version: 5, Units: []*evidencev2.MaskedUnit{{LayerId: 1}}}, cause)
	case "late":
		cause = send("l", 6)
		apply("l", 6, 1)
		apply("k", 5, 1)
	default:
		apply("k", 5, 1)
	}
	value := float32(0)
	switch how {
	case "leaks", "gone":
		value = 1
	}
	if how == "gone" {
		p.fact("tolaria", &evidencev2.RollbackFact{Subsystem: "tolaria", Step: evidencev2.RollbackStep_RB_RESTORED, CheckpointId: "from before"})
	}
	p.sent("tolaria", "kasmina", &trainingv2.ForwardRequest{LayerId: 1, Batch: 2, Width: 2, Activations: []float32{value, 1, 0, 1}})
	p.sent("tolaria", "kasmina", &trainingv2.BackwardRequest{LayerId: 1, Batch: 2, Width: 2, Gradients: []float32{0, 1, 0, 1}})
}

// Each clause of I9, broken alone.
func TestPruning(t *testing.T) {
	for _, c := range []struct {
		r      prune
		guilty bool
	}{
		{prune{}, false}, {prune{verdict: pruningv2.PruningVerdict_CONDITIONAL_GO}, false}, {prune{many: 3}, false},
		{prune{verdict: pruningv2.PruningVerdict_NO_GO}, true}, {prune{early: true}, true}, {prune{needed: true}, true}, {prune{unknown: true}, true},
		{prune{many: 4}, true}, {prune{structure: "head", many: 21}, false}, {prune{structure: "head", many: 22}, true},
		{prune{structure: "layer", many: 35}, false}, {prune{structure: "layer", many: 36}, true}, {prune{outside: true}, true}, {prune{resurrected: true}, true},
		{prune{host: "well"}, false}, {prune{host: "after both"}, false}, {prune{host: "gone"}, false}, {prune{host: "in a pause"}, true},
		{prune{host: "in a rollback"}, true}, {prune{host: "without a checkpoint"}, true}, {prune{host: "not whole"}, true},
		{prune{host: "too early"}, true}, {prune{host: "late"}, true}, {prune{host: "leaks"}, true},
	} {
		t.Run(fmt.Sprintf("%+v", c.r), func(t *testing.T) {
			if list := found(t, "I9", func(p *tape) { p.prune(c.r) }); c.guilty != (len(list) > 0) {
				t.Errorf("%v", list)
			}
		})
	}
}

// Which checkpoints begin cycles the job says, and not those that were made early.
func TestPruningRhythm(t *testing.T) {
	for _, c := range []struct {
		rhythm int
		guilty bool
	}{{4, false}, {13, true}, {0, false}} {
		p := params()
		p.Rhythm = c.rhythm
		s, err := checkers.NewSuite([]string{"I9"}, p, 10, nil)
		if err != nil {
			t.Fatal(err)
		}
		tape := newTape(t, s)
		for _, epoch := range []int64{3, 6, 39} {
			tape.fact("tolaria", &evidencev2.CheckpointFact{Action: evidencev2.CheckpointAction_CHECKPOINT_SAVED, CheckpointId: "c", Epoch: epoch})
		}
		tape.fact("emrakul", &evidencev2.LogFact{Log: "emrakul", Action: evidencev2.LogAction_LOG_RECOVERED})
		b := tape.publish("tolaria", "system.events.epoch", "e39", &eventsv2.EpochEvent{Phase: eventsv2.EpochPhase_COMPLETED, Epoch: 39})
		tape.mail("oona", "emrakul", &busv2.Delivery{Group: "emrakul", Topic: "system.events.epoch", Offset: 1, Attempt: 1, Envelope: b})
		tape.sent("emrakul", "oona", &busv2.Ack{Group: "emrakul", Consumer: "emrakul", Topic: "system.events.epoch", Offset: 1})
		found, err := s.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if c.guilty != (len(found) > 0) {
			t.Errorf("rhythm %d: %v", c.rhythm, found)
		}
	}
}
