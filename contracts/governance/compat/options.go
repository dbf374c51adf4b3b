package compat

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func (d *differ) options() {
	for _, f := range d.old.Files {
		for _, n := range d.new.Files {
			if n.Path() == f.Path() && n.Package() == f.Package() {
				d.option(f, n)
			}
		}
	}
	for _, p := range d.messagePairs {
		d.option(p.old, p.new)
		for i := range p.old.Fields().Len() {
			o := p.old.Fields().Get(i)
			n := p.new.Fields().ByName(o.Name())
			if n == nil {
				continue
			}
			d.option(o, n)
			if o.JSONName() != n.JSONName() {
				d.add(OptionChanged, d.new, n, fmt.Sprintf("%s is %q in JSON, was %q", n.FullName(), n.JSONName(), o.JSONName()))
			}
		}
		for i := range p.old.Oneofs().Len() {
			if n := p.new.Oneofs().ByName(p.old.Oneofs().Get(i).Name()); n != nil {
				d.option(p.old.Oneofs().Get(i), n)
			}
		}
	}
	for _, p := range d.enumPairs {
		d.option(p.old, p.new)
		for i := range p.old.Values().Len() {
			if n := p.new.Values().ByName(p.old.Values().Get(i).Name()); n != nil {
				d.option(p.old.Values().Get(i), n)
			}
		}
	}
	for _, s := range d.old.Services() {
		n, _ := own(d.new, s).(protoreflect.ServiceDescriptor)
		if n == nil {
			continue
		}
		d.option(s, n)
		for i := range s.Methods().Len() {
			if m := n.Methods().ByName(s.Methods().Get(i).Name()); m != nil {
				d.option(s.Methods().Get(i), m)
			}
		}
	}
}

// option compares what is set of the options, one by one. Whether a list is
// packed is no option here: it changes the wire.
func (d *differ) option(old, new protoreflect.Descriptor) {
	a, b := optionsOf(old), optionsOf(new)
	var names []string
	for k := range a {
		names = append(names, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			names = append(names, k)
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	for _, k := range names {
		if !bytes.Equal(a[k], b[k]) {
			what := "changed"
			switch {
			case a[k] == nil:
				what = "is new"
			case b[k] == nil:
				what = "is gone"
			}
			d.add(OptionChanged, d.new, new, fmt.Sprintf("option %s of %s %s", k, subject(new), what))
		}
	}
}

func subject(d protoreflect.Descriptor) string {
	if f, ok := d.(protoreflect.FileDescriptor); ok {
		return f.Path()
	}
	return string(d.FullName())
}

// optionsOf is each option by name, as bytes.
func optionsOf(d protoreflect.Descriptor) map[string][]byte {
	m := d.Options().ProtoReflect()
	if !m.IsValid() {
		return nil
	}
	out := map[string][]byte{}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		name := string(f.Name())
		if f.IsExtension() {
			name = "(" + string(f.FullName()) + ")"
		}
		if name == "packed" {
			return true
		}
		one := m.New()
		one.Set(f, v)
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(one.Interface())
		if err != nil {
			b = []byte(err.Error()) // an option that cannot be encoded equals itself
		}
		out[name] = append([]byte{1}, b...)
		return true
	})
	for raw := []byte(m.GetUnknown()); len(raw) > 0; {
		num, _, n := protowire.ConsumeField(raw)
		if n < 0 {
			break
		}
		k := fmt.Sprintf("(#%d)", num)
		out[k] = append(out[k], raw[:n]...)
		raw = raw[n:]
	}
	return out
}
