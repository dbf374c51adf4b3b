package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/governance/finding"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Rules of Check, as its findings name them.
const (
	Packages = "manifest-packages" // the folder's packages are those of the manifest
	Changed  = "version-bump"      // what changed has a new version (C4)
	Thawed   = "frozen-version"    // frozen versions never change (C9)
	Sets     = "released-sets"     // the released sets are those of the hashes
)

// of says whether a file belongs to a version.
func of(version string) func(protoreflect.FileDescriptor) bool {
	return func(f protoreflect.FileDescriptor) bool {
		return strings.HasSuffix("."+string(f.Package()), "."+version)
	}
}

// Hash is the SHA-256 of a version's files in a schema, in hex.
func Hash(s *schema.Schema, version string) (string, error) {
	return schema.Hash(s.SetOf(of(version)))
}

// SetFile is where a released descriptor set is.
func (m *Manifest) SetFile(version string, minor uint32) string {
	return filepath.Join(m.Dir, filepath.FromSlash(Released), fmt.Sprintf("%s.%d.binpb", version, minor))
}

// Set loads a released descriptor set.
func (m *Manifest) Set(version string, minor uint32) (*schema.Schema, error) {
	return schema.LoadSet(m.SetFile(version, minor))
}

// Check compares a folder's schema with its manifest and the released sets.
// Findings are what the project must change; an error is what could not be
// read.
func (m *Manifest) Check(s *schema.Schema, judge Judge) ([]finding.Finding, error) {
	var found []finding.Finding
	report := func(rule string, line int, what, want string) {
		found = append(found, finding.Finding{Rule: rule, Position: schema.Position{File: m.Path, Line: line, Column: 1}, What: what, Want: want})
	}
	have := map[string]protoreflect.FileDescriptor{}
	for _, f := range s.Files {
		name := string(f.Package())
		if have[name] != nil {
			continue
		}
		have[name] = f
		if v := m.Version(name[strings.LastIndexByte(name, '.')+1:]); v == nil || !slices.Contains(v.Packages, name) {
			p := s.Position(f)
			found = append(found, finding.Finding{Rule: Packages, Position: p, What: fmt.Sprintf("the package %s is in no version of %s", name, m.Path),
				Want: "it among the packages of its version; `espersim contracts bump --write` adds it"})
		}
	}
	for _, v := range m.Versions {
		for i, name := range v.Packages {
			if have[name] == nil {
				report(Packages, v.packageLines[i], fmt.Sprintf("no file has the package %s", name), "a file, or no such package")
			}
		}
		hash, err := Hash(s, v.Name)
		if err != nil {
			return nil, err
		}
		const bump = "`espersim contracts bump`, which says what the change asks for"
		switch {
		case v.Hash == "":
			report(Changed, v.line, v.Name+" was never released", "`espersim contracts bump --write`")
			continue
		case hash != v.Hash && v.Status == Frozen:
			report(Thawed, v.hashLine, fmt.Sprintf("%s is frozen and changed: its descriptor set is %s", v.Name, hash), "the files as they were released")
		case hash != v.Hash:
			report(Changed, v.hashLine, fmt.Sprintf("%s.%d changed: its descriptor set is %s", v.Name, v.Minor, hash), bump)
		}
		if err := m.checkSets(&v, judge, func(what, want string) { report(Sets, v.hashLine, what, want) }); err != nil {
			return nil, err
		}
	}
	stray, err := m.stray()
	if err != nil {
		return nil, err
	}
	for _, name := range stray {
		found = append(found, finding.Finding{Rule: Sets, Position: schema.Position{File: name}, What: "the manifest knows no such release",
			Want: "no file here but those that `espersim contracts bump --write` writes"})
	}
	finding.Sort(found)
	return found, nil
}

// checkSets demands a set of every minor version, with the hash that the
// manifest has of it, and none that takes away what the one before had.
func (m *Manifest) checkSets(v *Version, judge Judge, report func(what, want string)) error {
	for minor := range v.Minor + 1 {
		name := m.SetFile(v.Name, minor)
		s, err := schema.LoadSet(name)
		if errors.Is(err, fs.ErrNotExist) {
			report(fmt.Sprintf("there is no %s", name), "the descriptor set that was released")
			continue
		}
		if err != nil {
			return err
		}
		hash, err := Hash(s, v.Name)
		if err != nil {
			return err
		}
		want := v.Hash
		if minor < v.Minor {
			want = v.Earlier[minor]
		}
		if hash != want {
			report(fmt.Sprintf("%s has the hash %s", name, hash), "the hash of the manifest, "+want)
			continue
		}
		if minor == 0 {
			continue
		}
		// Each release may only add to the one before.
		before, err := m.Set(v.Name, minor-1)
		if err != nil {
			continue // reported above
		}
		verdict, why, err := judge(before, s)
		if err != nil {
			return err
		}
		if verdict == Major {
			report(fmt.Sprintf("%s breaks minor version %d: %s", name, minor-1, why[0]), "the set that was released")
		}
	}
	return nil
}

var setName = regexp.MustCompile(`^(v[1-9][0-9]*)\.(0|[1-9][0-9]*)\.binpb$`)

// stray lists what is in the folder of released sets and is none.
func (m *Manifest) stray() ([]string, error) {
	dir := filepath.Join(m.Dir, filepath.FromSlash(Released))
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		known := false
		if parts := setName.FindStringSubmatch(e.Name()); parts != nil {
			if v := m.Version(parts[1]); v != nil && v.Hash != "" {
				for minor := range v.Minor + 1 {
					known = known || e.Name() == filepath.Base(m.SetFile(v.Name, minor))
				}
			}
		}
		if !known {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}

// setOf is what a release stores: the version's files and those of other
// versions that they import, in the order of their paths.
func setOf(s *schema.Schema, version string) *descriptorpb.FileDescriptorSet {
	keep := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if keep[f.Path()] {
			return
		}
		keep[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
	}
	for _, f := range s.Files {
		if of(version)(f) {
			add(f)
		}
	}
	return s.SetOf(func(f protoreflect.FileDescriptor) bool { return keep[f.Path()] })
}

// encode is a released set's file: deterministic, so that a release can be
// made again.
func encode(set *descriptorpb.FileDescriptorSet) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(set)
}

// part is the schema of one version's files.
func part(s *schema.Schema, version string) (*schema.Schema, error) {
	one, err := schema.FromSet(s.Source, setOf(s, version))
	if err != nil {
		return nil, err
	}
	one.Files = slices.DeleteFunc(one.Files, func(f protoreflect.FileDescriptor) bool { return !of(version)(f) })
	return one, nil
}
