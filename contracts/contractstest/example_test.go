package contractstest_test

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/contractstest"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// In a test, t is its *testing.T: a change that loses something fails it.
func ExampleEvolve() {
	var t testing.TB = printer{}
	contractstest.Evolve(t,
		map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage A { int64 n = 1; }\n"},
		map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage A { int32 n = 1; }\n"},
		contractstest.EvidenceOnly())
	// Output:
	// a.proto:3:13: field x.A.n is int32, was int64
	//   old writer, new reader: value-lossy
	//     written   x.A {n: 2147483648}
	//     bytes     088080808008
	//     seen      {n: -2147483648}
	//     relay     0880808080f8ffffffff01
	//     read back {n: -2147483648}
}

func ExampleMessage() {
	s, err := schema.FromSources("example", map[string]string{"a.proto": "syntax = \"proto3\";\nmessage A { int64 n = 1; }\n"})
	if err != nil {
		fmt.Println(err)
		return
	}
	a := s.Find("A").(protoreflect.MessageDescriptor)
	// In a test: rapid.Check(t, decodes).
	decodes := func(t *rapid.T) {
		m := contractstest.Message(a).Draw(t, "message").ProtoReflect()
		if _, err := witness.Decode(witness.Encode(m), a); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%T\n", decodes)
	// Output: func(*rapid.T)
}

func ExampleEvolution() {
	s := contractstest.Evolution().Example(1)
	old, new, err := s.Schemas()
	fmt.Println(len(old.Messages()), len(new.Messages()), len(s.Taken) > 0, err)
	// Output: 3 3 true <nil>
}

// printer is a testing.TB that prints failures.
type printer struct{ testing.TB }

func (printer) Helper()                           {}
func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
