package checkers

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// innovation judges the way of a design to a grafted kernel, by the messages that
// lead there.
//
// I4: of one IR, pipeline, hardware and toolchain, which a kernel's id names,
// whoever compiles hands in one binary, and the library gives out no other.
// I5: a kernel is handed in when the COMMIT of its transaction is durable in its
// compiler's log, and announced after that; a verdict after a report that says the same.
// I6: an adversarial design is sent to nobody. Its graph names its template.
// K3: a kernel of the library runs only where the library's word that it is
// validated has come, with bytes that have their digest.
// L3: a blueprint that was announced comes to a verdict or is marked invalid. It
// need not while a breaker of the compiler or the validator is open, which holds
// its work up for as long as it is set to (tezzeret/timeout: five minutes).
type innovation struct {
	settle func(int64) bool
	last   int64

	binaries  map[string][sha256.Size]byte // by kernel
	durable   map[string]uint64            // by node: LSN up to which its log is
	compilers map[string]bool              // nodes that say that they compile
	verdicts  map[string]map[blueprintv2.KernelStatus]bool
	library   map[string]string // by node: whom it asks for kernels
	validated map[string]bool   // node and kernel
	submitted map[string]*publication
	ended     map[string]bool  // blueprints with a verdict or a mark; an announcement may come again
	both      [2]bool          // there is a compiler, there is a validator
	held      map[string]int64 // by node and breaker: since when it has been open
	worked    int64            // when the last of them let work through again
}

func newInnovation(p Params) Checker {
	return &innovation{settle: p.Settled, binaries: map[string][sha256.Size]byte{}, durable: map[string]uint64{}, compilers: map[string]bool{},
		verdicts: map[string]map[blueprintv2.KernelStatus]bool{},
		library:  map[string]string{}, validated: map[string]bool{}, submitted: map[string]*publication{}, ended: map[string]bool{}, held: map[string]int64{}}
}

func (*innovation) Invariants() []string { return []string{"I4", "I5", "I6", "K3", "L3"} }

func (c *innovation) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.NodeStarted:
		for key := range c.held {
			if strings.HasPrefix(key, e.Node+"\x00") {
				delete(c.held, key)
				c.worked = e.At
			}
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.BreakerFact:
			c.breaker(e, f)
		case *evidencev2.LogFact:
			if f.Log != e.Node {
				return // its device has a log, too
			}
			switch f.Action {
			case evidencev2.LogAction_LOG_DURABLE:
				c.durable[e.Node] = max(c.durable[e.Node], f.Lsn)
			case evidencev2.LogAction_LOG_RECOVERED:
				c.durable[e.Node] = f.Lsn
			}
		case *evidencev2.JobFact:
			switch f.Subsystem {
			case "tezzeret":
				c.compilers[e.Node], c.both[0] = true, true
			case "urabrask":
				c.both[1] = true
			}
		}
	case trace.MessageDelivered:
		// Who answers is the library only if it was asked.
		if m, ok := e.Mail.Payload.(*assetsv2.FetchKernelReply); ok && c.library[e.Peer] == e.Node {
			c.received(e, m)
		}
	case trace.MessageSent:
		c.sent(e, j)
	}
}

// breaker notes since when a breaker of the plane's workers has been open.
func (c *innovation) breaker(e *Event, f *evidencev2.BreakerFact) {
	if f.Subsystem != "tezzeret" && f.Subsystem != "urabrask" {
		return
	}
	key := e.Node + "\x00" + f.Breaker
	if _, open := c.held[key]; open {
		delete(c.held, key)
		c.worked = e.At
	}
	if f.To == "OPEN" {
		c.held[key] = e.At
	}
}

// received notes what the library said of a kernel last.
func (c *innovation) received(e *Event, m *assetsv2.FetchKernelReply) {
	sum := sha256.Sum256(m.Binary)
	s := m.GetKernel().GetStatus()
	if m.Status == assetsv2.AssetStatus_EXISTS && string(sum[:]) == string(m.BinarySha256) &&
		(s == blueprintv2.KernelStatus_VALIDATED || s == blueprintv2.KernelStatus_KERNEL_ACTIVE) {
		c.validated[e.Peer+"\x00"+m.Kernel.Id] = true
	}
}

