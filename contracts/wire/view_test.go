package wire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/internal/grown"
	"github.com/esper-sim/espersim/contracts/internal/prototest"
)

var old = Version{Major: 2, Minor: 0}

func retire() *adaptationv2.AdaptationCommand {
	return &adaptationv2.AdaptationCommand{CommandId: "c", Command: &adaptationv2.AdaptationCommand_SeedLifecycle{
		SeedLifecycle: &adaptationv2.SeedLifecycleCommand{Seed: &telemetryv2.SeedRef{LayerId: 1},
			Operation: adaptationv2.SeedOperation_RETIRE, KernelArtifactId: "k"}}, Issuer: "tamiyo"}
}

// An older reader sees neither a newer field nor a newer value, and passes
// both on.
func TestOlderReader(t *testing.T) {
	newer := NewCodec()
	m := telemetry()
	m.RollbackGeneration = 7
	b := newer.Seal(nil, envelope(), m, nil)
	e, got, err := NewCodecAs(old).Open(b)
	if err != nil {
		t.Fatal(err)
	}
	if e.SchemaMinor != 1 {
		t.Errorf("the envelope says minor version %d", e.SchemaMinor)
	}
	if got.(*telemetryv2.SeedTelemetry).RollbackGeneration != 0 {
		t.Error("an old reader sees a new field")
	}
	if again := got.AppendCanonical(nil); !bytes.Equal(again, e.Payload) || got.CanonicalSize() != len(again) {
		t.Errorf("encoded again\n%x, it was\n%x", again, e.Payload)
	}
	c, again, err := NewCodecAs(old).Open(newer.Seal(nil, envelope(), retire(), nil))
	if err != nil {
		t.Fatal(err)
	}
	if op := again.(*adaptationv2.AdaptationCommand).GetSeedLifecycle().GetOperation(); op != 0 {
		t.Errorf("an old reader sees the new value as %v", op)
	}
	if !bytes.Equal(again.AppendCanonical(nil), c.Payload) {
		t.Errorf("encoded again\n%x, it was\n%x", again.AppendCanonical(nil), c.Payload)
	}
	// A newer reader of what the older one passes on sees all of it.
	back := new(adaptationv2.AdaptationCommand)
	if err := Newest.Read(back, again.AppendCanonical(nil), 1); err != nil || !proto.Equal(back, retire()) {
		t.Errorf("%v, %v", back, err)
	}
}

// An older writer writes nothing newer, and says so.
func TestOlderWriter(t *testing.T) {
	c := NewCodec()
	m := telemetry()
	m.RollbackGeneration = 7
	e, got, err := c.Open(c.SealAs(old, nil, envelope(), m, nil))
	if err != nil || e.SchemaMinor != 0 || got.(*telemetryv2.SeedTelemetry).RollbackGeneration != 0 {
		t.Errorf("%v, %v, %v", e, got, err)
	}
	if m.RollbackGeneration != 7 {
		t.Error("sealing changed the message")
	}
	if !Expressible(m, 0) || Expressible(retire(), 0) || !Expressible(retire(), 1) {
		t.Error("a field can be left out, a value cannot")
	}
	// What holds nothing new is of the oldest version, whoever writes it.
	if e, _, err = c.Open(c.Seal(nil, envelope(), telemetry(), nil)); err != nil || e.SchemaMinor != 0 {
		t.Errorf("version 2.%d, %v", e.GetSchemaMinor(), err)
	}
}

// relabel seals m and changes what the envelope says of its version.
func relabel(m canon.Message, major, minor uint32, payload []byte) []byte {
	c := NewCodec()
	e := envelope()
	c.Seal(nil, e, m, nil)
	e.SchemaMajor, e.SchemaMinor = major, minor
	if payload != nil {
		e.Payload, e.PayloadCrc32C = payload, crcOf(payload)
	}
	return reseal(e)
}

