package schema

import (
	"slices"
	"strings"

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
		f.EnumType = enumsAsOf(f.EnumType, minor)
	}
	// A file of which nothing is left was not there yet.
	set.File = slices.DeleteFunc(set.File, func(f *descriptorpb.FileDescriptorProto) bool {
		return len(f.MessageType) == 0 && len(f.EnumType) == 0 && len(f.Extension) == 0 && len(f.Service) == 0
	})
	for _, f := range set.File {
		dropUnusedImports(f, set)
	}
	return set
}

// enumsAsOf takes out the enums of which no value was there.
func enumsAsOf(list []*descriptorpb.EnumDescriptorProto, minor uint32) []*descriptorpb.EnumDescriptorProto {
	for _, e := range list {
		e.Value = valuesAsOf(e.Value, minor)
	}
	return slices.DeleteFunc(list, func(e *descriptorpb.EnumDescriptorProto) bool { return len(e.Value) == 0 })
}

// dropUnusedImports takes out imports of files of the set, and of the options,
// that what is left needs no more.
func dropUnusedImports(f *descriptorpb.FileDescriptorProto, set *descriptorpb.FileDescriptorSet) {
	text := f.String() // names of types are in it in full, options by their extensions
	for i := len(f.Dependency) - 1; i >= 0; i-- {
		name := f.Dependency[i]
		of := slices.IndexFunc(set.File, func(d *descriptorpb.FileDescriptorProto) bool { return d.GetName() == name })
		switch {
		case name == "options/options.proto":
			if strings.Contains(text, "[esper.options.") {
				continue
			}
		case of < 0:
			if !strings.HasPrefix(name, "v2/") {
				continue // of others: google's
			}
		case strings.Contains(text, "\"."+set.File[of].GetPackage()+"."):
			continue
		}
		f.Dependency = slices.Delete(f.Dependency, i, i+1)
	}
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
		m.EnumType = enumsAsOf(m.EnumType, minor)
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
