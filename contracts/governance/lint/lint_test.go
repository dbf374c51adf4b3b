package lint

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/governance/finding"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/wire"
)

const head = `syntax = "proto3";
package x.v2;
import "options/options.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
option go_package = "example.com/x/v2;xv2";
`

func compile(t testing.TB, files map[string]string) *schema.Schema {
	t.Helper()
	s, err := schema.FromSources("test", files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rules are the rules of the findings, in order.
func rules(list []finding.Finding) string {
	var all []string
	for _, f := range list {
		all = append(all, f.Rule)
	}
	return strings.Join(all, " ")
}

// What must be found beside what looks like it and must not be: the cases on
// which patterns over the text fail.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		body string
		want string // rules, in order
	}{
		// Maps.
		{`message A { map <string,int32> m = 1; }`, "map-field"}, // the space passes a pattern
		{`message A { message B { message C { map<int32, A> m = 1; } } }`, "map-field"},
		{`message A { oneof o { B b = 1 [(esper.options.owner) = "tolaria"]; } message B { map<string,string> m = 1; } }`, "map-field"},
		{"// No map<> fields.\nmessage A { string m = 1; /* map<string, int32> x = 2; */ }", ""},
		{`message A { string map = 1; repeated E m = 2; message E { string key = 1; string value = 2; } }`, ""},

		// Float counters.
		{`message A { double step_count = 1; }`, "float-counter"},
		{`message A { float num_steps = 1; }`, "float-counter"},
		{`message A { float StepCount = 1; }`, "float-counter"},
		{`message A { repeated double counts = 1; }`, "float-counter"},
		{`message A { float stepcount = 1; }`, "float-counter"},
		{`message A { google.protobuf.DoubleValue step_count = 1; }`, "float-counter"},
		{`message A { message B { double retry_counter = 1; } }`, "float-counter"},
		{`message A { double steps = 1 [(esper.options.counter) = true]; }`, "float-counter"},
		{`message A { string steps = 1 [(esper.options.counter) = true]; }`, "float-counter"},
		{`message A { double discount = 1; double country_score = 2; double account = 3; double numeric = 4; }`, ""},
		{"message A { double loss = 1; // a count\n }", ""},
		{`message A { int64 step_count = 1; uint32 num_steps = 2; google.protobuf.Int64Value count = 3; }`, ""},
		{`message A { double avg_count = 1; double count_variance = 2; double steps = 3; }`, ""},
		{`message A { double count = 1 [(esper.options.counter) = false]; }`, ""},
		{`message A { int64 steps = 1 [(esper.options.counter) = true]; }`, ""},
		{`message A { string count = 1; bytes num = 2; }`, ""},

		// Oneofs.
		{`message A { oneof o { int32 a = 1 [(esper.options.owner) = "tolaria"]; int32 b = 2 [(esper.options.owner) = "karn"]; } }`, "oneof-planes"},
		{`message A { oneof o { int32 a = 1 [(esper.options.owner) = "tolaria", (esper.options.owner) = "oona"]; } }`, "oneof-planes"},
		{`message A { oneof o { int32 a = 1; int32 b = 2 [(esper.options.owner) = "karn"]; } }`, "oneof-planes"},
		{`message A { oneof o { int32 a = 1 [(esper.options.owner) = "kasmnia"]; } }`, "oneof-planes"},
		{`message A { message B { oneof o { int32 a = 1; } } }`, "oneof-planes"},
		{`message A { oneof o { int32 a = 1 [(esper.options.owner) = "tolaria"]; int32 b = 2 [(esper.options.owner) = "kasmina"]; } }`, ""},
		{`message A { optional int32 a = 1; optional string b = 2; }`, ""}, // a synthetic oneof is none
		{`message OnKasmina { oneof o { int32 lr = 1 [(esper.options.owner) = "tolaria"]; int32 b = 2 [(esper.options.owner) = "kasmina"]; } }`, "oneof-route"},
		{`message OnBoth { oneof o { int32 lr = 1 [(esper.options.owner) = "tolaria"]; int32 b = 2 [(esper.options.owner) = "kasmina"]; } }`, ""},
		{`message OnBoth { oneof o { int32 b = 2 [(esper.options.owner) = "kasmina"]; } }`, "oneof-route"}, // nobody on the other topic

		// Enum zeros.
		{`enum E { FAST = 0; FULL = 1; }`, "enum-zero"},
		{`message A { enum E { A_FAST = 0; } }`, "enum-zero"},
		{`enum E { option (esper.options.zero_is_value) = true; FAST = 0; }`, ""},
		{`enum E { option (esper.options.zero_is_value) = true; E_UNSPECIFIED = 0; }`, "enum-zero"},
		{`enum E { E_UNSPECIFIED = 0; } message A { enum F { UNSPECIFIED = 0; } }`, ""},

		// Units.
		{`message A { int32 timeout = 1; }`, "time-unit"},
		{`message A { int64 elapsedTime = 1; }`, "time-unit"},
		{`message A { double duration = 1; }`, "time-unit"},
		{`message A { int64 wait_ns = 1; }`, "time-unit"},
		{`message A { int64 wait_us = 1; }`, "time-unit"},
		{`message A { int32 wait_s = 1; int32 lease_sec = 2; float x_seconds = 3; int32 b_minutes = 4; int32 c_hours = 5; }`, "time-unit time-unit time-unit time-unit time-unit"},
		{`message A { double latency_ms = 1; }`, "time-unit"},
		{`message A { google.protobuf.Int64Value timeout = 1; }`, "time-unit"},
		{`message A { int64 max_age = 1; }`, "time-unit"},
		{`message A { double wait = 1 [(esper.options.unit) = MILLISECONDS]; }`, "time-unit"},
		{`message A { int64 wait_us = 1 [(esper.options.unit) = NANOSECONDS]; }`, "time-unit"},
		{`message A { int64 wait_ms = 1 [(esper.options.unit) = EPOCHS]; }`, "time-unit"},
		{`message A { google.protobuf.Duration timeout = 1; int64 latency_ms = 2; int32 ttl_epochs = 3; }`, ""},
		{`message A { double samples_per_sec = 1; double tokens_per_s = 2; int64 us = 3; bool timeout = 4; string deadline = 5; }`, ""},
		{`message A { int64 wait_ns = 1 [(esper.options.unit) = NANOSECONDS]; int64 age = 2 [(esper.options.unit) = EPOCHS]; int32 time = 3 [(esper.options.unit) = NOT_A_TIME]; }`, ""},
		{`message A { int64 timeout_count = 1; double storage = 2; double average = 3; int64 pages = 4; double usage_value = 5; uint32 alpha_milli = 6; }`, ""},

		// Names.
		{`message A { message B {} } message A_B {}`, "name-clash"},
		{`message A { enum E { UNSPECIFIED = 0; X = 1; } } message A_X {}`, "name-clash"},
		{`message A { int32 step_no = 1; int32 stepno = 2; }`, "name-clash"},
		{`message A { message B {} } message C { message B {} }`, ""},
		{`message A { int32 step_count = 1; reserved "stepCount"; }`, "reserved"},
		{`message A { reserved "old_name", "oldName"; }`, "reserved"},
		{`enum E { E_UNSPECIFIED = 0; OLD = 1; reserved "Old"; }`, "reserved"},
		{`message A { int32 a = 1; reserved 2, 5 to 9; reserved "b"; }`, ""},
	} {
		s := compile(t, map[string]string{"v2/a.proto": head + c.body})
		settings := Settings{
			Topics:    map[string][]string{"to.kasmina": {"x.v2.OnKasmina", "x.v2.OnBoth"}, "to.tolaria": {"x.v2.OnBoth"}},
			Consumers: map[string][]string{"to.kasmina": {"kasmina"}, "to.tolaria": {"tolaria"}},
		}
		found := Check(s, settings)
		if got := rules(found); got != c.want {
			t.Errorf("%s\n%q, want %q: %v", c.body, got, c.want, found)
		}
		for _, f := range found {
			if f.File != "v2/a.proto" || f.Line < 7 || f.Column < 1 || f.What == "" || f.Want == "" {
				t.Errorf("%s: no place: %+v", c.body, f)
			}
		}
	}
}

