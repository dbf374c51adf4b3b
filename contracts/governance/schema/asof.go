package schema

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

// AsOf is a descriptor set as it was in an older minor version: without the
// messages, fields and enum values that say, in their options, that a newer
// one added them.
func AsOf(set *descriptorpb.FileDescriptorSet, minor uint32) *descriptorpb.FileDescriptorSet {
	set = proto.Clone(set).(*descriptorpb.FileDescriptorSet)
	for _, f := range set.File {
		f.MessageType = messagesAsOf(f.MessageType, minor)
		for _, e := range f.EnumType {
			e.Value = valuesAsOf(e.Value, minor)
		}
	}
	return set
}

func messagesAsOf(list []*descriptorpb.DescriptorProto, minor uint32) []*descriptorpb.DescriptorProto {
	list = slices.DeleteFunc(list, func(m *descriptorpb.DescriptorProto) bool {
		return proto.GetExtension(m.Options, options.E_MessageSince).(uint32) > minor
	})
	for _, m := range list {
		m.Field = slices.DeleteFunc(m.Field, func(f *descriptorpb.FieldDescriptorProto) bool {
			return proto.GetExtension(f.Options, options.E_Since).(uint32) > minor
		})
		m.NestedType = messagesAsOf(m.NestedType, minor)
		for _, e := range m.EnumType {
			e.Value = valuesAsOf(e.Value, minor)
		}
		dropEmptyOneofs(m)
	}
	return list
}

func valuesAsOf(list []*descriptorpb.EnumValueDescriptorProto, minor uint32) []*descriptorpb.EnumValueDescriptorProto {
	return slices.DeleteFunc(list, func(v *descriptorpb.EnumValueDescriptorProto) bool {
		return proto.GetExtension(v.Options, options.E_ValueSince).(uint32) > minor
	})
}

// dropEmptyOneofs takes out the oneofs whose last field is gone, and numbers
// the others anew.
func dropEmptyOneofs(m *descriptorpb.DescriptorProto) {
	for i := len(m.OneofDecl) - 1; i >= 0; i-- {
		used := slices.ContainsFunc(m.Field, func(f *descriptorpb.FieldDescriptorProto) bool {
			return f.OneofIndex != nil && *f.OneofIndex == int32(i)
		})
		if used {
			continue
		}
		m.OneofDecl = slices.Delete(m.OneofDecl, i, i+1)
		for _, f := range m.Field {
			if f.OneofIndex != nil && *f.OneofIndex > int32(i) {
				f.OneofIndex = proto.Int32(*f.OneofIndex - 1)
			}
		}
	}
}
