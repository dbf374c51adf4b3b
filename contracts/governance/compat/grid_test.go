package compat

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// loadGrid compiles the whole grid: a file and a package for each change. It
// is done once.
var loadGrid = sync.OnceValues(func() ([2]*schema.Schema, error) {
	sources := [2]map[string]string{{}, {}}
	for i, c := range grid() {
		head := fmt.Sprintf("syntax = \"proto3\";\npackage %s;\n", gridPackage(i))
		sources[0][gridPackage(i)+".proto"] = head + c.old
		sources[1][gridPackage(i)+".proto"] = head + c.new
	}
	var out [2]*schema.Schema
	for i, s := range sources {
		var err error
		if out[i], err = schema.FromSources([]string{"old", "new"}[i], s); err != nil {
			return out, err
		}
	}
	return out, nil
})

func gridSchemas(t testing.TB) (old, new *schema.Schema) {
	t.Helper()
	s, err := loadGrid()
	if err != nil {
		t.Fatal(err)
	}
	return s[0], s[1]
}

func gridPackage(i int) string { return fmt.Sprintf("g%04d", i) }

func gridType(s *schema.Schema, i int) protoreflect.MessageDescriptor {
	d, _ := s.Find(protoreflect.FullName(gridPackage(i) + ".M")).(protoreflect.MessageDescriptor)
	return d
}

// directions are the two ways through entry i.
func directions(old, new *schema.Schema, i int) [2][2]protoreflect.MessageDescriptor {
	o, n := gridType(old, i), gridType(new, i)
	return [2][2]protoreflect.MessageDescriptor{{o, n}, {n, o}}
}

// predict is what a table of rules says of the grid.
func predict(t testing.TB, table rules.Table) (out [][2]exchange.Class) {
	old, new := gridSchemas(t)
	a := rules.New(table)
	for i := range grid() {
		var v [2]exchange.Class
		for d, p := range directions(old, new, i) {
			v[d] = a.Message(p[0], p[1], exchange.Scope{})
		}
		out = append(out, v)
	}
	return out
}

// find is what a search finds in the grid.
func find(t testing.TB, o witness.Options) (out [][2]witness.Result) {
	old, new := gridSchemas(t)
	s := witness.NewSearcher(o)
	for i := range grid() {
		var v [2]witness.Result
		for d, p := range directions(old, new, i) {
			v[d] = s.Search(p[0], p[1], exchange.Scope{})
		}
		out = append(out, v)
	}
	return out
}

// disagreements lists the entries for which the two implementations differ.
func disagreements(predicted [][2]exchange.Class, found [][2]witness.Result) (out []string) {
	way := [2]string{"old to new", "new to old"}
	for i, c := range grid() {
		for d := range way {
			if p, f := predicted[i][d], found[i][d]; p != f.Class {
				out = append(out, fmt.Sprintf("%s: %s, %s: the rules say %v, the search says %v (%x at %q)",
					c.family, c.name, way[d], p, f.Class, f.Outcome.Bytes, f.Outcome.Where))
			}
		}
	}
	return out
}

