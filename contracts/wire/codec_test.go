package wire

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

var noon = time.Date(2025, 1, 10, 12, 0, 0, 500, time.UTC)

func telemetry() *telemetryv2.SeedTelemetry {
	return &telemetryv2.SeedTelemetry{
		TelemetryId: "kasmina-1/12/3/77", Seed: &telemetryv2.SeedRef{LayerId: 12, SeedId: 3},
		Epoch: 7, GlobalStep: 7741, Stage: telemetryv2.SeedStage_GRAFTING, ReadyForTransition: true,
		ActiveKernelId: "sha256:0f1e2d3c-sm90-fast",
		Health: &systemstatev2.SeedHealth{Status: systemstatev2.SeedHealth_HEALTHY,
			GradientVariance: 0.25, WeightDrift: 0.001},
		ChunkVariance: 0.5, DeadNodeRatio: 0.02, AvgCorrelation: 0.75, GradientNorm: 1.25, LocalLoss: 0.4,
		AlphaMilli: 500, ExecLatency: durationpb.New(1500 * time.Microsecond),
		EpochsSinceGraft: 2, LastGate: "stability", BatchCount: 128,
	}
}

func envelope() *envelopev2.EventEnvelope {
	return &envelopev2.EventEnvelope{
		EventId: "0123456789abcdef", EventType: "SeedTelemetry", SourceSubsystem: "kasmina-1",
		CreatedAt: timestamppb.New(noon), Topic: "telemetry.seed.health", CorrelationId: "c-1",
		Priority: envelopev2.Priority_NORMAL, TrainingRunId: "run-1", Epoch: 7,
		SequenceNumber: 41, ProducerIncarnation: 2,
	}
}

func refusal(err error) Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return 0
}

func TestSealAndOpen(t *testing.T) {
	c := NewCodec()
	e, m := envelope(), telemetry()
	b := c.Seal([]byte("before"), e, m, nil)
	if !bytes.HasPrefix(b, []byte("before")) {
		t.Fatal("Seal does not append")
	}
	b = b[len("before"):]
	if !bytes.Equal(b, e.AppendCanonical(nil)) {
		t.Error("Seal writes something else than the envelope's encoding")
	}
	gotE, gotM, err := c.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(gotE, e) || !proto.Equal(gotM, m) {
		t.Errorf("opened\n%v\n%v", gotE, gotM)
	}
}

func TestNestedLeavesTheOuterAlone(t *testing.T) {
	c := NewCodec()
	inner := c.Seal(nil, envelope(), &busv2.Delivery{Group: "inner"}, nil)
	outer := c.Seal(nil, envelope(), &busv2.Delivery{Group: "outer", Envelope: inner}, nil)
	e, m, err := c.Open(outer)
	if err != nil {
		t.Fatal(err)
	}
	before := e.PayloadCrc32C
	_, n, err := c.Nested().Open(m.(*busv2.Delivery).Envelope)
	if err != nil {
		t.Fatal(err)
	}
	if n.(*busv2.Delivery).Group != "inner" || m.(*busv2.Delivery).Group != "outer" || e.PayloadCrc32C != before {
		t.Error("the nested message overwrote the outer one")
	}
}

func TestEveryBitFlipIsRefused(t *testing.T) {
	c := NewCodec()
	signer, _ := NewHMACSigner("k1", make([]byte, KeySize))
	signer.SignedAt = noon
	for _, s := range []Signer{nil, signer} {
		b := c.Seal(nil, envelope(), telemetry(), s)
		for i := range len(b) * 8 {
			b[i/8] ^= 1 << (i % 8)
			if _, _, err := c.Open(b); refusal(err) == 0 {
				t.Fatalf("bit %d of %d: %v", i, len(b)*8, err)
			}
			b[i/8] ^= 1 << (i % 8)
		}
		for n := range len(b) {
			if _, _, err := c.Open(b[:n]); refusal(err) == 0 {
				t.Fatalf("cut at %d of %d: %v", n, len(b), err)
			}
		}
	}
}

