package checkers

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// isolation judges K6, K7 and K8: what grafted kernels may do to what is trained.
//
// K6: where the gradients of a seed lie in a parameter of the host, the step is
// not answered as held, and is not trained in full; a seed that did it three times
// takes part in no further step.
// K7: a step that is trained in full updates parameters only that the seed had
// registered before, and none of the host's, which is every seed's teacher; the
// parameters of a fossilized seed are the same in every state that Kasmina
// gives away.
// K8: the step in which a kernel failed is trained by the identity, the run goes
// on, and no reply that is worth its numbers has the kernel in it again.
type isolation struct {
	settle func(int64) bool
	last   int64

	host    map[uint64]bool
	owners  map[uint64]seedKey      // of registered parameters
	pending map[layerRef]*gradients // of the epoch that is trained
	leaks   map[seedKey]int         // since the seed was germinated
	banned  map[seedKey]uint64      // seeds that may take part no more
	stages  map[seedKey]telemetryv2.SeedStage
	fossils map[seedKey][sha256.Size]byte
	faults  map[string]uint64        // kernels that failed, by node and id
	durable map[string]bool          // of them, those that a restart does not forget
	open    map[stepKey]*kernelFault // steps whose end is awaited
}

type stepKey struct {
	epoch int64
	step  int32
	gen   uint32
}

type layerRef struct {
	stepKey
	layer int32
}

type gradients struct {
	node    string
	seq     uint64
	leak    bool
	foreign string // what is updated that was not registered
}

type kernelFault struct {
	node   string
	kernel string
	at     int64
	seq    uint64
}

func newIsolation(p Params) Checker {
	return &isolation{settle: p.Settled, host: map[uint64]bool{}, owners: map[uint64]seedKey{}, pending: map[layerRef]*gradients{},
		leaks: map[seedKey]int{}, banned: map[seedKey]uint64{}, stages: map[seedKey]telemetryv2.SeedStage{}, fossils: map[seedKey][sha256.Size]byte{},
		faults: map[string]uint64{}, durable: map[string]bool{}, open: map[stepKey]*kernelFault{}}
}

func (*isolation) Invariants() []string { return []string{"K6", "K7", "K8"} }

// most violations that a seed may commit.
const mostLeaks = 3

func stepOf(s *trainingv2.StepRef) stepKey {
	return stepKey{s.GetEpoch(), s.GetStep(), s.GetGeneration()}
}

func seedOf(node string, s *telemetryv2.SeedRef) seedKey {
	return seedKey{node, s.GetLayerId(), s.GetSeedId()}
}

func (c *isolation) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.NodeStarted:
		c.restarted(e.Node)
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.BackwardReply:
			c.held(e, m, j)
		case *trainingv2.ForwardReply:
			c.uses(e, m, j)
		case *trainingv2.BoundaryReply:
			c.state(e, m.Part, j)
		}
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.RegistrationFact:
			c.registered(e, f)
		case *evidencev2.GradientFact:
			c.gradients(e, f)
		case *evidencev2.StepFact:
			c.step(e, f, j)
		case *evidencev2.StageFact:
			c.stage(e, f)
		case *evidencev2.KernelFaultFact:
			c.fault(e, f)
		case *evidencev2.RollbackFact:
			if f.Step == evidencev2.RollbackStep_RB_RESTORED {
				// Steps of the generation before have no end any more.
				clear(c.open)
				clear(c.pending)
				clear(c.fossils)
				clear(c.leaks)
				clear(c.banned)
			}
		}
	}
}

// restarted forgets what a process had in its memory only. That a kernel failed
// is not among it, once it is known to be durable.
func (c *isolation) restarted(node string) {
	maps.DeleteFunc(c.faults, func(k string, _ uint64) bool { return strings.HasPrefix(k, node+"\x00") && !c.durable[k] })
	maps.DeleteFunc(c.owners, func(_ uint64, k seedKey) bool { return k.node == node })
	maps.DeleteFunc(c.leaks, func(k seedKey, _ int) bool { return k.node == node })
	maps.DeleteFunc(c.banned, func(k seedKey, _ uint64) bool { return k.node == node })
	maps.DeleteFunc(c.fossils, func(k seedKey, _ [sha256.Size]byte) bool { return k.node == node })
	clear(c.pending)
	clear(c.open)
}

func (c *isolation) registered(e *Event, f *evidencev2.RegistrationFact) {
	k := seedOf(e.Node, f.Seed)
	for _, p := range f.Parameters {
		switch {
		case f.Seed == nil:
			c.host[p] = true
		case f.Released:
			delete(c.owners, p)
		default:
			c.owners[p] = k
		}
	}
}

// gradients notes what a step would update.
func (c *isolation) gradients(e *Event, f *evidencev2.GradientFact) {
	at := layerRef{stepOf(f.Step), f.LayerId}
	g := &gradients{node: e.Node, seq: e.Seq}
	c.pending[at] = g
	for _, s := range f.Sets {
		k := seedOf(e.Node, s.Seed)
		leak := false
		for _, p := range s.Parameters {
			switch owner, ok := c.owners[p]; {
			case c.host[p]:
				leak = true
			case !ok || owner != k:
				g.foreign = fmt.Sprintf("the parameter %016x, which seed %d/%d has not registered", p, k.layer, k.seed)
			}
		}
		if st := c.stages[k]; st == telemetryv2.SeedStage_FOSSILIZED {
			g.foreign = fmt.Sprintf("parameters of seed %d/%d, which is fossilized", k.layer, k.seed)
		}
		if leak {
			g.leak = true
			if c.leaks[k]++; c.leaks[k] >= mostLeaks && c.banned[k] == 0 {
				c.banned[k] = e.Seq
			}
		}
	}
	if len(c.pending) > remembered {
		clear(c.pending)
	}
}