// The rules and the search agree on every entry in both directions; whatever
// is lossy has a witness that shows it from its bytes alone.
func TestGrid(t *testing.T) {
	all := grid()
	if len(all) < 700 {
		t.Errorf("the grid has %d changes", len(all))
	}
	old, new := gridSchemas(t)
	found := find(t, witness.Options{Random: 20, Shrink: true})
	for _, d := range disagreements(predict(t, rules.Default()), found) {
		t.Error(d)
	}
	var sizes []int
	table := map[string][]int{}
	for i, c := range all {
		if table[c.family] == nil {
			table[c.family] = make([]int, len(exchange.Classes())+1)
		}
		table[c.family][0]++
		for d, p := range directions(old, new, i) {
			r := found[i][d]
			table[c.family][1+int(r.Class)]++
			if r.Class.Clean() {
				continue
			}
			sizes = append(sizes, len(r.Outcome.Bytes))
			m, err := witness.Decode(r.Outcome.Bytes, p[0])
			if err != nil {
				t.Errorf("%s: %s: the witness is no message of its writer: %v", c.family, c.name, err)
				continue
			}
			if again := witness.Exchange(m, p[1]).Class; again != r.Class {
				t.Errorf("%s: %s: %x shows %v, not %v", c.family, c.name, r.Outcome.Bytes, again, r.Class)
			}
		}
	}
	slices.Sort(sizes)
	median := sizes[len(sizes)/2]
	if median > 12 {
		t.Errorf("the median witness has %d bytes", median)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d changes in both directions, %d witnesses, median %d bytes, largest %d\n", len(all), len(sizes), median, sizes[len(sizes)-1])
	fmt.Fprintf(&b, "%-20s %7s %9s %9s %9s %9s %9s\n", "family", "changes", "identical", "lossless", "presence", "value", "parse")
	total := make([]int, len(exchange.Classes())+1)
	for _, f := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintf(&b, "%-20s", f)
		for i, n := range table[f] {
			total[i] += n
			fmt.Fprintf(&b, " %*d", 7+2*min(i, 1), n)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%-20s", "all")
	for i, n := range total {
		fmt.Fprintf(&b, " %*d", 7+2*min(i, 1), n)
	}
	t.Log(b.String())
	t.Log(besideBuf(t, found))
}

// The report says the same of each change by itself, with a replayable witness
// that belongs to the message of the change; and the differ finds each change
// as what it is.
func TestGridReport(t *testing.T) {
	old, new := gridSchemas(t)
	r := Compare(old, new)
	for _, p := range kindProblems(kindsOf(r.Changes)) {
		t.Error(p)
	}
	for _, c := range r.Changes {
		for _, e := range []Evidence{c.OldToNew, c.NewToOld} {
			if e.Rules != e.Found {
				t.Errorf("%s: %s: the rules say %v, the search says %v: %+v", c.Kind, c.Text, e.Rules, e.Found, e.Witness)
			}
			if e.Class.Clean() != (e.Witness == nil) {
				t.Errorf("%s: %s: %v with the witness %v", c.Kind, c.Text, e.Class, e.Witness)
			}
			if e.Witness == nil {
				continue
			}
			words := strings.Fields(e.Witness.Reproduce)
			if words[4] != "old" {
				old, new = new, old
			}
			b, err := hex.DecodeString(e.Witness.Hex)
			if err != nil {
				t.Fatal(err)
			}
			m, err := witness.Decode(b, old.Find(protoreflect.FullName(e.Witness.Message)).(protoreflect.MessageDescriptor))
			if err != nil {
				t.Fatal(err)
			}
			reader := e.Witness.Message
			if i := slices.Index(words, "--reader-type"); i > 0 {
				reader = words[i+1]
			}
			if got := witness.Exchange(m, new.Find(protoreflect.FullName(reader)).(protoreflect.MessageDescriptor)).Class; got != e.Class {
				t.Errorf("%s: the witness %s shows %v, not %v", c.Text, e.Witness.Hex, got, e.Class)
			}
			if words[4] != "old" {
				old, new = new, old
			}
		}
	}
	for _, m := range r.Messages {
		for _, e := range []Evidence{m.OldToNew, m.NewToOld} {
			if e.Rules != e.Found {
				t.Errorf("%s: the rules say %v, the search says %v", m.Message, e.Rules, e.Found)
			}
		}
	}
}

// kindsOf lists the kinds of changes of each package.
func kindsOf(changes []Change) map[string][]string {
	out := map[string][]string{}
	for _, c := range changes {
		out[c.Package] = append(out[c.Package], string(c.Kind))
	}
	return out
}

func kindProblems(kinds map[string][]string) (out []string) {
	for i, c := range grid() {
		got := kinds[gridPackage(i)]
		slices.Sort(got)
		want := strings.Split(c.want, ",")
		slices.Sort(want)
		switch {
		case c.want == "none" && len(got) == 0:
		case c.want == "" && (len(got) > 0 || c.old == c.new || strings.HasSuffix(c.name, "N to optional")):
		case !slices.Equal(got, want):
			out = append(out, fmt.Sprintf("%s: %s: found %v, want %q", c.family, c.name, got, c.want))
		}
	}
	return out
}

// The same witness is found in every run, and rapid makes it no larger.
func TestWitnessesAreDeterministic(t *testing.T) {
	old, new := gridSchemas(t)
	for i, c := range grid() {
		if i%23 != 0 {
			continue
		}
		for _, p := range directions(old, new, i) {
			var results [3]witness.Result
			for k, o := range []witness.Options{{Random: 20, Shrink: true}, {Random: 20, Shrink: true, Rapid: true}, {Random: 20, Shrink: true, Rapid: true}} {
				results[k] = witness.Search(p[0], p[1], exchange.Scope{}, o)
			}
			if a, b := results[1].Outcome.Bytes, results[2].Outcome.Bytes; string(a) != string(b) {
				t.Errorf("%s: %s: %x, then %x", c.family, c.name, a, b)
			}
			if len(results[1].Outcome.Bytes) > len(results[0].Outcome.Bytes) || results[0].Class != results[1].Class {
				t.Errorf("%s: %s: with rapid %x, without %x", c.family, c.name, results[1].Outcome.Bytes, results[0].Outcome.Bytes)
			}
		}
	}
}

// int64 to int32 loses the first number beyond the range.
func TestSmallestWitness(t *testing.T) {
	old, new := gridSchemas(t)
	for i, c := range grid() {
		if c.name != "int64 to int32" || c.family != "kind to kind" {
			continue
		}
		for _, rapid := range []bool{false, true} {
			r := witness.Search(gridType(old, i), gridType(new, i), exchange.Scope{}, witness.Options{Shrink: true, Rapid: rapid})
			if got := witness.Text(r.Outcome.Written); got != "{a: 2147483648}" && got != "{a: -2147483649}" {
				t.Errorf("the witness is %s", got)
			}
		}
		return
	}
	t.Fatal("the grid has no int64 to int32")
}
