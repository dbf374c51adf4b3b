package planted

import (
	"strings"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

// kernelTroubles counts what becomes of kernels that fail.
type kernelTroubles struct {
	t                                     *testing.T
	loadFailures, quarantines, quarantine int
	epochs                                int
	twice                                 map[string]int // quarantines of one kernel by the library
}

func (k *kernelTroubles) Observe(e *trace.Event) {
	if e.Kind != trace.FactDeclared {
		return
	}
	read := func(m canon.Message) {
		if err := m.ParseCanonical(append([]byte(nil), e.Data...)); err != nil {
			k.t.Fatal(err)
		}
	}
	switch {
	case strings.HasSuffix(e.Text, ".StageFact"):
		var f evidencev2.StageFact
		read(&f)
		switch f.Cause {
		case evidencev2.StageCause_BY_LOAD_FAILURE:
			k.loadFailures++
		case evidencev2.StageCause_BY_QUARANTINE:
			k.quarantines++
		}
	case strings.HasSuffix(e.Text, ".AssetFact"):
		var f evidencev2.AssetFact
		read(&f)
		if f.To == blueprintv2.KernelStatus_QUARANTINED.String() {
			k.quarantine++
			k.twice[f.AssetId]++
		}
	case strings.HasSuffix(e.Text, ".EpochFact"):
		k.epochs++
	}
}

// troubles runs a scenario with something wrong in it, which breaks one invariant
// by itself; the others hold.
func troubles(t *testing.T, file string, broken string, wrap runner.Wrapper) *kernelTroubles {
	s, err := scenarios.Load("../"+file, runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	s.Void = append(s.Void, scenarios.Void{Invariant: broken, Because: "it is what is wrong here"})
	k := &kernelTroubles{t: t, twice: map[string]int{}}
	r, err := runner.Run(s, runner.Options{Seed: 1, Wrap: wrap, Observers: []trace.Observer{k}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != runner.Clean || r.Judged["E1"] == 0 || r.Judged["K3"] == 0 {
		t.Fatalf("%s: %v %v; judged %v", r.Verdict, r.Violations, r.Error, r.Judged)
	}
	for id, n := range k.twice {
		if n > 1 {
			t.Errorf("%s was put in quarantine %d times", id, n)
		}
	}
	return k
}

// Bytes that are damaged on their way out of the library are not loaded: the slot
// is culled, the kernel goes into quarantine, and training goes on as its replay
// does.
func TestAKernelThatDoesNotLoad(t *testing.T) {
	n := 0
	h := onSend(func(m *assetsv2.FetchKernelReply, _ *actor.SendOptions) bool {
		s := m.GetKernel().GetStatus()
		// Every second one that Kasmina gets; Urabrask asks before the verdict.
		if m.Status == assetsv2.AssetStatus_EXISTS && s == blueprintv2.KernelStatus_VALIDATED {
			if n++; n%2 == 0 {
				m.Status, m.Reason = assetsv2.AssetStatus_DAMAGED, "rot"
				m.Binary = nil
			}
		}
		return true
	})
	k := troubles(t, "innovation/grafted.yaml", "I3", h.wrap("urza"))
	if k.loadFailures == 0 || k.quarantine < k.loadFailures || k.epochs < 40 {
		t.Errorf("%d load failures, %d in quarantine, %d epochs", k.loadFailures, k.quarantine, k.epochs)
	}
}

// A validator that passes everything lets kernels through that overflow at work:
// they are bypassed at once, culled at the boundary, and never come back, and no
// epoch is lost.
func TestAKernelThatFailsAtWork(t *testing.T) {
	h := onSend(func(m *assetsv2.StoreReport, _ *actor.SendOptions) bool {
		m.Status, m.Report.PassedValidation = blueprintv2.KernelStatus_VALIDATED, true
		m.Report.GeneratedTags = []string{"width-12"}
		return true
	})
	k := troubles(t, "innovation/hostile.yaml", "I1", h.wrap("urabrask"))
	if k.quarantines == 0 || k.quarantine == 0 || k.epochs < 40 {
		t.Errorf("%d culled, %d in quarantine, %d epochs", k.quarantines, k.quarantine, k.epochs)
	}
}
