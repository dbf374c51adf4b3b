// Package lint checks a schema for what must not cross a plane: maps, float
// counters, oneofs that span planes, times without a unit. It reads descriptors,
// never text: `map <string, int32>` is a map whatever its spacing, and the word
// map in a comment is none.
package lint

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
	"github.com/esper-sim/espersim/contracts/governance/finding"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Rules of Check, as its findings name them.
const (
	MapField     = "map-field"
	FloatCounter = "float-counter"
	OneofPlanes  = "oneof-planes"
	OneofRoute   = "oneof-route"
	EnumZero     = "enum-zero"
	TimeUnit     = "time-unit"
	PackageName  = "package-version"
	GoPackage    = "go-package"
	NameClash    = "name-clash"
	Reserved     = "reserved"
	Since        = "since"
)

// Settings is what the rules know besides the schema.
type Settings struct {
	// Topics are the payload types that may travel on a topic, by full name.
	Topics map[string][]string
	// Consumers are the subsystems that read a topic.
	Consumers map[string][]string
	// Planes is the plane of every subsystem; nil stands for Esper's.
	Planes map[string]string
	// Versions are the releases of each version, by its name, such as "v2". A
	// version that is missing here is not held to its releases.
	Versions map[string]Version
}

// A Version is what has been released of one major version.
type Version struct {
	// Frozen: the version is read and never written, and cannot be changed any
	// more. Its oneofs cross no plane.
	Frozen bool
	// Released are the released minor versions, the oldest first.
	Released []Release
}

// A Release is one minor version.
type Release struct {
	Minor  uint32
	Schema *schema.Schema
}

// Check returns what is wrong with the schema's own files, in the order of
// places.
func Check(s *schema.Schema, settings Settings) []finding.Finding {
	l := &linter{Settings: settings, schema: s}
	if l.Planes == nil {
		l.Planes = Planes
	}
	for _, f := range s.Files {
		l.file(f)
	}
	for _, m := range s.Messages() {
		l.message(m)
	}
	for _, e := range s.Enums() {
		l.enum(e)
	}
	for _, f := range s.Files {
		l.fields(f.Extensions())
	}
	l.goPackages()
	l.clashes()
	finding.Sort(l.found)
	return l.found
}

type linter struct {
	Settings
	schema *schema.Schema
	found  []finding.Finding
}

func (l *linter) report(rule string, at protoreflect.Descriptor, what, want string, args ...any) {
	p := l.schema.Position(at)
	if f, ok := at.(protoreflect.FileDescriptor); ok { // of a file: the line of its package
		const packageStatement = 2
		if loc := f.SourceLocations().ByPath(protoreflect.SourcePath{packageStatement}); len(loc.Path) > 0 {
			p.Line, p.Column = loc.StartLine+1, loc.StartColumn+1
		}
	}
	l.found = append(l.found, finding.Finding{Rule: rule, Position: p, What: what, Want: fmt.Sprintf(want, args...)})
}

func (l *linter) message(m protoreflect.MessageDescriptor) {
	l.fields(m.Fields())
	l.fields(m.Extensions())
	for i := range m.Oneofs().Len() {
		if o := m.Oneofs().Get(i); !o.IsSynthetic() {
			l.oneof(o)
		}
	}
	l.sinceMessage(m)
	l.reservedMessage(m)
}

func (l *linter) fields(list interface {
	Len() int
	Get(int) protoreflect.FieldDescriptor
}) {
	for i := range list.Len() {
		f := list.Get(i)
		l.mapField(f)
		l.floatCounter(f)
		l.timeUnit(f)
		if !f.IsExtension() {
			l.sinceField(f)
		}
	}
}

// mapField finds maps (C1). Their entries have no order, so that one message
// has many encodings.
func (l *linter) mapField(f protoreflect.FieldDescriptor) {
	if f.IsMap() {
		l.report(MapField, f, fmt.Sprintf("%s is a map, whose encoding has no one order", short(f)),
			"a repeated message of key and value, sorted by key")
	}
}

// enum demands that the zero, which a lost field reads as, means nothing.
func (l *linter) enum(e protoreflect.EnumDescriptor) {
	l.sinceEnum(e)
	l.reservedEnum(e)
	zero := e.Values().ByNumber(0)
	if zero == nil { // proto3 has one; a damaged descriptor set may not
		l.report(EnumZero, e, fmt.Sprintf("%s has no value 0", short(e)), "a first value %s = 0", zeroName(e))
		return
	}
	parts := tokens(string(zero.Name()))
	unspecified := len(parts) > 0 && parts[len(parts)-1] == "unspecified"
	switch isValue := boolOption(e, options.E_ZeroIsValue); {
	case isValue && unspecified:
		l.report(EnumZero, zero, fmt.Sprintf("%s is a value by its option and none by its name", zero.Name()),
			"the name of a value, or no zero_is_value")
	case !isValue && !unspecified:
		l.report(EnumZero, zero, fmt.Sprintf("%s is what a lost field reads as, and means something", zero.Name()),
			"%s = 0, or (esper.options.zero_is_value) and a validator that refuses it", zeroName(e))
	}
}

func zeroName(e protoreflect.EnumDescriptor) string {
	return upperSnake(string(e.Name())) + "_UNSPECIFIED"
}

// short is a descriptor's name as people say it: with its message, without its
// package.
func short(d protoreflect.Descriptor) string {
	name := string(d.FullName())
	if f := d.ParentFile(); f != nil && f.Package() != "" {
		name = name[len(f.Package())+1:]
	}
	return name
}

// option is the value of an extension, and whether it is set.
func option(d protoreflect.Descriptor, x protoreflect.ExtensionType) (any, bool) {
	o, ok := d.Options().(proto.Message)
	if !ok || !o.ProtoReflect().IsValid() || !proto.HasExtension(o, x) {
		return nil, false
	}
	return proto.GetExtension(o, x), true
}

func boolOption(d protoreflect.Descriptor, x protoreflect.ExtensionType) bool {
	v, _ := option(d, x)
	b, _ := v.(bool)
	return b
}

func uintOption(d protoreflect.Descriptor, x protoreflect.ExtensionType) uint32 {
	v, _ := option(d, x)
	n, _ := v.(uint32)
	return n
}

// goPackages demands a Go import path in every file, and one package for each.
func (l *linter) goPackages() {
	first := map[string]protoreflect.FileDescriptor{}
	for _, f := range l.schema.Files {
		o, _ := f.Options().(*descriptorpb.FileOptions)
		path := o.GetGoPackage()
		if path == "" {
			l.report(GoPackage, f, f.Path()+" has no go_package, without which protoc-gen-go writes nothing",
				`option go_package = "IMPORT/PATH;name";`)
			continue
		}
		if other := first[path]; other != nil && other.Package() != f.Package() {
			l.report(GoPackage, f, fmt.Sprintf("%s and %s are two packages with one go_package", f.Package(), other.Package()),
				"a Go import path of its own for %s", f.Package())
			continue
		}
		first[path] = f
	}
}
