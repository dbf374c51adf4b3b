package faults_test

import (
	"fmt"

	"github.com/esper-sim/espersim/faults"
)

// A fault prints and parses back; what is wrong with one is said by column.
func ExampleParse() {
	f, err := faults.Parse("drop oona -> tamiyo type=Delivery rate=0.2")
	fmt.Println(f, err)
	_, err = faults.Parse("crsh kasmina")
	fmt.Println(err)
	// Output:
	// drop oona -> tamiyo rate=0.2 type=Delivery <nil>
	// fault "crsh kasmina", column 1: unknown kind "crsh"; want "crash"
}
