package checkers

import (
	"fmt"
	"math"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// seeds judges K1, K2, K4 and K5: the life of every seed, from the changes
// that Kasmina declares and from what its layers did to activations.
type seeds struct {
	p        Params
	rows     map[seedKey]*seedRow
	causes   map[string]uint64   // node to the last message at which stages may change
	worked   map[string][2]int64 // node to the epoch and generation it last took part in
	input    map[int32][]float32
	inputSeq map[int32]uint64
}

type seedKey struct {
	node        string
	layer, seed int32
}

type seedRow struct {
	stage   telemetryv2.SeedStage
	known   bool
	embargo int64 // no germination before this epoch
	alpha   uint32
	gen     uint32
	seq     uint64
}

// stageEdges is the digest's table 0.10, written down a second time: the
// checker does not ask the code under test what is allowed.
var stageEdges = map[telemetryv2.SeedStage]string{
	telemetryv2.SeedStage_DORMANT:       "GERMINATED",
	telemetryv2.SeedStage_GERMINATED:    "TRAINING GRAFTING CULLED CANCELLED",
	telemetryv2.SeedStage_TRAINING:      "GRAFTING CULLED CANCELLED",
	telemetryv2.SeedStage_GRAFTING:      "STABILIZATION ROLLED_BACK CULLED",
	telemetryv2.SeedStage_STABILIZATION: "EVALUATING ROLLED_BACK CULLED",
	telemetryv2.SeedStage_EVALUATING:    "FINE_TUNING FOSSILIZED CULLED ROLLED_BACK",
	telemetryv2.SeedStage_FINE_TUNING:   "FOSSILIZED CULLED ROLLED_BACK",
	telemetryv2.SeedStage_CULLED:        "DORMANT",
	telemetryv2.SeedStage_CANCELLED:     "DORMANT",
}

func allowedEdge(from, to telemetryv2.SeedStage) bool {
	want := to.String()
	list := stageEdges[from]
	for len(list) > 0 {
		word := list
		for i := range list {
			if list[i] == ' ' {
				word = list[:i]
				break
			}
		}
		if word == want {
			return true
		}
		list = list[min(len(word)+1, len(list)):]
	}
	return false
}

func blended(s telemetryv2.SeedStage) bool {
	switch s {
	case telemetryv2.SeedStage_GRAFTING, telemetryv2.SeedStage_STABILIZATION, telemetryv2.SeedStage_EVALUATING,
		telemetryv2.SeedStage_FINE_TUNING, telemetryv2.SeedStage_FOSSILIZED:
		return true
	}
	return false
}

func newSeeds(p Params) Checker {
	return &seeds{p: p, rows: map[seedKey]*seedRow{}, causes: map[string]uint64{}, worked: map[string][2]int64{},
		input: map[int32][]float32{}, inputSeq: map[int32]uint64{}}
}

func (*seeds) Invariants() []string { return []string{"K1", "K2", "K4", "K5"} }

func (c *seeds) row(k seedKey) *seedRow {
	r := c.rows[k]
	if r == nil {
		r = &seedRow{stage: telemetryv2.SeedStage_DORMANT, known: true}
		c.rows[k] = r
	}
	return r
}

func (c *seeds) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		// A process that starts has lost its slots; a rollback brings them back.
		for k, r := range c.rows {
			if k.node == e.Node {
				r.known, r.alpha = false, 0
			}
		}
	case trace.MessageDelivered:
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.BoundaryRequest:
			c.causes[e.Peer] = e.Seq
		case *trainingv2.ForwardRequest:
			c.input[m.LayerId] = append(c.input[m.LayerId][:0], m.Activations...)
			c.inputSeq[m.LayerId] = e.Seq
			// An epoch begins with its first step, if Kasmina put off what it
			// had promised until Tolaria knew of the promise.
			if c.worked[e.Peer] != epochOf(m.Step) && m.Training {
				c.causes[e.Peer] = e.Seq
			}
		}
	case trace.MessageSent:
		if m, ok := e.Mail.Payload.(*trainingv2.ForwardReply); ok {
			c.forward(e, m, j)
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.StageFact); ok {
			c.stage(e, f, j)
		}
	}
}

