package trainer

import "testing"

// grafted is the built-in network with a graft layer behind every relu.
func grafted(t *testing.T, seed uint64) *Model {
	t.Helper()
	g, err := ParseGraph([]byte(RingsGraph))
	if err != nil {
		t.Fatal(err)
	}
	if g, err = InjectGrafts(g); err != nil {
		t.Fatal(err)
	}
	m, err := NewModel(g, seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What is masked is zero at the layer's exit, whatever its kernels say, and so is
// the gradient; nothing before the layer learns of it.
func TestMask(t *testing.T) {
	m := grafted(t, 3)
	g := m.Grafts()[0]
	masked := []int32{1, 4}
	if err := m.Mask(g.Layer, masked); err != nil {
		t.Fatal(err)
	}
	d := Rings(8, 1)
	p := m.NewPass(8)
	p.Start(d.X, d.Labels)
	off := func(v []float32, what string) {
		for i, x := range v {
			if c := int32(i % g.Width); (c == 1 || c == 4) && x != 0 {
				t.Fatalf("%s of channel %d is %v", what, c, x)
			}
		}
	}
	for l, act := p.Forward(); l >= 0; l, act = p.Forward() {
		if l == g.Layer {
			off(act, "the input")
		}
		y := make([]float32, len(act))
		for i := range y {
			y[i] = act[i] + 1 // a kernel that would bring it back
		}
		if err := p.Put(y); err != nil {
			t.Fatal(err)
		}
		if l == g.Layer {
			off(act, "the output")
		}
	}
	p.Backward()
	off(p.Gradient(g.Layer), "the gradient")
	before := append([]float32(nil), m.Params...)
	p.Step(0.1)
	first := m.nodes[0] // the dense layer in front of it
	for _, c := range masked {
		for k := range first.in {
			i := first.weights + int(c)*first.in + k
			if m.Params[i] != before[i] {
				t.Errorf("weight %d of the masked unit %d has learned", k, c)
			}
		}
	}
	for _, bad := range []int32{-1, int32(g.Width)} {
		if m.Mask(g.Layer, []int32{bad}) == nil {
			t.Errorf("channel %d is masked", bad)
		}
	}
	if m.Mask(99, nil) == nil {
		t.Error("a layer that is not there is masked")
	}
}

// The ids of the channels do not depend on the process, and are of one layer each.
func TestChannels(t *testing.T) {
	a, b := grafted(t, 1).Channels(), grafted(t, 2).Channels()
	seen := map[string]bool{}
	for i := range a {
		if a[i] != b[i] || seen[a[i].ID] || a[i].Width == 0 {
			t.Errorf("%v and %v", a[i], b[i])
		}
		seen[a[i].ID] = true
	}
	if len(a) != len(grafted(t, 1).Grafts()) {
		t.Errorf("%d groups", len(a))
	}
}
