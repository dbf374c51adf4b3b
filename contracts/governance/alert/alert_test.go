package alert

import (
	"fmt"
	"strings"
	"testing"
	"time"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

func ExampleNew() {
	a := New(GoldenMismatch, []string{"golden/v2/pause.bin differs"}, time.Unix(1736467200, 0))
	fmt.Println(Line(a))
	// Output: ALERT CRITICAL FIRING golden-mismatch golden-mismatch-88a1fe0ffa73b769: golden/v2/pause.bin differs
}

// An alert is a message that receivers accept, and one line, whatever differs.
func TestAlert(t *testing.T) {
	for _, d := range []string{"", "a\nALERT b\r\x1b[31m\u2028c", "\xff\xfe"} {
		a := New(SchemaTampered, []string{d}, time.Unix(0, 1))
		if err := new(platformv2.AlertEvent).ParseCanonical(a.AppendCanonical(nil)); err != nil {
			t.Errorf("%q: %v", d, err)
		}
		if strings.ContainsAny(Line(a), "\n\r\x1b\u2028") {
			t.Errorf("%q", Line(a))
		}
	}
	a, b := New(SchemaTampered, []string{"a", "b"}, time.Unix(1, 0)), New(SchemaTampered, []string{"a; b"}, time.Unix(1, 0))
	if a.AlertId == b.AlertId {
		t.Error("other differences, the same id")
	}
	if c := New(SchemaTampered, []string{"a", "b"}, time.Unix(2, 0)); c.AlertId != a.AlertId {
		t.Error("the same differences, another id")
	}
}
