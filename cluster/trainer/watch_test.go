package trainer

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/esper-sim/espersim/gpu/abft"
)

// layer is a dense layer with everything that a step makes of it.
type denseLayer struct {
	ni, no, batch                      int
	in, w, b, out, d, gw, gb, din, mom []float32
}

func newDenseLayer(ni, no, batch int) *denseLayer {
	l := &denseLayer{ni: ni, no: no, batch: batch}
	fill := func(n int, scale float32, stream uint64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(scale * uniform(keyed(77, uint64(i), stream)))
		}
		return v
	}
	l.in, l.w, l.b = fill(ni*batch, 2, 1), fill(ni*no, 0.2, 2), fill(no, 0.1, 3)
	l.d, l.mom = fill(no*batch, 0.01, 4), fill(ni*no, 0.01, 5)
	l.out, l.gw, l.gb, l.din = make([]float32, no*batch), make([]float32, ni*no), make([]float32, no), make([]float32, ni*batch)
	dense(l.out, l.in, l.w, l.b, ni, no, batch)
	denseBack(l.din, l.gw, l.gb, l.d, l.in, l.w, ni, no, batch)
	return l
}

// noise is how far rounding may move the sum of a row of results, each of n terms of
// which scale is the sum of the absolute values.
func noise(n int, scale float64) float64 {
	nu := float64(n) / (1 << 24)
	return nu / (1 - nu) * scale
}

func absDot(n int, a, b func(i int) float32) (sum float64) {
	for i := range n {
		sum += math.Abs(float64(a(i)) * float64(b(i)))
	}
	return sum
}

// Of the bits that flip in a result of a product while it is computed, at least 99 %
// of those above the noise are found: those that move the result by more than rounding
// may move the sum of its row. Of those that flip in what is held in memory, whatever
// it is, all are.
func TestFlipsAreFound(t *testing.T) {
	const width, batch, places = 128, 32, 96
	l := newDenseLayer(width, width, batch)
	for _, tc := range []struct {
		what  string
		of    []float32
		check func(c *abft.Check) // nil: at rest
		noise func(i int) float64
	}{
		{"weights, in memory", l.w, nil, nil},
		{"momentum, in memory", l.mom, nil, nil},
		{"activations, in memory", l.out, nil, nil},
		{"gradients, in memory", l.gw, nil, nil},
		{"activations, computed", l.out, func(c *abft.Check) { c.Dense(l.out, l.in, l.w, l.b, l.ni, l.no, l.batch) }, func(i int) float64 {
			s, scale := i/l.no, 0.0
			for o := range l.no {
				scale += math.Abs(float64(l.b[o])) + absDot(l.ni, func(k int) float32 { return l.in[s*l.ni+k] }, func(k int) float32 { return l.w[o*l.ni+k] })
			}
			return noise(l.ni+1, scale)
		}},
		{"gradients of weights, computed", l.gw, func(c *abft.Check) { c.Gradients(l.gw, l.gb, l.d, l.in, l.ni, l.no, l.batch) }, func(i int) float64 {
			k, scale := i%l.ni, 0.0
			for o := range l.no {
				scale += absDot(l.batch, func(s int) float32 { return l.d[s*l.no+o] }, func(s int) float32 { return l.in[s*l.ni+k] })
			}
			return noise(l.batch, scale)
		}},
		{"gradients of activations, computed", l.din, func(c *abft.Check) {
			c.Before(nil, l.ni, l.batch)
			c.Inputs(l.din, l.d, l.w, l.ni, l.no, l.batch)
		}, func(i int) float64 {
			s, scale := i/l.ni, 0.0
			for k := range l.ni {
				scale += absDot(l.no, func(o int) float32 { return l.d[s*l.no+o] }, func(o int) float32 { return l.w[o*l.ni+k] })
			}
			return noise(l.no+1, scale)
		}},
	} {
		var flips, above, found, foundAbove int
		sum := abft.Sum(tc.of)
		for place := range places {
			i := int(keyed(78, uint64(place), 6) % uint64(len(tc.of)))
			limit := 0.0
			if tc.noise != nil {
				limit = tc.noise(i)
			}
			for bit := range 32 {
				was := tc.of[i]
				tc.of[i] = math.Float32frombits(math.Float32bits(was) ^ 1<<bit)
				flips++
				var caught bool
				if tc.check != nil {
					var c abft.Check
					tc.check(&c)
					caught = c.Wrong > 0
				} else {
					caught = abft.Sum(tc.of) != sum
				}
				matters := !(math.Abs(float64(tc.of[i])-float64(was)) <= limit)
				tc.of[i] = was
				if caught {
					found++
				}
				if matters {
					above++
					if caught {
						foundAbove++
					}
				}
			}
		}
		t.Logf("%-36s %d flips, %5.1f %% found; %d above the noise, %6.2f %% found", tc.what, flips, 100*float64(found)/float64(flips), above, 100*float64(foundAbove)/float64(above))
		if foundAbove*100 < above*99 || tc.check == nil && found != flips {
			t.Errorf("%s: %d of %d flips above the noise are found, %d of %d in all", tc.what, foundAbove, above, found, flips)
		}
	}
}

