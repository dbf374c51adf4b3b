package mutants

import (
	"fmt"
	"go/format"
	"io"
	"strings"
	"testing"
)

// around is what the snippets are written in.
const around = `package snippet

import (
	"cmp"
	"slices"
)

type file struct{}

func (*file) Sync() error                    { return nil }
func (*file) Rename(from, to string) error   { return nil }
func (*file) WriteFull(b []byte) error       { return nil }

type node struct {
	f     *file
	seen  map[string]bool
	nonce nonces
	gen   uint32
	epoch int64
	root  []byte
	list  []string
	state record
}

type record struct {
	Epoch int64
	Gen   uint32
}

type nonces struct{}

func (nonces) add(string) {}

func (*node) Send(to, what string)   {}
func (*node) Record(what string)     {}
func (*node) SetTimer(after int64)   {}
func (*node) restore()               {}
func (*node) equal(a, b []byte) bool { return string(a) == string(b) }

var _ = cmp.Compare[int]
var _ = slices.Sort[[]int]

`

func snippet(text string) (*source, error) {
	return parse("snippet", map[string][]byte{"snippet.go": []byte(around + text)}, func(path string) (io.ReadCloser, error) {
		l, err := shared()
		if err != nil {
			return nil, err
		}
		return l.open(path)
	})
}

// Each operator, on a snippet: what it makes of its first place.
func TestOperators(t *testing.T) {
	for _, c := range []struct{ operator, before, after string }{
		{"drop-sync",
			"func (n *node) save() error { return n.f.Sync() }",
			"func (n *node) save() error { return error(nil) }"},
		{"retry-sync",
			"func (n *node) save() error { return n.f.Sync() }",
			"func (n *node) save() error { return func() error { if n.f.Sync() == nil { return nil }; return n.f.Sync() }() }"},
		{"ignore-error",
			"func (n *node) save() error {\nif err := n.f.Sync(); err != nil {\nreturn err\n}\nreturn nil\n}",
			"func (n *node) save() error {\nif err := n.f.Sync(); err != nil {}\nreturn nil\n}"},
		{"ack-first",
			"func (n *node) take() {\n_ = n.f.WriteFull(nil)\nn.epoch++\nn.Send(\"peer\", \"done\")\n}",
			"func (n *node) take() {\nn.Send(\"peer\", \"done\")\n_ = n.f.WriteFull(nil)\nn.epoch++\n\n}"},
		{"swap-statements",
			"func (n *node) take() {\nn.restore()\nn.Send(\"peer\", \"done\")\n}",
			"func (n *node) take() {\nn.Send(\"peer\", \"done\")\nn.restore()\n}"},
		{"skip-integrity",
			"func (n *node) ok(root []byte) bool {\nif !n.equal(n.root, root) {\nreturn false\n}\nreturn true\n}",
			"func (n *node) ok(root []byte) bool {\nif false && (!n.equal(n.root, root)) {\nreturn false\n}\nreturn true\n}"},
		{"skip-dedup",
			"func (n *node) take(id string) {\nif n.seen[id] {\nreturn\n}\nn.restore()\n}",
			"func (n *node) take(id string) {\nif false && (n.seen[id]) {\nreturn\n}\nn.restore()\n}"},
		{"skip-generation",
			"func (n *node) take(gen uint32) {\nif gen < n.gen {\nreturn\n}\nn.restore()\n}",
			"func (n *node) take(gen uint32) {\nif (false && gen < n.gen) {\nreturn\n}\nn.restore()\n}"},
		{"off-by-one",
			"func (n *node) due(epoch int64) bool { return epoch < n.epoch }",
			"func (n *node) due(epoch int64) bool { return epoch <= n.epoch }"},
		{"lose-field",
			"func (n *node) save() record { return record{Epoch: n.epoch, Gen: n.gen} }",
			"func (n *node) save() record { return record{Gen: n.gen} }"},
		{"wrong-order",
			"func (n *node) order(a, b string) int { return cmp.Compare(a, b) }",
			"func (n *node) order(a, b string) int { return cmp.Compare(b, a) }"},
		{"swap-cases",
			"func (n *node) vote(gen uint32) string {\nswitch {\ncase gen < n.gen:\nreturn \"no\"\ncase n.list == nil:\nreturn \"yes\"\n}\nreturn \"\"\n}",
			"func (n *node) vote(gen uint32) string {\nswitch {\ncase n.list == nil:\nreturn \"yes\"\n\ncase gen < n.gen:\nreturn \"no\"\n\n}\nreturn \"\"\n}"},
		{"forget",
			"func (n *node) note(id string) { n.seen[id] = true }",
			"func (n *node) note(id string) { _ = true }"},
		{"forget-nonce",
			"func (n *node) take(id string) {\nn.nonce.add(id)\nn.restore()\n}",
			"func (n *node) take(id string) {\n\nn.restore()\n}"},
		{"negate",
			"func (n *node) take() {\nif n.epoch == 0 {\nreturn\n}\nn.restore()\n}",
			"func (n *node) take() {\nif !(n.epoch == 0) {\nreturn\n}\nn.restore()\n}"},
		{"drop-send",
			"func (n *node) take() {\nn.restore()\nn.Send(\"peer\", \"done\")\n}",
			"func (n *node) take() {\nn.restore()\n\n}"},
		{"drop-timer",
			"func (n *node) take() {\nn.SetTimer(5)\nn.restore()\n}",
			"func (n *node) take() {\n\nn.restore()\n}"},
		{"drop-file-op",
			"func (n *node) take() error { return n.f.Rename(\"a\", \"b\") }",
			"func (n *node) take() error { return error(nil) }"},
		{"return-early",
			"func (n *node) take() {\nn.restore()\nn.Send(\"peer\", \"done\")\n}",
			"func (n *node) take() {\nn.restore()\nif true {\nreturn\n}\nn.Send(\"peer\", \"done\")\n}"},
		{"stale-cache",
			"func (n *node) end() {\nn.list = n.list[:0]\nn.restore()\n}",
			"func (n *node) end() {\n\nn.restore()\n}"},
		{"wrong-constant",
			"const window = 30",
			"const window = 1"},
		{"swap-arguments",
			"func (n *node) take(who, what string) { n.Send(who, what) }",
			"func (n *node) take(who, what string) { n.Send(what, who) }"},
		{"lie",
			"func (n *node) end() {\nn.restore()\nn.Record(\"restored\")\n}",
			"func (n *node) end() {\n\nn.Record(\"restored\")\n}"},
	} {
		t.Run(c.operator, func(t *testing.T) {
			s, err := snippet(c.before)
			if err != nil {
				t.Fatal(err)
			}
			var first *Mutant
			for _, o := range Operators {
				for _, x := range s.candidates(o) {
					if o.Name == c.operator && strings.HasSuffix(x.ID, "/1") && x.Line > strings.Count(around, "\n") {
						if first = s.make(x); first == nil {
							t.Fatalf("%s does not compile", x.ID)
						}
					}
				}
			}
			if first == nil {
				t.Fatal("no place is found")
			}
			want, err := format.Source([]byte(around + c.after))
			if err != nil {
				t.Fatal(err)
			}
			got, err := format.Source(first.text)
			if err != nil {
				t.Fatal(err)
			}
			if squeeze(got) != squeeze(want) {
				t.Errorf("%s makes\n%s\nwant\n%s", first.ID, got[len(around):], c.after)
			}
		})
	}
}

