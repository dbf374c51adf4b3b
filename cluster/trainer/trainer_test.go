package trainer

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func rings(t testing.TB, seed uint64) *Model {
	g, err := ParseGraph([]byte(RingsGraph))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewModel(g, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// train runs epochs of plain training and returns the held-out accuracy.
func train(t testing.TB, m *Model, seed uint64, epochs int, layer func(l int, act []float32) []float32) float64 {
	data, held := Rings(512, seed), Rings(512, seed+1000)
	const batch = 8
	p := m.NewPass(512)
	var order []int32
	var x []float32
	var labels []uint8
	run := func(x []float32, labels []uint8) {
		p.Start(x, labels)
		for l, act := p.Forward(); l >= 0; l, act = p.Forward() {
			if layer != nil {
				if err := p.Put(layer(l, act)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for e := range epochs {
		order = Order(order, seed, int64(e), 0, data.Len())
		for i := 0; i+batch <= len(order); i += batch {
			x, labels = data.Gather(order[i:i+batch], x, labels)
			run(x, labels)
			p.Backward()
			p.Step(0.02)
		}
	}
	run(held.X, held.Labels)
	_, right := p.Loss()
	return float64(right) / float64(held.Len())
}

// The network learns what no linear model can.
func TestLearnsWhatNoLinearModelCan(t *testing.T) {
	for seed := range uint64(5) {
		if acc := train(t, rings(t, seed), seed, 20, nil); acc < 0.95 {
			t.Errorf("seed %d: held-out accuracy %.3f, want 0.95", seed, acc)
		}
		if best := bestLinear(Rings(512, seed+1000)); best >= 0.70 {
			t.Errorf("seed %d: a linear model reaches %.3f", seed, best)
		}
	}
}

// bestLinear tries half-planes of 360 directions at every threshold, which is
// every linear model up to one degree.
func bestLinear(d *Data) float64 {
	best := 0
	for deg := range 360 {
		a := float64(deg) * math.Pi / 180
		proj := make([]float64, d.Len())
		for i := range proj {
			proj[i] = float64(d.X[2*i])*math.Cos(a) + float64(d.X[2*i+1])*math.Sin(a)
		}
		for _, t := range proj {
			right := 0
			for i, v := range proj {
				if (v > t) == (d.Labels[i] == 1) {
					right++
				}
			}
			best = max(best, right)
		}
	}
	return float64(best) / float64(d.Len())
}

// The gradients are those of the loss: compared with finite differences.
func TestGradientsMatchFiniteDifferences(t *testing.T) {
	text := `
name: branches
input: 2
layers:
  - {name: a, op: dense, units: 5}
  - {name: ra, op: relu}
  - {name: b, op: dense, units: 5, from: [ra]}
  - {name: sum, op: add, from: [ra, b]}
  - {name: out, op: dense, units: 3}
`
	g, err := ParseGraph([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := NewModel(g, 3)
	x := []float32{0.3, -0.2, 0.9, 0.4, -0.5, 0.7}
	labels := []uint8{0, 2, 1}
	p := m.NewPass(3)
	loss := func() float64 {
		p.Start(x, labels)
		p.Forward()
		l, _ := p.Loss()
		return float64(l)
	}
	loss()
	p.Backward()
	for i := range m.Params {
		const h = 1e-2
		old := m.Params[i]
		m.Params[i] = old + h
		up := loss()
		m.Params[i] = old - h
		dn := loss()
		m.Params[i] = old
		want := (up - dn) / (2 * h)
		if got := float64(p.grads[i]); math.Abs(got-want) > 5e-3+0.05*math.Abs(want) {
			t.Errorf("parameter %d: gradient %g, finite difference %g", i, got, want)
		}
	}
}

func TestKernelGradientsMatchFiniteDifferences(t *testing.T) {
	k, err := NewKernel("k", 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	x := []float32{0.3, 0.2, 0.9, 0.4, 0.5, 0.7}
	target := []float32{1, 0, 0.5, 0.2, 0.1, 0.9}
	y := make([]float32, len(x))
	loss := func() (sum float64) {
		k.Forward(y, x, 0.7, true)
		for i := range y {
			d := float64(y[i] - target[i])
			sum += d * d / 2
		}
		return sum
	}
	loss()
	dy := make([]float32, len(x))
	for i := range dy {
		dy[i] = y[i] - target[i]
	}
	if err := k.Backward(dy); err != nil {
		t.Fatal(err)
	}
	grads := append([]float32(nil), k.grads...)
	for i := range k.Params {
		const h = 1e-2
		old := k.Params[i]
		k.Params[i] = old + h
		up := loss()
		k.Params[i] = old - h
		dn := loss()
		k.Params[i] = old
		want := (up - dn) / (2 * h)
		if got := float64(grads[i]); math.Abs(got-want) > 5e-3+0.05*math.Abs(want) {
			t.Errorf("parameter %d: gradient %g, finite difference %g", i, got, want)
		}
	}
}

// A kernel at alpha 0 is the identity bit for bit, whatever its parameters,
// and above 0 it changes the function.
func TestKernelBlend(t *testing.T) {
	k, _ := NewKernel("k", 4, 4)
	k.Params[0] = float32(math.Inf(1))
	x := []float32{float32(math.Copysign(0, -1)), 1, 2, 3}
	y := make([]float32, 4)
	k.Forward(y, x, 0, false)
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
			t.Errorf("alpha 0: %v becomes %v", x[i], y[i])
		}
	}
	k, _ = NewKernel("k", 4, 4)
	k.Forward(y, x, 0.5, false)
	same := 0
	for i := range x {
		if x[i] == y[i] {
			same++
		}
	}
	if same == len(x) {
		t.Error("alpha 0.5 changes nothing")
	}
}

// Reconstruction brings a kernel's own output to its input.
func TestReconstructionLearns(t *testing.T) {
	k, _ := NewKernel("k", 6, 12)
	data := make([]float32, 6*64)
	for i := range data {
		data[i] = max(0, uniform(keyed(9, uint64(i), 9)))
	}
	y := make([]float32, len(data))
	var first, last float32
	for i := range 300 {
		k.Forward(y, data, 0, true)
		l, err := k.Reconstruct()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = l
		}
		last = l
		k.Step(0.05)
	}
	if last > first/5 {
		t.Errorf("reconstruction loss went from %g to %g only", first, last)
	}
}

func TestExpLogAccuracy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float32Range(-30, 30).Draw(t, "x")
		want := math.Exp(float64(x))
		if got := float64(exp32(x)); math.Abs(got-want) > 1e-6*want {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
		y := rapid.Float32Range(1e-6, 1e6).Draw(t, "y")
		if got, want := float64(log32(y)), math.Log(float64(y)); math.Abs(got-want) > 2e-6*(1+math.Abs(want)) {
			t.Fatalf("log(%v) = %v, want %v", y, got, want)
		}
	})
}

// Orders are permutations, and differ by epoch and by generation.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 300).Draw(t, "n")
		epoch := rapid.Int64Range(0, 1000).Draw(t, "epoch")
		o := Order(nil, rapid.Uint64().Draw(t, "seed"), epoch, 1, n)
		seen := make([]bool, n)
		for _, i := range o {
			if seen[i] {
				t.Fatalf("%d stands twice", i)
			}
			seen[i] = true
		}
	})
	same := func(a, b []int32) bool {
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	base := Order(nil, 1, 5, 0, 64)
	if !same(base, Order(nil, 1, 5, 0, 64)) || same(base, Order(nil, 1, 6, 0, 64)) || same(base, Order(nil, 1, 5, 1, 64)) {
		t.Error("the order is not a function of seed, epoch and generation alone")
	}
}

func TestGraphErrorsNameTheLine(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"no layers":   {"name: x\ninput: 2\n", "no layers"},
		"unknown key": {"name: x\ninput: 2\nlayer: []\n", "field layer not found"},
		"bad op":      {"name: x\ninput: 2\nlayers:\n  - {name: a, op: dens, units: 3}\n", `line 4, column 5: a has the unknown operation "dens"; want dense, relu, add or graft`},
		"later input": {"name: x\ninput: 2\nlayers:\n  - {name: a, op: relu, from: [b]}\n  - {name: b, op: dense, units: 2}\n", "does not come before"},
		"same name":   {"name: x\ninput: 2\nlayers:\n  - {name: a, op: relu}\n  - {name: a, op: dense, units: 2}\n", "line 5"},
		"add widths":  {"name: x\ninput: 2\nlayers:\n  - {name: a, op: dense, units: 3}\n  - {name: b, op: add, from: [a, input]}\n", "width 3"},
		"too wide":    {"name: x\ninput: 2\nlayers:\n  - {name: a, op: dense, units: 1000000000}\n", "1 to 4096"},
		"one logit":   {"name: x\ninput: 2\nlayers:\n  - {name: a, op: dense, units: 1}\n", "one logit a class"},
		"no yaml":     {"\x00", "control characters"},
	} {
		_, err := ParseGraph([]byte(tc.text))
		var ge *GraphError
		if !errors.As(err, &ge) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// Grafts that pass everything through leave the network as it was, bit for
// bit, and a graph survives its text form.
func TestInjectedIdentityChangesNothing(t *testing.T) {
	plain := rings(t, 4)
	g, err := InjectGrafts(plain.Graph())
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseGraph([]byte(g.String()))
	if err != nil {
		t.Fatal(err)
	}
	grafted, err := NewModel(again, 4)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(grafted.Grafts()); n != 2 {
		t.Fatalf("%d grafts, want 2", n)
	}
	a := train(t, plain, 4, 3, nil)
	b := train(t, grafted, 4, 3, func(_ int, act []float32) []float32 { return act })
	if a != b || Digest(plain.Params) != Digest(grafted.Params) {
		t.Errorf("accuracy %v and %v, digests %x and %x", a, b, Digest(plain.Params), Digest(grafted.Params))
	}
	if _, err := InjectGrafts(plain.Graph(), "nowhere"); err == nil {
		t.Error("a graft behind a layer that is not there")
	}
	if _, err := InjectGrafts(plain.Graph(), "logits"); err == nil {
		t.Error("a graft that nothing reads")
	}
}

func FuzzParseGraph(f *testing.F) {
	f.Add([]byte(RingsGraph))
	f.Add([]byte("layers: [{op: graft}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := ParseGraph(b)
		if err != nil {
			return
		}
		if _, err := ParseGraph([]byte(g.String())); err != nil {
			t.Fatalf("its own text is refused: %v\n%s", err, g)
		}
	})
}

func BenchmarkStep(b *testing.B) {
	m := rings(b, 1)
	data := Rings(8, 1)
	p := m.NewPass(8)
	b.ReportAllocs()
	for b.Loop() {
		p.Start(data.X, data.Labels)
		for l, _ := p.Forward(); l >= 0; l, _ = p.Forward() {
		}
		p.Backward()
		p.Step(0.01)
	}
}
