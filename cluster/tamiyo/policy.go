package tamiyo

import (
	"math"

	"github.com/esper-sim/espersim/cluster/graft"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// A Policy decides, at an epoch boundary, how training is to be adapted. Its
// functions are pure: a view is all that a decision depends on, so that a run
// can be decided again.
type Policy interface {
	// Version names the policy and its version.
	Version() string
	// Decide lists the actions for a view, the most urgent first.
	Decide(v *View) []Action
}

// View is what a policy may look at.
type View struct {
	Epoch        int64 // that has ended
	Loss         float64
	Recent       []float64 // losses before it, oldest first, at most Window
	LearningRate float64
	LastAdapted  int64 // epoch of the last germination, -1 for none
	Seeds        []Seed
	Kernels      []string // validated ones
}

// Window is how many losses a view remembers.
const Window = 16

// Seed is what is known of a seed.
type Seed struct {
	Ref     graft.Ref
	Stage   graft.Stage
	Epoch   int64 // of the telemetry
	Ready   bool  // it may leave its stage
	Failing bool
	Kernel  string
	Busy    bool // a command for it is on its way
	Since   int64
}

// ActionKind is what an action asks for.
type ActionKind uint8

// The kinds of actions.
const (
	MoveSeed ActionKind = iota + 1
	SetRate
	GoBack
	SetRhythm // epochs between checkpoints
)

// Action is one decision.
type Action struct {
	Kind   ActionKind
	Seed   graft.Ref
	Stage  graft.Stage // that the seed is expected in
	Op     adaptationv2.SeedOperation
	Kernel string
	Rate   float64
	Warm   bool // the rate is led to, and not set at once
	Full   bool // of a rollback: the full tier
	Every  int
	Reason string
}

// FindPolicy is the policy with a name: heuristic, busy or idle.
func FindPolicy(name string) (Policy, bool) {
	switch name {
	case "heuristic", "":
		return heuristic{}, true
	case "busy":
		return busy{}, true
	case "idle":
		return idle{}, true
	}
	return nil, false
}

// idle never adapts anything, and goes back only when there is nothing left to
// lose.
type idle struct{}

func (idle) Version() string         { return "idle-1" }
func (idle) Decide(v *View) []Action { return rescue(v) }

// rescue goes back from a loss that has exploded: above 15 times its recent
// mean, or no number at all (digest 0.6, SEVERE).
func rescue(v *View) []Action {
	switch {
	case math.IsNaN(v.Loss) || math.IsInf(v.Loss, 0):
		return []Action{{Kind: GoBack, Full: true, Reason: "the loss is no number"}}
	case len(v.Recent) >= 3 && v.Loss > 15*mean(v.Recent):
		return []Action{{Kind: GoBack, Reason: "the loss is above 15 times its recent mean"}}
	}
	return nil
}

// rescues remember when going back was decided, beyond the rollbacks themselves: the
// mind is restored by each, and would decide the same for ever.
type rescues struct {
	furthest int64 // epoch from which it was
	times    int   // since an epoch after that one went well
}

// mostRescues is how often Tamiyo goes back before she goes on at half the rate.
const mostRescues = 2

// heed is what is done of what a policy has decided at a boundary. Where going back
// has not helped, the loss is what this learning rate comes to from there: training
// goes on, at half of it. A loss that is no number leaves nothing to go on with.
func (r *rescues) heed(actions []Action, v *View) []Action {
	if len(actions) == 0 || actions[0].Kind != GoBack {
		if v.Epoch > r.furthest {
			*r = rescues{furthest: r.furthest}
		}
		return actions
	}
	r.furthest = max(r.furthest, v.Epoch)
	if r.times++; r.times <= mostRescues || actions[0].Full {
		return actions
	}
	return []Action{{Kind: SetRate, Rate: v.LearningRate / 2, Reason: "going back has not helped"}}
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// next is the operation that takes a seed on from a stage.
func next(s graft.Stage) (adaptationv2.SeedOperation, bool) {
	switch s {
	case graft.Germinated:
		return adaptationv2.SeedOperation_START_TRAINING, true
	case graft.Training:
		return adaptationv2.SeedOperation_GRAFT, true
	case graft.Grafting:
		return adaptationv2.SeedOperation_STABILIZE, true
	case graft.Stabilization:
		return adaptationv2.SeedOperation_EVALUATE, true
	case graft.Evaluating:
		return adaptationv2.SeedOperation_FINE_TUNE, true
	case graft.FineTuning:
		return adaptationv2.SeedOperation_FOSSILIZE, true
	}
	return 0, false
}

// care moves on the seeds that are ready and culls those that fail.
func care(v *View) (actions []Action, alive int) {
	for _, s := range v.Seeds {
		op, growing := next(s.Stage)
		if growing {
			alive++
		}
		switch {
		case s.Busy || !growing:
		case s.Failing:
			actions = append(actions, Action{Kind: MoveSeed, Seed: s.Ref, Stage: s.Stage,
				Op: adaptationv2.SeedOperation_CULL, Reason: "it fails its gate"})
		case s.Ready:
			actions = append(actions, Action{Kind: MoveSeed, Seed: s.Ref, Stage: s.Stage, Op: op, Reason: "it is ready"})
		}
	}
	return actions, alive
}

// free finds a seed that can be germinated. One that was culled may be under
// an embargo that only Kasmina knows: it is asked for rarely.
func free(v *View, patience int64) (Seed, bool) {
	for _, s := range v.Seeds {
		if s.Busy {
			continue
		}
		switch s.Stage {
		case graft.Dormant:
			return s, true
		case graft.Culled, graft.Cancelled:
			if v.Epoch-s.Since >= patience {
				return s, true
			}
		}
	}
	return Seed{}, false
}

func germinate(v *View, s Seed, why string) Action {
	k := v.Kernels[int(v.Epoch+int64(s.Ref.Seed))%len(v.Kernels)]
	return Action{Kind: MoveSeed, Seed: s.Ref, Stage: s.Stage, Op: adaptationv2.SeedOperation_GERMINATE, Kernel: k, Reason: why}
}

// heuristic germinates a seed where the loss no longer falls, and lowers the
// learning rate where it rises.
type heuristic struct{}

func (heuristic) Version() string { return "heuristic-1" }

// plateau is how much, relatively, the loss must have fallen within four
// epochs for training to need no help.
const plateau = 0.02

func (heuristic) Decide(v *View) []Action {
	if back := rescue(v); back != nil {
		return back
	}
	actions, alive := care(v)
	n := len(v.Recent)
	if n < 4 {
		return actions
	}
	stuck := v.Loss > v.Recent[n-4]*(1-plateau)
	if stuck && alive < 2 && v.Epoch-v.LastAdapted >= 3 {
		if s, ok := free(v, 12); ok && len(v.Kernels) > 0 {
			return append(actions, germinate(v, s, "the loss is on a plateau"))
		}
	}
	rising := v.Loss > v.Recent[n-1] && v.Recent[n-1] > v.Recent[n-2] && v.Recent[n-2] > v.Recent[n-3]
	if rising && v.LearningRate > 1e-4 {
		actions = append(actions, Action{Kind: SetRate, Rate: v.LearningRate * 0.7, Reason: "the loss rises"})
	}
	return actions
}

// busy adapts at every chance, for tests: it wants commands of all kinds on
// their way while something else goes wrong.
type busy struct{}

func (busy) Version() string { return "busy-1" }

func (busy) Decide(v *View) []Action {
	if back := rescue(v); back != nil {
		return back
	}
	actions, _ := care(v)
	for _, s := range v.Seeds {
		if op, growing := next(s.Stage); growing && !s.Busy && !s.Failing && op != adaptationv2.SeedOperation_FOSSILIZE &&
			(v.Epoch+int64(s.Ref.Seed)*5+int64(s.Ref.Layer)*11)%37 == 0 {
			actions = append(actions, Action{Kind: MoveSeed, Seed: s.Ref, Stage: s.Stage,
				Op: adaptationv2.SeedOperation_CULL, Reason: "busy"})
			break
		}
	}
	if s, ok := free(v, 8); ok && len(v.Kernels) > 0 {
		actions = append(actions, germinate(v, s, "busy"))
	}
	if v.LearningRate > 0 && v.Epoch%3 == 0 {
		rate := v.LearningRate * 0.9
		if v.Epoch%6 == 0 {
			rate = v.LearningRate * 1.1
		}
		rate = min(max(rate, 0.005), 0.05)
		actions = append(actions, Action{Kind: SetRate, Rate: rate, Warm: rate > v.LearningRate, Reason: "busy"})
	}
	if v.Epoch%10 == 9 {
		actions = append(actions, Action{Kind: SetRhythm, Every: 3 + int(v.Epoch/10%2), Reason: "busy"})
	}
	return actions
}

// failing reads a telemetry's word on whether a seed fails.
func failing(m *telemetryv2.SeedTelemetry) bool {
	return m.LastGate == "patience" || m.GetHealth().GetStatus() >= 2
}
