package compat

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// location is where the evidence for a change is looked for.
type location struct {
	old, new protoreflect.MessageDescriptor // nil: there is nothing to send
	oldScope exchange.Scope                 // with the old schema as the writer
	newScope exchange.Scope
	note     string // for both directions
	oldNote  string // for the old writer
	newNote  string
}

// detector finds one sort of changes.
type detector struct {
	name string
	find func(*differ)
}

func detectors() []detector {
	return []detector{
		{"files", (*differ).files},
		{"messages", (*differ).messages},
		{"fields", (*differ).fields},
		{"message reservations", (*differ).messageReservations},
		{"enums", (*differ).enums},
		{"enum reservations", (*differ).enumReservations},
		{"services", (*differ).services},
		{"options", (*differ).options},
		{"extensions", (*differ).extensions},
	}
}

// differ collects changes.
type differ struct {
	old, new *schema.Schema
	changes  []Change

	messagePairs []pairOf[protoreflect.MessageDescriptor]
	enumPairs    []pairOf[protoreflect.EnumDescriptor]
}

type pairOf[T any] struct{ old, new T }

func newDiffer(old, new *schema.Schema) *differ {
	d := &differ{old: old, new: new}
	for _, m := range old.Messages() {
		if n, ok := own(new, m).(protoreflect.MessageDescriptor); ok {
			d.messagePairs = append(d.messagePairs, pairOf[protoreflect.MessageDescriptor]{m, n})
		}
	}
	for _, e := range old.Enums() {
		if n, ok := own(new, e).(protoreflect.EnumDescriptor); ok {
			d.enumPairs = append(d.enumPairs, pairOf[protoreflect.EnumDescriptor]{e, n})
		}
	}
	return d
}

// own finds a definition of the same name among a schema's own files.
func own(s *schema.Schema, d protoreflect.Descriptor) protoreflect.Descriptor {
	o := s.Find(d.FullName())
	if o == nil || !slices.ContainsFunc(s.Files, func(f protoreflect.FileDescriptor) bool { return f.Path() == o.ParentFile().Path() }) {
		return nil
	}
	return o
}

// add notes a change; at is where it is in the new schema, or in the old one.
func (d *differ) add(kind Kind, s *schema.Schema, at protoreflect.Descriptor, text string) *Change {
	d.changes = append(d.changes, Change{
		Kind: kind, Subject: string(at.FullName()), Package: string(at.ParentFile().Package()),
		Position: s.Position(at), Text: text,
	})
	c := &d.changes[len(d.changes)-1]
	if f, ok := at.(protoreflect.FileDescriptor); ok {
		c.Subject = f.Path()
	}
	return c
}

func (d *differ) files() {
	byPath := func(s *schema.Schema) (map[string]protoreflect.FileDescriptor, map[protoreflect.FullName]protoreflect.FileDescriptor) {
		paths, packages := map[string]protoreflect.FileDescriptor{}, map[protoreflect.FullName]protoreflect.FileDescriptor{}
		for _, f := range s.Files {
			paths[f.Path()] = f
			if packages[f.Package()] == nil {
				packages[f.Package()] = f
			}
		}
		return paths, packages
	}
	oldPaths, oldPackages := byPath(d.old)
	newPaths, newPackages := byPath(d.new)
	for _, f := range d.old.Files {
		if newPaths[f.Path()] == nil {
			d.add(FileRemoved, d.old, f, fmt.Sprintf("file %s is gone", f.Path()))
		}
		if newPackages[f.Package()] == nil && oldPackages[f.Package()] == f {
			d.add(PackageRemoved, d.old, f, fmt.Sprintf("package %s is gone", f.Package())).Subject = string(f.Package())
		}
	}
	for _, f := range d.new.Files {
		if oldPaths[f.Path()] == nil {
			d.add(FileAdded, d.new, f, fmt.Sprintf("file %s is new", f.Path()))
		}
		if oldPackages[f.Package()] == nil && newPackages[f.Package()] == f {
			d.add(PackageAdded, d.new, f, fmt.Sprintf("package %s is new", f.Package())).Subject = string(f.Package())
		}
	}
}

// outermost leaves out what is within another of the list.
func outermost[T protoreflect.Descriptor](list []T, gone func(protoreflect.Descriptor) bool) []T {
	return slices.DeleteFunc(list, func(m T) bool {
		if !gone(m) {
			return true
		}
		p, ok := m.Parent().(protoreflect.MessageDescriptor)
		return ok && gone(p)
	})
}

func (d *differ) messages() {
	removed := outermost(d.old.Messages(), func(m protoreflect.Descriptor) bool { return own(d.new, m) == nil })
	added := outermost(d.new.Messages(), func(m protoreflect.Descriptor) bool { return own(d.old, m) == nil })
	for _, m := range removed {
		i := slices.IndexFunc(added, func(n protoreflect.MessageDescriptor) bool {
			return n.Parent().FullName() == m.Parent().FullName() && n.Fields().Len() > 0 && sameShape(m, n)
		})
		if i >= 0 {
			n := added[i]
			added = slices.Delete(added, i, i+1)
			c := d.add(MessageRenamed, d.new, n, fmt.Sprintf("message %s is now called %s", m.FullName(), n.Name()))
			c.where = location{old: m, new: n}
			continue
		}
		c := d.add(MessageRemoved, d.old, m, fmt.Sprintf("message %s is gone", m.FullName()))
		c.where.note = "the other side has no such type; who only passes its bytes on keeps them"
	}
	for _, m := range added {
		c := d.add(MessageAdded, d.new, m, fmt.Sprintf("message %s is new", m.FullName()))
		c.where.note = "the other side has no such type; who only passes its bytes on keeps them"
	}
	for _, p := range d.messagePairs {
		d.moved(p.old, p.new, "message")
	}
	for _, p := range d.enumPairs {
		d.moved(p.old, p.new, "enum")
	}
}