func TestFiles(t *testing.T) {
	file := func(pkg, goPackage string) string {
		s := "syntax = \"proto3\";\npackage " + pkg + ";\n"
		if goPackage != "" {
			s += fmt.Sprintf("option go_package = %q;\n", goPackage)
		}
		return s
	}
	for _, c := range []struct {
		files map[string]string
		want  string
	}{
		{map[string]string{"v2/a.proto": file("x.a.v2", "e.com/a")}, ""},
		{map[string]string{"a.proto": file("x.a.v1beta1", "e.com/a")}, ""},
		{map[string]string{"v2/deep/er/a.proto": file("x.a.v3", "e.com/a")}, "package-version"},
		{map[string]string{"v2/a.proto": file("x.a", "e.com/a")}, "package-version"},
		{map[string]string{"v2/a.proto": file("x.a.v0", "e.com/a")}, "package-version"},
		{map[string]string{"v2/a.proto": file("x.a.v2", "")}, "go-package"},
		{map[string]string{"v2/a.proto": file("x.a.v2", "e.com/a"), "v2/b.proto": file("x.b.v2", "e.com/a")}, "go-package"},
		{map[string]string{"v2/a.proto": file("x.a.v2", "e.com/a"), "v2/b.proto": file("x.a.v2", "e.com/a")}, ""},
	} {
		if got := rules(Check(compile(t, c.files), Settings{})); got != c.want {
			t.Errorf("%v: %q, want %q", c.files, got, c.want)
		}
	}
}

