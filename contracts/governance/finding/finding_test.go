package finding

import (
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

func ExampleFinding() {
	f := Finding{Rule: "map-field", Position: schema.Position{File: "v2/a.proto", Line: 7, Column: 3},
		What: "A.labels is a map", Want: "a repeated message of key and value, sorted by key"}
	fmt.Println(f)
	fmt.Println(f.GitHub())
	// Output:
	// v2/a.proto:7:3: map-field: A.labels is a map; want a repeated message of key and value, sorted by key
	// ::error file=v2/a.proto,line=7,col=3,title=map-field::A.labels is a map; want a repeated message of key and value, sorted by key
}

// A name must not be able to end the command and begin its own.
func TestGitHubEscapes(t *testing.T) {
	f := Finding{Rule: "r", Position: schema.Position{File: "a,b:c%\n::warning::x"}, What: "1\n::error::2", Want: "3"}
	want := "::error file=a%2Cb%3Ac%25%0A%3A%3Awarning%3A%3Ax,title=r::1%0A::error::2; want 3"
	if got := f.GitHub(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestSort(t *testing.T) {
	list := []Finding{
		{Rule: "b", Position: schema.Position{File: "b", Line: 1}},
		{Rule: "b", Position: schema.Position{File: "a", Line: 9}},
		{Rule: "a", Position: schema.Position{File: "a", Line: 9}},
		{Rule: "a", Position: schema.Position{File: "a", Line: 10, Column: 1}},
	}
	Sort(list)
	got := ""
	for _, f := range list {
		got += fmt.Sprintf("%s%d%s ", f.File, f.Line, f.Rule)
	}
	if got != "a9a a9b a10a b1b " {
		t.Error(got)
	}
}
