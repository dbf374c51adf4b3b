package crosslang

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/governance/golden"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/internal/everykind"
	"github.com/esper-sim/espersim/contracts/internal/prerequisite"
	"github.com/esper-sim/espersim/contracts/internal/protorand"
	"github.com/esper-sim/espersim/contracts/wire"
)

const contracts = "../.."

// scale is all of the messages where ESPERSIM_SOAK=1 asks for them, otherwise a
// tenth.
func scale(all int) int {
	if os.Getenv("ESPERSIM_SOAK") == "1" {
		return all
	}
	return all / 10
}

// start starts Python with the stubs, and with the types of every kind of
// field, which no contract has.
func start(t testing.TB, script string) *Worker {
	t.Helper()
	prerequisite.PythonProtobuf(t)
	set := &descriptorpb.FileDescriptorSet{}
	done := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if done[f.Path()] {
			return
		}
		done[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(everykind.File_internal_everykind_everykind_proto)
	b, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "everykind.binpb")
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	// Read, so that the tests are run again when the stubs have changed.
	stubs, err := filepath.Glob(contracts + "/generated/python/*/*.py")
	if err != nil || len(stubs) == 0 {
		t.Fatal("there are no Python stubs: run make generate", err)
	}
	for _, name := range stubs {
		if _, err := os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	w, err := Start(Options{Python: prerequisite.Python, Stubs: contracts + "/generated/python", Script: script,
		Packages: []string{"esper_protocols_v1", "esper_protocols_v2"}, Sets: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Errorf("python: %v: %s", err, w.stderr)
		}
	})
	return w
}

// newMessage makes a message of the generated Go code.
func newMessage(name string) canon.Message {
	switch name {
	case "esper.everykind.Every":
		return new(everykind.Every)
	case "esper.everykind.Inner":
		return new(everykind.Inner)
	}
	return wire.New(name)
}

// Python has every message type of version 1 and 2, and Go has them.
func TestTypes(t *testing.T) {
	w := start(t, "")
	s, err := schema.Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, m := range s.Messages() {
		want = append(want, string(m.FullName()))
	}
	want = append(want, "esper.everykind.Every", "esper.everykind.Inner")
	slices.Sort(want)
	if !slices.Equal(w.Types, want) {
		t.Errorf("python has %d types, the schema %d: run make generate\n%v\n%v", len(w.Types), len(want), w.Types, want)
	}
	for _, name := range want {
		if newMessage(name) == nil {
			t.Errorf("Go has no %s", name)
		}
	}
}

// exchange has Python answer while the next batch is made. check sees every
// batch with its answers, in order.
func exchange(w *Worker, next func() []Record, check func([]Record, []Answer)) error {
	type result struct {
		answers []Answer
		err     error
	}
	batches, results := make(chan []Record), make(chan result)
	go func() {
		for b := range batches {
			a, err := w.Do(b)
			results <- result{a, err}
		}
	}()
	defer close(batches)
	var pending []Record
	for {
		b := next()
		if pending != nil {
			r := <-results
			if r.err != nil {
				return r.err
			}
			if b != nil {
				batches <- b
			}
			check(pending, r.answers)
		} else if b != nil {
			batches <- b
		}
		if pending = b; b == nil {
			return nil
		}
	}
}

const batchSize = 1000

// compareMessages makes messages of every type and returns what Python encodes
// differently.
func compareMessages(w *Worker, each int) (compared int, faults []string, err error) {
	type made struct{ want []byte }
	var wants [][]made
	kind, count := 0, 0
	r := protorand.Rand(8, 0)
	next := func() []Record {
		if kind == len(w.Types) {
			return nil
		}
		name := w.Types[kind]
		if count == 0 {
			r = protorand.Rand(8, uint64(kind))
		}
		var batch []Record
		var want []made
		for len(batch) < batchSize && count < each {
			count++
			m := newMessage(name)
			protorand.Fill(r, m.ProtoReflect(), 8)
			b := m.AppendCanonical(nil)
			protorand.Signal(b)
			// Every other message reaches Python in another order of fields: the
			// order that comes back is its own.
			in := b
			if count%2 == 0 {
				in = protorand.Shuffle(r, m.ProtoReflect().Descriptor(), b)
			}
			batch = append(batch, Record{name, Reencode, in})
			want = append(want, made{b})
		}
		wants = append(wants, want)
		if count == each {
			kind, count = kind+1, 0
		}
		return batch
	}
	check := func(batch []Record, answers []Answer) {
		want := wants[0]
		wants = wants[1:]
		m := newMessage(batch[0].Type)
		for i, a := range answers {
			compared++
			if !a.Parsed || a.Cut || !bytes.Equal(a.Bytes, want[i].want) {
				faults = append(faults, fmt.Sprintf("%s: python makes\n%x of\n%x, Go has\n%x", batch[i].Type, a.Bytes, batch[i].Bytes, want[i].want))
				continue
			}
			// And back: what Python wrote is canonical to Go.
			if err := m.ParseCanonical(a.Bytes); err != nil {
				faults = append(faults, fmt.Sprintf("%s: Go refuses python's %x: %v", batch[i].Type, a.Bytes, err))
			} else if again := m.AppendCanonical(nil); !bytes.Equal(again, a.Bytes) {
				faults = append(faults, fmt.Sprintf("%s: Go makes %x of python's %x", batch[i].Type, again, a.Bytes))
			}
		}
	}
	err = exchange(w, next, check)
	return compared, faults, err
}