func (d *differ) moved(old, new protoreflect.Descriptor, what string) {
	_, top := old.Parent().(protoreflect.FileDescriptor)
	if a, b := old.ParentFile().Path(), new.ParentFile().Path(); top && a != b {
		d.add(DefinitionMoved, d.new, new, fmt.Sprintf("%s %s moved from %s to %s", what, new.FullName(), path.Base(a), path.Base(b)))
	}
}

// sameShape says that two definitions differ in their names only.
func sameShape(a, b protoreflect.MessageDescriptor) bool {
	x, y := protodesc.ToDescriptorProto(a), protodesc.ToDescriptorProto(b)
	x.Name, y.Name = nil, nil
	return proto.Equal(x, y)
}

func (d *differ) services() {
	old := map[protoreflect.FullName]protoreflect.ServiceDescriptor{}
	for _, s := range d.old.Services() {
		old[s.FullName()] = s
		if own(d.new, s) == nil {
			d.add(ServiceRemoved, d.old, s, fmt.Sprintf("service %s is gone", s.FullName()))
		}
	}
	for _, s := range d.new.Services() {
		o := old[s.FullName()]
		if o == nil {
			d.add(ServiceAdded, d.new, s, fmt.Sprintf("service %s is new", s.FullName()))
			continue
		}
		d.moved(o, s, "service")
		for i := range o.Methods().Len() {
			m := o.Methods().Get(i)
			n := s.Methods().ByName(m.Name())
			if n == nil {
				d.add(MethodRemoved, d.old, m, fmt.Sprintf("method %s is gone", m.FullName()))
				continue
			}
			d.method(m, n)
		}
		for i := range s.Methods().Len() {
			if m := s.Methods().Get(i); o.Methods().ByName(m.Name()) == nil {
				d.add(MethodAdded, d.new, m, fmt.Sprintf("method %s is new", m.FullName()))
			}
		}
	}
}

func (d *differ) method(m, n protoreflect.MethodDescriptor) {
	if a, b := m.Input(), n.Input(); a.FullName() != b.FullName() {
		c := d.add(MethodRequest, d.new, n, fmt.Sprintf("method %s takes %s, took %s", n.FullName(), b.FullName(), a.FullName()))
		c.where = location{old: a, new: b, note: "the request, written as the one type and read as the other"}
	}
	if a, b := m.Output(), n.Output(); a.FullName() != b.FullName() {
		c := d.add(MethodResponse, d.new, n, fmt.Sprintf("method %s returns %s, returned %s", n.FullName(), b.FullName(), a.FullName()))
		c.where = location{old: a, new: b, note: "the response, written as the one type and read as the other"}
	}
	stream := func(m protoreflect.MethodDescriptor) string {
		return fmt.Sprintf("%s, %s", one(m.IsStreamingClient(), "request"), one(m.IsStreamingServer(), "response"))
	}
	if a, b := stream(m), stream(n); a != b {
		c := d.add(MethodStreaming, d.new, n, fmt.Sprintf("method %s has %s; had %s", n.FullName(), b, a))
		c.where.note = "single messages stay as they are; how many there are does not"
	}
}

func one(stream bool, what string) string {
	if stream {
		return "a stream of " + what + "s"
	}
	return "one " + what
}

func (d *differ) extensions() {
	type ext = protoreflect.ExtensionDescriptor
	all := func(s *schema.Schema) []ext {
		var l []ext
		add := func(x protoreflect.ExtensionDescriptors) {
			for i := range x.Len() {
				l = append(l, x.Get(i))
			}
		}
		for _, f := range s.Files {
			add(f.Extensions())
		}
		for _, m := range s.Messages() {
			add(m.Extensions())
		}
		return l
	}
	for _, x := range all(d.old) {
		n, _ := own(d.new, x).(ext)
		switch {
		case n == nil:
			d.add(ExtensionRemoved, d.old, x, fmt.Sprintf("custom option %s is gone", x.FullName()))
		case n.Number() != x.Number() || typeName(n) != typeName(x) || n.ContainingMessage().FullName() != x.ContainingMessage().FullName():
			d.add(ExtensionChanged, d.new, n, fmt.Sprintf("custom option %s is %s = %d of %s, was %s = %d of %s", n.FullName(),
				typeName(n), n.Number(), n.ContainingMessage().FullName(), typeName(x), x.Number(), x.ContainingMessage().FullName()))
		}
	}
	for _, x := range all(d.new) {
		if own(d.old, x) == nil {
			d.add(ExtensionAdded, d.new, x, fmt.Sprintf("custom option %s is new", x.FullName()))
		}
	}
}

// typeName is a field's type as it would be written, lists included.
func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return fmt.Sprintf("map<%s, %s>", elementName(f.MapKey()), elementName(f.MapValue()))
	case f.IsList():
		return "repeated " + elementName(f)
	}
	return elementName(f)
}

func elementName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Enum() != nil:
		return "enum " + string(f.Enum().FullName())
	case f.Message() != nil:
		return string(f.Message().FullName())
	}
	return f.Kind().String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func joined[T any](l []T) string {
	parts := make([]string, len(l))
	for i, v := range l {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ", ")
}
