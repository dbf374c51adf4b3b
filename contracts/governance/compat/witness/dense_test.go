package witness_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Twelve types that all contain each other, one of which changed: the number
// of ways through them is astronomic, the time is not.
func TestTypesThatContainEachOther(t *testing.T) {
	dense := func(kind string) protoreflect.MessageDescriptor {
		var b strings.Builder
		b.WriteString("syntax = \"proto3\";\n")
		for i := range 12 {
			fmt.Fprintf(&b, "message M%d {\n", i)
			for j := range 12 {
				fmt.Fprintf(&b, "  repeated M%d m%d = %d;\n", j, j, j+1)
			}
			if i == 11 {
				fmt.Fprintf(&b, "  %s n = 13;\n", kind)
			}
			b.WriteString("}\n")
		}
		s, err := schema.FromSources("dense", map[string]string{"dense.proto": b.String()})
		if err != nil {
			t.Fatal(err)
		}
		return s.Find("M0").(protoreflect.MessageDescriptor)
	}
	old, new := dense("int64"), dense("int32")
	began := time.Now()
	r := witness.Search(old, new, exchange.Scope{}, witness.Options{Random: 20, Shrink: true})
	if want := rules.New(rules.Default()).Message(old, new, exchange.Scope{}); r.Class != want {
		t.Errorf("%v, want %v", r.Class, want)
	}
	if got := witness.Text(r.Outcome.Written); got != "{m11: [{n: 2147483648}]}" {
		t.Errorf("the witness is %s", got)
	}
	t.Logf("%d messages in %v", r.Tried, time.Since(began))
}