// Go and Python write the same bytes for every message of every type.
func TestSameBytes(t *testing.T) {
	w := start(t, "")
	began := time.Now()
	n, faults, err := compareMessages(w, scale(20000))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults[:min(len(faults), 5)] {
		t.Error(f)
	}
	t.Logf("%d messages of %d types, %d differ, python %s, %.1f s", n, len(w.Types), len(faults), w.Version, time.Since(began).Seconds())
}

// tally counts verdicts on damaged encodings.
type tally struct {
	inputs, accepted int
	plain            int // plain parsing disagrees
	goOnly, pyOnly   int // of these
	differ           []string
	byDamage         map[string][3]int // inputs, accepted, plain disagreements
}

func compareVerdicts(w *Worker, n int) (tally, error) {
	sum := tally{byDamage: map[string][3]int{}}
	r := protorand.Rand(9, 0)
	var names [][]string
	next := func() []Record {
		var batch []Record
		var did []string
		for len(batch) < batchSize && sum.inputs < n {
			// Every type in its turn; between them those with the most kinds of
			// fields, and with oneofs.
			name := w.Types[sum.inputs/2%len(w.Types)]
			switch sum.inputs % 8 {
			case 1, 3:
				name = "esper.everykind.Every"
			case 5:
				name = "esper.adaptation.v2.AdaptationCommand"
			case 7:
				name = "esper.adaptation.v2.SeedActivation"
			}
			sum.inputs++
			m := newMessage(name)
			protorand.Fill(r, m.ProtoReflect(), 8)
			d := m.ProtoReflect().Descriptor()
			b := m.AppendCanonical(nil)
			protorand.Signal(b)
			b, what := protorand.Damage(r, d, b)
			if r.IntN(4) == 0 {
				var more string
				b, more = protorand.Damage(r, d, b)
				what += ", " + more
			}
			batch = append(batch, Record{name, Judge, b})
			did = append(did, what)
		}
		if len(batch) == 0 {
			return nil
		}
		names = append(names, did)
		return batch
	}
	check := func(batch []Record, answers []Answer) {
		did := names[0]
		names = names[1:]
		for i, a := range answers {
			rec := batch[i]
			m := newMessage(rec.Type)
			goErr := m.ParseCanonical(slices.Clone(rec.Bytes))
			if goErr == nil {
				sum.accepted++
			}
			if (goErr == nil) != a.Accepted || a.Accepted && !bytes.Equal(a.Bytes, rec.Bytes) {
				sum.differ = append(sum.differ, fmt.Sprintf("%s (%s): %x: python accepts: %v (parsed %v, cut %v), Go says %v",
					rec.Type, did[i], rec.Bytes, a.Accepted, a.Parsed, a.Cut, goErr))
			}
			plain := proto.Unmarshal(rec.Bytes, newMessage(rec.Type)) == nil
			count := sum.byDamage[strings.Split(did[i], ", ")[0]]
			count[0]++
			if goErr == nil {
				count[1]++
			}
			if plain != a.Parsed {
				count[2]++
				sum.plain++
				if plain {
					sum.goOnly++
				} else {
					sum.pyOnly++
				}
			}
			sum.byDamage[strings.Split(did[i], ", ")[0]] = count
		}
	}
	return sum, exchange(w, next, check)
}

// Behind the accept rule Go and Python take the same encodings. Without it they
// do not: the test says how often.
func TestSameVerdict(t *testing.T) {
	w := start(t, "")
	began := time.Now()
	sum, err := compareVerdicts(w, scale(200000))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range sum.differ[:min(len(sum.differ), 8)] {
		t.Error(d)
	}
	for _, name := range protorand.Names() {
		c := sum.byDamage[name]
		if c[0] == 0 {
			t.Errorf("no input has the damage %q", name)
		}
		t.Logf("%-24s %6d inputs, %6d accepted, %5d plain disagreements", name, c[0], c[1], c[2])
	}
	if sum.accepted == 0 || sum.accepted == sum.inputs {
		t.Errorf("%d of %d accepted: this compares nothing", sum.accepted, sum.inputs)
	}
	t.Logf("%d inputs, %d accepted by both; behind the rule %d disagreements; plain parsing: %d (%.1f %%), Go alone takes %d, python alone %d; %.1f s",
		sum.inputs, sum.accepted, len(sum.differ), sum.plain, 100*float64(sum.plain)/float64(sum.inputs), sum.goOnly, sum.pyOnly, time.Since(began).Seconds())
}

