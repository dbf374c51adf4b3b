package scenarios

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/esper-sim/espersim/faults"
)

// An Error says what is wrong with a scenario file, and where.
type Error struct {
	File         string
	Line, Column int
	Wrong        string
	Want         string
}

// Error implements error: file:line:column, what is wrong, what would be right.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Wrong)
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// decoder fills Go values from YAML nodes, strictly: an unknown key, a wrong
// type or a value out of range is an *Error that names the place.
type decoder struct {
	file string
	at   map[string]*yaml.Node // where each path, such as "plan[2].fault", stands
}

func (d *decoder) bad(n *yaml.Node, wrong, want string) *Error {
	return &Error{File: d.file, Line: max(n.Line, 1), Column: max(n.Column, 1), Wrong: wrong, Want: want}
}

// textual is implemented by values that are written as one scalar.
type textual interface{ parseText(s string) error }

func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) error {
	d.at[path] = n
	if n.Kind == yaml.AliasNode {
		return d.bad(n, "an alias", "the value itself")
	}
	if v.CanAddr() {
		if t, ok := v.Addr().Interface().(textual); ok {
			if n.Kind != yaml.ScalarNode {
				return d.bad(n, path+" is "+kindName(n), "text")
			}
			if err := t.parseText(n.Value); err != nil {
				e := d.bad(n, path+": "+err.Error(), "")
				if fe, ok := err.(*faults.FormatError); ok && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
					e.Column += fe.Column - 1
					e.Wrong, e.Want = fmt.Sprintf("fault %q: %s", fe.Text, fe.Wrong), fe.Want
				}
				return e
			}
			return nil
		}
	}
	if o, ok := v.Addr().Interface().(*Options); ok {
		return d.options(n, o, path)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.object(n, v, path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(n, v.Elem(), path)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			if v.Type().Elem().Kind() == reflect.String && n.Kind == yaml.ScalarNode {
				// One word where a list of words is allowed.
				e := reflect.New(v.Type().Elem()).Elem()
				if err := d.value(n, e, path+"[0]"); err != nil {
					return err
				}
				v.Set(reflect.Append(v, e))
				return nil
			}
			return d.bad(n, path+" is "+kindName(n), "a list")
		}
		for i, c := range n.Content {
			e := reflect.New(v.Type().Elem()).Elem()
			if err := d.value(c, e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
			v.Set(reflect.Append(v, e))
		}
		return nil
	}
	if n.Kind != yaml.ScalarNode {
		return d.bad(n, path+" is "+kindName(n), typeName(v.Type()))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if err != nil || n.Tag != "!!bool" {
			return d.bad(n, fmt.Sprintf("%s is %q", path, n.Value), "true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int64, reflect.Int32:
		i, err := strconv.ParseInt(n.Value, 0, 64)
		if err != nil || v.OverflowInt(i) {
			return d.bad(n, fmt.Sprintf("%s is %q", path, n.Value), "a whole number")
		}
		v.SetInt(i)
	case reflect.Uint64, reflect.Uint32:
		i, err := strconv.ParseUint(n.Value, 0, 64)
		if err != nil || v.OverflowUint(i) {
			return d.bad(n, fmt.Sprintf("%s is %q", path, n.Value), "a whole number of at least 0")
		}
		v.SetUint(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || f != f {
			return d.bad(n, fmt.Sprintf("%s is %q", path, n.Value), "a number")
		}
		v.SetFloat(f)
	default:
		return d.bad(n, "a value of type "+v.Type().String()+" cannot be read", "")
	}
	return nil
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path string) error {
	if n.Kind != yaml.MappingNode {
		what := path
		if what == "" {
			what = "the file"
		}
		return d.bad(n, what+" is "+kindName(n), "keys and values")
	}
	fields := fieldsOf(v.Type())
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		f, ok := fields[k.Value]
		if !ok {
			var names []string
			for name := range fields {
				names = append(names, name)
			}
			where := ""
			if path != "" {
				where = " in " + path
			}
			return d.bad(k, fmt.Sprintf("unknown key %q%s", k.Value, where), strconv.Quote(faults.Nearest(k.Value, names)))
		}
		if seen[k.Value] {
			return d.bad(k, fmt.Sprintf("the key %q is given twice", k.Value), "it once")
		}
		seen[k.Value] = true
		sub := k.Value
		if path != "" {
			sub = path + "." + k.Value
		}
		if err := d.value(c, v.FieldByIndex(f.Index), sub); err != nil {
			return err
		}
		if err := checkOneOf(f, v.FieldByIndex(f.Index)); err != nil {
			return d.bad(c, fmt.Sprintf("%s is %q", sub, c.Value), err.Error())
		}
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if f := fields[name]; f.Tag.Get("need") == "yes" && !seen[name] {
			where := path
			if where == "" {
				where = "the scenario"
			}
			return d.bad(n, fmt.Sprintf("%s has no %q", where, name), f.Tag.Get("doc"))
		}
	}
	return nil
}

// options keeps a role's settings as text, each with its place: only the role
// knows what they mean.
func (d *decoder) options(n *yaml.Node, o *Options, path string) error {
	if n.Kind != yaml.MappingNode {
		return d.bad(n, path+" is "+kindName(n), "keys and values")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, c := n.Content[i], n.Content[i+1]
		if c.Kind != yaml.ScalarNode {
			return d.bad(c, fmt.Sprintf("%s.%s is %s", path, k.Value, kindName(c)), "text or a number")
		}
		o.Values = append(o.Values, Option{k.Value, c.Value, k.Line, k.Column})
	}
	return nil
}

// checkOneOf compares a string with the words that its oneof tag allows.
func checkOneOf(f reflect.StructField, v reflect.Value) error {
	allowed := f.Tag.Get("oneof")
	if allowed == "" || v.Kind() != reflect.String {
		return nil
	}
	words := strings.Split(allowed, ",")
	for _, w := range words {
		if v.String() == w {
			return nil
		}
	}
	return fmt.Errorf("%q (one of %s)", faults.Nearest(v.String(), words), strings.Join(words, ", "))
}

// fieldsOf maps the YAML names of a struct to its fields.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	out := map[string]reflect.StructField{}
	for i := range t.NumField() {
		f := t.Field(i)
		if name := f.Tag.Get("yaml"); name != "" {
			out[name] = f
		}
	}
	return out
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		return strconv.Quote(n.Value)
	}
	return "nothing"
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// Duration is a time.Duration written as 250ms, 5s or 1m30s.
type Duration time.Duration

func (d *Duration) parseText(s string) error {
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration such as 250ms or 1m30s", s)
	}
	*d = Duration(v)
	return nil
}

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String prints the duration as it is written.
func (d Duration) String() string { return time.Duration(d).String() }

