package script

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestContentRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "content")
		q, err := Decode(Encode(p))
		if err != nil || !bytes.Equal(p, q) {
			t.Fatalf("%q: %v, %v", Encode(p), q, err)
		}
	})
	for _, bad := range []string{"x", "*x", "3*", "-1*x", "1*#", "1*#300"} {
		if _, err := Decode(bad); err == nil {
			t.Errorf("%q was decoded", bad)
		}
	}
}

func TestBadSteps(t *testing.T) {
	for _, s := range []Step{"", "fly", "rename a", "jump a 1"} {
		if Run(nil, []Step{s}) == nil {
			t.Errorf("%q ran", s)
		}
	}
}
