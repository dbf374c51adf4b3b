package rules_test

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

func Example() {
	s, err := schema.FromSources("x", map[string]string{"x.proto": `syntax = "proto3";
message A { int32 n = 1; A next = 2; }
message B { int64 n = 1; B next = 2; }
`})
	if err != nil {
		fmt.Println(err)
		return
	}
	a, b := s.Find("A").(protoreflect.MessageDescriptor), s.Find("B").(protoreflect.MessageDescriptor)
	analysis := rules.New(rules.Default())
	fmt.Println(analysis.Message(a, b, exchange.Scope{}))
	fmt.Println(analysis.Message(b, a, exchange.Scope{}))
	// Output:
	// byte-identical relay
	// value-lossy
}
