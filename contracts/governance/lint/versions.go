package lint

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

var versionName = regexp.MustCompile(`^v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?$`)

// versionOf is the last part of a descriptor's package: "v2" of
// esper.adaptation.v2.
func versionOf(d protoreflect.Descriptor) string {
	f := d.ParentFile()
	if f == nil {
		return ""
	}
	name := string(f.Package())
	return name[strings.LastIndexByte(name, '.')+1:]
}

// file demands a package with a version that agrees with the file's folder.
func (l *linter) file(f protoreflect.FileDescriptor) {
	v := versionOf(f)
	if !versionName.MatchString(v) {
		l.report(PackageName, f, fmt.Sprintf("the package %q has no version", f.Package()), "a name that ends in .v1, .v2, ...")
		return
	}
	folder := ""
	for part := range strings.SplitSeq(path.Dir(filepath.ToSlash(l.schema.Position(f).File)), "/") {
		if versionName.MatchString(part) {
			folder = part
		}
	}
	if folder != "" && folder != v {
		l.report(PackageName, f, fmt.Sprintf("the package %s is in the folder %s", f.Package(), folder), "the folder %s, or a package of %s", v, folder)
	}
}

// sinceMessage, sinceField and sinceEnum hold a schema to its releases: what a
// reader of minor version 0 does not know must say since when it is there, and
// what it knows must not.

func (l *linter) sinceMessage(m protoreflect.MessageDescriptor) {
	l.since(m, uintOption(m, options.E_MessageSince), "message_since", func(r Release) bool {
		_, ok := r.Schema.Find(m.FullName()).(protoreflect.MessageDescriptor)
		return ok
	})
}

func (l *linter) sinceField(f protoreflect.FieldDescriptor) {
	l.since(f, uintOption(f, options.E_Since), "since", func(r Release) bool {
		m, ok := r.Schema.Find(f.Parent().FullName()).(protoreflect.MessageDescriptor)
		return ok && m.Fields().ByNumber(f.Number()) != nil
	})
}

func (l *linter) sinceEnum(e protoreflect.EnumDescriptor) {
	for i := range e.Values().Len() {
		v := e.Values().Get(i)
		l.since(v, uintOption(v, options.E_ValueSince), "value_since", func(r Release) bool {
			old, ok := r.Schema.Find(e.FullName()).(protoreflect.EnumDescriptor)
			return ok && old.Values().ByNumber(v.Number()) != nil
		})
	}
}

// since compares what an element says of itself, or the message around it,
// with the first release that has it.
func (l *linter) since(d protoreflect.Descriptor, own uint32, name string, in func(Release) bool) {
	v, ok := l.Versions[versionOf(d)]
	if !ok || len(v.Released) == 0 {
		return
	}
	said := own
	for p := d.Parent(); p != nil; p = p.Parent() {
		if m, ok := p.(protoreflect.MessageDescriptor); ok {
			said = max(said, uintOption(m, options.E_MessageSince))
		}
	}
	newest := v.Released[len(v.Released)-1].Minor
	born, released := newest+1, false
	for _, r := range v.Released {
		if in(r) {
			born, released = r.Minor, true
			break
		}
	}
	switch {
	case said == born:
	case released && born == 0:
		l.report(Since, d, fmt.Sprintf("%s says %s %d, and was there from the start", short(d), name, said), "no %s", name)
	case released:
		l.report(Since, d, fmt.Sprintf("%s says %s %d, and was released with minor version %d", short(d), name, said, born),
			"(esper.options.%s) = %d", name, born)
	default:
		l.report(Since, d, fmt.Sprintf("%s is in no released version, and says %s %d", short(d), name, said),
			"(esper.options.%s) = %d", name, born)
	}
}
