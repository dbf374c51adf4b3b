package graft

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/trainer"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

type catalogue map[string]int

func (c catalogue) Kernel(id string, width int) (*trainer.Kernel, error) {
	h, ok := c[id]
	if !ok {
		return nil, errors.New("no such kernel")
	}
	return trainer.NewKernel(id, width, h)
}

func newBed(r Rules) *Bed {
	return New([]trainer.Graft{{Layer: 2, Width: 3}, {Layer: 1, Width: 4}}, 2, catalogue{"k4": 4, "k2": 2}, r)
}

const (
	germinate = adaptationv2.SeedOperation_GERMINATE
	start     = adaptationv2.SeedOperation_START_TRAINING
	graftOp   = adaptationv2.SeedOperation_GRAFT
	stabilize = adaptationv2.SeedOperation_STABILIZE
	evaluate  = adaptationv2.SeedOperation_EVALUATE
	fineTune  = adaptationv2.SeedOperation_FINE_TUNE
	fossilize = adaptationv2.SeedOperation_FOSSILIZE
	cull      = adaptationv2.SeedOperation_CULL
	cancel    = adaptationv2.SeedOperation_CANCEL
	promote   = adaptationv2.SeedOperation_PROMOTE
)

// Every stage and operation: what may follow is table 0.10, and nothing else
// changes anything.
func TestEveryEdge(t *testing.T) {
	leads := map[adaptationv2.SeedOperation]Stage{start: Training, graftOp: Grafting, stabilize: Stabilization,
		evaluate: Evaluating, fineTune: FineTuning, fossilize: Fossilized, cull: Culled, cancel: Cancelled}
	table := map[Stage]string{
		Dormant: "GERMINATED", Germinated: "TRAINING GRAFTING CULLED CANCELLED", Training: "GRAFTING CULLED CANCELLED",
		Grafting: "STABILIZATION ROLLED_BACK CULLED", Stabilization: "EVALUATING ROLLED_BACK CULLED",
		Evaluating: "FINE_TUNING FOSSILIZED CULLED ROLLED_BACK", FineTuning: "FOSSILIZED CULLED ROLLED_BACK",
		Culled: "DORMANT", Cancelled: "DORMANT",
	}
	for from := Dormant; from <= RolledBack; from++ {
		for op, to := range leads {
			b := newBed(Rules{})
			s := b.Slot(Ref{1, 1})
			s.Stage, s.Ready = from, true
			if from != Dormant && from != Culled && from != Cancelled && from != RolledBack {
				s.Kernel, _ = trainer.NewKernel("k4", 4, 4)
			}
			_, err := b.Apply(Command{ID: "c", Ref: s.Ref, Op: op})
			want := strings.Contains(" "+table[from]+" ", " "+to.String()+" ")
			switch {
			case want && (err != nil || s.Stage != to):
				t.Errorf("%v from %v: %v, %v", op, from, s.Stage, err)
			case !want && (err == nil || s.Stage != from):
				t.Errorf("%v from %v is allowed and leads to %v", op, from, s.Stage)
			}
		}
	}
}

