package dynamic

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Decode reads b as protobuf does: unknown fields are kept, bytes that are not
// canonical are accepted.
func Decode(d protoreflect.MessageDescriptor, b []byte) (*dynamicpb.Message, error) {
	m := dynamicpb.NewMessage(d)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	return m, nil
}

// Accept reads b under the accept rule: the canonical encoding of what is
// decoded is b again, there is no unknown field and no unknown enum value, and
// Durations and Timestamps are valid. The error says what is wrong and where.
func Accept(d protoreflect.MessageDescriptor, b []byte) (*dynamicpb.Message, error) {
	m, err := Decode(d, b)
	if err != nil {
		return nil, err
	}
	if err := known(m, string(d.Name())); err != nil {
		return nil, err
	}
	if again := Encode(m); !bytes.Equal(again, b) {
		at := 0
		for at < len(b) && at < len(again) && b[at] == again[at] {
			at++
		}
		return nil, fmt.Errorf("the encoding is not canonical: it differs at offset %d from %x", at, again)
	}
	return m, nil
}

// known refuses what survives decoding and encoding unchanged and is wrong all
// the same.
func known(m protoreflect.Message, path string) error {
	d := m.Descriptor()
	if raw := m.GetUnknown(); len(raw) > 0 {
		n, wire, _ := protowire.ConsumeField(raw)
		if f := d.Fields().ByNumber(n); f != nil {
			return fmt.Errorf("%s.%s has wire type %d, which is none of a %v", path, f.Name(), wire, f.Kind())
		}
		return fmt.Errorf("%s has an unknown field %d", path, n)
	}
	switch d.FullName() {
	case "google.protobuf.Duration":
		x := &durationpb.Duration{Seconds: m.Get(d.Fields().ByNumber(1)).Int(), Nanos: int32(m.Get(d.Fields().ByNumber(2)).Int())}
		if err := x.CheckValid(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	case "google.protobuf.Timestamp":
		x := &timestamppb.Timestamp{Seconds: m.Get(d.Fields().ByNumber(1)).Int(), Nanos: int32(m.Get(d.Fields().ByNumber(2)).Int())}
		if err := x.CheckValid(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	var err error
	one := func(f protoreflect.FieldDescriptor, v protoreflect.Value, at string) bool {
		switch {
		case f.Enum() != nil && f.Enum().Values().ByNumber(v.Enum()) == nil:
			err = fmt.Errorf("%s: %s has no value %d", at, f.Enum().Name(), v.Enum())
		case f.Message() != nil:
			err = known(v.Message(), at)
		}
		return err == nil
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := path + "." + string(f.Name())
		switch {
		case f.IsMap():
			v.Map().Range(func(k protoreflect.MapKey, e protoreflect.Value) bool {
				return one(f.MapValue(), e, fmt.Sprintf("%s[%v]", at, k))
			})
		case f.IsList():
			for i := range v.List().Len() {
				if !one(f, v.List().Get(i), fmt.Sprintf("%s[%d]", at, i)) {
					break
				}
			}
		default:
			one(f, v, at)
		}
		return err == nil
	})
	return err
}