// Whatever is in no released set says since when it is there, and whatever is
// in the first says nothing.
func TestSince(t *testing.T) {
	release := func(body string) *schema.Schema {
		return compile(t, map[string]string{"v2/a.proto": head + body})
	}
	zero := Release{0, release(`message A { int32 a = 1; } enum E { E_UNSPECIFIED = 0; }`)}
	one := Release{1, release(`message A { int32 a = 1; int32 b = 2 [(esper.options.since) = 1]; } enum E { E_UNSPECIFIED = 0; }`)}
	for _, c := range []struct {
		body     string
		released []Release
		want     string
	}{
		{`message A { int32 a = 1; } enum E { E_UNSPECIFIED = 0; }`, []Release{zero}, ""},
		{`message A { int32 a = 1; int32 b = 2; }`, []Release{zero}, "since"},
		{`message A { int32 a = 1; int32 b = 2 [(esper.options.since) = 1]; }`, []Release{zero}, ""},
		{`message A { int32 a = 1; int32 b = 2 [(esper.options.since) = 2]; }`, []Release{zero}, "since"},
		{`message A { int32 a = 1; int32 b = 2 [(esper.options.since) = 1]; }`, []Release{zero, one}, ""},
		{`message A { int32 a = 1; int32 b = 2 [(esper.options.since) = 2]; }`, []Release{zero, one}, "since"},
		{`message A { int32 a = 1; int32 c = 3 [(esper.options.since) = 1]; }`, []Release{zero, one}, "since"},
		{`message A { int32 a = 1; int32 c = 3 [(esper.options.since) = 2]; }`, []Release{zero, one}, ""},
		{`message A { int32 a = 1 [(esper.options.since) = 1]; }`, []Release{zero}, "since"},
		{`enum E { E_UNSPECIFIED = 0; X = 1; }`, []Release{zero}, "since"},
		{`enum E { E_UNSPECIFIED = 0; X = 1 [(esper.options.value_since) = 1]; }`, []Release{zero}, ""},
		{`message B { option (esper.options.message_since) = 1; int32 b = 1; enum F { F_UNSPECIFIED = 0; } message C { int32 c = 1; } }`, []Release{zero}, ""},
		{`message B { int32 b = 1; }`, []Release{zero}, "since since"}, // the message and its field
		{`message A { int32 a = 1; int32 b = 2; }`, nil, ""},
	} {
		found := Check(release(c.body), Settings{Versions: map[string]Version{"v2": {Released: c.released}}})
		if got := rules(found); got != c.want {
			t.Errorf("%s\n%q, want %q: %v", c.body, got, c.want, found)
		}
	}
}

// A frozen oneof crosses no plane: the version is never written.
func TestFrozenOneof(t *testing.T) {
	s := compile(t, map[string]string{"v2/a.proto": head + `message A { oneof o { int32 a = 1; } }`})
	if found := Check(s, Settings{Versions: map[string]Version{"v2": {Frozen: true}}}); len(found) != 0 {
		t.Error(found)
	}
}

// Another system has other planes.
func TestOtherPlanes(t *testing.T) {
	s := compile(t, map[string]string{"v2/a.proto": head + `message A { oneof o { int32 a = 1 [(esper.options.owner) = "shop"]; int32 b = 2 [(esper.options.owner) = "billing"]; } }`})
	for want, planes := range map[string]map[string]string{
		"":                          {"shop": "front", "billing": "front"},
		"oneof-planes":              {"shop": "front", "billing": "back"},
		"oneof-planes oneof-planes": nil,
	} {
		if got := rules(Check(s, Settings{Planes: planes})); got != want {
			t.Errorf("%v: %q, want %q", planes, got, want)
		}
	}
}

// The project's own oneofs, arm by arm.
func TestOwnOneofs(t *testing.T) {
	s, err := schema.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	settings := Settings{Topics: wire.Topics, Consumers: wire.Consumers, Versions: map[string]Version{"v1": {Frozen: true}}}
	if found := Check(s, settings); len(found) > 0 {
		for _, f := range found {
			t.Error(f)
		}
	}
	// The design's own case: a learning rate may not go to Kasmina alone.
	settings.Topics = map[string][]string{"control.kasmina.commands": wire.Topics["control.kasmina.commands"]}
	text := ""
	for _, f := range Check(s, settings) {
		text += f.String() + "\n"
	}
	for _, arm := range []string{"lr_update", "arch_change", "rollback", "pause"} {
		if !strings.Contains(text, "AdaptationCommand."+arm+" is owned by tolaria, which reads none") {
			t.Errorf("%s has a consumer:\n%s", arm, text)
		}
	}
	if strings.Contains(text, "seed_activation") {
		t.Error(text)
	}
}

