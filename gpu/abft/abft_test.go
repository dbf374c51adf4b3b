package abft_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/gpu/abft"
)

// dense is the product that is checked, each sum from left to right.
func dense(out, in, w, b []float32, ni, no, batch int) {
	for s := range batch {
		for o := range no {
			sum := b[o]
			for k := range ni {
				sum += float32(in[s*ni+k] * w[o*ni+k])
			}
			out[s*no+o] = sum
		}
	}
}

func TestDense(t *testing.T) {
	for name, tc := range map[string]struct {
		out, in, w, b           []float32
		ok                      bool
		judged, wrong, unjudged uint64
	}{
		"right":            {[]float32{5, 11}, []float32{1, 2}, []float32{1, 2, 3, 4}, []float32{0, 0}, true, 1, 0, 0},
		"with a bias":      {[]float32{6, 12}, []float32{1, 2}, []float32{1, 2, 3, 4}, []float32{1, 1}, true, 1, 0, 0},
		"one is off":       {[]float32{5, 11.5}, []float32{1, 2}, []float32{1, 2, 3, 4}, []float32{0, 0}, false, 1, 1, 0},
		"no number":        {[]float32{5, float32(math.NaN())}, []float32{1, 2}, []float32{1, 2, 3, 4}, []float32{0, 0}, false, 1, 1, 0},
		"infinite":         {[]float32{5, float32(math.Inf(1))}, []float32{1, 2}, []float32{1, 2, 3, 4}, []float32{0, 0}, false, 1, 1, 0},
		"overflow":         {[]float32{float32(math.Inf(1)), 0}, []float32{2, 0}, []float32{3e38, 0, 0, 0}, []float32{0, 0}, true, 0, 0, 1},
		"no number before": {[]float32{float32(math.NaN()), 0}, []float32{float32(math.NaN()), 0}, []float32{1, 0, 0, 0}, []float32{0, 0}, true, 0, 0, 1},
		"all is 0":         {[]float32{0, 0}, []float32{0, 0}, []float32{1, 2, 3, 4}, []float32{0, 0}, true, 1, 0, 0},
		"0 and a flip":     {[]float32{0, math.Float32frombits(1 << 20)}, []float32{0, 0}, []float32{1, 2, 3, 4}, []float32{0, 0}, false, 1, 1, 0},
		"a sign":           {[]float32{-5, 11}, []float32{1, 2}, []float32{1, 2, 3, 4}, []float32{0, 0}, false, 1, 1, 0},
	} {
		var c abft.Check
		if ok := c.Dense(tc.out, tc.in, tc.w, tc.b, 2, 2, 1); ok != tc.ok || c.Judged != tc.judged || c.Wrong != tc.wrong || c.Unjudged != tc.unjudged {
			t.Errorf("%s: %v, %+v", name, ok, c)
		}
	}
}

func TestBackAndUpdate(t *testing.T) {
	// d is one row of two, in one of three.
	d, in, w := []float32{2, -1}, []float32{1, 2, 3}, []float32{1, 0, 2, 0, 1, 1}
	gw, gb := []float32{2, 4, 6, -1, -2, -3}, []float32{2, -1}
	din := []float32{10 + 2, 10 - 1, 10 + 3}
	p, m, g := []float32{1, 2}, []float32{4, 8}, []float32{1, -1}
	p2, m2 := []float32{1 - 0.5*3, 2 - 0.5*3}, []float32{3, 3}
	for name, spoil := range map[string]func(){
		"nothing":         func() {},
		"a gradient":      func() { gw[4] = 7 },
		"a bias gradient": func() { gb[0] = -2 },
		"an input's":      func() { din[1] = 9.25 },
		"a parameter":     func() { p2[0] = 1 },
		"a momentum":      func() { m2[1] = 2 },
	} {
		g1, g2, g3, g4, g5 := gw[4], gb[0], din[1], p2[0], m2[1]
		spoil()
		var c abft.Check
		c.Before([]float32{10, 10, 10}, 3, 1)
		ok := c.Inputs(din, d, w, 3, 2, 1)
		ok = c.Gradients(gw, gb, d, in, 3, 2, 1) && ok
		ok = c.Update(abft.Start(p, m, g), p2, m2, 0.5, 0.5) && ok
		if ok != (name == "nothing") || ok != (c.Wrong == 0) {
			t.Errorf("%s is spoiled: %v, %+v", name, ok, c)
		}
		gw[4], gb[0], din[1], p2[0], m2[1] = g1, g2, g3, g4, g5
	}
}