// squeeze leaves out empty lines.
func squeeze(text []byte) string {
	var out []string
	for line := range strings.Lines(string(text)) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// Every operator has a snippet above and a mutant among the chosen; the choice
// is the same each time, without two of one change, and large enough.
func TestChoice(t *testing.T) {
	first, err := Choose("../..", 1)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Choose("../..", 1)
	if err != nil {
		t.Fatal(err)
	}
	used, ids, changes := map[string]int{}, map[string]bool{}, map[string]bool{}
	core := 0
	for i, m := range first {
		if again[i].ID != m.ID || string(again[i].text) != string(m.text) {
			t.Fatalf("the choice differs: %s and %s", m.ID, again[i].ID)
		}
		if ids[m.ID] || changes[m.File+string(m.text)] {
			t.Errorf("%s is there twice", m.ID)
		}
		ids[m.ID], changes[m.File+string(m.text)] = true, true
		used[m.Operator]++
		if m.Package != "command" && m.Package != "outbox" {
			core++
		}
	}
	for _, o := range Operators {
		if used[o.Name] == 0 {
			t.Errorf("no chosen mutant is of operator %s", o.Name)
		}
	}
	if core < 120 {
		t.Errorf("%d mutants of the stores and the training, want 120", core)
	}
}

// An edit elsewhere leaves an id where it is, and what it changes.
func TestIDsAreStable(t *testing.T) {
	const f = "func (n *node) take() {\nn.restore()\nn.Send(\"peer\", \"done\")\n}\n"
	const other = "func (n *node) other() {\nn.Send(\"a\", \"b\")\nn.Send(\"c\", \"d\")\n}\n"
	find := func(text string) map[string]string {
		s, err := snippet(text)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, o := range Operators {
			for _, c := range s.candidates(o) {
				found[c.ID] = c.What
			}
		}
		return found
	}
	alone := find(f)
	if len(alone) < 4 {
		t.Fatalf("%d mutants: %v", len(alone), alone)
	}
	for _, text := range []string{other + f, f + other, "// a comment\n\n\n" + f} {
		with := find(text)
		for id, what := range alone {
			if with[id] != what {
				t.Errorf("%s was %q and is %q", id, what, with[id])
			}
		}
	}
}

func TestEditsThatOverlapAreRefused(t *testing.T) {
	if out, err := apply([]byte("abcdef"), []edit{{3, 4, "X"}, {0, 1, ""}}); err != nil || string(out) != "bcXef" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := apply([]byte("abcdef"), []edit{{0, 3, ""}, {2, 4, ""}}); err == nil {
		t.Error("overlapping edits are made")
	}
}

func TestUnknownIDsAreRefused(t *testing.T) {
	for _, id := range []string{"", "wal", "wal/Log.flush/forget/0", "wal/Log.flush/forget/99", "wal/Log.flush/nonsense/1", "nowhere/f/forget/1"} {
		if m, err := Find("../..", id); err == nil {
			t.Errorf("%q is %s", id, fmt.Sprint(m.ID))
		}
	}
}