// Size is a number of bytes written as 4096, 64KiB, 1MiB or 2GiB.
type Size int64

func (v *SchemaVersion) parseText(s string) error {
	if !faults.IsVersion(s) {
		return fmt.Errorf("%q is no version of the contracts; one is written 2.0", s)
	}
	*v = SchemaVersion(s)
	return nil
}

func (b *Size) parseText(s string) error {
	num, mult := s, int64(1)
	for _, u := range []struct {
		suffix string
		mult   int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if strings.HasSuffix(s, u.suffix) {
			num, mult = strings.TrimSuffix(s, u.suffix), u.mult
		}
	}
	v, err := strconv.ParseInt(num, 10, 64)
	if err != nil || v < 0 || v > 1<<50/mult {
		return fmt.Errorf("%q is no size such as 4096, 64KiB or 1MiB", s)
	}
	*b = Size(v * mult)
	return nil
}

// FaultText is a fault in its one-line form; see package faults. A word
// $name stands for a value of the scenario's enumeration.
type FaultText string

func (f *FaultText) parseText(s string) error {
	*f = FaultText(s)
	_, err := f.with("1")
	return err
}

// with parses the text after putting value in the place of $n.
func (f FaultText) with(value string) (faults.Fault, error) {
	return faults.Parse(strings.ReplaceAll(string(f), "$n", value))
}
