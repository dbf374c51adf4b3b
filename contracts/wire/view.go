package wire

import (
	"bytes"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

// Two generated minor versions of one package cannot live in one program:
// their names collide. A process of an older minor version therefore has the
// newest code, and a view: what its version does not have is hidden from it,
// in the way in which a decoder of that version would not know it.

// growing is a message type that can hold what a minor version added.
type growing interface{ MinorNeeded() uint32 }

// minorNeeded is the oldest minor version that has all that m holds.
func minorNeeded(m canon.Message) uint32 {
	if g, ok := m.(growing); ok {
		return g.MinorNeeded()
	}
	return 0
}

// Expressible says whether a message keeps its meaning when it is written as
// an older minor version. New fields are additions: it does without them. A
// new enum value is not: without it the message says something else, or
// nothing.
func Expressible(m canon.Message, minor uint32) bool {
	if minorNeeded(m) <= minor {
		return true
	}
	ok := true
	walk(m.ProtoReflect(), minor, func(_ protoreflect.Message, f protoreflect.FieldDescriptor) {
		if fieldSince(f) <= minor {
			ok = false // it is here for its value
		}
	})
	return ok
}

// written is m as a writer of an older minor version has it: without what is
// newer.
func written(m canon.Message, minor uint32) canon.Message {
	m = proto.Clone(m).(canon.Message)
	walk(m.ProtoReflect(), minor, func(in protoreflect.Message, f protoreflect.FieldDescriptor) { in.Clear(f) })
	return m
}

// hide takes from m what a reader of an older minor version does not know, and
// keeps its bytes as unknown fields: encoded again, m is what it was. An enum
// value that the reader does not know reads as unset, which is UNSPECIFIED.
func hide(m canon.Message, minor uint32) {
	walk(m.ProtoReflect(), minor, func(in protoreflect.Message, f protoreflect.FieldDescriptor) {
		one := in.New()
		one.Set(f, in.Get(f))
		raw := canon.AppendReflect(nil, one)
		in.Clear(f)
		in.SetUnknown(append(in.GetUnknown(), raw...))
	})
}

// walk calls do for the fields that hold what the minor version does not have,
// inner messages first.
func walk(m protoreflect.Message, minor uint32, do func(protoreflect.Message, protoreflect.FieldDescriptor)) {
	var newer []protoreflect.FieldDescriptor
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if fieldSince(f) > minor {
			newer = append(newer, f)
			return true
		}
		switch {
		case f.Message() != nil && f.IsList():
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), minor, do)
			}
		case f.Message() != nil:
			walk(v.Message(), minor, do)
		case f.Enum() != nil && f.IsList():
			for i := range v.List().Len() {
				if !knows(f.Enum(), v.List().Get(i).Enum(), minor) {
					newer = append(newer, f)
					break
				}
			}
		case f.Enum() != nil && !knows(f.Enum(), v.Enum(), minor):
			newer = append(newer, f)
		}
		return true
	})
	for _, f := range newer {
		do(m, f)
	}
}

func fieldSince(f protoreflect.FieldDescriptor) uint32 {
	return proto.GetExtension(f.Options(), options.E_Since).(uint32)
}

// knows says whether a minor version has a value of an enum.
func knows(e protoreflect.EnumDescriptor, n protoreflect.EnumNumber, minor uint32) bool {
	v := e.Values().ByNumber(n)
	return v != nil && proto.GetExtension(v.Options(), options.E_ValueSince).(uint32) <= minor
}

// Read decodes b, which was written as the minor version wrote, into m as a
// reader of version v has it. What the reader does not know is kept as unknown
// fields, so that encoding m gives b again. The error is a *Refusal.
//
// Bytes of the reader's own minor version or an older one are held to it:
// they have nothing that it does not know.
func (v Version) Read(m canon.Message, b []byte, wrote uint32) error {
	if wrote <= v.Minor {
		if err := m.ParseCanonical(b); err != nil {
			return refuse(err)
		}
		if n := minorNeeded(m); n > wrote {
			return &Refusal{Reason: NonCanonical,
				Detail: fmt.Sprintf("%s is said to be of version %d.%d and holds what %d.%d has", m.FullName(), v.Major, wrote, v.Major, n)}
		}
		return nil
	}
	if wrote <= Newest.Minor { // all of it is known to this program
		if err := m.ParseCanonical(b); err != nil {
			return refuse(err)
		}
		hide(m, v.Minor)
		return nil
	}
	// From the future. The accept rule is the same: encoded again it is b.
	proto.Reset(m)
	if err := proto.Unmarshal(b, m); err != nil {
		return &Refusal{Reason: Malformed, Detail: m.FullName() + ": " + err.Error()}
	}
	if err := valid(m.ProtoReflect()); err != nil {
		return &Refusal{Reason: NonCanonical, Detail: err.Error()}
	}
	hide(m, v.Minor)
	if again := m.AppendCanonical(nil); !bytes.Equal(again, b) {
		return &Refusal{Reason: NonCanonical, Detail: fmt.Sprintf("%s: encoded again it is %x", m.FullName(), again)}
	}
	return nil
}

// Reread decodes what a process of version v wrote for itself, in a log or a
// checkpoint: it may hold, as unknown fields, what the process did not know. m
// should be empty.
func (v Version) Reread(m canon.Message, b []byte) error {
	if err := m.ParseCanonical(b); err != nil {
		return v.Read(m, b, math.MaxUint32)
	}
	if minorNeeded(m) > v.Minor {
		hide(m, v.Minor)
	}
	return nil
}

// valid refuses what encoding again does not show: a known field with another
// wire type, which protobuf keeps as an unknown one, and times out of range.
func valid(m protoreflect.Message) error {
	d := m.Descriptor()
	for rest := m.GetUnknown(); len(rest) > 0; {
		n, wire, size := protowire.ConsumeField(rest)
		if f := d.Fields().ByNumber(n); f != nil || size < 0 {
			return fmt.Errorf("%s.%s has the wire type %d", d.FullName(), f.Name(), wire)
		}
		rest = rest[size:]
	}
	switch t := m.Interface().(type) {
	case *timestamppb.Timestamp:
		return t.CheckValid()
	case *durationpb.Duration:
		return t.CheckValid()
	}
	var err error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() != nil && f.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = valid(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			err = valid(v.Message())
		}
		return err == nil
	})
	return err
}
