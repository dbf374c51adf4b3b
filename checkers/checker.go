// Package checkers judges runs: from the events of a trace, and nothing else,
// each checker decides whether an invariant held.
//
// A checker is incremental. It observes events as they happen and is asked to
// finish at the end, so a run needs no stored trace, and stops at the first
// violation. It says how often it had something to judge: a checker that saw
// nothing is no evidence.
//
// A fact is what an actor claims. A checker judges from bytes, operations and
// outputs wherever those exist, so that an actor that lies in its facts is
// caught.
//
//   - [Invariant], [Catalogue]: the rows of the digest's part I that are
//     judged, with the checker of each.
//   - [Suite]: some checkers over one run; a trace.Observer.
//   - [Violation]: what was found.
package checkers

import (
	"fmt"
	"io"
	"time"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// Event is an event of the trace with its bytes decoded. Like the trace's, it
// must not be kept.
type Event struct {
	*trace.Event
	// Mail is the envelope and payload of a sent or delivered message.
	Mail *wire.Mail
	// Inner is what a bus Delivery carries: the published envelope.
	Inner *wire.Mail
	// Fact is what an actor declared.
	Fact canon.Message
}

// A Checker judges one or more invariants over one run.
type Checker interface {
	// Invariants are the ids that it judges, such as "W1".
	Invariants() []string
	// Observe sees the events of the kinds that the checker was registered
	// for, in order.
	Observe(e *Event, j *Judge)
	// Finish is called once, at the end of the run.
	Finish(j *Judge)
}

// Params are what a checker must know of the run's set-up.
type Params struct {
	RunSeed uint64
	// Damaged says that the run has faults by which a disk loses or changes what
	// it has confirmed. Without one nobody may find damage.
	Damaged bool
	// Void lists invariants that the scenario makes void.
	Void map[string]string
	// Key verifies signed commands and pause tokens; nil: it is not known, and
	// signatures are not judged.
	Key []byte
	// WallStart is the true wall-clock time at the beginning of the run.
	WallStart time.Time
	// MaxSkew is how wrong the wall clocks of the run may be: the bound that
	// the statements about signed times allow for.
	MaxSkew time.Duration
	// Drift is how wrong the clocks' rates may be, in parts per million.
	Drift int64
	// Picture is given a drawing of a history that is not linearizable, if set.
	Picture func(invariant string, draw func(io.Writer) error)
	// Retained is how many checkpoints are kept, Embargo for how many epochs a
	// culled slot rests. Zero: 5, and not judged.
	Retained int
	Embargo  int64
	// Rhythm is how many epochs there are between the checkpoints that the job is to
	// make; others may be made beside them. Zero: not judged.
	Rhythm int
	// Bus is the node whose deliveries are judged; empty: everybody's.
	Bus string
	// Attempts is how often the bus delivers an entry whose envelope says
	// nothing, Lease how long a consumer may be silent. Zero: 5 and 3 s.
	Attempts uint32
	Lease    time.Duration
	// Retention is how long the bus keeps telemetry of seeds. Zero: 72 h.
	Retention time.Duration
	// Settle is the virtual time after the last fault ended from which the
	// liveness invariants are judged; nil: never.
	Settled func(at int64) bool
	// Phases are when the faults heal, and by when everything must be well again.
	Phases Phases
	// Follow keeps account of who waits for whom, for Suite.Waits, also where
	// nothing is judged by it.
	Follow bool
	// Replay makes the calm world for recovery equivalence; nil: not judged.
	Replay func() (Replayer, error)
	// Prove has the model exported and its lineage trained again at the end.
	Prove bool
}

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant string   `json:"invariant"`
	At        int64    `json:"at_ns"`
	Seq       uint64   `json:"event"`
	Node      string   `json:"node,omitempty"`
	Message   string   `json:"message"`
	Because   []uint64 `json:"because,omitempty"` // events that it follows from
}

// String is one line for people.
func (v Violation) String() string {
	s := fmt.Sprintf("%s violated at %s", v.Invariant, trace.Stamp(v.At))
	if v.Node != "" {
		s += " by " + v.Node
	}
	return s + ": " + v.Message
}

// Judge collects what checkers find in one run.
type Judge struct {
	Violations []Violation
	judged     tally
	now        int64
	seq        uint64
	void       map[string]string
	limit      int
}

// Judged counts that an invariant was put to the test and held.
func (j *Judge) Judged(id string) { j.judged.add(id) }

// Violate records a violation at the current event. because are the numbers of
// earlier events that it follows from. Violations of invariants that the
// scenario makes void are dropped.
func (j *Judge) Violate(id, node, message string, because ...uint64) {
	j.judged.add(id)
	if _, ok := j.void[id]; ok || len(j.Violations) >= j.limit {
		return
	}
	j.Violations = append(j.Violations, Violation{
		Invariant: id, At: j.now, Seq: j.seq, Node: node, Message: message,
		Because: append([]uint64(nil), because...),
	})
}

// Replayer trains like the run did, in a calm world: no network, no faults,
// only what the lineage says. See Equivalence.
type Replayer interface {
	// Epoch trains one epoch and returns the digests afterwards.
	Epoch(e *LineageEpoch) (Digests, error)
	// Mark remembers the present state under a checkpoint's epoch, and Return
	// goes back to it. Forget drops marks before the epoch.
	Mark(epoch int64)
	Return(epoch int64) error
	Forget(before int64)
	// Learn is told of the bytes of a kernel that the library gave out.
	Learn(kernelID string, binary []byte)
	// Prove exports the model as it stands, trains the export's lineage again from
	// nothing, and compares every byte. It returns how many adaptations the lineage
	// names.
	Prove() (adaptations int, err error)
}

// LineageEpoch is one epoch as far as it decides bytes.
type LineageEpoch struct {
	Epoch          int64
	Generation     uint32
	LearningRate   float64
	Joined         bool // Kasmina crossed the boundary into the epoch
	ValidationLoss float64
	Commands       []LineageCommand
	Full           []bool // one a step: the kernels took part
	Mask           *Mask  // that came into force at the boundary into it; nil: none did
}

// Mask is what is masked of the host network.
type Mask struct {
	Key      string
	Version  uint64
	Channels [][2]int32 // layer and channel
}

// LineageCommand is an adaptation that changed what was trained.
type LineageCommand struct {
	ID        string
	Layer     int32
	Seed      int32
	Operation string
	Kernel    string
}

// Digests are what two runs that trained the same agree on.
type Digests struct {
	Weights     [32]byte
	Optimizer   [32]byte
	SampleOrder [32]byte
	Grafts      [32]byte // of Kasmina's state
	GlobalStep  uint64
}
