package golden

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Fill appends to the table of a folder of contracts an entry with every field
// set for each message type of which some field is set in no fixture, and one
// for each further arm of its oneofs. Where there is no table, it writes one.
// It returns the paths of the new entries; the files themselves are written by
// Update.
//
// The values are made of field numbers and list positions: the same schema
// gives the same table.
func Fill(dir string) ([]string, error) {
	name := filepath.Join(dir, Folder, TableName)
	text, err := os.ReadFile(name)
	var set *Set
	if errors.Is(err, fs.ErrNotExist) {
		s, err := loadSchema(dir)
		if err != nil {
			return nil, err
		}
		set = &Set{Dir: dir, Schema: s, Table: &Table{File: name}}
		text = []byte("# Messages whose bytes never change: see espersim contracts golden --help.\nfixtures:\n")
	} else if set, err = Load(dir); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	for _, f := range set.Table.Fixtures {
		taken[f.Path()] = true
	}
	var added []string
	if i := bytes.LastIndexByte(bytes.TrimRight(text, "\n"), '\n'); bytes.Contains(text[i+1:], []byte("fixtures: []")) {
		text = append(text[:i+1:i+1], "fixtures:\n"...)
	}
	out := bytes.NewBuffer(bytes.TrimRight(text, "\n"))
	out.WriteByte('\n')
	for _, c := range set.coverage() {
		if len(c.Fixtures) > 0 && len(c.Missing) == 0 {
			continue
		}
		version := versionOf(c.Message)
		if version == "" {
			version = "v1"
		}
		for _, arms := range armsFor(c) {
			m := dynamicpb.NewMessage(c.Message)
			fillMessage(m, arms, nil)
			base := fileBase(c.Message)
			for _, a := range arms {
				base += "_" + string(a.Name())
			}
			file := version + "/" + strings.ToLower(base) + ".bin"
			for n := 2; taken[file]; n++ {
				file = fmt.Sprintf("%s/%s_%d.bin", version, strings.ToLower(base), n)
			}
			taken[file] = true
			added = append(added, file)
			fmt.Fprintf(out, "  - version: %s\n    file: %s\n    message: %s\n    text: |\n",
				version, filepath.Base(file), c.Message.FullName())
			lines := textOf(m)
			if len(lines) == 0 {
				lines = []string{"# no fields"}
			}
			for _, line := range lines {
				fmt.Fprintf(out, "      %s\n", line)
			}
		}
	}
	if len(added) == 0 {
		return nil, nil
	}
	// A table that this program could not read again would be worse than none.
	if _, err := ParseTable(name, out.Bytes()); err != nil {
		return nil, fmt.Errorf("the new entries do not fit behind the table's last line: %w", err)
	}
	return added, writeWhole(name, out.Bytes())
}

// fileBase is what the fixture of a type is called: the package's name before
// its version, and the type's.
func fileBase(d protoreflect.MessageDescriptor) string {
	pkg := string(d.ParentFile().Package())
	parts := strings.Split(pkg, ".")
	if versionForm.MatchString(parts[len(parts)-1]) {
		parts = parts[:len(parts)-1]
	}
	base := ""
	if len(parts) > 0 && parts[len(parts)-1] != "" {
		base = parts[len(parts)-1] + "_"
	}
	name := strings.TrimPrefix(strings.TrimPrefix(string(d.FullName()), pkg), ".")
	return strings.TrimLeft(base+strings.TrimLeft(snake(strings.ReplaceAll(name, ".", "")), "_")+"_full", "_")
}

