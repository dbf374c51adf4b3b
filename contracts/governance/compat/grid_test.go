package compat

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// loadGrid compiles the whole grid: a file and a package for each change.
func loadGrid(t testing.TB, all []single) (old, new *schema.Schema) {
	t.Helper()
	sources := [2]map[string]string{{}, {}}
	for i, c := range all {
		head := fmt.Sprintf("syntax = \"proto3\";\npackage g%04d;\n", i)
		sources[0][gridFile(i)] = head + c.old
		sources[1][gridFile(i)] = head + c.new
	}
	var out [2]*schema.Schema
	for i, s := range sources {
		var err error
		if out[i], err = schema.FromSources([]string{"old", "new"}[i], s); err != nil {
			t.Fatal(err)
		}
	}
	return out[0], out[1]
}

func gridFile(i int) string { return fmt.Sprintf("g%04d.proto", i) }

func gridType(s *schema.Schema, i int) protoreflect.MessageDescriptor {
	d, _ := s.Find(protoreflect.FullName(fmt.Sprintf("g%04d.M", i))).(protoreflect.MessageDescriptor)
	return d
}

func TestQuick(t *testing.T) {
	all := grid()
	old, new := loadGrid(t, all)
	t.Log(len(all))
	a := rules.New(rules.Default())
	s := witness.NewSearcher(witness.Options{Random: 20, Shrink: true})
	sum := map[exchange.Class]int{}
	for i, c := range all {
		o, n := gridType(old, i), gridType(new, i)
		for d, p := range [2][2]protoreflect.MessageDescriptor{{o, n}, {n, o}} {
			got := a.Message(p[0], p[1], exchange.Scope{})
			found := s.Search(p[0], p[1], exchange.Scope{})
			sum[found.Class]++
			if got != found.Class {
				t.Errorf("%s: %s (%d): rules %v, found %v at %s %x %v", c.family, c.name, d, got, found.Class, found.Outcome.Where, found.Outcome.Bytes, found.Outcome.Err)
			}
		}
	}
	t.Log(sum)
}
