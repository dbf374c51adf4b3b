// Package schema loads protobuf schemas for the governance checks: from a
// folder of .proto files, from a descriptor set, or from a git revision.
//
// A schema is proto3. Other syntaxes are refused with the file and line.
package schema

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/options"
)

// A Schema is a linked set of files.
type Schema struct {
	// Source is what it was loaded from, as a person would name it.
	Source string

	// Files are the schema's own files in the order of their paths, without
	// what they import of google/protobuf and of espersim's options.
	Files []protoreflect.FileDescriptor

	all    *protoregistry.Files // Files and everything they import
	places map[string]string    // import path to the path that a person sees
}

// foreign says whether an import path is not part of any user's schema.
func foreign(path string) bool {
	return strings.HasPrefix(path, "google/protobuf/") || path == options.Path
}

// Find returns the descriptor of the full name, or nil. Names of the
// well-known types are found as well.
func (s *Schema) Find(name protoreflect.FullName) protoreflect.Descriptor {
	d, err := s.all.FindDescriptorByName(name)
	if err != nil {
		return nil
	}
	return d
}

// Resolver finds the schema's descriptors, for dynamic messages.
func (s *Schema) Resolver() *protoregistry.Files { return s.all }

// Messages returns every message type of the schema's own files, nested ones
// behind their parents, without the entries of maps.
func (s *Schema) Messages() []protoreflect.MessageDescriptor {
	var all []protoreflect.MessageDescriptor
	var add func(protoreflect.MessageDescriptors)
	add = func(list protoreflect.MessageDescriptors) {
		for i := range list.Len() {
			if m := list.Get(i); !m.IsMapEntry() {
				all = append(all, m)
				add(m.Messages())
			}
		}
	}
	for _, f := range s.Files {
		add(f.Messages())
	}
	return all
}

// Enums returns every enum of the schema's own files, nested ones included.
func (s *Schema) Enums() []protoreflect.EnumDescriptor {
	var all []protoreflect.EnumDescriptor
	add := func(list protoreflect.EnumDescriptors) {
		for i := range list.Len() {
			all = append(all, list.Get(i))
		}
	}
	for _, f := range s.Files {
		add(f.Enums())
	}
	for _, m := range s.Messages() {
		add(m.Enums())
	}
	return all
}

// Services returns every service of the schema's own files.
func (s *Schema) Services() []protoreflect.ServiceDescriptor {
	var all []protoreflect.ServiceDescriptor
	for _, f := range s.Files {
		for i := range f.Services().Len() {
			all = append(all, f.Services().Get(i))
		}
	}
	return all
}

// A Position is a place in a source file. Line and column count from 1; they
// are 0 where the source is a descriptor set that does not know them.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Position is where d is declared.
func (s *Schema) Position(d protoreflect.Descriptor) Position {
	file := d.ParentFile()
	if file == nil {
		return Position{File: s.Source}
	}
	p := Position{File: file.Path()}
	if seen, ok := s.places[p.File]; ok {
		p.File = seen
	}
	loc := file.SourceLocations().ByDescriptor(d)
	if len(loc.Path) > 0 {
		p.Line, p.Column = loc.StartLine+1, loc.StartColumn+1
	}
	return p
}

// DescriptorSet is the schema's own files as descriptors: in the order of
// their paths, without comments and positions. What was said in a file of
// options is in it.
func (s *Schema) DescriptorSet() *descriptorpb.FileDescriptorSet {
	return s.SetOf(func(protoreflect.FileDescriptor) bool { return true })
}

// SetOf is the DescriptorSet of the files that keep accepts.
func (s *Schema) SetOf(keep func(protoreflect.FileDescriptor) bool) *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range s.Files {
		if !keep(f) {
			continue
		}
		p := protodesc.ToFileDescriptorProto(f)
		p.SourceCodeInfo = nil
		set.File = append(set.File, p)
	}
	return set
}

// Hash is the SHA-256 of a descriptor set, in hex. It does not depend on the
// order of files or on comments.
//
// The encoding under the hash is protobuf's deterministic one: descriptors
// have no maps and no oneofs that are set, so that it is their fields in the
// order of their numbers. Extensions that were parsed as options follow in
// the order of theirs.
func Hash(set *descriptorpb.FileDescriptorSet) (string, error) {
	sorted := proto.Clone(set).(*descriptorpb.FileDescriptorSet)
	slices.SortFunc(sorted.File, func(a, b *descriptorpb.FileDescriptorProto) int {
		return cmp.Compare(a.GetName(), b.GetName())
	})
	sum := sha256.New()
	for _, f := range sorted.File {
		f.SourceCodeInfo = nil
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(f)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.GetName(), err)
		}
		fmt.Fprintf(sum, "%d:", len(b))
		sum.Write(b)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
