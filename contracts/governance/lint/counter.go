package lint

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

// Words of a name that make it a counter, and those that make it a statistic
// over counters, which may well be a fraction.
var (
	counterWords   = words("count counts counter counters num nums cnt tally")
	statisticWords = words("avg average mean median ratio rate fraction share percent percentage variance stddev std per probability log quantile")
	// notCounters end in "count" by chance.
	notCounters = words("discount discounts account accounts viscount viscounts miscount recount")
)

func words(s string) map[string]bool {
	all := map[string]bool{}
	for _, w := range strings.Fields(s) {
		all[w] = true
	}
	return all
}

// floatCounter finds counters of a floating type (C7): 2^24 + 1 is 2^24 in a
// float. A pattern on the text misses `double step_count`, `float num_steps`
// and `float StepCount`, and hits discount and country_score.
func (l *linter) floatCounter(f protoreflect.FieldDescriptor) {
	declared, set := option(f, options.E_Counter)
	switch {
	case set && !declared.(bool):
	case set && !integer(f):
		l.report(FloatCounter, f, fmt.Sprintf("%s is a counter by its option, and a %s", short(f), typeName(f)), "an integer")
	case !set && floating(f) && countsByName(string(f.Name())):
		l.report(FloatCounter, f, fmt.Sprintf("%s reads like a counter, and is a %s", short(f), typeName(f)),
			"an integer, or (esper.options.counter) = false if it counts nothing")
	}
}

func countsByName(name string) bool {
	counts := false
	for _, w := range tokens(name) {
		if statisticWords[w] {
			return false
		}
		joined := (strings.HasSuffix(w, "count") || strings.HasSuffix(w, "counts")) && !notCounters[w]
		counts = counts || counterWords[w] || joined
	}
	return counts
}

// wrapper is the kind of number in a message of google/protobuf/wrappers.proto.
func wrapper(f protoreflect.FieldDescriptor) (protoreflect.Kind, bool) {
	if f.Message() == nil {
		return 0, false
	}
	switch f.Message().FullName() {
	case "google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.Int64Value",
		"google.protobuf.UInt64Value", "google.protobuf.Int32Value", "google.protobuf.UInt32Value":
		if v := f.Message().Fields().ByNumber(1); v != nil {
			return v.Kind(), true
		}
	}
	return 0, false
}

// number is the kind of a field's number, if it is one.
func number(f protoreflect.FieldDescriptor) protoreflect.Kind {
	if k, ok := wrapper(f); ok {
		return k
	}
	return f.Kind()
}

func floating(f protoreflect.FieldDescriptor) bool {
	k := number(f)
	return k == protoreflect.FloatKind || k == protoreflect.DoubleKind
}

func integer(f protoreflect.FieldDescriptor) bool {
	switch number(f) {
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.Uint32Kind, protoreflect.Uint64Kind,
		protoreflect.Sint32Kind, protoreflect.Sint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind,
		protoreflect.Sfixed32Kind, protoreflect.Sfixed64Kind:
		return true
	}
	return false
}

// typeName is a field's type as the schema writes it.
func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map"
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}