func apply(t testing.TB, b *Bed, op adaptationv2.SeedOperation, r Ref, kernel string) []Change {
	t.Helper()
	c, err := b.Apply(Command{ID: "c", Ref: r, Op: op, KernelID: kernel})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A seed's whole life, with the gates on its way.
func TestLifeOfASeed(t *testing.T) {
	b := newBed(Rules{TrainingGate: 0.05, StabilizeEpochs: 2, EvaluatePatience: 3, EvaluateGate: 0.1, FineTunePatience: 2})
	r := Ref{1, 1}
	s := b.Slot(r)
	x := []float32{0.5, 0.25, 0, 1}
	step := func() {
		act := append([]float32(nil), x...)
		if err := b.Forward(1, act, true, false); err != nil {
			t.Fatal(err)
		}
		if !Blended(s.Stage) && !equal(act, x) {
			t.Errorf("a kernel in %v changes the host", s.Stage)
		}
		if err := b.Backward(1, []float32{0.1, -0.1, 0.2, 0}); err != nil {
			t.Fatal(err)
		}
		b.Settle(true, 0.01)
	}
	notReady := func(op adaptationv2.SeedOperation) {
		t.Helper()
		if _, err := b.Apply(Command{ID: "c", Ref: r, Op: op}); err == nil {
			t.Errorf("%v before its gate", op)
		}
	}
	apply(t, b, germinate, r, "k4")
	notReady(start)
	b.Cross(1, 1)
	apply(t, b, start, r, "")
	notReady(graftOp)
	for range 8 {
		step()
	}
	b.Cross(2, 1)
	apply(t, b, graftOp, r, "")
	for i := range 30 {
		before := s.Alpha
		b.Cross(int64(3+i), 1)
		if i < 29 {
			notReady(stabilize)
		}
		step()
		if s.Alpha < before || s.Alpha > 1000 {
			t.Errorf("alpha goes from %d to %d", before, s.Alpha)
		}
	}
	if s.Alpha != 1000 {
		t.Errorf("alpha is %d after 30 steps", s.Alpha)
	}
	b.Cross(40, 1)
	apply(t, b, promote, r, "")
	frozen := trainer.Digest(s.Kernel.Params)
	for e := range int64(2) {
		notReady(evaluate)
		step()
		b.Cross(41+e, 1)
	}
	apply(t, b, evaluate, r, "")
	step()
	if trainer.Digest(s.Kernel.Params) != frozen {
		t.Error("a kernel was trained in STABILIZATION or EVALUATING")
	}
	b.Cross(43, 0.95)
	notReady(fineTune)
	b.Cross(44, 0.89)
	apply(t, b, fineTune, r, "")
	step()
	if trainer.Digest(s.Kernel.Params) == frozen {
		t.Error("a kernel was not trained in FINE_TUNING")
	}
	for e := range int64(3) {
		b.Cross(45+e, 0.9)
	}
	apply(t, b, fossilize, r, "")
	frozen = trainer.Digest(s.Kernel.Params)
	step()
	if trainer.Digest(s.Kernel.Params) != frozen {
		t.Error("a fossil has changed")
	}
	notReady(cull)
	if _, ok := b.Quarantine(r, "x"); ok {
		t.Error("a fossil is culled")
	}
}

func equal(a, b []float32) bool { return trainer.Digest(a) == trainer.Digest(b) }

// A patience that is over, an embargo, a kernel that is not there, and a lock
// that nothing opens.
func TestWhatEndsASeed(t *testing.T) {
	b := newBed(Rules{EmbargoEpochs: 5, MaxKernelInFlight: 2})
	r := Ref{1, 1}
	if c := apply(t, b, germinate, r, "nope"); len(c) != 2 || c[1].To != Culled {
		t.Errorf("a kernel that is not there: %v", c)
	}
	b.Cross(4, 1)
	if _, err := b.Apply(Command{ID: "c", Ref: r, Op: germinate, KernelID: "k4"}); err == nil || !strings.Contains(err.Error(), "embargo until epoch 5") {
		t.Errorf("under embargo: %v", err)
	}
	b.Cross(5, 1)
	if c := apply(t, b, germinate, r, "k4"); len(c) != 2 || c[0].To != Dormant || c[1].To != Germinated {
		t.Errorf("after the embargo: %v", c)
	}
	apply(t, b, germinate, Ref{2, 1}, "k2")
	if _, err := b.Apply(Command{ID: "c", Ref: Ref{2, 2}, Op: germinate, KernelID: "k2"}); err == nil {
		t.Error("three kernels at once where two are allowed")
	}
	if _, err := b.Apply(Command{ID: "c", Ref: r, Op: cancel, WantStage: Training}); err == nil {
		t.Error("a command that expects another stage")
	}
	apply(t, b, cancel, r, "")
	if _, ok := b.Lock(r, "rollback"); !ok || b.Slot(r).Stage != RolledBack {
		t.Error("not locked")
	}
	for op := germinate; op <= cancel; op++ {
		if _, err := b.Apply(Command{ID: "c", Ref: r, Op: op, KernelID: "k4"}); err == nil {
			t.Errorf("%v opens a lock", op)
		}
	}
}

// Whatever was done to a bed: what is restored from its state is the same
// bytes, and goes on to the same bytes; and the identity holds where it must.
func TestSaveAndRestore(t *testing.T) {
	rules := Rules{TrainingGate: 0.05, StabilizeEpochs: 1, EvaluatePatience: 2, EvaluateGate: 0.1, FineTunePatience: 1, EmbargoEpochs: 2}
	save := func(b *Bed) []byte {
		var m statev2.KasminaState
		b.Save(&m)
		return m.AppendCanonical(nil)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := newBed(rules)
		twin := newBed(rules)
		do := func(b *Bed, kind int, epoch int64, op adaptationv2.SeedOperation, r Ref, kernel string, x float32, full bool) {
			switch {
			case kind == 0:
				_, _ = b.Apply(Command{ID: "c", Ref: r, Op: op, KernelID: kernel})
			case kind == 1:
				b.Cross(epoch, float64(x))
			default:
				for layer, width := range map[int32]int{1: 4, 2: 3} {
					act := make([]float32, width)
					for i := range act {
						act[i] = x * float32(i+1)
					}
					in := append([]float32(nil), act...)
					if err := b.Forward(layer, act, true, false); err != nil {
						t.Fatal(err)
					}
					blended := false
					for _, s := range b.Slots() {
						blended = blended || s.Ref.Layer == layer && Blended(s.Stage)
						if s.Alpha > 1000 || !Blended(s.Stage) && s.Alpha != 0 {
							t.Fatalf("%v in %v has alpha %d", s.Ref, s.Stage, s.Alpha)
						}
					}
					if !blended && !equal(act, in) {
						t.Fatal("the host is changed without a blended kernel")
					}
					if err := b.Backward(layer, in); err != nil {
						t.Fatal(err)
					}
				}
				b.Settle(full, 0.01)
			}
		}
		epoch := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			kind := rapid.IntRange(0, 4).Draw(t, "kind")
			op := rapid.SampledFrom([]adaptationv2.SeedOperation{germinate, promote, promote, promote, graftOp, fossilize, cull, cancel}).Draw(t, "op")
			r := Ref{int32(rapid.IntRange(1, 2).Draw(t, "layer")), int32(rapid.IntRange(1, 2).Draw(t, "seed"))}
			kernel := rapid.SampledFrom([]string{"k4", "k2", "nope"}).Draw(t, "kernel")
			x := rapid.Float32Range(-1, 1).Draw(t, "x")
			full := rapid.Bool().Draw(t, "full")
			if kind == 1 {
				epoch++
			}
			var m statev2.KasminaState
			if err := m.ParseCanonical(save(b)); err != nil {
				t.Fatal(err)
			}
			if err := twin.Restore(&m); err != nil {
				t.Fatal(err)
			}
			do(b, kind, epoch, op, r, kernel, x, full)
			do(twin, kind, epoch, op, r, kernel, x, full)
			if !bytes.Equal(save(b), save(twin)) {
				t.Fatalf("after %d %v %v the restored bed has another state", kind, op, r)
			}
		}
	})
}
