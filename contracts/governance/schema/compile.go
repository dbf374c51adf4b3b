package schema

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/parser"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	// The options' extensions are known to whatever decodes a descriptor.
	_ "github.com/esper-sim/espersim/contracts/generated/go/options"
	"github.com/esper-sim/espersim/contracts/options"
)

// compile turns sources, by import path, into descriptors with positions.
// Errors carry the places that people know.
func compile(ctx context.Context, sources, places map[string]string) (*descriptorpb.FileDescriptorSet, error) {
	var names []string
	for name := range sources {
		names = append(names, name)
	}
	slices.Sort(names)
	var found []error
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(name string) (io.ReadCloser, error) {
				if text, ok := sources[name]; ok {
					return io.NopCloser(strings.NewReader(text)), nil
				}
				if name == options.Path {
					return io.NopCloser(strings.NewReader(options.Source)), nil
				}
				return nil, fs.ErrNotExist
			},
		}),
		SourceInfoMode: protocompile.SourceInfoStandard,
		MaxParallelism: 1,
		Reporter: reporter.NewReporter(func(err reporter.ErrorWithPos) error {
			found = append(found, placed(err, places))
			return nil
		}, nil),
	}
	files, err := compiler.Compile(ctx, names...)
	if len(found) > 0 {
		return nil, errors.Join(found...)
	}
	if err != nil {
		var at reporter.ErrorWithPos
		if errors.As(err, &at) {
			return nil, placed(at, places)
		}
		return nil, err
	}
	set, done := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if done[f.Path()] {
			return
		}
		done[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	for _, f := range files {
		add(f)
	}
	return set, nil
}

func placed(err reporter.ErrorWithPos, places map[string]string) error {
	pos := err.GetPosition()
	if seen, ok := places[pos.Filename]; ok {
		pos.Filename = seen
	}
	text := err.Unwrap().Error()
	if errors.Is(err, fs.ErrNotExist) {
		text += "; imports are looked for below the folder that was named"
	}
	return fmt.Errorf("%s:%d:%d: %s", pos.Filename, pos.Line, pos.Col, text)
}

// imports lists what a file imports. A file that does not parse imports
// nothing: compiling it will say why.
func imports(name, text string) []string {
	quiet := reporter.NewHandler(reporter.NewReporter(func(reporter.ErrorWithPos) error { return nil }, nil))
	file, err := parser.Parse(name, strings.NewReader(text), quiet)
	if err != nil || file == nil {
		return nil
	}
	result, err := parser.ResultFromAST(file, false, quiet)
	if err != nil || result == nil {
		return nil
	}
	return result.FileDescriptorProto().GetDependency()
}

// FromSet links a descriptor set. The well-known types and espersim's options
// may be missing in it.
func FromSet(source string, set *descriptorpb.FileDescriptorSet) (*Schema, error) {
	// Once through the bytes: custom options become fields of the options
	// messages, whichever library made the set.
	b, err := proto.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	set = new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(b, set); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	return link(source, set)
}
