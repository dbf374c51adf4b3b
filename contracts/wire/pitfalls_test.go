package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
)

// Every way to write a message otherwise than canonically that is known from
// other libraries.
func TestPitfalls(t *testing.T) {
	const (
		command  = "esper.adaptation.v2.AdaptationCommand"
		result   = "esper.adaptation.v2.CommandResult"
		seeds    = "esper.adaptation.v2.SeedActivation"
		rates    = "esper.adaptation.v2.LearningRateUpdate"
		state    = "esper.system_state.v2.SystemStatePacket"
		metrics  = "esper.system_state.v2.TrainingMetrics"
		label    = "esper.telemetry.v2.Label"
		envelope = "esper.envelope.v2.EventEnvelope"
	)
	for _, c := range []struct {
		name, message, bytes string
		reason               canon.Reason
		field                string
	}{
		{"unknown field before a known one", result, "d83e012007", canon.UnknownField, "#1003"},
		{"unknown field at the end", result, "2007d83e01", canon.UnknownField, "#1003"},
		{"fields out of order", result, "2007" + "120161", canon.Order, "subsystem"},
		{"varint is not minimal", result, "208100", canon.NonMinimal, "applied_epoch"},
		{"length is not minimal", result, "0a810061", canon.NonMinimal, "command_id"},
		{"tag is not minimal", result, "a00007", canon.NonMinimal, ""},
		{"int32 in five bytes", command, "20ffffffff0f", canon.SignExtension, "ttl_epochs"},
		{"int32 beyond its range", command, "208080808010", canon.Overflow, "ttl_epochs"},
		{"uint32 beyond its range", envelope, "388080808010", canon.Overflow, "schema_major"},
		{"bool is 2", rates, "1802", canon.BadBool, "apply_warmup"},
		{"not packed", seeds, "080108020803", canon.NotPacked, "activate_seeds"},
		{"packed in two pieces", seeds, "0a01010a0102", canon.Repeated, "activate_seeds"},
		{"packed and empty", seeds, "0a00", canon.ExplicitZero, "activate_seeds"},
		{"packed element is not minimal", seeds, "0a028100", canon.NonMinimal, "activate_seeds"},
		{"packed element is cut", seeds, "0a0181", canon.Truncated, "activate_seeds"},
		{"two arms of a oneof", command, "52006a00", canon.TwoArms, "rollback"},
		{"two arms in falling order", command, "6a005200", canon.TwoArms, "lr_update"},
		{"the same arm twice", command, "6a006a00", canon.Repeated, "rollback"},
		{"oneof behind a later field", command, "a201006a00", canon.Order, "rollback"},
		{"submessage in two pieces", command, "6a0208016a03120161", canon.Repeated, "rollback"},
		{"field twice", result, "20072008", canon.Repeated, "applied_epoch"},
		{"explicit zero", result, "2000", canon.ExplicitZero, "applied_epoch"},
		{"explicit empty string", result, "0a00", canon.ExplicitZero, "command_id"},
		{"explicit empty bytes", envelope, "5200", canon.ExplicitZero, "payload"},
		{"explicit zero in a submessage", command, "6a020800", canon.ExplicitZero, "type"},
		{"explicit +0.0", metrics, "090000000000000000", canon.ExplicitZero, "loss"},
		{"wrong wire type", result, "0801", canon.WireType, "command_id"},
		{"wrong wire type, fixed for varint", result, "2507000000", canon.WireType, "applied_epoch"},
		{"unknown enum value", result, "1807", canon.UnknownEnum, "status"},
		{"negative enum value", result, "18ffffffffffffffffff01", canon.UnknownEnum, "status"},
		{"unknown group", result, "db3edc3e", canon.Group, "#1003"},
		{"group for a known field", result, "0b0c", canon.WireType, "command_id"},
		{"stray end of a group", result, "dc3e", canon.EndGroup, "#1003"},
		{"stray end of a known number", result, "0c", canon.EndGroup, "command_id"},
		{"tag 0", result, "00", canon.BadTag, ""},
		{"tag 0 behind a field", result, "200700", canon.BadTag, ""},
		{"field number 0", result, "0261", canon.BadTag, ""},
		{"field number beyond 2^29-1", result, "8080808010", canon.BadTag, ""},
		{"varint of ten bytes overflows", result, "20ffffffffffffffffff02", canon.Overflow, "applied_epoch"},
		{"varint of eleven bytes", result, "2080808080808080808080" + "01", canon.Overflow, "applied_epoch"},
		{"cut in a varint", result, "2080", canon.Truncated, "applied_epoch"},
		{"cut behind a tag", result, "20", canon.Truncated, "applied_epoch"},
		{"cut in a string", result, "0a0561", canon.Truncated, "command_id"},
		{"cut in a double", metrics, "0900", canon.Truncated, "loss"},
		{"cut in a tag", result, "80", canon.Truncated, ""},
		{"length of 2^63", result, "0a80808080808080808001", canon.Truncated, "command_id"},
		{"length in a submessage leaves it", command, "6a02120561", canon.Truncated, "checkpoint_id"},
		{"text is not UTF-8", label, "0a01ff", canon.BadUTF8, "key"},
		{"UTF-8 surrogate", label, "0a03eda080", canon.BadUTF8, "key"},
		{"Duration with mixed signs", metrics, "220d0801" + "10ffffffffffffffffff01", canon.BadDuration, ""},
		{"Duration with too many nanos", metrics, "2206" + "1080" + "94ebdc03", canon.BadDuration, ""},
		{"Timestamp with negative nanos", state, "1a0b" + "10ffffffffffffffffff01", canon.BadTimestamp, ""},
		{"Timestamp before year 1", state, "1a0b" + "08ff91b8c398feffffff01", canon.BadTimestamp, ""},
		{"Timestamp out of order", state, "1a0410010801", canon.Order, "seconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := hex.DecodeString(c.bytes)
			if err != nil {
				t.Fatal(err)
			}
			err = New(c.message).ParseCanonical(b)
			var e *canon.Error
			if !errors.As(err, &e) {
				t.Fatalf("accepted, or no *canon.Error: %v", err)
			}
			if e.Reason != c.reason || e.Field != c.field {
				t.Errorf("refused as %q, field %q; want %q, field %q", e.Reason, e.Field, c.reason, c.field)
			}
			if !strings.Contains(err.Error(), e.Message) || e.Offset > len(b) {
				t.Errorf("unhelpful: %v", err)
			}
		})
	}
}