func (c *innovation) sent(e *Event, j *Judge) {
	switch m := e.Mail.Payload.(type) {
	case *assetsv2.StoreBlueprint:
		if t := template(m.Ir, m.Metadata); t >= "BP043" && t <= "BP050" {
			j.Violate("I6", e.Node, fmt.Sprintf("it sends the adversarial design %s to %s", t, e.Peer))
			return
		}
		j.Judged("I6")
	case *assetsv2.FetchKernel:
		c.library[e.Node] = e.Peer
	case *assetsv2.StoreKernel:
		c.store(e, m, j)
	case *assetsv2.FetchKernelReply:
		if m.Status == assetsv2.AssetStatus_EXISTS && c.library[e.Peer] == e.Node {
			c.binary(e, m.GetKernel().GetId(), sha256.Sum256(m.Binary), j)
		}
	case *assetsv2.StoreReport:
		if c.verdicts[m.KernelArtifactId] == nil {
			c.verdicts[m.KernelArtifactId] = map[blueprintv2.KernelStatus]bool{}
		}
		c.verdicts[m.KernelArtifactId][m.Status] = true
	case *assetsv2.MoveAsset:
		if m.Blueprint == blueprintv2.BlueprintStatus_INVALID {
			c.end(m.AssetId, j)
		}
	case *eventsv2.BlueprintSubmittedEvent:
		if _, known := c.submitted[m.BlueprintId]; !known && !c.ended[m.BlueprintId] {
			c.submitted[strings.Clone(m.BlueprintId)] = &publication{node: e.Node, first: e.At, seq: e.Seq}
		}
	case *eventsv2.KernelReadyEvent:
		sum, handed := c.binaries[m.KernelArtifactId]
		if !handed || string(sum[:]) != string(m.BinarySha256) {
			j.Violate("I5", e.Node, fmt.Sprintf("kernel %.80s is announced, and nobody has handed in its bytes", m.KernelArtifactId))
			return
		}
		j.Judged("I5")
	case *eventsv2.KernelCharacterizedEvent:
		c.characterized(e, m, j)
	case *trainingv2.ForwardReply:
		if m.Status != trainingv2.ReplyStatus_OK {
			return
		}
		for _, k := range m.Kernels {
			if !ofLibrary(k.KernelArtifactId) {
				continue
			}
			if !c.validated[e.Node+"\x00"+k.KernelArtifactId] {
				j.Violate("K3", e.Node, fmt.Sprintf("it runs the kernel %.80s, and the library has not given it to it as validated", k.KernelArtifactId))
				return
			}
			j.Judged("K3")
		}
	}
}

// template is which of Karn's a design was made from.
func template(ir *blueprintv2.BlueprintIR, metadata []*blueprintv2.MetadataEntry) string {
	for _, m := range metadata {
		if m.GetKey() == "template" && m.Value >= "BP043" {
			return m.Value
		}
	}
	t := ir.GetDesignIntent()
	return t[:min(len("BP000"), len(t))]
}

// ofLibrary says whether an id is that of a stored kernel: it begins with the
// digest of its graph.
func ofLibrary(id string) bool {
	at := strings.IndexByte(id, '-')
	return at == 2*sha256.Size
}

// store judges what a compiler hands in.
func (c *innovation) store(e *Event, m *assetsv2.StoreKernel, j *Judge) {
	id := m.GetKernel().GetId()
	if !c.binary(e, id, sha256.Sum256(m.Binary), j) || !c.compilers[e.Node] {
		return
	}
	// BEGIN, the artifact, COMMIT: the transaction is called after the first.
	txn, err := strconv.ParseUint(m.WalTransactionId, 10, 64)
	if err != nil || txn == 0 || c.durable[e.Node] < txn+2 {
		j.Violate("I5", e.Node, fmt.Sprintf("it hands in the kernel %.80s of transaction %q, and its log is durable up to LSN %d", id, m.WalTransactionId, c.durable[e.Node]))
		return
	}
	j.Judged("I5")
}

// binary compares a kernel's bytes with those of before.
func (c *innovation) binary(e *Event, id string, sum [sha256.Size]byte, j *Judge) bool {
	if have, known := c.binaries[id]; known && have != sum {
		j.Violate("I4", e.Node, fmt.Sprintf("the kernel %.80s has other bytes than before", id))
		return false
	}
	c.binaries[strings.Clone(id)] = sum
	j.Judged("I4")
	return true
}

// characterized judges the announcement of a verdict.
func (c *innovation) characterized(e *Event, m *eventsv2.KernelCharacterizedEvent, j *Judge) {
	says := blueprintv2.KernelStatus_REJECTED
	if m.Verdict == eventsv2.KernelVerdict_KERNEL_VALIDATED {
		says = blueprintv2.KernelStatus_VALIDATED
	}
	if !c.verdicts[m.KernelArtifactId][says] {
		j.Violate("I5", e.Node, fmt.Sprintf("the kernel %.80s is announced as %v, which no report says", m.KernelArtifactId, says))
		return
	}
	j.Judged("I5")
	c.end(m.BlueprintId, j)
}

// end is the end of a blueprint's way.
func (c *innovation) end(id string, j *Judge) {
	delete(c.submitted, id)
	c.ended[strings.Clone(id)] = true
	j.Judged("L3")
}

// way is how long after the faults have ended, and the breakers let work through,
// a blueprint may be on its way; and longestHold how long a breaker may be open.
const (
	way         = int64(15 * time.Second)
	longestHold = int64(5*time.Minute + 5*time.Second)
)

// Finish implements Checker.
func (c *innovation) Finish(j *Judge) {
	if !c.both[0] || !c.both[1] || c.settle == nil || !c.settle(c.last-way) {
		return
	}
	if c.worked > 0 && c.last-c.worked <= way {
		return
	}
	for _, since := range c.held {
		if c.last-since <= longestHold {
			return
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.submitted)) {
		if s := c.submitted[id]; c.last-s.first > way {
			j.Violate("L3", s.node, fmt.Sprintf("blueprint %.16s was announced, and has neither a verdict nor is it invalid", id), s.seq)
		}
	}
}
