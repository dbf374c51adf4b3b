package tolaria

import (
	"time"

	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// phase is where Tolaria stands in the epoch machine.
type phase uint8

const (
	booting    phase = iota // nothing to train yet
	between                 // between two steps
	forward                 // a graft layer's answer is awaited
	backward                // the word that gradients are held is awaited
	awaiting                // Tamiyo's decision is awaited
	crossing                // Kasmina's boundary, and the parts of a checkpoint
	paused                  // before an epoch's first step
	frozen                  // by an emergency
	rolling                 // a rollback is under way
	recovering              // a rollback must succeed before training may go on
	broken                  // no checkpoint can be restored: training has stopped
)

var phaseNames = [...]string{"BOOTING", "TRAINING", "TRAINING", "TRAINING", "AWAITING_TAMIYO",
	"APPLYING", "PAUSED", "FROZEN", "ROLLING_BACK", "RECOVERING", "STOPPED"}

// String is the phase as the design names it.
func (p phase) String() string { return phaseNames[p] }

// ref is a StepRef by value.
type ref struct {
	epoch int64
	step  int32
	gen   uint32
}

func refOf(m *trainingv2.StepRef) ref {
	return ref{m.GetEpoch(), m.GetStep(), m.GetGeneration()}
}

func (r ref) put(m *trainingv2.StepRef) {
	m.Epoch, m.Step, m.Generation = r.epoch, r.step, r.gen
}

// trend is the running mean of the loss. It is what an explosion is measured
// by.
type trend struct {
	mean float64
	n    int
}

// explosion is how many times its recent mean a loss must be (01.2), and the
// absolute loss below which none is one: a network that has learned has means
// so small that one odd batch is fifteen times as much.
const (
	explosionFactor = 15
	explosionFloor  = 2
	settledAfter    = 8 // losses
)

// exploded notes a loss and says whether it is out of all proportion.
func (t *trend) exploded(loss float64) bool {
	if loss != loss || loss > 1e30 {
		return true
	}
	if t.n >= settledAfter && loss > explosionFloor && loss > float64(explosionFactor*t.mean) {
		return true
	}
	t.n++
	if t.n == 1 {
		t.mean = loss
	} else {
		t.mean += float64(0.0625 * float64(loss-t.mean))
	}
	return false
}

// backoff is the wait before the n-th try, from 1, of something that failed.
func backoff(n int) time.Duration {
	d := time.Second << min(max(n-1, 0), 4)
	return min(d, 10*time.Second)
}