// What travels is of a version that is written, and a message of the schema.
func TestNoFrozenVersionTravels(t *testing.T) {
	s, err := schema.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	types := slices.Clone(wire.Direct)
	for _, list := range wire.Topics {
		types = append(types, list...)
	}
	for _, name := range types {
		if d := s.Find(protoreflect.FullName(name)); d == nil || versionOf(d) != "v2" {
			t.Errorf("%s travels, and is no message of version 2", name)
		}
	}
}

// Every folder is walked: files of contracts/ sit in v1/ and v2/, and a check
// of contracts/*.proto finds nothing.
func TestWholeTree(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"v1/a.proto", "v2/deep/er/b.proto"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		v := name[:2]
		text := fmt.Sprintf("syntax = \"proto3\";\npackage x.%s;\noption go_package = \"e.com/%s\";\nmessage M { map<string, string> m = 1; }\n", v, v)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := schema.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := Check(s, Settings{})
	if rules(found) != "map-field map-field" || found[1].String() != filepath.Join(dir, "v2/deep/er/b.proto")+
		":4:13: map-field: M.m is a map, whose encoding has no one order; want a repeated message of key and value, sorted by key" {
		t.Error(found)
	}
}

func TestPlanes(t *testing.T) {
	count := map[string]int{}
	for _, p := range Planes {
		count[p]++
	}
	if len(Planes) != 16 || len(count) != 4 {
		t.Errorf("%d subsystems on %v", len(Planes), slices.Sorted(maps.Keys(count)))
	}
	for topic, list := range wire.Consumers {
		for _, c := range list {
			if Planes[c] == "" {
				t.Errorf("%s is read by %q, which is no subsystem", topic, c)
			}
		}
	}
}

// A descriptor set without positions and without a zero in an enum is judged,
// too.
func TestDescriptorSet(t *testing.T) {
	s := compile(t, map[string]string{"v2/a.proto": head + `message A { map<string,string> m = 1; }`})
	set := &descriptorpb.FileDescriptorSet{File: s.DescriptorSet().File}
	again, err := schema.FromSet("set", set)
	if err != nil {
		t.Fatal(err)
	}
	found := Check(again, Settings{})
	if rules(found) != "map-field" || found[0].Position.String() != "v2/a.proto" {
		t.Error(found)
	}
}

// Whatever compiles is judged without a panic, and every finding has its place.
func FuzzCheck(f *testing.F) {
	f.Add(`message A { oneof o { int32 a = 1; } map<string, A> m = 2; }`)
	f.Add(`enum E { FAST = 0; reserved "fast"; } message A { double step_count = 1; int32 wait_s = 2; }`)
	f.Add(`message A { message B { optional int32 c = 1 [(esper.options.since) = 4294967295]; } } message A_B {}`)
	f.Fuzz(func(t *testing.T, body string) {
		if len(body) > 2000 {
			return
		}
		s, err := schema.FromSources("fuzz", map[string]string{"v2/a.proto": head + body})
		if err != nil {
			return
		}
		settings := Settings{Topics: map[string][]string{"t": {"x.v2.A"}}, Versions: map[string]Version{"v2": {Released: []Release{{0, s}}}}}
		for _, found := range Check(s, settings) {
			if found.Line < 1 || found.Want == "" || strings.Contains(found.String(), "%!") {
				t.Errorf("%+v", found)
			}
		}
	})
}

func TestTokens(t *testing.T) {
	for in, want := range map[string]string{
		"step_count": "step count", "StepCount": "step count", "HTTPCount2": "http count2", "": "", "__a__": "a",
		"numSTEPS": "num steps", "discount": "discount", "A": "a",
	} {
		if got := strings.Join(tokens(in), " "); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func ExampleCheck() {
	s, err := schema.FromSources("example", map[string]string{"v2/metrics.proto": `syntax = "proto3";
package shop.metrics.v2;
option go_package = "example.com/shop/metrics/v2;metricsv2";
message Metrics {
  double step_count = 1;
  double discount = 2;
}
`})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range Check(s, Settings{}) {
		fmt.Println(f)
	}
	// Output:
	// v2/metrics.proto:5:3: float-counter: Metrics.step_count reads like a counter, and is a double; want an integer, or (esper.options.counter) = false if it counts nothing
}
