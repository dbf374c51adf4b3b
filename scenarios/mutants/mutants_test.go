package mutants

import (
	"fmt"
	"testing"
)

func TestList(t *testing.T) {
	list, err := Choose("../..")
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]int{}
	for _, m := range list {
		ops[m.Operator]++
		fmt.Printf("%s %s:%d %s\n", m.ID, m.File, m.Line, m.What)
	}
	fmt.Println(len(list), ops)
}
