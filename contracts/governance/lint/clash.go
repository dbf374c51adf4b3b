package lint

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// clashes finds names that differ in the schema and not in the code generated
// from it: message A_B beside B nested in A are one type in Go; step_count and
// stepcount are one name wherever underscores go.
func (l *linter) clashes() {
	first := map[string]protoreflect.Descriptor{}
	declare := func(d protoreflect.Descriptor, ident string) {
		key := string(d.ParentFile().Package()) + "\x00" + ident
		if other := first[key]; other != nil {
			l.report(NameClash, d, fmt.Sprintf("%s and %s are both %s in Go", short(d), short(other), ident), "another name")
			return
		}
		first[key] = d
	}
	for _, m := range l.schema.Messages() {
		declare(m, goName(m))
		l.fieldClashes(m)
	}
	for _, e := range l.schema.Enums() {
		declare(e, goName(e))
		prefix := goName(e)
		if m, ok := e.Parent().(protoreflect.MessageDescriptor); ok {
			prefix = goName(m)
		}
		for i := range e.Values().Len() {
			v := e.Values().Get(i)
			declare(v, prefix+"_"+string(v.Name()))
		}
	}
}

func goName(d protoreflect.Descriptor) string {
	return strings.ReplaceAll(short(d), ".", "_")
}

func (l *linter) fieldClashes(m protoreflect.MessageDescriptor) {
	first := map[string]protoreflect.FieldDescriptor{}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		key := folded(string(f.Name()))
		if other := first[key]; other != nil {
			l.report(NameClash, f, fmt.Sprintf("%s and %s are one name without case and underscores", short(f), other.Name()), "another name")
			continue
		}
		first[key] = f
	}
}

// reservedMessage and reservedEnum look for reservations that do not hold:
// JSON has stepCount for step_count, so a reserved "stepCount" beside a field
// step_count reuses what was to rest.

func (l *linter) reservedMessage(m protoreflect.MessageDescriptor) {
	var names []string
	for i := range m.Fields().Len() {
		names = append(names, string(m.Fields().Get(i).Name()))
	}
	l.reserved(m, m.ReservedNames(), names)
}

func (l *linter) reservedEnum(e protoreflect.EnumDescriptor) {
	var names []string
	for i := range e.Values().Len() {
		names = append(names, string(e.Values().Get(i).Name()))
	}
	l.reserved(e, e.ReservedNames(), names)
}

func (l *linter) reserved(d protoreflect.Descriptor, rest protoreflect.Names, used []string) {
	seen := map[string]string{}
	for _, name := range used {
		seen[folded(name)] = "is in use as " + name
	}
	for i := range rest.Len() {
		name := string(rest.Get(i))
		if why := seen[folded(name)]; why != "" {
			l.report(Reserved, d, fmt.Sprintf("%s reserves %q, which %s", short(d), name, why), "a name that rests, once")
			continue
		}
		seen[folded(name)] = fmt.Sprintf("is reserved as %q", name)
	}
}
