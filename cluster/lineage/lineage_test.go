package lineage

import (
	"strings"
	"testing"

	"github.com/esper-sim/espersim/cluster/job"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

func small(t testing.TB) *job.Job {
	j, err := job.Default()
	if err != nil {
		t.Fatal(err)
	}
	j.Samples, j.HeldOut = 64, 16
	return j
}

// story is a short run with everything in it that decides bytes.
func story() []Epoch {
	full := func(s string) (f []bool) {
		for _, c := range s {
			f = append(f, c == 'f')
		}
		return f
	}
	return []Epoch{
		{Epoch: 0, Generation: 1, LearningRate: 0.02, Joined: true, Full: full("ffffffff")},
		{Epoch: 1, Generation: 1, LearningRate: 0.02, Joined: true, ValidationLoss: 0.6, Full: full("ffifffff"),
			Commands: []Command{{"c1", 1, 1, "GERMINATE", "residual-4"}}},
		{Epoch: 2, Generation: 1, LearningRate: 0.015, Joined: true, ValidationLoss: 0.5, Full: full("ffffffff"),
			Commands: []Command{{"c2", 1, 1, "GRAFT", "residual-4"}}},
		{Epoch: 3, Generation: 1, LearningRate: 0.015, ValidationLoss: 0.4, Full: full("iiiiiiii")},
		{Epoch: 4, Generation: 2, LearningRate: 0.015, Joined: true, ValidationLoss: 0.4, Full: full("ffffffff")},
	}
}

func tell(t testing.TB, s []Epoch) *Replay {
	t.Helper()
	r, err := NewReplay(small(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s {
		if _, err := r.Epoch(&s[i]); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// Whatever is left out of a lineage changes the weights.
func TestEverythingInALineageCounts(t *testing.T) {
	want := tell(t, story()).Digests()
	if got := tell(t, story()).Digests(); got != want {
		t.Fatal("the same lineage leads to other bytes")
	}
	for name, change := range map[string]func(s []Epoch) []Epoch{
		"a graft": func(s []Epoch) []Epoch { s[2].Commands = nil; return s },
		"a mask": func(s []Epoch) []Epoch {
			s[2].Mask = &statev2.HostMask{IdempotencyKey: "m", Channels: []*statev2.MaskedChannel{{LayerId: 1, Channel: 3}}}
			return s
		},
		"a rate":         func(s []Epoch) []Epoch { s[2].LearningRate = 0.02; return s },
		"a generation":   func(s []Epoch) []Epoch { s[4].Generation = 1; return s },
		"an identity":    func(s []Epoch) []Epoch { s[4].Full[3] = false; return s },
		"an epoch":       func(s []Epoch) []Epoch { return append(s[:3], s[4:]...) },
		"another kernel": func(s []Epoch) []Epoch { s[1].Commands[0].Kernel = "residual-8"; return s },
	} {
		if got := tell(t, change(story())).Digests(); got.Weights == want.Weights {
			t.Errorf("without %s the weights are the same", name)
		}
	}
}

// Going back and training on equals a run in which the epochs between never
// were.
func TestReturn(t *testing.T) {
	s := story()
	r := tell(t, s[:2])
	r.Mark(2)
	for _, e := range s[2:4] {
		if _, err := r.Epoch(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Return(2); err != nil {
		t.Fatal(err)
	}
	later := Epoch{Epoch: 2, Generation: 2, LearningRate: 0.02, Joined: true, ValidationLoss: 0.5, Full: s[2].Full}
	got, err := r.Epoch(&later)
	if err != nil {
		t.Fatal(err)
	}
	if want := tell(t, append(s[:2:2], later)).Digests(); got != want {
		t.Error("going back leaves a trace")
	}
	if err := r.Return(3); err != nil {
		t.Error("the end of an epoch that nobody marked is forgotten:", err)
	}
	if err := r.Return(77); err == nil {
		t.Error("returns to where it never was")
	}
}

// An export proves itself, and one that was changed anywhere does not.
func TestExportVerifies(t *testing.T) {
	j := small(t)
	x := tell(t, story()).Export()
	b := x.AppendCanonical(nil)
	if err := Verify(j, x); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(x *statev2.ModelExport){
		"weight":   func(x *statev2.ModelExport) { x.Host.Weights[0]++ },
		"momentum": func(x *statev2.ModelExport) { x.Host.Momentum[3]++ },
		"order":    func(x *statev2.ModelExport) { x.Host.SampleOrderSha256[0]++ },
		"kernel":   func(x *statev2.ModelExport) { x.Grafts.Slots[0].Kernel.Parameters[0]++ },
		"rate":     func(x *statev2.ModelExport) { x.Lineage.Epochs[1].LearningRate = 0.1 },
		"effect":   func(x *statev2.ModelExport) { x.Lineage.Epochs[1].Effects[0]++ },
		"seed":     func(x *statev2.ModelExport) { x.Lineage.ModelSeed++ },
		"graph":    func(x *statev2.ModelExport) { x.Graph = strings.Replace(x.Graph, "units", "unit", 1) },
		"unnamed":  func(x *statev2.ModelExport) { x.Lineage.Epochs[2].Commands[0].KernelArtifactId = "" },
		"command":  func(x *statev2.ModelExport) { x.Lineage.Epochs[1].Commands = nil },
	} {
		y := new(statev2.ModelExport)
		if err := y.ParseCanonical(append([]byte(nil), b...)); err != nil {
			t.Fatal(err)
		}
		change(y)
		if Verify(j, y) == nil {
			t.Errorf("an export with another %s verifies", name)
		}
	}
}

// A brief replay comes to the same bytes, and remembers no epoch.
func TestBriefReplay(t *testing.T) {
	j, err := job.Default()
	if err != nil {
		t.Fatal(err)
	}
	var got [2]Digests
	for i := range got {
		r, err := NewReplay(j)
		if err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			r.Brief()
		}
		for e := range int64(6) {
			if e == 4 {
				r.Mark(e)
			}
			if got[i], err = r.Epoch(&Epoch{Epoch: e, Generation: 1, LearningRate: 0.02, Full: make([]bool, j.Steps)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Return(4); err != nil {
			t.Fatal(err)
		}
		if got[i], err = r.Epoch(&Epoch{Epoch: 4, Generation: 2, LearningRate: 0.02, Full: make([]bool, j.Steps)}); err != nil {
			t.Fatal(err)
		}
		if n := len(r.Export().Lineage.Epochs); n != 5*(1-i) {
			t.Errorf("%d epochs are remembered", n)
		}
	}
	if got[0] != got[1] {
		t.Error("a brief replay comes to other bytes")
	}
}
