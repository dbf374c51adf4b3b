// Package setting fills a role's options from the words of a scenario file.
//
// Options are a struct whose fields carry tags:
//
//	type Options struct {
//		WAL   string        `set:"wal" oneof:"hardened,hld" doc:"which log it writes"`
//		Every time.Duration `set:"every" doc:"between two requests"`
//	}
package setting

import (
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Option describes one field for listings.
type Option struct {
	Name, Default, Doc string
	OneOf              []string
}

// List describes the options of a struct, given by pointer with its defaults.
func List(options any) []Option {
	v := reflect.ValueOf(options).Elem()
	var out []Option
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("set")
		if name == "" {
			continue
		}
		o := Option{Name: name, Default: fmt.Sprint(v.Field(i).Interface()), Doc: f.Tag.Get("doc")}
		if w := f.Tag.Get("oneof"); w != "" {
			o.OneOf = strings.Split(w, ",")
		}
		out = append(out, o)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Set assigns the option with the given name. The error says what would be
// right.
func Set(options any, name, value string) error {
	v := reflect.ValueOf(options).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Tag.Get("set") == name && name != "" {
			return assign(v.Field(i), f, name, value)
		}
	}
	var names []string
	for _, o := range List(options) {
		names = append(names, o.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("unknown option %q; the role takes none", name)
	}
	return fmt.Errorf("unknown option %q; want one of %s", name, strings.Join(names, ", "))
}

func assign(v reflect.Value, f reflect.StructField, name, value string) error {
	bad := func(want string) error {
		return fmt.Errorf("option %s is %q; want %s", name, value, want)
	}
	switch x := v.Addr().Interface().(type) {
	case *string:
		if words := f.Tag.Get("oneof"); words != "" {
			ok := false
			for _, w := range strings.Split(words, ",") {
				ok = ok || w == value
			}
			if !ok {
				return bad("one of " + words)
			}
		}
		*x = value
	case *bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return bad("true or false")
		}
		*x = b
	case *int:
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return bad("a whole number of at least 0")
		}
		*x = n
	case *int64:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return bad("a whole number of at least 0")
		}
		*x = n
	case *float64:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || n != n {
			return bad("a number")
		}
		*x = n
	case *time.Duration:
		d, err := time.ParseDuration(value)
		if err != nil || d < 0 {
			return bad("a duration such as 250ms")
		}
		*x = d
	default:
		return fmt.Errorf("option %s has a type that cannot be set: %s", name, v.Type())
	}
	return nil
}
