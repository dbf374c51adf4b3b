package reencode

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/governance/dynamic"
	"github.com/esper-sim/espersim/contracts/internal/everykind"
	"github.com/esper-sim/espersim/contracts/internal/protorand"
)

func TestBytes(t *testing.T) {
	command := new(adaptationv2.AdaptationCommand).ProtoReflect().Descriptor()
	for _, c := range []struct {
		name, in, out       string
		accepted, identical bool
		reason              string
	}{
		{"canonical", "6a00a20100", "6a00a20100", true, true, ""},
		{"empty", "", "", true, true, ""},
		{"oneof last", "a201006a00", "6a00a20100", false, false, "AdaptationCommand.rollback at byte 3: field out of order"},
		{"explicit zero", "0a01611000", "0a0161", false, false, "AdaptationCommand.target_epoch at byte 4: default value is written"},
		{"in a submessage", "0a01616a020800", "0a01616a00", false, false, "AdaptationCommand.rollback.type at byte 6: default value is written"},
		{"unknown field", "f83e01", "f83e01", false, true, "AdaptationCommand.#1007 at byte 0: unknown field"},
		{"unknown enum value", "6a020807", "6a020807", false, true, "AdaptationCommand.rollback.type at byte 3: unknown enum value"},
		{"truncated", "0a05", "", false, false, "AdaptationCommand.command_id at byte 1: truncated"},
	} {
		in, _ := hex.DecodeString(c.in) // literals
		r, err := Bytes(command, in)
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(r.Canonical); got != c.out || r.Accepted != c.accepted || r.Identical != c.identical || r.Reason != c.reason {
			t.Errorf("%s: %s, %+v", c.name, got, r)
		}
	}
}

// It accepts what generated code accepts, signalling NaNs included, and what it
// writes is accepted wherever the values are valid.
func agree(t *testing.T, m func() canon.Message, b []byte) {
	t.Helper()
	d := m().ProtoReflect().Descriptor()
	r, err := Bytes(d, b)
	if err != nil {
		t.Fatal(err)
	}
	goErr := m().ParseCanonical(bytes.Clone(b))
	if (goErr == nil) != r.Accepted {
		t.Errorf("%s: %x: generated code says %v, reencode %+v", d.FullName(), b, goErr, r)
	}
	var want *canon.Error
	if errors.As(goErr, &want); want != nil {
		if got := dynamic.Deviation(d, b); got == nil || *got != *want {
			t.Errorf("%x: %v, generated code says %v", b, got, want)
		}
	}
	if r.Accepted != (r.Reason == "") || r.Accepted && !r.Identical {
		t.Errorf("%x: %+v", b, r)
	}
	if r.Canonical == nil {
		return
	}
	again, err := Bytes(d, r.Canonical)
	if err != nil || !again.Identical {
		t.Errorf("%x: the canonical form %x is not: %+v", b, r.Canonical, again)
	}
	if (proto.Unmarshal(b, m()) == nil) != (r.Canonical != nil) {
		t.Errorf("%x: protobuf-go disagrees that this is a message", b)
	}
}

func TestAgreesWithGeneratedCode(t *testing.T) {
	r := protorand.Rand(5, 5)
	accepted := 0
	for range 3000 {
		m := new(everykind.Every)
		protorand.Fill(r, m.ProtoReflect(), 8)
		b := m.AppendCanonical(nil)
		protorand.Signal(b)
		if r.IntN(4) != 0 {
			b, _ = protorand.Damage(r, m.ProtoReflect().Descriptor(), b)
		}
		agree(t, func() canon.Message { return new(everykind.Every) }, b)
		if new(everykind.Every).ParseCanonical(b) == nil {
			accepted++
		}
		if t.Failed() {
			return
		}
	}
	if accepted < 500 || accepted > 2500 {
		t.Errorf("%d of 3000 accepted", accepted)
	}
}

func FuzzBytes(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		agree(t, func() canon.Message { return new(everykind.Every) }, b)
		agree(t, func() canon.Message { return new(adaptationv2.AdaptationCommand) }, b)
		agree(t, func() canon.Message { return new(telemetryv2.TelemetryPacket) }, b)
	})
}
