package dynamic

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/contracts/canon"
)

// Deviation is the first reason for which generated code of the type would
// refuse b, or nil where it would not. The entries of maps, which generated
// code does not have, are taken as they are.
func Deviation(d protoreflect.MessageDescriptor, b []byte) *canon.Error {
	switch d.FullName() {
	case "google.protobuf.Timestamp":
		return asError(canon.ParseTimestamp(new(timestamppb.Timestamp), b), 0)
	case "google.protobuf.Duration":
		return asError(canon.ParseDuration(new(durationpb.Duration), b), 0)
	}
	fields := make([]protoreflect.FieldDescriptor, d.Fields().Len())
	for i := range fields {
		fields[i] = d.Fields().Get(i)
	}
	slices.SortFunc(fields, func(x, y protoreflect.FieldDescriptor) int { return cmp.Compare(x.Number(), y.Number()) })
	s := canon.Schema{Name: string(d.FullName())}
	for _, f := range fields {
		x := canon.Field{Number: f.Number(), Name: string(f.Name()), Wire: canon.WireOf(f.Kind()), Elem: protowire.BytesType}
		if f.IsPacked() {
			x.Wire, x.Elem = protowire.BytesType, canon.WireOf(f.Kind())
		}
		x.List = f.IsList() && !f.IsPacked() || f.IsMap()
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			x.Oneof = o.Index() + 1
		}
		s.Fields = append(s.Fields, x)
	}
	arms := map[int]bool{} // oneofs with an arm
	tag, i := canon.Tag(b, 0)
	for k, f := range fields {
		x := &s.Fields[k]
		for want := protowire.EncodeTag(x.Number, x.Wire); tag == want; {
			if x.Oneof != 0 {
				if arms[x.Oneof] {
					return asError(s.Fail(x.Number, canon.TwoArms, i), 0)
				}
				arms[x.Oneof] = true
			}
			n, err := deviationOfField(&s, f, b, i)
			if err != nil {
				return err
			}
			tag, i = canon.Tag(b, n)
			if !x.List {
				break
			}
		}
	}
	if tag != canon.End {
		return asError(s.Unexpected(b, tag, i), 0)
	}
	return nil
}

// asError is the *canon.Error in err, moved by offset.
func asError(err error, offset int) *canon.Error {
	e, ok := err.(*canon.Error)
	if !ok {
		return nil
	}
	e.Offset += offset
	return e
}

// deviationOfField reads the value at b[i:] and returns the offset behind it.
func deviationOfField(s *canon.Schema, f protoreflect.FieldDescriptor, b []byte, i int) (int, *canon.Error) {
	fail := func(r canon.Reason, at int) (int, *canon.Error) { return 0, asError(s.Fail(f.Number(), r, at), 0) }
	implicit := !f.HasPresence() && !f.IsList() && !f.IsMap()
	if canon.WireOf(f.Kind()) != protowire.BytesType && !f.IsPacked() {
		v, n, r := number(f, b, i)
		switch {
		case r != 0:
			return fail(r, i)
		case v == 0 && implicit:
			return fail(canon.ExplicitZero, i)
		}
		return n, nil
	}
	at, n := canon.Span(b, i)
	switch {
	case n < 0:
		return fail(canon.Reason(-n), at)
	case at == n && (implicit || f.IsPacked()):
		return fail(canon.ExplicitZero, i)
	}
	switch {
	case f.IsPacked():
		for i := at; i < n; {
			_, next, r := number(f, b[:n], i)
			if r != 0 {
				return fail(r, i)
			}
			i = next
		}
	case f.IsMap():
	case f.Message() != nil:
		if err := Deviation(f.Message(), b[at:n]); err != nil {
			err.Offset += at
			return 0, err
		}
	case f.Kind() == protoreflect.StringKind && !canon.ValidUTF8(b[at:n]):
		return fail(canon.BadUTF8, at)
	}
	return n, nil
}

// number reads the bits of a number at b[i:], and refuses what is no value of
// the field's type.
func number(f protoreflect.FieldDescriptor, b []byte, i int) (v uint64, n int, r canon.Reason) {
	switch canon.WireOf(f.Kind()) {
	case protowire.Fixed32Type:
		var v32 uint32
		v32, n = canon.Fixed32(b, i)
		v = uint64(v32)
	case protowire.Fixed64Type:
		v, n = canon.Fixed64(b, i)
	default:
		v, n = canon.Uvarint(b, i)
	}
	if n < 0 {
		return 0, 0, canon.Reason(-n)
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		if v > 1 {
			r = canon.BadBool
		}
	case protoreflect.Uint32Kind, protoreflect.Sint32Kind:
		if v > math.MaxUint32 {
			r = canon.Overflow
		}
	case protoreflect.Int32Kind:
		r = canon.Int32(v)
	case protoreflect.EnumKind:
		if r = canon.Int32(v); r == 0 && f.Enum().Values().ByNumber(protoreflect.EnumNumber(int32(v))) == nil {
			r = canon.UnknownEnum
		}
	}
	return v, n, r
}

// Explain says why a receiver refuses b: the field by its path, the offset and
// the reason. It is empty where Deviation finds nothing.
func Explain(d protoreflect.MessageDescriptor, b []byte) string {
	e := Deviation(d, b)
	if e == nil {
		return ""
	}
	return fmt.Sprintf("%s at byte %d: %v", FieldAt(d, b, e.Offset), e.Offset, e.Reason)
}