// What a kernel computes is the same whether its products are checked or not, and
// nothing right is called wrong; nor in one that was put back to what it was.
func TestWatchedKernelsComputeTheSame(t *testing.T) {
	run := func(c *abft.Check) ([]float32, *Kernel) {
		k, err := NewKernel("k", 24, 40)
		if err != nil {
			t.Fatal(err)
		}
		k.Watch(c)
		l := newDenseLayer(24, 24, 8)
		y := make([]float32, len(l.in))
		for range 20 {
			k.Forward(y, l.in, 0.5, true)
			var before Copy
			if before.Of(k); c != nil {
				if err := k.Backward(l.d); err != nil {
					t.Fatal(err)
				}
				before.Return()
			}
			if err := k.Backward(l.d); err != nil {
				t.Fatal(err)
			}
			k.Step(0.05)
		}
		return y, k
	}
	var c abft.Check
	bare, a := run(nil)
	watched, b := run(&c)
	if Digest(bare, a.Params, a.Momentum) != Digest(watched, b.Params, b.Momentum) {
		t.Error("they differ")
	}
	if c.Wrong != 0 || c.Unjudged != 0 || c.Judged == 0 {
		t.Errorf("%+v", c)
	}
}

// BenchmarkWatched is what it costs that nothing wrong is used of a kernel's step:
// forwards, backwards and the update, bare and with everything that Kasmina compares.
func BenchmarkWatched(b *testing.B) {
	for _, width := range []int{16, 32, 64, 128, 256, 512} {
		for _, batch := range []int{8, 32, 64} {
			b.Run(fmt.Sprintf("width=%d/batch=%d", width, batch), func(b *testing.B) { benchWatched(b, width, batch) })
		}
	}
}

func benchWatched(b *testing.B, width, batch int) {
	l := newDenseLayer(width, width, batch)
	make2 := func(c *abft.Check) *Kernel {
		k, err := NewKernel("k", width, width)
		if err != nil {
			b.Fatal(err)
		}
		k.Watch(c)
		return k
	}
	var c abft.Check
	bare, watched := make2(nil), make2(&c)
	y := make([]float32, len(l.in))
	var copied Copy
	var list [][]float32
	left := func(k *Kernel, out []float32) uint64 {
		var s abft.Summing
		s.Add(out)
		list = k.Resident(list[:0])
		for _, t := range list {
			s.Add(t)
		}
		return s.Sum()
	}
	guarded := func(k *Kernel, out []float32, launch func()) {
		copied.Of(k)
		launch()
		sum := left(k, out)
		if c.Wrong != 0 || !k.Intact() || left(k, out) != sum {
			b.Fatal("a false alarm")
		}
	}
	// The least of each: what else the machine does counts for neither.
	plain, checked := time.Hour, time.Hour
	for b.Loop() {
		t0 := b.Elapsed()
		bare.Forward(y, l.in, 0.5, true)
		_ = bare.Backward(l.d)
		bare.Step(0.001)
		t1 := b.Elapsed()
		guarded(watched, y, func() { watched.Forward(y, l.in, 0.5, true) })
		guarded(watched, nil, func() { _ = watched.Backward(l.d) })
		watched.Step(0.001)
		plain, checked = min(plain, t1-t0), min(checked, b.Elapsed()-t1)
	}
	b.ReportMetric(100*(float64(checked)/float64(plain)-1), "%more")
	b.ReportMetric(float64(plain.Nanoseconds()), "bare-ns/step")
}