func TestVersions(t *testing.T) {
	m := telemetry()
	m.RollbackGeneration = 7
	future := func(extra string) []byte {
		x, _ := hex.DecodeString(extra) // literals
		return append(m.AppendCanonical(nil), x...)
	}
	for _, k := range []struct {
		name   string
		reader Version
		bytes  []byte
		want   Reason // 0: accepted
	}{
		{"more than it says", Newest, relabel(m, 2, 0, nil), NonCanonical},
		{"less than it says", Newest, relabel(telemetry(), 2, 1, nil), 0},
		{"of the future, with nothing new", Newest, relabel(m, 2, 9, nil), 0},
		{"of the future, with a new field", Newest, relabel(m, 2, 9, future("a206026869")), 0},
		{"the same for an older reader", old, relabel(m, 2, 9, future("a206026869")), 0},
		{"an unknown field that is not of the future", Newest, relabel(m, 2, 1, future("a206026869")), NonCanonical},
		{"of the future and out of order", Newest, relabel(m, 2, 9, append([]byte{0xa2, 6, 0}, m.AppendCanonical(nil)...)), NonCanonical},
		{"of the future, a known field of another type", Newest, relabel(m, 2, 9, future("bd0101000000")), NonCanonical},
		{"of the future and cut", Newest, relabel(m, 2, 9, future("a20605")), Malformed},
		{"of the future, a bad Duration", Newest, relabel(m, 2, 9, []byte{0x82, 1, 2, 0x10, 0xff}), Malformed},
		{"of the future, a Duration of mixed signs", Newest,
			relabel(m, 2, 9, append([]byte{0x82, 1, 13, 8, 1}, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1)), NonCanonical},
		{"another major version", Newest, relabel(m, 3, 0, nil), UnsupportedVersion},
		{"a newer reader", Version{3, 0}, relabel(m, 2, 1, nil), UnsupportedVersion},
	} {
		e, got, err := NewCodecAs(k.reader).Open(k.bytes)
		if refusal(err) != k.want {
			t.Errorf("%s: %v, want %v", k.name, err, k.want)
			continue
		}
		if err == nil && !bytes.Equal(got.AppendCanonical(nil), e.Payload) {
			t.Errorf("%s: encoded again\n%x, it was\n%x", k.name, got.AppendCanonical(nil), e.Payload)
		}
	}
	// A new field of the envelope itself.
	e := envelope()
	NewCodec().Seal(nil, e, m, nil)
	e.SchemaMinor = 9
	b := reseal(e, 0xe2, 0x02, 1, 'x') // a field 44, out of place behind 50
	if _, _, err := NewCodec().Open(b); err == nil && e.Auth != nil {
		t.Error("a field out of its place is accepted")
	}
	got, _, err := NewCodec().Open(b)
	if err != nil {
		t.Fatalf("an envelope of the future: %v", err)
	}
	if !bytes.Equal(got.AppendCanonical(nil), b) {
		t.Error("its new field is lost")
	}
}

// Version 1 enters as files only, and only generated types pass.
func TestGuards(t *testing.T) {
	c := NewCodec()
	e := envelope()
	c.Seal(nil, e, telemetry(), nil)
	e.PayloadType = "esper.telemetry.v1.TelemetryPacket"
	e.Payload, e.PayloadCrc32C = nil, 0
	if _, _, err := c.Open(reseal(e)); refusal(err) != UnsupportedVersion {
		t.Errorf("version 1 on the wire: %v", err)
	}
	for name, m := range map[string]canon.Message{
		"a fake type":      fake{telemetry()},
		"a type of v1":     New("esper.telemetry.v1.TelemetryPacket"),
		"an unlisted type": new(grown.Leaf),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is sealed", name)
				}
			}()
			c.Seal(nil, envelope(), m, nil)
		}()
	}
}

// fake claims to be a telemetry and writes what it likes.
type fake struct{ *telemetryv2.SeedTelemetry }

func (fake) AppendCanonical(b []byte) []byte { return append(b, 0xff) }

