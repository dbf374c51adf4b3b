package setting_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/setting"
)

type options struct {
	Log   string        `set:"log" oneof:"hardened,hld" doc:"which log"`
	Every time.Duration `set:"every" doc:"between two"`
	Count int           `set:"count" doc:"how many"`
	Share float64       `set:"share" doc:"how much"`
	Loud  bool          `set:"loud" doc:"say so"`
	inner int
}

func TestSet(t *testing.T) {
	for _, tc := range []struct{ name, value, wrong string }{
		{"log", "hld", ""},
		{"log", "other", "want one of hardened,hld"},
		{"every", "250ms", ""},
		{"every", "soon", "want a duration such as 250ms"},
		{"every", "-1s", "want a duration"},
		{"count", "3", ""},
		{"count", "-3", "want a whole number of at least 0"},
		{"share", "0.5", ""},
		{"share", "NaN", "want a number"},
		{"loud", "true", ""},
		{"loud", "maybe", "want true or false"},
		{"", "x", `unknown option ""; want one of count, every, log, loud, share`},
		{"inner", "1", "unknown option"},
	} {
		o := &options{Log: "hardened"}
		err := setting.Set(o, tc.name, tc.value)
		if tc.wrong == "" && err != nil || tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)) {
			t.Errorf("%s=%s: %v, want %q", tc.name, tc.value, err, tc.wrong)
		}
		_ = o.inner
	}
}

func Example() {
	o := &options{Log: "hardened"}
	fmt.Println(setting.Set(o, "every", "2s"), o.Every)
	for _, x := range setting.List(o)[:2] {
		fmt.Println(x.Name, x.Default, x.Doc)
	}
	// Output:
	// <nil> 2s
	// count 0 how many
	// every 2s between two
}
