package manifest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// What the options say that a minor version had is what it was released with:
// a process that is given the view of an older version sees that version.
func TestViewsAreTheReleasedVersions(t *testing.T) {
	s, err := schema.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	own := s.SetOf(func(f protoreflect.FileDescriptor) bool { return strings.HasPrefix(f.Path(), "v2/") })
	m, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	for minor := range m.Version("v2").Minor + 1 {
		released, err := schema.LoadSet(filepath.Join("../..", filepath.FromSlash(Released), fmt.Sprintf("v2.%d.binpb", minor)))
		if err != nil {
			t.Fatal(err)
		}
		// An import that nothing needs says nothing: 2.0 had one.
		want, err := schema.Hash(schema.AsOf(released.DescriptorSet(), uint32(minor)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := schema.Hash(schema.AsOf(own, uint32(minor))); err != nil || got != want {
			t.Errorf("the view of 2.%d is not what 2.%d was released with (%v)", minor, minor, err)
		}
	}
}
