package tamiyo

import (
	"math"
	"slices"
	"sort"

	"github.com/esper-sim/espersim/cluster/graft"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// mind is what Tamiyo knows of the run: the part that a checkpoint holds, and
// what telemetry says. It is pure.
type mind struct {
	epoch   int64 // that ended last, -1 before the first
	recent  []float64
	rate    float64
	adapted int64
	open    []*adaptation // by command id
	seeds   []Seed        // by layer and seed
}

// adaptation is a seed that was germinated, from then to its terminal report.
type adaptation struct {
	id       string // of the command
	seed     graft.Ref
	kernel   string
	stage    graft.Stage
	since    int64
	issued   uint32 // the generation of its command
	pre      float64
	reported bool // in a time that was rolled back: it is never reported again
}

func newMind() mind { return mind{epoch: -1, adapted: -1} }

// observe takes the state packet of an epoch.
func (m *mind) observe(epoch int64, loss, rate float64) {
	m.epoch = epoch
	if !math.IsNaN(loss) && !math.IsInf(loss, 0) {
		m.recent = append(m.recent, loss)
		if n := len(m.recent) - Window; n > 0 {
			m.recent = m.recent[:copy(m.recent, m.recent[n:])]
		}
	}
	if rate > 0 {
		m.rate = rate
	}
}

// view is the mind as policies see it, before the epoch's own loss joins the
// recent ones.
func (m *mind) view(epoch int64, loss, rate float64, busy func(graft.Ref) bool, kernels []string) *View {
	v := &View{Epoch: epoch, Loss: loss, Recent: m.recent, LearningRate: m.rate, LastAdapted: m.adapted, Kernels: kernels}
	if rate > 0 {
		v.LearningRate = rate
	}
	for _, s := range m.seeds {
		s.Busy = busy(s.Ref)
		v.Seeds = append(v.Seeds, s)
	}
	return v
}

// seed takes a telemetry in. Older ones than what is known change nothing.
func (m *mind) seed(t *telemetryv2.SeedTelemetry) *Seed {
	ref := graft.RefOf(t.Seed)
	i := sort.Search(len(m.seeds), func(i int) bool {
		s := m.seeds[i].Ref
		return s.Layer > ref.Layer || s.Layer == ref.Layer && s.Seed >= ref.Seed
	})
	if i == len(m.seeds) || m.seeds[i].Ref != ref {
		m.seeds = slices.Insert(m.seeds, i, Seed{Ref: ref, Since: t.Epoch})
	}
	s := &m.seeds[i]
	if t.Epoch < s.Epoch {
		return nil
	}
	if s.Stage != t.Stage {
		s.Since = t.Epoch
	}
	s.Stage, s.Epoch, s.Ready, s.Failing = t.Stage, t.Epoch, t.ReadyForTransition, failing(t)
	if s.Kernel != t.ActiveKernelId {
		s.Kernel = t.ActiveKernelId
	}
	return s
}

// adaptationOf finds the open adaptation of a seed, the newest if there are
// several.
func (m *mind) adaptationOf(ref graft.Ref) *adaptation {
	var found *adaptation
	for _, a := range m.open {
		if a.seed == ref && (found == nil || a.since >= found.since) {
			found = a
		}
	}
	return found
}

// adaptationBefore finds the one that an operation ended which took effect at the
// boundary into an epoch. A result that comes late, when the seed lives again, is
// not about the adaptation that it has by then: that one began later.
func (m *mind) adaptationBefore(ref graft.Ref, epoch int64) *adaptation {
	var found *adaptation
	for _, a := range m.open {
		if a.seed == ref && a.since < epoch && (found == nil || a.since >= found.since) {
			found = a
		}
	}
	return found
}

func (m *mind) find(id string) *adaptation {
	for _, a := range m.open {
		if a.id == id {
			return a
		}
	}
	return nil
}

func (m *mind) add(a *adaptation) {
	if m.find(a.id) == nil {
		m.open = append(m.open, a)
		sort.Slice(m.open, func(i, j int) bool { return m.open[i].id < m.open[j].id })
		m.adapted = max(m.adapted, a.since)
	}
}

func (m *mind) close(id string) {
	m.open = slices.DeleteFunc(m.open, func(a *adaptation) bool { return a.id == id })
}

// ends says how an adaptation ended, if a seed's stage, seen in an epoch, ends
// it. A seed that is dormant again was rolled back to before its germination.
func (a *adaptation) ends(stage graft.Stage, epoch int64) (string, bool) {
	if epoch <= a.since && stage != graft.Fossilized {
		return "", false // of the time before
	}
	switch stage {
	case graft.Fossilized:
		return "FOSSILIZED", true
	case graft.Culled:
		return "CULLED", true
	case graft.Cancelled:
		return "CANCELLED", true
	case graft.RolledBack, graft.Dormant:
		return "ROLLED_BACK", true
	}
	return "", false
}

// outcome is how an applied operation ends an adaptation, if it does.
func outcome(op adaptationv2.SeedOperation) (string, bool) {
	switch op {
	case adaptationv2.SeedOperation_FOSSILIZE:
		return "FOSSILIZED", true
	case adaptationv2.SeedOperation_CULL, adaptationv2.SeedOperation_RETIRE:
		return "CULLED", true
	case adaptationv2.SeedOperation_CANCEL:
		return "CANCELLED", true
	}
	return "", false
}

// save is the mind as a checkpoint holds it.
func (m *mind) save(version string) *statev2.TamiyoState {
	s := &statev2.TamiyoState{Epoch: m.epoch, PolicyVersion: version, RecentLosses: m.recent,
		LastAdaptationEpoch: m.adapted, LearningRate: m.rate}
	for _, a := range m.open {
		s.Adaptations = append(s.Adaptations, a.proto())
	}
	return s
}

func (a *adaptation) proto() *statev2.OpenAdaptation {
	return &statev2.OpenAdaptation{CommandId: a.id, Seed: a.seed.Proto(), KernelArtifactId: a.kernel,
		Stage: a.stage, SinceEpoch: a.since, PreMetric: a.pre, Generation: a.issued}
}

func adaptationFrom(p *statev2.OpenAdaptation) *adaptation {
	return &adaptation{id: p.CommandId, seed: graft.RefOf(p.Seed), kernel: p.KernelArtifactId,
		stage: p.Stage, since: p.SinceEpoch, pre: p.PreMetric, issued: p.Generation}
}

// load is the mind that a checkpoint holds. What telemetry said is forgotten:
// it is of a time that did not happen.
func load(s *statev2.TamiyoState) mind {
	m := mind{epoch: s.Epoch, recent: slices.Clone(s.RecentLosses), rate: s.LearningRate, adapted: s.LastAdaptationEpoch}
	for _, p := range s.Adaptations {
		m.open = append(m.open, adaptationFrom(p))
	}
	return m
}

// reconcile compares a mind that was restored to an epoch with the log, which
// knows of every adaptation that ever began and of every report. It returns
// those that began later: they never happened, and are reported ROLLED_BACK. So are
// those that an earlier rollback took back, of which the log never heard: a life that
// ended before its log was open again could not say so.
// One that began before and is missing had its result still on the way when the
// checkpoint was taken: the seed is there, and so is its adaptation.
func (m *mind) reconcile(epoch int64, logged []*adaptation, reported map[string]bool, back func(*adaptation) bool) (undone []*adaptation) {
	for _, a := range m.open {
		a.reported = reported[a.id]
	}
	for _, a := range logged {
		if m.find(a.id) != nil {
			continue
		}
		if a.since >= epoch || back(a) {
			undone = append(undone, a)
		} else {
			m.add(a)
		}
	}
	return undone
}
