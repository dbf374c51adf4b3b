package settings

import (
	"fmt"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"serialisation:\n  allowed: [contracts/wire]\n  tests: true\n", ""},
		{"exclude: [a]\nvolatile:\n  names: [b]\n  fields: [c]\n", ""},
		{"planes:\n  front: [shop]\n  back: [billing]\n", ""},
		{"planes:\n  front: [shop]\n  back: [shop]\n", "f.yaml: shop is on the planes back and front"},
		{"exclude: [a]\nserialization:\n  allowed: [b]\n", `f.yaml:2: there is no setting "serialization"`},
		{"serialisation:\n  allowed: 1\n", "f.yaml:2: "},
		{"serialisation: [\n", "f.yaml:"},
		{"\tx", "f.yaml:1:"},
	} {
		_, err := Parse("f.yaml", []byte(c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
	if s, err := Read(t.TempDir()); err != nil || s.Exclude != nil {
		t.Error(s, err)
	}
}

func TestOwnSettings(t *testing.T) {
	if s, err := Read("../.."); err != nil || len(s.Exclude) == 0 || len(s.Serialisation.Allowed) == 0 || len(s.Volatile.Names) == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("exclude: [a]\nserialisation:\n  allowed: [b]\nplanes:\n  a: [b]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Parse("f.yaml", b); err != nil && !strings.HasPrefix(err.Error(), "f.yaml") {
			t.Error(err)
		}
	})
}

func ExampleParse() {
	s, err := Parse("build/protobuf.yaml", []byte("planes:\n  front: [shop]\n  back: [billing, stock]\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	planes, err := s.PlaneOf()
	fmt.Println(planes["stock"], err)
	_, err = Parse("build/protobuf.yaml", []byte("exclude: []\nplane: {}\n"))
	fmt.Println(err)
	// Output:
	// back <nil>
	// build/protobuf.yaml:2: there is no setting "plane"; want exclude, volatile (names, fields), serialisation (allowed, tests) or planes
}
