package compat_test

import (
	"fmt"
	"os"

	"github.com/esper-sim/espersim/contracts/governance/compat"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

func Example() {
	old, err := schema.FromSources("old", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage A { int64 n = 1; }\n"})
	if err != nil {
		fmt.Println(err)
		return
	}
	new, err := schema.FromSources("new", map[string]string{"a.proto": "syntax = \"proto3\";\npackage x;\nmessage A { int32 n = 1; }\n"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := compat.Compare(old, new)
	if err := r.WriteText(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// a.proto:3:13: field x.A.n is int32, was int64
	//   policy      major: a field's type may not change
	//   old to new  value-lossy
	//               written   x.A {n: 2147483648}, 6 bytes
	//               bytes     088080808008
	//               seen      {n: -2147483648}
	//               relay     0880808080f8ffffffff01
	//               read back {n: -2147483648}
	//               again     espersim contracts read --writer old --reader new --type x.A 088080808008
	//   new to old  byte-identical relay
	//
	// message types, all changes together
	//   x.A: old to new value-lossy, new to old byte-identical relay
	//
	// needs a major version: 1 change, 1 forbidden by the policy, 1 with a witness of loss
}