// Whatever stands where: a reader of an older minor version sees none of what
// is newer, and loses none of it; a writer of one writes none of it.
func TestViews(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := new(grown.Tree)
		prototest.Fill(t, m)
		v := Version{Major: 2, Minor: rapid.Uint32Range(0, 2).Draw(t, "reader")}
		b := m.AppendCanonical(nil)
		seen := proto.Clone(m).(*grown.Tree)
		hide(seen, v.Minor)
		if n := seen.MinorNeeded(); n > v.Minor {
			t.Fatalf("a reader of %v sees what %d added: %v", v, n, seen)
		}
		if again := seen.AppendCanonical(nil); !bytes.Equal(again, b) || seen.CanonicalSize() != len(b) {
			t.Fatalf("encoded again\n%x, it was\n%x", again, b)
		}
		w := written(m, v.Minor)
		if n := minorNeeded(w); n > v.Minor {
			t.Fatalf("a writer of %v writes what %d added: %v", v, n, w)
		}
		if m.MinorNeeded() <= v.Minor && !proto.Equal(w, m) {
			t.Fatal("something is left out that the version has")
		}
		// The view of a message without anything newer is the message.
		if own := proto.Clone(w).(*grown.Tree); true {
			hide(own, v.Minor)
			if !proto.Equal(own, w) {
				t.Fatal("something is hidden that the version has")
			}
		}
		reread := new(grown.Tree)
		if err := v.Reread(reread, b); err != nil || !bytes.Equal(reread.AppendCanonical(nil), b) || reread.MinorNeeded() > v.Minor {
			t.Fatalf("reread: %v, %v", reread, err)
		}
	})
}

// Fields of a later minor version, anywhere in a message of any type, come
// through any reader.
func TestFutureFieldsComeThrough(t *testing.T) {
	names := typeNames()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "type")
		m := New(name)
		prototest.Fill(t, m)
		sprinkle(t, m.ProtoReflect())
		b := canon.AppendReflect(nil, m.ProtoReflect())
		v := Version{Major: 2, Minor: rapid.Uint32Range(0, 2).Draw(t, "reader")}
		seen := New(name)
		if err := v.Read(seen, b, 9); err != nil {
			t.Fatal(err)
		}
		if again := seen.AppendCanonical(nil); !bytes.Equal(again, b) {
			t.Fatalf("encoded again\n%x, it was\n%x", again, b)
		}
	})
}

// sprinkle adds unknown fields with numbers that the types do not have.
func sprinkle(t *rapid.T, m protoreflect.Message) {
	if strings.HasPrefix(string(m.Descriptor().FullName()), "google.protobuf.") {
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() != nil && f.IsList():
			for i := range v.List().Len() {
				sprinkle(t, v.List().Get(i).Message())
			}
		case f.Message() != nil:
			sprinkle(t, v.Message())
		}
		return true
	})
	var numbers []int
	for range rapid.IntRange(0, 2).Draw(t, "unknown") {
		n := rapid.IntRange(1, 70).Draw(t, "number")
		if m.Descriptor().Fields().ByNumber(protowire.Number(n)) == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	var raw []byte
	for _, n := range numbers {
		raw = protowire.AppendTag(raw, protowire.Number(n), protowire.BytesType)
		raw = protowire.AppendBytes(raw, []byte(fmt.Sprint(n)))
	}
	m.SetUnknown(raw)
}

func TestParseVersion(t *testing.T) {
	for _, s := range []string{"", "2", "2.", ".1", "0.1", "2.1.0", "-2.1", "2.x", "99999.1"} {
		if v, err := ParseVersion(s); err == nil {
			t.Errorf("%q is read as %v", s, v)
		}
	}
	if v, err := ParseVersion(Newest.String()); err != nil || v != Newest {
		t.Errorf("%v, %v", v, err)
	}
}

// FuzzVersions: bytes that claim a later minor version are taken only if they
// come back as they were, whoever reads them; nothing panics.
func FuzzVersions(f *testing.F) {
	names := typeNames()
	f.Add(uint8(0), uint8(0), []byte{})
	for i, name := range names {
		f.Add(uint8(i), uint8(i%3), append(New(name).AppendCanonical(nil), 0xa2, 0x06, 1, 'x'))
	}
	f.Fuzz(func(t *testing.T, which, minor uint8, b []byte) {
		v := Version{Major: 2, Minor: uint32(minor % 3)}
		m := New(names[int(which)%len(names)])
		if err := v.Read(m, b, 9); err != nil {
			if refusal(err) == 0 {
				t.Fatalf("%#v", err)
			}
			return
		}
		if again := m.AppendCanonical(nil); !bytes.Equal(again, b) {
			t.Fatalf("%T as %v takes\n%x, encodes it as\n%x", m, v, b, again)
		}
		if n := minorNeeded(m); n > v.Minor {
			t.Fatalf("%T as %v sees what %d added", m, v, n)
		}
	})
}