// number draws a float32 of some size: of any, ordinary, tiny, below the normal
// numbers, huge, zero.
func number(t *rapid.T, size int) float32 {
	v := rapid.Float32Range(-1, 1).Draw(t, "v")
	switch size {
	case 1:
		return v * 1e-30
	case 2:
		return math.Float32frombits(math.Float32bits(v) & 0x807fffff)
	case 3:
		return v * 1e12
	case 4:
		return v * 1e25
	case 5:
		return number(t, rapid.IntRange(0, 4).Draw(t, "size"))
	}
	return v
}

func numbers(t *rapid.T, n, size int) []float32 {
	list := make([]float32, n)
	for i := range list {
		list[i] = number(t, size)
	}
	return list
}

// A right product is never called wrong, of whatever sizes its factors are.
func TestNoFalseAlarm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ni, no, batch := rapid.IntRange(1, 9).Draw(t, "ni"), rapid.IntRange(1, 9).Draw(t, "no"), rapid.IntRange(1, 5).Draw(t, "batch")
		size := rapid.IntRange(0, 5).Draw(t, "sizes")
		in, w, b := numbers(t, ni*batch, size), numbers(t, ni*no, rapid.IntRange(0, 5).Draw(t, "weights")), numbers(t, no, size)
		out := make([]float32, no*batch)
		dense(out, in, w, b, ni, no, batch)
		var c abft.Check
		c.Dense(out, in, w, b, ni, no, batch)

		d := numbers(t, no*batch, size)
		gw, gb, din := make([]float32, ni*no), make([]float32, no), numbers(t, ni*batch, size)
		c.Before(din, ni, batch)
		for s := range batch {
			for o := range no {
				v := d[s*no+o]
				gb[o] += v
				for k := range ni {
					gw[o*ni+k] += float32(v * in[s*ni+k])
					din[s*ni+k] += float32(v * w[o*ni+k])
				}
			}
		}
		c.Inputs(din, d, w, ni, no, batch)
		c.Gradients(gw, gb, d, in, ni, no, batch)

		m := numbers(t, ni*no, size)
		u := abft.Start(w, m, gw)
		rate := rapid.Float32Range(0, 1).Draw(t, "rate")
		for i, g := range gw {
			v := float32(0.9*m[i]) + g
			m[i] = v
			w[i] -= float32(rate * v)
		}
		c.Update(u, w, m, 0.9, rate)
		if c.Wrong > 0 {
			t.Fatalf("%+v", c)
		}
	})
}

// Any change of one number changes the sum, wherever it is; a sum that is kept along
// with what is set is that of the numbers, and still shows a change from before.
func TestSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := numbers(t, rapid.IntRange(0, 9).Draw(t, "a"), 5), numbers(t, rapid.IntRange(1, 9).Draw(t, "b"), 5)
		sum := abft.Sum(a, b)
		if whole := abft.Sum(append(append([]float32(nil), a...), b...)); whole != sum {
			t.Fatalf("%x in two tensors, %x in one", sum, whole)
		}
		i, bit := rapid.IntRange(0, len(b)-1).Draw(t, "at"), rapid.IntRange(0, 31).Draw(t, "bit")
		b[i] = math.Float32frombits(math.Float32bits(b[i]) ^ 1<<bit)
		old := append([]float32(nil), b...)
		old[i] = math.Float32frombits(math.Float32bits(b[i]) ^ 1<<bit)
		if abft.Equal(b, old) || !abft.Equal(b, append([]float32(nil), b...)) || abft.Equal(b, b[1:]) {
			t.Fatalf("bit %d of number %d flips, and they are equal", bit, i)
		}
		if abft.Sum(a, b) == sum {
			t.Fatalf("bit %d of number %d flips, and the sum stays", bit, i)
		}
		wrong := b[i]
		for j := range b {
			v := number(t, 5)
			sum = abft.Moved(sum, len(a)+j, b[j], v)
			b[j] = v
		}
		if abft.Sum(a, b) == sum {
			t.Fatalf("%v stood there before the update, and the sum does not show it", wrong)
		}
	})
}
