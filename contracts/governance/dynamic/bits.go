package dynamic

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Bits returns a descriptor like d in which every float is a fixed32. The
// encodings are the same, byte by byte: a float is left out exactly where its
// bits are zero. Go through it to keep the bytes of what is decoded:
// a dynamic message holds a float as a float64, which makes a quiet NaN of a
// signalling one, so that Accept refuses an encoding that is canonical.
func Bits(d protoreflect.MessageDescriptor) (protoreflect.MessageDescriptor, error) {
	if b, ok := bits.Load(d); ok {
		return b.(protoreflect.MessageDescriptor), nil
	}
	set := &descriptorpb.FileDescriptorSet{}
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
		p := protodesc.ToFileDescriptorProto(f)
		for _, m := range p.MessageType {
			fixFloats(m)
		}
		set.File = append(set.File, p)
	}
	add(d.ParentFile())
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	found, err := files.FindDescriptorByName(d.FullName())
	if err != nil {
		return nil, err
	}
	b, ok := found.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no message type", d.FullName())
	}
	bits.Store(d, b)
	return b, nil
}

var bits sync.Map // of descriptors

func fixFloats(m *descriptorpb.DescriptorProto) {
	for _, f := range m.Field {
		if f.GetType() == descriptorpb.FieldDescriptorProto_TYPE_FLOAT {
			f.Type = descriptorpb.FieldDescriptorProto_TYPE_FIXED32.Enum()
			f.DefaultValue = nil
		}
	}
	for _, n := range m.NestedType {
		fixFloats(n)
	}
}
