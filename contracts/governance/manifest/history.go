package manifest

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// newest is the newest minor version that a version's files speak of.
func newest(s *schema.Schema, version string) uint32 {
	var n uint32
	see := func(d protoreflect.Descriptor, x protoreflect.ExtensionType) {
		if of(version)(d.ParentFile()) {
			n = max(n, proto.GetExtension(d.Options(), x).(uint32))
		}
	}
	for _, m := range s.Messages() {
		see(m, options.E_MessageSince)
		for i := range m.Fields().Len() {
			see(m.Fields().Get(i), options.E_Since)
		}
	}
	for _, e := range s.Enums() {
		for i := range e.Values().Len() {
			see(e.Values().Get(i), options.E_ValueSince)
		}
	}
	return n
}

// history adds the sets of the minor versions before a first release: a schema
// that speaks of minor version 1 was there without what that one added. It
// returns their hashes.
func (m *Manifest) history(s *schema.Schema, p Proposal, sets map[string][]byte) ([]string, error) {
	var hashes []string
	for minor := range p.Minor {
		set := schema.AsOf(setOf(s, p.Version), minor)
		old, err := schema.FromSet(m.SetFile(p.Version, minor), set)
		if err != nil {
			return nil, fmt.Errorf("%s.%d, which is %s without what says it is newer, is no schema: %w", p.Version, minor, p.Version, err)
		}
		hash, err := Hash(old, p.Version)
		if err != nil {
			return nil, err
		}
		// So a since of 4294967295 ends at the first minor version that lacks.
		if n := len(hashes); n > 0 && hashes[n-1] == hash {
			return nil, fmt.Errorf("%s speaks of minor version %d, and nothing in it is new in minor version %d", p.Version, p.Minor, minor)
		}
		if sets[m.SetFile(p.Version, minor)], err = encode(set); err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}
