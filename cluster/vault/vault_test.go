package vault_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/client"
	"github.com/esper-sim/espersim/cluster/vault"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// watch remembers what was sealed under which root, and what was opened.
type watch struct {
	asked   map[string]string // content by bundle
	roots   map[string]string // bundle by root
	sets    map[string]string // content by bundle, in no order, with the context
	done    map[string]bool
	clashes int
	opened  int
	strange int // answers that another bundle has the id
	refused int
	wrong   []string
}

func content(parts []*ledgerv2.Component) string {
	m := &ledgerv2.SealRequest{Components: parts}
	return string(m.AppendCanonical(nil))
}

func (w *watch) Observe(e *trace.Event) {
	if e.Kind == trace.NodeExited {
		w.wrong = append(w.wrong, e.String())
	}
	mail, ok := e.Value.(*wire.Mail)
	if !ok || e.Kind != trace.MessageSent {
		return
	}
	switch m := mail.Payload.(type) {
	case *ledgerv2.SealRequest:
		w.asked[m.BundleId] = content(m.Components)
		sorted := slices.Clone(m.Components)
		slices.SortStableFunc(sorted, func(a, b *ledgerv2.Component) int { return strings.Compare(a.Name, b.Name) })
		w.sets[m.BundleId] = content(sorted) + fmt.Sprint(m.Context)
	case *ledgerv2.SealReply:
		if m.Outcome != ledgerv2.Outcome_DONE {
			w.refused++
			if strings.Contains(m.Reason, "another bundle") {
				w.strange++
			}
			return
		}
		w.done[m.BundleId] = true
		if other := w.roots[string(m.Root)]; other != "" && w.sets[other] != w.sets[m.BundleId] {
			w.clashes++
		}
		w.roots[string(m.Root)] = m.BundleId
	case *ledgerv2.OpenReply:
		switch {
		case m.Outcome == ledgerv2.Outcome_DONE && content(m.Components) != w.asked[m.BundleId]:
			w.wrong = append(w.wrong, m.BundleId+" was opened with other content")
		case m.Outcome == ledgerv2.Outcome_DONE:
			w.opened++
		case w.done[m.BundleId]:
			w.wrong = append(w.wrong, m.BundleId+" was sealed and is "+m.Outcome.String()+": "+m.Reason)
		}
	}
}

func run(t *testing.T, tree string, crash func(w *sim.World)) *watch {
	t.Helper()
	r := &watch{asked: map[string]string{}, roots: map[string]string{}, done: map[string]bool{}, sets: map[string]string{}}
	d, err := disk.New(disk.Config{Keyed: sim.NewSource(1)})
	must(t, err)
	o := vault.Defaults()
	o.Merkle = tree
	c := client.SealerDefaults()
	c.Recent = 16
	w, err := sim.New(sim.Config{Seed: 1, Hosts: []sim.Host{{Name: "h", Disk: d}, {Name: "c"}}, Trace: trace.NewLog(r), Poison: true, Nodes: []sim.Node{
		{ID: "vault", Host: "h", Make: vault.New(nil, *o), Restart: 20 * time.Millisecond},
		{ID: "sealer", Host: "c", Make: client.NewSealer(*c), Callback: true},
	}})
	must(t, err)
	if crash != nil {
		crash(w)
	}
	must(t, w.Run(5*time.Second))
	w.End()
	if tree == "hardened" {
		for _, s := range r.wrong {
			t.Error(s)
		}
	}
	if r.opened < 50 {
		t.Errorf("%d bundles were opened", r.opened)
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The hardened tree gives different bundles different roots, and refuses names
// that occur twice; the HLD's gives twins one root and refuses nothing.
func TestTwins(t *testing.T) {
	if r := run(t, "hardened", nil); r.clashes != 0 || r.refused == 0 {
		t.Errorf("hardened: %d clashes, %d refused", r.clashes, r.refused)
	}
	if r := run(t, "hld", nil); r.clashes == 0 || r.refused != 0 {
		t.Errorf("hld: %d clashes, %d refused", r.clashes, r.refused)
	}
}

func TestCrashAtEveryOperation(t *testing.T) {
	for k := 1; k < 60; k += 2 {
		run(t, "hardened", func(w *sim.World) {
			must(t, w.CrashAtOperation("vault", k, true, 20*time.Millisecond, 0, nil))
		})
		if t.Failed() {
			t.Fatalf("operation %d", k)
		}
	}
}

// A request whose answer was lost comes again, and gets the same answer.
func TestRepeatedSeal(t *testing.T) {
	r := run(t, "hardened", func(w *sim.World) {
		_, err := w.AddLinkFault(sim.LinkFault{Effect: sim.LinkDrop, From: []string{"vault"}, To: []string{"sealer"}, Type: "SealReply", Rate: 0.4}, false)
		must(t, err)
	})
	if r.strange > 0 {
		t.Errorf("%d bundles were taken for others when they came again", r.strange)
	}
}
