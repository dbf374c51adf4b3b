package wire

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/canon"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/internal/prototest"
)

func typeNames() []string { return slices.Sorted(maps.Keys(constructors)) }

// Random messages of every type survive the codec, agree with a slow encoder
// of other making and with protobuf-go, and reuse leaves nothing behind.
func TestEveryTypeRoundTrips(t *testing.T) {
	for _, name := range typeNames() {
		t.Run(name, func(t *testing.T) {
			reused := New(name)
			if got := reused.ProtoReflect().Descriptor().FullName(); got != protoreflect.FullName(name) || reused.FullName() != name {
				t.Fatalf("registered as %s, is %s and calls itself %s", name, got, reused.FullName())
			}
			rapid.Check(t, func(t *rapid.T) {
				m := New(name)
				prototest.Fill(t, m)
				b := m.AppendCanonical([]byte{1, 2})[2:]
				if len(b) != m.CanonicalSize() {
					t.Fatalf("%d bytes, CanonicalSize says %d", len(b), m.CanonicalSize())
				}
				if slow := prototest.Encode(m.ProtoReflect()); !bytes.Equal(b, slow) {
					t.Fatalf("encoded\n%x, the oracle has\n%x", b, slow)
				}
				theirs := New(name)
				if err := proto.Unmarshal(b, theirs); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(theirs.AppendCanonical(nil), b) {
					t.Fatalf("protobuf-go reads another message from %x", b)
				}
				// Equal takes NaNs as equal whatever their bits: the bytes above
				// compare those.
				if err := reused.ParseCanonical(b); err != nil {
					t.Fatal(err)
				}
				if !proto.Equal(reused, theirs) || !proto.Equal(reused, m) {
					t.Fatalf("decoded\n%v, want\n%v", reused, m)
				}
				if again := reused.AppendCanonical(nil); !bytes.Equal(again, b) {
					t.Fatalf("encoded again\n%x, want\n%x", again, b)
				}
				if m.IdentityHash(1) != reused.IdentityHash(1) {
					t.Fatal("equal messages, two identities")
				}
				// A canonical encoding with its end cut off is canonical only if
				// it encodes something else; protobuf-go must agree.
				cut := b[:rapid.IntRange(0, len(b)).Draw(t, "cut")]
				checkAccepted(t, name, cut)
			})
		})
	}
}

type fataler interface {
	Helper()
	Fatalf(string, ...any)
}

// checkAccepted parses b and, if it is accepted, checks that it is the
// encoding of what was decoded.
func checkAccepted(t fataler, name string, b []byte) bool {
	t.Helper()
	m := New(name)
	err := m.ParseCanonical(b)
	if err != nil {
		var e *canon.Error
		if !errors.As(err, &e) || e.Reason.String() == "" || e.Message == "" || e.Offset < 0 || e.Offset > len(b) {
			t.Fatalf("%s refuses %x with %#v", name, b, err)
		}
		return false
	}
	if again := m.AppendCanonical(nil); !bytes.Equal(again, b) {
		t.Fatalf("%s accepts\n%x, encodes it as\n%x", name, b, again)
	}
	theirs := New(name)
	if err := proto.Unmarshal(b, theirs); err != nil {
		t.Fatalf("%s accepts %x, protobuf-go says %v", name, b, err)
	}
	if slow := prototest.Encode(theirs.ProtoReflect()); !bytes.Equal(slow, b) {
		t.Fatalf("%s accepts\n%x, the oracle encodes it as\n%x", name, b, slow)
	}
	return true
}

// Mutations of valid encodings: accepted only if canonical; and whatever
// protobuf-go decodes to the same canonical bytes is accepted.
func TestMutatedPayloads(t *testing.T) {
	names := typeNames()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(names).Draw(t, "type")
		m := New(name)
		prototest.Fill(t, m)
		b := m.AppendCanonical(nil)
		for range rapid.IntRange(1, 3).Draw(t, "mutations") {
			at := rapid.IntRange(0, len(b)).Draw(t, "at")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				if at < len(b) {
					b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
				}
			case 1:
				b = slices.Insert(b, at, rapid.Byte().Draw(t, "byte"))
			case 2:
				if at < len(b) {
					b = slices.Delete(b, at, at+1)
				}
			case 3:
				end := rapid.IntRange(at, len(b)).Draw(t, "end")
				b = append(b, b[at:end]...)
			}
		}
		checkAccepted(t, name, b)
	})
}

func TestIdentityHash(t *testing.T) {
	e := &eventsv2.EpochEvent{TrainingRunId: "r", Epoch: 3, Phase: eventsv2.EpochPhase_BOUNDARY}
	h := e.IdentityHash(7)
	e.RollbackGeneration, e.Timestamp = 5, timestamppb.New(timestamppb.Now().AsTime())
	if e.IdentityHash(7) != h {
		t.Error("a volatile field or a time changes the identity")
	}
	if e.IdentityHash(8) == h {
		t.Error("the seed does not matter")
	}
	e.Epoch++
	if e.IdentityHash(7) == h {
		t.Error("the epoch does not change the identity")
	}
	// The same words in other places.
	a := &telemetryv2.TelemetryEvent{Name: "x", Labels: []*telemetryv2.Label{{Key: "ab"}, {Value: "c"}}}
	b := &telemetryv2.TelemetryEvent{Name: "x", Labels: []*telemetryv2.Label{{Key: "ab", Value: "c"}, {}}}
	if a.IdentityHash(0) == b.IdentityHash(0) {
		t.Error("fields of two elements are mixed up")
	}
}

// FuzzPayload: what is accepted encodes to the same bytes; nothing panics.
func FuzzPayload(f *testing.F) {
	names := typeNames()
	for i, name := range names {
		f.Add(uint8(i), New(name).AppendCanonical(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		checkAccepted(t, names[int(which)%len(names)], b)
	})
}