// A Python that does otherwise is found: one that writes arms of oneofs last, as
// protobuf-go does; one without some part of the accept rule; one that loses
// the sign of zero.
func TestDeviationsAreFound(t *testing.T) {
	prerequisite.PythonProtobuf(t)
	for _, c := range []struct {
		name, old, with string
		verdict         bool
	}{
		{"oneofs last", "    return message.SerializeToString(deterministic=True)\n\n\ndef accept", `    head, tail = type(message)(), type(message)()
    head.CopyFrom(message)
    tail.CopyFrom(message)
    for field, _ in message.ListFields():
        (head if field.containing_oneof else tail).ClearField(field.name)
    return head.SerializeToString() + tail.SerializeToString()


def accept`, false},
		{"unpacked zero", "    return message, length == len(data) and not warned", `    for field, value in message.ListFields():
        if field.cpp_type == field.CPPTYPE_DOUBLE and field.label != 3 and value == 0:
            setattr(message, field.name, 0.0)
    return message, True`, false},
		{"any encoding", "if encode(message) != data:", "if False:", true},
		{"unknown fields", "    message.DiscardUnknownFields()\n", "", true},
		{"any time", "    return -62135596800 <=", "    return True or -62135596800 <=", true},
		{"any duration", "    return (-315576000000 <=", "    return True or (-315576000000 <=", true},
		{"any enum value", "elif value not in values:", "elif False:", true},
		{"any enum value in a list", "if not values.issuperset(value):", "if False:", true},
		{"warnings", "    return message, length == len(data) and not warned", "    return message, False", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			script := strings.Replace(Script, c.old, c.with, 1)
			if script == Script {
				t.Fatal("the worker has changed: nothing was planted")
			}
			w := start(t, script)
			found := 0
			if c.verdict {
				inputs := 8000
				if c.name == "any enum value in a list" {
					inputs = 40_000 // few types have one
				}
				sum, err := compareVerdicts(w, inputs)
				if err != nil {
					t.Fatal(err)
				}
				found = len(sum.differ)
			} else {
				_, faults, err := compareMessages(w, 100)
				if err != nil {
					t.Fatal(err)
				}
				found = len(faults)
			}
			if found == 0 {
				t.Error("not found")
			}
		})
	}
}

// Python's own backend, a script that ends, and an interpreter that is not
// there are errors that say so.
func TestBadWorkers(t *testing.T) {
	prerequisite.PythonProtobuf(t)
	for _, c := range []struct{ python, script, want string }{
		{prerequisite.Python, strings.Replace(Script, "api_implementation.Type()", "'python'", 1), "want cpp"},
		{prerequisite.Python, "raise SystemExit('no reason')", "no reason"},
		{"/no/such/python", "", "no such file"},
	} {
		w, err := Start(Options{Python: c.python, Stubs: contracts + "/generated/python", Script: c.script,
			Packages: []string{"esper_protocols_v1", "esper_protocols_v2"}})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q in it", err, c.want)
		}
		if w != nil {
			t.Error("there is a worker")
		}
	}
	w := start(t, "")
	if _, err := w.Do([]Record{{Type: "x.Y"}}); err == nil || !strings.Contains(err.Error(), "no message type x.Y") {
		t.Error(err)
	}
}

// What C++ takes for the end of the input is marked.
func TestCut(t *testing.T) {
	w := start(t, "")
	const name = "esper.bus.v2.Ack"
	answers, err := w.Do([]Record{
		{name, Judge, []byte{0x0c}}, {name, Judge, []byte{0}}, {name, Judge, []byte{0x0a, 5}}, {name, Judge, []byte{0x0a, 1, 'g'}}, {name, Judge, nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Answer{{Parsed: true, Cut: true}, {Parsed: true, Cut: true}, {}, {Parsed: true, Accepted: true}, {Parsed: true, Accepted: true}} {
		if a := answers[i]; a.Parsed != want.Parsed || a.Cut != want.Cut || a.Accepted != want.Accepted {
			t.Errorf("%d: %+v, want %+v", i, a, want)
		}
	}
}

// Every golden fixture is the same to Python, and accepted.
func TestFixtures(t *testing.T) {
	w := start(t, "")
	set, err := golden.Load(contracts)
	if err != nil {
		t.Fatal(err)
	}
	var batch []Record
	for _, f := range set.Table.Fixtures {
		b, err := os.ReadFile(filepath.Join(contracts, golden.Folder, f.Path()))
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, Record{f.Message, Judge, b})
	}
	answers, err := w.Do(batch)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if !a.Accepted || !bytes.Equal(a.Bytes, batch[i].Bytes) {
			t.Errorf("%s: python makes %x of %x", set.Table.Fixtures[i].Path(), a.Bytes, batch[i].Bytes)
		}
	}
}
