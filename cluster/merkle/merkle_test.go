package merkle_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/merkle/hld"
)

func comp(kv ...string) (c []merkle.Component) {
	for i := 0; i < len(kv); i += 2 {
		c = append(c, merkle.Component{Name: kv[i], Data: []byte(kv[i+1])})
	}
	return c
}

func ctx(kv ...string) (c merkle.Context) {
	for i := 0; i < len(kv); i += 2 {
		c = append(c, merkle.Entry{Name: kv[i], Value: merkle.Text(kv[i+1])})
	}
	return c
}

type input struct {
	components []merkle.Component
	context    merkle.Context
}

func (in input) hldRoot(t *testing.T) []byte {
	t.Helper()
	var c hld.Checkpoint
	for _, p := range in.components {
		c.AddComponent(p.Name, p.Data)
	}
	var pairs []hld.Pair
	for _, e := range in.context {
		pairs = append(pairs, hld.Pair{Key: e.Name, Value: e.Value.String()})
	}
	root, err := c.ComputeRoot(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// innerNode finds a component whose leaf in the HLD's tree is an inner node:
// 64 bytes of two leaf hashes with a colon somewhere (part II.1 #17).
func innerNode(t *testing.T) (a, b input) {
	for i := range 10000 {
		x, y := comp("a", fmt.Sprint(i))[0], comp("b", fmt.Sprint(i))[0]
		lx, ly := sha256.Sum256([]byte("a:"+string(x.Data))), sha256.Sum256([]byte("b:"+string(y.Data)))
		node := append(slices.Clone(lx[:]), ly[:]...)
		colon := bytes.IndexByte(node, ':')
		if colon < 0 {
			continue
		}
		// The context is a leaf too: {x, y, c} is H(H(x,y), H(c,c)), so the
		// forged tree {node, z} needs z to be H(c,c) as a leaf. Here the
		// other half is found the same way, from a context.
		for j := range 10000 {
			c := fmt.Sprint(j)
			h := sha256.Sum256([]byte("k=" + c))
			pair := append(slices.Clone(h[:]), h[:]...)
			eq := bytes.IndexByte(pair, '=')
			if eq < 0 || bytes.IndexByte(pair, '|') >= 0 {
				continue
			}
			return input{components: []merkle.Component{x, y}, context: ctx("k", c)},
				input{components: []merkle.Component{{Name: string(node[:colon]), Data: node[colon+1:]}},
					context: ctx(string(pair[:eq]), string(pair[eq+1:]))}
		}
	}
	t.Fatal("no inner node with a colon found")
	return
}

// The collisions of part II.1: the HLD's tree gives both inputs one root, ours
// two.
func TestCollisions(t *testing.T) {
	n1, n2 := innerNode(t)
	for _, c := range []struct {
		name string
		a, b input
	}{
		{"15 colon moves between name and data",
			input{components: comp("a", "b:c")}, input{components: comp("a:b", "c")}},
		{"16 odd node doubled",
			input{components: comp("A", "1", "B", "2"), context: ctx("device", "cuda:0")},
			input{components: comp("A", "1", "B", "2", "device=cuda", "0"), context: ctx("device", "cuda:0")}},
		{"17 inner node as a component", n1, n2},
		{"18 separator within a value",
			input{components: comp("a", "1"), context: ctx("x", "1|y=2")},
			input{components: comp("a", "1"), context: ctx("x", "1", "y", "2")}},
		{"18 types dropped",
			input{components: comp("a", "1"), context: merkle.Context{{Name: "x", Value: merkle.Int(1)}}},
			input{components: comp("a", "1"), context: ctx("x", "1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !bytes.Equal(c.a.hldRoot(t), c.b.hldRoot(t)) {
				t.Error("the HLD's roots differ: the port is not faithful")
			}
			a, err1 := merkle.Root(c.a.components, c.a.context)
			b, err2 := merkle.Root(c.b.components, c.b.context)
			if err1 != nil || err2 != nil || a == b {
				t.Errorf("ours: %x and %x, %v, %v", a, b, err1, err2)
			}
		})
	}
}

func TestOrderAndDuplicates(t *testing.T) { // 19
	if bytes.Equal(input{components: comp("A", "1", "B", "2")}.hldRoot(t), input{components: comp("B", "2", "A", "1")}.hldRoot(t)) {
		t.Error("the HLD's root does not depend on order: the port is not faithful")
	}
	input{components: comp("A", "1", "A", "2")}.hldRoot(t) // accepted
	a, _ := merkle.Root(comp("A", "1", "B", "2"), ctx("x", "1", "y", "2"))
	b, _ := merkle.Root(comp("B", "2", "A", "1"), ctx("y", "2", "x", "1"))
	if a != b {
		t.Error("order counts")
	}
	if _, err := merkle.Root(comp("A", "1", "A", "1"), nil); !errors.Is(err, merkle.ErrDuplicate) {
		t.Errorf("duplicate component: %v", err)
	}
	if _, err := merkle.Root(comp("A", "1"), ctx("x", "1", "x", "1")); !errors.Is(err, merkle.ErrDuplicate) {
		t.Errorf("duplicate entry: %v", err)
	}
	if _, err := merkle.Root(nil, nil); !errors.Is(err, merkle.ErrNoComponents) {
		t.Errorf("empty: %v", err)
	}
	if _, err := merkle.Root(comp("A", "1"), merkle.Context{{Name: "x"}}); err == nil {
		t.Error("entry without a value accepted")
	}
}

func TestVerifyRecomputes(t *testing.T) { // 20
	var c hld.Checkpoint
	if !c.VerifyIntegrity(nil) {
		t.Error("the HLD's empty object does not verify against none: the port is not faithful")
	}
	c.AddComponent("a", nil)
	root, _ := c.ComputeRoot(nil)
	c.AddComponent("evil", nil)
	if !c.VerifyIntegrity(root) {
		t.Error("the HLD notices a component added later: the port is not faithful")
	}
	ours, _ := merkle.Root(comp("a", ""), nil)
	if err := merkle.Verify(ours[:], comp("a", ""), nil); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"added":   merkle.Verify(ours[:], comp("a", "", "evil", ""), nil),
		"context": merkle.Verify(ours[:], comp("a", ""), ctx("x", "")),
		"short":   merkle.Verify(ours[:31], comp("a", ""), nil),
		"none":    merkle.Verify(nil, comp("a", ""), nil),
	} {
		if !errors.Is(err, merkle.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSplitIsRFC6962(t *testing.T) {
	node := func(l, r [32]byte) [32]byte {
		return sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
	leaf := func(name string) [32]byte {
		return sha256.Sum256([]byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00" + name + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	}
	l := [5][32]byte{leaf("a"), leaf("b"), leaf("c"), leaf("d"), leaf("e")}
	top := node(node(node(l[0], l[1]), node(l[2], l[3])), l[4])
	context := sha256.Sum256([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x00"))
	want := sha256.Sum256(append(append([]byte("\x03\x05\x00\x00\x00\x00\x00\x00\x00"), top[:]...), context[:]...))
	got, err := merkle.Root(comp("a", "", "b", "", "c", "", "d", "", "e", ""), nil)
	if err != nil || got != want {
		t.Fatalf("got %x, want %x, %v", got, want, err)
	}
}

// piece draws short strings of few letters, so that joins that could collide
// do.
var piece = rapid.StringOfN(rapid.RuneFrom([]rune{'a', ':', '=', '|', 0, 1, 8}), 0, 4, -1)

func drawInput(t *rapid.T, label string) input {
	var in input
	for i, name := range rapid.SliceOfNDistinct(piece, 1, 4, rapid.ID[string]).Draw(t, label+" names") {
		in.components = append(in.components, merkle.Component{Name: name, Data: []byte(piece.Draw(t, fmt.Sprint(label, " data ", i)))})
	}
	for i, name := range rapid.SliceOfNDistinct(piece, 0, 3, rapid.ID[string]).Draw(t, label+" keys") {
		v := rapid.OneOf(
			rapid.Map(piece, merkle.Text),
			rapid.Map(piece, func(s string) merkle.Value { return merkle.Bytes([]byte(s)) }),
			rapid.Map(rapid.Int64Range(-1, 1), merkle.Int),
			rapid.Map(rapid.Bool(), merkle.Bool),
			rapid.Map(rapid.Float64Range(-1, 1), merkle.Float),
		).Draw(t, fmt.Sprint(label, " value ", i))
		in.context = append(in.context, merkle.Entry{Name: name, Value: v})
	}
	return in
}

// canonical says what an input means, without using the code under test.
func (in input) canonical() string {
	var s []string
	for _, c := range in.components {
		s = append(s, fmt.Sprintf("c%q%q", c.Name, c.Data))
	}
	for _, e := range in.context {
		s = append(s, fmt.Sprintf("x%q%#v", e.Name, e.Value))
	}
	slices.Sort(s)
	return fmt.Sprint(s)
}

// W6: equal preimages mean equal inputs, and the other way round.
func TestInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawInput(t, "a"), drawInput(t, "b")
		if rapid.Bool().Draw(t, "near") { // one change away from a
			b = input{components: slices.Clone(a.components), context: slices.Clone(a.context)}
			i := rapid.IntRange(0, len(b.components)-1).Draw(t, "i")
			b.components[i].Data = []byte(piece.Draw(t, "data"))
			slices.Reverse(b.components)
		}
		pa, err := merkle.Preimage(a.components, a.context)
		if err != nil {
			t.Fatal(err)
		}
		pb, err := merkle.Preimage(b.components, b.context)
		if err != nil {
			t.Fatal(err)
		}
		same := a.canonical() == b.canonical()
		if bytes.Equal(pa, pb) != same {
			t.Fatalf("preimages equal: %v, inputs equal: %v", !same, same)
		}
		ra, _ := merkle.Root(a.components, a.context)
		rb, _ := merkle.Root(b.components, b.context)
		if (ra == rb) != same {
			t.Fatalf("roots equal: %v, inputs equal: %v", !same, same)
		}
	})
}

func TestContextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t, "in")
		b, err := in.context.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		c, err := merkle.ParseContext(b)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := c.Marshal()
		if !bytes.Equal(b, again) {
			t.Fatalf("%x, then %x", b, again)
		}
	})
}

func FuzzParseContext(f *testing.F) {
	b, _ := ctx("run", "7", "device", "gpu").Marshal()
	f.Add(b)
	f.Add([]byte{2, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := merkle.ParseContext(b)
		if err != nil {
			return
		}
		again, err := c.Marshal()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x is read as %v, which is %x, %v", b, c, again, err)
		}
		for _, e := range c {
			_ = e.Value.String()
		}
	})
}

func BenchmarkRoot(b *testing.B) {
	c := comp("model", string(make([]byte, 1<<20)), "optimizer", string(make([]byte, 1<<20)), "rng", "1")
	b.SetBytes(2 << 20)
	b.ReportAllocs()
	for range b.N {
		if _, err := merkle.Root(c, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func Example() {
	parts := []merkle.Component{{Name: "model", Data: []byte("weights")}, {Name: "rng", Data: []byte("state")}}
	context := merkle.Context{{Name: "run", Value: merkle.Text("r1")}, {Name: "epoch", Value: merkle.Int(10)}}
	root, _ := merkle.Root(parts, context)
	fmt.Println(merkle.Verify(root[:], parts, context))
	parts[0].Data = []byte("weightz")
	fmt.Println(merkle.Verify(root[:], parts, context))
	// Output:
	// <nil>
	// merkle: root does not match the content
}
