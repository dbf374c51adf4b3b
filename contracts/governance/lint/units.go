package lint

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

var (
	// timeWords make a number a measure of time.
	timeWords = words(`timeout timeouts duration durations latency latencies deadline deadlines ttl delay delays
		interval intervals elapsed age ages uptime downtime lifetime backoff cooldown period timestamp timestamps
		time times wait waited expiry expires expiration idle lease`)
	// wrongUnits at the end of a name, each with what it stands for.
	wrongUnits = map[string]string{
		"ns": "nanoseconds", "nanos": "nanoseconds", "nsec": "nanoseconds", "nsecs": "nanoseconds", "nanosecond": "nanoseconds", "nanoseconds": "nanoseconds",
		"us": "microseconds", "usec": "microseconds", "usecs": "microseconds", "micros": "microseconds", "microsecond": "microseconds", "microseconds": "microseconds",
		"msec": "milliseconds", "msecs": "milliseconds", "millis": "milliseconds", "millisecond": "milliseconds", "milliseconds": "milliseconds",
		"s": "seconds", "sec": "seconds", "secs": "seconds", "second": "seconds", "seconds": "seconds",
		"mins": "minutes", "minute": "minutes", "minutes": "minutes",
		"hr": "hours", "hrs": "hours", "hour": "hours", "hours": "hours",
		"day": "days", "days": "days", "week": "weeks", "weeks": "weeks",
	}
	// otherUnits at the end of a name say that the number is measured in
	// something else, or is no measure: a timeout_count counts.
	otherUnits = words(`epoch epochs step steps batch batches iteration iterations attempts
		count counts ratio factor percent score weight share milli id index version level bytes variance
		multiplier probability seed`)
)

// timeUnit demands one unit for times (F24): a Duration or Timestamp, or whole
// milliseconds that say so in the name. timeout = 30 is half a minute to one
// reader and 30 ms to another.
func (l *linter) timeUnit(f protoreflect.FieldDescriptor) {
	if !integer(f) && !floating(f) {
		return
	}
	parts := tokens(string(f.Name()))
	last := ""
	if len(parts) > 0 {
		last = parts[len(parts)-1]
	}
	declared, set := option(f, options.E_Unit)
	unit, _ := declared.(options.Unit)
	switch {
	case !set || unit == options.Unit_UNIT_UNSPECIFIED:
		l.undeclaredUnit(f, parts, last)
	case unit == options.Unit_NOT_A_TIME:
	case floating(f):
		l.report(TimeUnit, f, fmt.Sprintf("%s is a time in a %s", short(f), typeName(f)), "an integer")
	case unit == options.Unit_NANOSECONDS && (last == "ms" || wrongUnits[last] != "" && wrongUnits[last] != "nanoseconds"),
		unit == options.Unit_MILLISECONDS && wrongUnits[last] != "" && wrongUnits[last] != "milliseconds",
		unit == options.Unit_EPOCHS && (last == "ms" || wrongUnits[last] != ""):
		l.report(TimeUnit, f, fmt.Sprintf("%s is in %v by its option and not by its name", short(f), unit), "one unit")
	}
}

func (l *linter) undeclaredUnit(f protoreflect.FieldDescriptor, parts []string, last string) {
	time := false
	for _, w := range parts {
		if w == "per" || w == "rate" || w == "hz" { // samples_per_sec is a rate
			return
		}
		time = time || timeWords[w]
	}
	const want = "google.protobuf.Duration or Timestamp, or whole milliseconds in a name that ends in _ms"
	switch {
	case last == "ms" && len(parts) > 1:
		if floating(f) {
			l.report(TimeUnit, f, fmt.Sprintf("%s is milliseconds in a %s, which other languages round otherwise", short(f), typeName(f)),
				"an integer or google.protobuf.Duration")
		}
	case wrongUnits[last] != "" && len(parts) > 1:
		l.report(TimeUnit, f, fmt.Sprintf("%s is in %s", short(f), wrongUnits[last]), "%s, or (esper.options.unit)", want)
	case otherUnits[last]:
	case time:
		l.report(TimeUnit, f, fmt.Sprintf("%s is a time without a unit", short(f)), "%s, or (esper.options.unit)", want)
	}
}