func (c *seeds) stage(e *Event, f *evidencev2.StageFact, j *Judge) {
	k := seedKey{e.Node, f.Seed.GetLayerId(), f.Seed.GetSeedId()}
	r := c.row(k)
	name := fmt.Sprintf("seed %d/%d", k.layer, k.seed)
	restore := f.Cause == evidencev2.StageCause_BY_ROLLBACK
	switch {
	case restore:
		// A rollback may lead anywhere, as far as the row itself goes.
	case !allowedEdge(f.From, f.To):
		j.Violate("K1", e.Node, fmt.Sprintf("%s goes from %v to %v", name, f.From, f.To), r.seq)
	case r.known && r.stage != f.From:
		j.Violate("K1", e.Node, fmt.Sprintf("%s leaves %v, and was in %v", name, f.From, r.stage), r.seq)
	case f.To == telemetryv2.SeedStage_GERMINATED && f.Epoch < r.embargo:
		j.Violate("K1", e.Node, fmt.Sprintf("%s is germinated in epoch %d, and is under embargo until %d", name, f.Epoch, r.embargo), r.seq)
	default:
		j.Judged("K1")
	}
	if at := e.Cause == c.causes[e.Node]; at != f.AtBoundary {
		j.Violate("K2", e.Node, fmt.Sprintf("%s goes from %v to %v, and whether that is at an epoch boundary (%v) is told otherwise", name, f.From, f.To, at), e.Cause)
	}
	switch f.Cause {
	case evidencev2.StageCause_BY_COMMAND:
		// Not what the fact says of itself, but what Kasmina was handling.
		if e.Cause != c.causes[e.Node] {
			j.Violate("K2", e.Node, fmt.Sprintf("%s goes from %v to %v between two epoch boundaries", name, f.From, f.To), e.Cause)
		} else if f.CommandId == "" {
			j.Violate("K2", e.Node, fmt.Sprintf("%s goes from %v to %v without a command", name, f.From, f.To), e.Cause)
		} else {
			j.Judged("K2")
		}
	case evidencev2.StageCause_BY_LOAD_FAILURE, evidencev2.StageCause_BY_QUARANTINE:
		if f.To != telemetryv2.SeedStage_CULLED {
			j.Violate("K2", e.Node, fmt.Sprintf("%s goes from %v to %v by %v; only CULLED is allowed", name, f.From, f.To, f.Cause))
		} else {
			j.Judged("K2")
		}
	case evidencev2.StageCause_BY_ROLLBACK:
	default:
		j.Violate("K2", e.Node, fmt.Sprintf("%s goes from %v to %v by %v", name, f.From, f.To, f.Cause))
	}
	r.stage, r.known, r.seq = f.To, true, e.Seq
	switch f.To {
	case telemetryv2.SeedStage_CULLED:
		if c.p.Embargo > 0 && !restore {
			r.embargo = f.Epoch + c.p.Embargo
		}
		r.alpha = 0
	case telemetryv2.SeedStage_GERMINATED:
		r.embargo, r.alpha = 0, 0
	case telemetryv2.SeedStage_ROLLED_BACK, telemetryv2.SeedStage_CANCELLED, telemetryv2.SeedStage_DORMANT:
		r.alpha = 0
	}
	if restore {
		// The embargo and the alpha of the restored row are not known.
		r.embargo, r.alpha = 0, 0
	}
}

func (c *seeds) forward(e *Event, m *trainingv2.ForwardReply, j *Judge) {
	if m.Status != trainingv2.ReplyStatus_OK {
		return
	}
	if m.Training {
		c.worked[e.Node] = epochOf(m.Step)
	}
	in := c.input[m.LayerId]
	identity := true // by what the reply says of its kernels
	for _, u := range m.Kernels {
		k := seedKey{e.Node, u.Seed.GetLayerId(), u.Seed.GetSeedId()}
		r := c.row(k)
		if g := m.Step.GetGeneration(); g != r.gen {
			r.gen, r.alpha = g, 0
		}
		name := fmt.Sprintf("seed %d/%d in %v", k.layer, k.seed, u.Stage)
		if blended(u.Stage) && u.AlphaMilli > 0 {
			identity = false
		}
		switch {
		case u.AlphaMilli > 1000:
			j.Violate("K5", e.Node, fmt.Sprintf("%s has alpha %d/1000", name, u.AlphaMilli))
		case !blended(u.Stage) && u.AlphaMilli != 0:
			j.Violate("K5", e.Node, fmt.Sprintf("%s has alpha %d/1000; want 0", name, u.AlphaMilli))
		case u.Stage == telemetryv2.SeedStage_GRAFTING && u.AlphaMilli < r.alpha:
			j.Violate("K5", e.Node, fmt.Sprintf("%s: alpha falls from %d to %d", name, r.alpha, u.AlphaMilli))
		case blended(u.Stage) && u.Stage != telemetryv2.SeedStage_GRAFTING && u.AlphaMilli != 1000:
			j.Violate("K5", e.Node, fmt.Sprintf("%s has alpha %d/1000; want 1000", name, u.AlphaMilli))
		default:
			j.Judged("K5")
		}
		r.alpha = u.AlphaMilli
	}
	// By what its stages were declared to be: a reply that hides a kernel is
	// not believed.
	none := true
	for k, r := range c.rows {
		if k.node == e.Node && k.layer == m.LayerId && (!r.known || blended(r.stage)) {
			none = false
		}
	}
	if len(in) != len(m.Activations) {
		return // an answer to an older request
	}
	if identity || none {
		if !sameBits(in, m.Activations) {
			j.Violate("K4", e.Node, fmt.Sprintf("layer %d has no blended kernel and changes what passes through", m.LayerId), c.inputSeq[m.LayerId])
		} else {
			j.Judged("K4")
		}
	}
}

func (*seeds) Finish(*Judge) {}

func epochOf(s *trainingv2.StepRef) [2]int64 { return [2]int64{s.GetEpoch(), int64(s.GetGeneration())} }

// sameBits compares numbers bit for bit: −0 is not 0 here.
func sameBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}