func TestErrorNamesTheInnermostPlace(t *testing.T) {
	m := &adaptationv2.AdaptationCommand{}
	b, _ := hex.DecodeString("0a0161" + "6a020800")
	err := m.ParseCanonical(b)
	want := "esper.adaptation.v2.RollbackCommand.type at byte 6: default value is written"
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// The bytes that C++ and Python write, where protobuf-go writes the oneof last.
func TestOneofStandsInNumberOrder(t *testing.T) {
	m := &adaptationv2.AdaptationCommand{
		Command:     &adaptationv2.AdaptationCommand_Rollback{Rollback: &adaptationv2.RollbackCommand{}},
		Constraints: &adaptationv2.ExecutionConstraints{},
	}
	if got := hex.EncodeToString(m.AppendCanonical(nil)); got != "6a00a20100" {
		t.Errorf("canonical %s", got)
	}
	theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil || hex.EncodeToString(theirs) != "a201006a00" {
		t.Errorf("protobuf-go writes %x (%v) now: is this package's reason gone?", theirs, err)
	}
}

func TestFloatBitsAreKept(t *testing.T) {
	for _, bits := range []uint64{1 << 63, 0x7ff8000000000000, 0x7ff0000000000001, 0xfff8000000001234} {
		m := &systemstatev2.TrainingMetrics{Loss: math.Float64frombits(bits)}
		b := m.AppendCanonical(nil)
		if theirs, _ := proto.Marshal(m); !bytes.Equal(b, theirs) {
			t.Errorf("%x: %x, protobuf-go writes %x", bits, b, theirs)
		}
		back := &systemstatev2.TrainingMetrics{}
		if err := back.ParseCanonical(b); err != nil || math.Float64bits(back.Loss) != bits {
			t.Errorf("%x comes back as %x (%v)", bits, math.Float64bits(back.Loss), err)
		}
	}
}

// An error in the middle of a reused message does not leak into the next.
func TestReuseAfterAnError(t *testing.T) {
	m := &adaptationv2.AdaptationCommand{}
	full := (&adaptationv2.AdaptationCommand{CommandId: "c", TtlEpochs: 3,
		Command: &adaptationv2.AdaptationCommand_Pause{Pause: &adaptationv2.PauseCommand{Pause: true}},
		Issuer:  "tamiyo"}).AppendCanonical(nil)
	if err := m.ParseCanonical(full); err != nil {
		t.Fatal(err)
	}
	if err := m.ParseCanonical(full[:len(full)-1]); err == nil {
		t.Fatal("accepted")
	}
	if err := m.ParseCanonical(nil); err != nil || !proto.Equal(m, &adaptationv2.AdaptationCommand{}) {
		t.Errorf("%v left over (%v)", m, err)
	}
}
