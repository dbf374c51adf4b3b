package tamiyo

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/graft"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	"github.com/esper-sim/espersim/gpu"
)

// anyKernel is what a policy is shown in the place of the validated kernels
// where these are in the library: which it will be, the library is asked.
const anyKernel = "of-the-library"

// queryBase is how long the library has to answer, on the reference device (card
// 03). An answer that comes later is none, and the seed stays as it is.
const queryBase = 100 * time.Millisecond

// selection is a germination that waits for the library to say which kernels
// there are. It belongs to one boundary: the next one forgets it.
type selection struct {
	query      string
	action     Action
	epoch      int64
	generation uint32
	risk       Risk
	loss       float64
}

// kernels are what the policy may choose from.
func (t *tamiyo) kernels() []string {
	if t.job.Library {
		return []string{anyKernel}
	}
	var sound []string
	for _, id := range t.job.KernelIDs() {
		if !t.faulty[id] {
			sound = append(sound, id)
		}
	}
	if len(sound) == 0 {
		return t.job.KernelIDs() // Kasmina knows which it cannot use
	}
	return sound
}

// choose asks the library for the kernels that fit a seed. The decision about
// the boundary does not wait for the answer.
func (t *tamiyo) choose(a Action, epoch int64, risk Risk, loss float64) {
	width := 0
	for _, g := range t.grafts {
		if int32(g.Layer) == a.Seed.Layer {
			width = g.Width
		}
	}
	t.selection = &selection{query: fmt.Sprint("kernels/", t.env.Incarnation, "/", t.p.generation, "/", epoch, "/", a.Seed), action: a, epoch: epoch,
		generation: t.p.generation, risk: risk, loss: loss}
	q := &operationalv2.KernelQuery{QueryId: t.selection.query, RequiredTags: []string{fmt.Sprint("width-", width)}, PreferredTags: []string{"stable"},
		TargetGpuArch: t.env.GPU.Name(), CreatedAt: timestamppb.New(t.env.Clock.Now()), Limit: 50}
	t.env.Net.Send(t.job.Urza, q, actor.SendOptions{Key: fmt.Sprint("kernels/", epoch, "/", a.Seed)})
	t.env.Clock.SetTimer("kernels", 0, t.queryTimeout())
}

// queryTimeout is the base times how much slower than the reference the device
// is, never less.
func (t *tamiyo) queryTimeout() time.Duration {
	const reference = 8 * time.Millisecond // of an inference
	return max(queryBase*t.env.GPU.Cost(gpu.Inference, 1)/reference, queryBase)
}

// silent gives up a selection: nothing is germinated at this boundary.
func (t *tamiyo) silent() {
	if t.selection != nil {
		t.env.Probe.Reached("tamiyo/library-silent")
		t.selection = nil
	}
}

// selected takes the library's answer.
func (t *tamiyo) selected(m *operationalv2.KernelQueryResult) {
	s := t.selection
	if s == nil || m.QueryId != s.query {
		return
	}
	t.selection = nil
	t.env.Clock.StopTimer("kernels", 0)
	if !m.QuerySuccessful || m.Fallback || !t.p.works() || s.generation != t.p.generation || s.epoch != t.mind.epoch ||
		t.conservative || t.env.Clock.Monotonic() < t.pausedUntil {
		return
	}
	var fit []string
	for _, k := range m.MatchingKernels {
		usable := k.Status == blueprintv2.KernelStatus_VALIDATED || k.Status == blueprintv2.KernelStatus_KERNEL_ACTIVE
		if usable && !t.faulty[k.Id] && !t.grafted(k.Id) {
			fit = append(fit, strings.Clone(k.Id))
		}
	}
	if len(fit) == 0 {
		return
	}
	at := int(s.epoch+int64(s.action.Seed.Seed)) % len(fit)
	s.action.Kernel = fit[at]
	// From the one that is its turn on, so that a policy tries all of a family.
	by := t.prefer(&s.action, append(fit[at:len(fit):len(fit)], fit[:at]...), s.epoch, s.loss)
	t.order(s.action, by, s.epoch, s.risk, s.loss)
}

// grafted says whether a seed that lives has a kernel.
func (t *tamiyo) grafted(kernel string) bool {
	for _, s := range t.mind.seeds {
		if s.Kernel == kernel && s.Stage != graft.Culled {
			return true
		}
	}
	return false
}

// fault notes that a kernel failed: it is not chosen again.
func (t *tamiyo) fault(m *assetsv2.KernelFault) {
	if t.faulty == nil {
		t.faulty = map[string]bool{}
	}
	t.faulty[strings.Clone(m.KernelArtifactId)] = true
}

// waits says whether an action needs a kernel that only the library knows.
func (a Action) waits() bool {
	return a.Kind == MoveSeed && a.Op == adaptationv2.SeedOperation_GERMINATE && a.Kernel == anyKernel
}

// blueprintOf is the blueprint that a kernel is of: its id begins with it, unless
// it is built in.
func blueprintOf(kernel string) string {
	if id, _, ok := strings.Cut(kernel, "-"); ok && len(id) == 64 {
		return id
	}
	return "blueprint/" + kernel
}