// held judges the word that Kasmina holds a layer's gradients.
func (c *isolation) held(e *Event, m *trainingv2.BackwardReply, j *Judge) {
	g := c.pending[layerRef{stepOf(m.Step), m.LayerId}]
	if g == nil || m.Status != trainingv2.ReplyStatus_OK {
		return
	}
	if g.leak {
		j.Violate("K6", e.Node, fmt.Sprintf("it holds the gradients of layer %d in step %d of epoch %d, of which some lie in the host", m.LayerId, m.Step.GetStep(), m.Step.GetEpoch()), g.seq)
		return
	}
	j.Judged("K6")
}

// step judges what was trained.
func (c *isolation) step(e *Event, f *evidencev2.StepFact, j *Judge) {
	at := stepOf(f.Step)
	full := f.Effect == trainingv2.StepEffect_FULL
	if k := c.open[at]; k != nil {
		delete(c.open, at)
		if full {
			j.Violate("K8", e.Node, fmt.Sprintf("step %d of epoch %d is trained with the kernel %.80s, which failed in it", at.step, at.epoch, k.kernel), k.seq)
		} else {
			j.Judged("K8")
		}
	}
	for _, l := range slices.SortedFunc(maps.Keys(c.pending), func(a, b layerRef) int { return int(a.layer) - int(b.layer) }) {
		if l.stepKey != at {
			continue
		}
		g := c.pending[l]
		delete(c.pending, l)
		switch {
		case !full:
		case g.leak:
			j.Violate("K6", g.node, fmt.Sprintf("step %d of epoch %d is trained with gradients of layer %d that lie in the host", at.step, at.epoch, l.layer), g.seq)
		case g.foreign != "":
			j.Violate("K7", g.node, fmt.Sprintf("step %d of epoch %d updates %s", at.step, at.epoch, g.foreign), g.seq)
		default:
			j.Judged("K6")
			j.Judged("K7")
		}
	}
}

func (c *isolation) stage(e *Event, f *evidencev2.StageFact) {
	k := seedOf(e.Node, f.Seed)
	c.stages[k] = f.To
	if f.To != telemetryv2.SeedStage_FOSSILIZED {
		delete(c.fossils, k)
	}
	if f.To == telemetryv2.SeedStage_CULLED || f.To == telemetryv2.SeedStage_GERMINATED {
		delete(c.leaks, k)
		delete(c.banned, k)
	}
}

// uses judges who took part in a reply that is worth its numbers.
func (c *isolation) uses(e *Event, m *trainingv2.ForwardReply, j *Judge) {
	if m.Status != trainingv2.ReplyStatus_OK {
		return
	}
	for _, u := range m.Kernels {
		k := seedOf(e.Node, u.Seed)
		works := blended(u.Stage) || u.Stage == telemetryv2.SeedStage_TRAINING && m.Training
		if seq, bad := c.faults[e.Node+"\x00"+u.KernelArtifactId]; bad && works {
			j.Violate("K8", e.Node, fmt.Sprintf("it uses the kernel %.80s again, which has failed", u.KernelArtifactId), seq)
			return
		}
		if seq := c.banned[k]; seq != 0 && works && m.Training {
			j.Violate("K6", e.Node, fmt.Sprintf("seed %d/%d takes part in a step, and has had %d violations", k.layer, k.seed, c.leaks[k]), seq)
			return
		}
	}
}

func (c *isolation) fault(e *Event, f *evidencev2.KernelFaultFact) {
	k := e.Node + "\x00" + strings.Clone(f.KernelArtifactId)
	if c.faults[k] == 0 {
		c.faults[k] = e.Seq
	}
	if f.Durable {
		c.durable[k] = true
		return
	}
	if f.Training {
		c.open[stepOf(f.Step)] = &kernelFault{e.Node, strings.Clone(f.KernelArtifactId), e.At, e.Seq}
	}
}

// state judges the parameters of fossilized seeds in a state that Kasmina gives
// away: they are those of the state before.
func (c *isolation) state(e *Event, p *trainingv2.StatePart, j *Judge) {
	if p == nil {
		return
	}
	var m statev2.KasminaState
	if m.ParseCanonical(slices.Clone(p.Data)) != nil {
		return
	}
	for _, s := range m.Slots {
		if s.Stage != telemetryv2.SeedStage_FOSSILIZED || s.Kernel == nil {
			continue
		}
		k := seedOf(e.Node, s.Seed)
		var b []byte
		for _, v := range s.Kernel.Parameters {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		sum := sha256.Sum256(b)
		if was, known := c.fossils[k]; known && was != sum {
			j.Violate("K7", e.Node, fmt.Sprintf("the parameters of seed %d/%d have changed, and it is fossilized", k.layer, k.seed))
			return
		} else if known {
			j.Judged("K7")
		}
		c.fossils[k] = sum
	}
}

// stopped is how long a step may take whose kernel has failed.
const stopped = int64(15 * time.Second)

// Finish implements Checker.
func (c *isolation) Finish(j *Judge) {
	if c.settle == nil || !c.settle(c.last-stopped) {
		return
	}
	var first *kernelFault
	for _, k := range c.open {
		if c.last-k.at > stopped && (first == nil || k.seq < first.seq) {
			first = k
		}
	}
	if first != nil {
		j.Violate("K8", first.node, fmt.Sprintf("the kernel %.80s failed, and its step has no end since", first.kernel), first.seq)
	}
}
