package schema

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// link makes a Schema of descriptors and adds what they import and lack.
func link(source string, set *descriptorpb.FileDescriptorSet) (*Schema, error) {
	have := map[string]bool{}
	for _, f := range set.File {
		have[f.GetName()] = true
	}
	for i := 0; i < len(set.File); i++ {
		for _, dep := range set.File[i].Dependency {
			if have[dep] || !foreign(dep) {
				continue
			}
			known, err := protoregistry.GlobalFiles.FindFileByPath(dep)
			if err != nil {
				continue // protodesc names the file that imports it
			}
			have[dep] = true
			set.File = append(set.File, protodesc.ToFileDescriptorProto(known))
		}
	}
	all, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	s := &Schema{Source: source, all: all}
	all.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !foreign(f.Path()) {
			s.Files = append(s.Files, f)
		}
		return true
	})
	slices.SortFunc(s.Files, func(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) })
	for _, f := range s.Files {
		if f.Syntax() != protoreflect.Proto3 {
			return nil, fmt.Errorf(`%s: the syntax is %v; contracts are proto3: begin the file with syntax = "proto3";`,
				s.Position(f).File, f.Syntax())
		}
	}
	return s, nil
}