// reseal encodes an envelope as it is, with a right checksum.
func reseal(e *envelopev2.EventEnvelope, extra ...byte) []byte {
	e.EnvelopeCrc32C = 0
	return sum(append(e.AppendCanonical(nil), extra...))
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func sum(b []byte) []byte {
	crc := crcOf(b)
	return protowire.AppendFixed32(protowire.AppendTag(b, 51, protowire.Fixed32Type), crc)
}

func TestRefusals(t *testing.T) {
	c := NewCodec()
	sealed := func(change func(*envelopev2.EventEnvelope)) []byte {
		e := envelope()
		c.Seal(nil, e, telemetry(), nil)
		change(e)
		return reseal(e)
	}
	payload := func(b []byte) []byte {
		return sealed(func(e *envelopev2.EventEnvelope) {
			e.Payload, e.PayloadCrc32C = b, crc32.Checksum(b, castagnoli)
		})
	}
	unchanged := sealed(func(*envelopev2.EventEnvelope) {})
	if _, _, err := c.Open(unchanged); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct {
		name   string
		bytes  []byte
		reason Reason
	}{
		{"nothing", nil, UnsupportedVersion},
		{"payload's checksum", sealed(func(e *envelopev2.EventEnvelope) { e.PayloadCrc32C++ }), BadChecksum},
		{"envelope's checksum", append(bytes.Clone(unchanged[:len(unchanged)-1]), unchanged[len(unchanged)-1]+1), BadChecksum},
		{"no checksum", unchanged[:len(unchanged)-6], BadChecksum},
		{"newer major", sealed(func(e *envelopev2.EventEnvelope) { e.SchemaMajor = 3 }), UnsupportedVersion},
		{"no version", sealed(func(e *envelopev2.EventEnvelope) { e.SchemaMajor = 0 }), UnsupportedVersion},
		{"unknown type", sealed(func(e *envelopev2.EventEnvelope) { e.PayloadType = "esper.bus.v2.Nothing" }), UnknownType},
		{"no type", sealed(func(e *envelopev2.EventEnvelope) { e.PayloadType = "" }), UnknownType},
		{"payload with an explicit zero", payload([]byte{0x18, 0}), NonCanonical},
		{"payload that is cut", payload([]byte{0x0a, 9}), Malformed},
		{"unknown field in the envelope", append([]byte{}, sum([]byte{0x48, 1})...), NonCanonical},
		{"field number 0", sum([]byte{0, 1}), Malformed},
	} {
		t.Run(k.name, func(t *testing.T) {
			_, _, err := c.Open(k.bytes)
			if got := refusal(err); got != k.reason {
				t.Errorf("%v, want %v", err, k.reason)
			}
		})
	}
}

func TestSignature(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeySize)
	signer, err := NewHMACSigner("k1", key)
	if err != nil {
		t.Fatal(err)
	}
	signer.SignedAt = noon
	signer.Nonce[0] = 1
	c := NewCodec()
	e, _, err := c.Open(c.Seal(nil, envelope(), telemetry(), signer))
	if err != nil {
		t.Fatal(err)
	}
	before := e.AppendCanonical(nil)
	if err := Verify(e, key); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(before, e.AppendCanonical(nil)) {
		t.Error("Verify changed the envelope")
	}
	for name, change := range map[string]func(e *envelopev2.EventEnvelope){
		"payload":   func(e *envelopev2.EventEnvelope) { e.Payload[0] ^= 1 },
		"topic":     func(e *envelopev2.EventEnvelope) { e.Topic += "x" },
		"nonce":     func(e *envelopev2.EventEnvelope) { e.Auth.Nonce[3] ^= 1 },
		"time":      func(e *envelopev2.EventEnvelope) { e.Auth.SignedAt.Seconds++ },
		"signature": func(e *envelopev2.EventEnvelope) { e.Auth.HmacSha256[31] ^= 1 },
		"shorter":   func(e *envelopev2.EventEnvelope) { e.Auth.HmacSha256 = e.Auth.HmacSha256[:31] },
		"no nonce":  func(e *envelopev2.EventEnvelope) { e.Auth.Nonce = nil },
		"unsigned":  func(e *envelopev2.EventEnvelope) { e.Auth = nil },
	} {
		forged := proto.Clone(e).(*envelopev2.EventEnvelope)
		change(forged)
		if err := Verify(forged, key); refusal(err) != BadSignature {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Verify(e, bytes.Repeat([]byte{8}, KeySize)); refusal(err) != BadSignature {
		t.Errorf("another key: %v", err)
	}
	if err := Verify(e, key[:5]); refusal(err) != BadSignature {
		t.Errorf("short key: %v", err)
	}
	if _, err := NewHMACSigner("k", key[:5]); err == nil {
		t.Error("a short key makes a signer")
	}
}

func TestTopologyNamesKnownTypes(t *testing.T) {
	for _, types := range Topics {
		for _, name := range types {
			if New(name) == nil {
				t.Errorf("there is no %s", name)
			}
		}
	}
	for _, name := range Direct {
		if New(name) == nil {
			t.Errorf("there is no %s", name)
		}
		if strings.HasPrefix(name, "esper.evidence.") || strings.HasPrefix(name, "esper.local.") {
			t.Errorf("%s never travels", name)
		}
	}
	if !Allowed("system.events.epoch", "esper.events.v2.EpochEvent") || Allowed("", "esper.events.v2.EpochEvent") ||
		!Allowed("", "esper.bus.v2.Ack") || Allowed("nowhere", "esper.bus.v2.Ack") {
		t.Error("Allowed does not follow the tables")
	}
}

// FuzzEnvelope: what is opened is the canonical encoding of what came out;
// nothing panics. The checksum is put right, or nothing would get past it.
func FuzzEnvelope(f *testing.F) {
	c := NewCodec()
	sealed := c.Seal(nil, envelope(), telemetry(), nil)
	f.Add(sealed[:len(sealed)-6])
	f.Add(sum([]byte{0x38, 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, sum(bytes.Clone(b))} {
			e, m, err := c.Open(b)
			if err != nil {
				if refusal(err) == 0 {
					t.Fatalf("%#v", err)
				}
				continue
			}
			if !bytes.Equal(e.AppendCanonical(nil), b) || !bytes.Equal(m.AppendCanonical(nil), e.Payload) {
				t.Fatalf("accepted %x", b)
			}
		}
	})
}

func ExampleCodec() {
	c := NewCodec()
	e := c.Scratch()
	e.SourceSubsystem = "kasmina-1"
	b := c.Seal(nil, e, &telemetryv2.SeedRef{LayerId: 12, SeedId: 3}, nil)

	opened, m, err := c.Open(b)
	fmt.Println(opened.PayloadType, m.(*telemetryv2.SeedRef).LayerId, err)

	b[5] ^= 1
	_, _, err = c.Open(b)
	var r *Refusal
	fmt.Println(errors.As(err, &r), r.Reason)
	// Output:
	// esper.telemetry.v2.SeedRef 12 <nil>
	// true bad checksum
}

// ref hides the concrete type, as the kernel sees messages.
var ref canon.Message = telemetry()

func BenchmarkEncode(b *testing.B) {
	b.ReportAllocs()
	buf := ref.AppendCanonical(nil)
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		buf = ref.AppendCanonical(buf[:0])
	}
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	buf := ref.AppendCanonical(nil)
	m := New(ref.FullName())
	b.SetBytes(int64(len(buf)))
	for b.Loop() {
		if err := m.ParseCanonical(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealOpen(b *testing.B) {
	b.ReportAllocs()
	c, e := NewCodec(), envelope()
	var buf []byte
	for b.Loop() {
		buf = c.Seal(buf[:0], e, ref, nil)
		if _, _, err := c.Open(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkIdentityHash(b *testing.B) {
	b.ReportAllocs()
	var h uint64
	for b.Loop() {
		h = ref.IdentityHash(h)
	}
}

// BenchmarkProtobufGo is the library's own codec on the same message.
func BenchmarkProtobufGo(b *testing.B) {
	b.ReportAllocs()
	var buf []byte
	m := New(ref.FullName())
	for b.Loop() {
		buf, _ = proto.MarshalOptions{}.MarshalAppend(buf[:0], ref)
		if err := proto.Unmarshal(buf, m); err != nil {
			b.Fatal(err)
		}
	}
}