// snake writes FieldReport as field_report and BlueprintIR as blueprint_ir.
func snake(s string) string {
	var b strings.Builder
	r := []rune(s)
	for i, c := range r {
		if unicode.IsUpper(c) && i > 0 && (!unicode.IsUpper(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) && r[i-1] != '_' {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// armsFor chooses the arms of the fixtures that a type lacks: all of them for a
// type without fixtures, otherwise those that set a missing arm.
func armsFor(c Coverage) [][]protoreflect.FieldDescriptor {
	choices := armChoices(c.Message)
	if len(c.Fixtures) == 0 {
		return choices
	}
	var need [][]protoreflect.FieldDescriptor
	for _, arms := range choices {
		for _, a := range arms {
			if slices.Contains(c.Missing, string(a.Name())) {
				need = append(need, arms)
				break
			}
		}
	}
	if len(need) == 0 {
		return choices[:1]
	}
	return need
}

// armChoices says which arms of the message's oneofs are set in which of its
// fixtures: as many choices as the largest oneof has arms, so that each arm is
// in one.
func armChoices(d protoreflect.MessageDescriptor) [][]protoreflect.FieldDescriptor {
	most := 1
	for i := range d.Oneofs().Len() {
		if o := d.Oneofs().Get(i); !o.IsSynthetic() {
			most = max(most, o.Fields().Len())
		}
	}
	choices := make([][]protoreflect.FieldDescriptor, most)
	for i := range d.Oneofs().Len() {
		o := d.Oneofs().Get(i)
		if o.IsSynthetic() {
			continue
		}
		for k := range choices {
			choices[k] = append(choices[k], o.Fields().Get(k%o.Fields().Len()))
		}
	}
	return choices
}

// fillMessage sets every field; of a oneof the given arm, or the first one. A
// type that contains itself is filled once inside of itself.
func fillMessage(m protoreflect.Message, arms []protoreflect.FieldDescriptor, above []protoreflect.FullName) {
	d := m.Descriptor()
	inside := 0
	for _, a := range above {
		if a == d.FullName() {
			inside++
		}
	}
	above = append(above, d.FullName())
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
			chosen := o.Fields().Get(0)
			for _, a := range arms {
				if a.ContainingOneof() == o {
					chosen = a
				}
			}
			if f != chosen {
				continue
			}
		}
		recursive := func(t protoreflect.MessageDescriptor) bool {
			for _, a := range above {
				if t != nil && a == t.FullName() && inside > 0 {
					return true
				}
			}
			return false
		}
		switch {
		case f.IsMap():
			if recursive(f.MapValue().Message()) {
				continue
			}
			mp := m.Mutable(f).Map()
			key := scalar(f.MapKey(), 0).MapKey()
			if f.MapValue().Message() != nil {
				fillMessage(mp.Mutable(key).Message(), nil, above)
			} else {
				mp.Set(key, scalar(f.MapValue(), 0))
			}
		case recursive(f.Message()):
		case f.IsList() && f.Message() != nil:
			fillMessage(m.Mutable(f).List().AppendMutable().Message(), nil, above)
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f, 0))
			m.Mutable(f).List().Append(scalar(f, 1))
		case f.Message() != nil:
			fillMessage(m.Mutable(f).Message(), nil, above)
		default:
			m.Set(f, scalar(f, 0))
		}
	}
	seconds, nanos := d.Fields().ByName("seconds"), d.Fields().ByName("nanos")
	switch d.FullName() {
	case "google.protobuf.Timestamp":
		m.Set(seconds, protoreflect.ValueOfInt64(1767225600)) // 2026-01-01T00:00:00Z
		m.Set(nanos, protoreflect.ValueOfInt32(123456789))
	case "google.protobuf.Duration":
		m.Set(seconds, protoreflect.ValueOfInt64(-90))
		m.Set(nanos, protoreflect.ValueOfInt32(-500000000))
	}
}

// scalar is the value of a field of which position elements stand before it.
// Signed numbers of even field numbers are negative.
func scalar(f protoreflect.FieldDescriptor, position int) protoreflect.Value {
	n := int64(f.Number())*100 + int64(position) + 1
	signed := n
	if f.Number()%2 == 0 {
		signed = -n
	}
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(position == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(lastValue(f.Enum()))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(signed % (1 << 30)))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(signed << 32)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(n) << 32)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(signed) / 8)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(signed) / 8)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(string(f.Name()) + " " + strconv.Itoa(position+1))
	}
	return protoreflect.ValueOfBytes([]byte{0, 0xff, byte(n), byte(position)})
}

// lastValue is the value of an enum that is farthest from zero.
func lastValue(e protoreflect.EnumDescriptor) protoreflect.EnumNumber {
	last := protoreflect.EnumNumber(0)
	for i := range e.Values().Len() {
		if v := e.Values().Get(i).Number(); v > last || last == 0 {
			last = v
		}
	}
	return last
}
