package main

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

// compile builds the request that protoc would hand to a plugin for every
// .proto file below dir. Imports are relative to dir.
func compile(dir string) (*pluginpb.CodeGeneratorRequest, error) {
	var names []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".proto") {
			name, err = filepath.Rel(dir, name)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			ImportPaths: []string{dir},
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
		MaxParallelism: 1,
	}
	files, err := compiler.Compile(context.Background(), names...)
	if err != nil {
		return nil, err
	}
	request := &pluginpb.CodeGeneratorRequest{FileToGenerate: names}
	done := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if done[f.Path()] {
			return
		}
		done[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		// The compiler's own descriptor: protodesc would make one anew, without
		// the proto3_optional of extensions that protoc writes.
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		add(f)
	}
	return request, nil
}

// flatten lists messages and those nested in them.
func flatten(messages []*protogen.Message) []*protogen.Message {
	var all []*protogen.Message
	for _, m := range messages {
		all = append(all, m)
		all = append(all, flatten(m.Messages)...)
	}
	return all
}

// check refuses what the canonical codec does not do: maps, groups, recursion
// (the parser's depth is that of the schema), packed=false, foreign messages,
// and fields whose Go names the codec's methods take.
func check(m *protogen.Message, above []*protogen.Message) error {
	if m.Desc.ParentFile().Syntax() != protoreflect.Proto3 {
		return fmt.Errorf("%s is not proto3", m.Desc.ParentFile().Path())
	}
	if slices.Contains(above, m) {
		return fmt.Errorf("%s contains itself", m.Desc.FullName())
	}
	above = append(above, m)
	for _, f := range m.Fields {
		name := f.Desc.FullName()
		switch {
		case f.Desc.IsMap():
			return fmt.Errorf("%s is a map: their order is not defined", name)
		case f.Desc.Kind() == protoreflect.GroupKind:
			return fmt.Errorf("%s is a group", name)
		case f.Desc.IsList() && packable(f) && !f.Desc.IsPacked():
			return fmt.Errorf("%s is not packed", name)
		case slices.Contains([]string{"FullName", "CanonicalSize", "AppendCanonical",
			"BackwardCanonical", "ParseCanonical", "IdentityHash"}, f.GoName):
			return fmt.Errorf("%s has the name of a method of the codec", name)
		case f.Message == nil || wellKnown(f) != "":
		case strings.HasPrefix(string(f.Message.Desc.FullName()), "google.protobuf."):
			return fmt.Errorf("%s: there is no codec for %s", name, f.Message.Desc.FullName())
		default:
			if err := check(f.Message, above); err != nil {
				return err
			}
		}
	}
	return nil
}

// wellKnown is Timestamp or Duration for fields of those types, else empty.
func wellKnown(f *protogen.Field) string {
	if f.Message == nil {
		return ""
	}
	switch f.Message.Desc.FullName() {
	case "google.protobuf.Timestamp":
		return "Timestamp"
	case "google.protobuf.Duration":
		return "Duration"
	}
	return ""
}

func packable(f *protogen.Field) bool {
	switch f.Desc.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind, protoreflect.GroupKind:
		return false
	}
	return true
}
