package migrate

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv1 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v1"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	systemstatev1 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v1"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv1 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v1"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/internal/prototest"
	"github.com/esper-sim/espersim/contracts/validate"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Limits of a Timestamp in milliseconds.
const (
	firstMS = -62135596800000
	lastMS  = 253402300799999
)

// accepted encodes a message and reads it again under the accept rule.
func accepted(t interface{ Fatal(...any) }, m canon.Message) canon.Message {
	b := m.AppendCanonical(nil)
	again := wire.New(m.FullName())
	if err := again.ParseCanonical(b); err != nil {
		t.Fatal(err)
	}
	return again
}

// ms is a Timestamp as version 1 has it.
func ms(t interface {
	GetSeconds() int64
	GetNanos() int32
}) int64 {
	return t.GetSeconds()*1000 + int64(t.GetNanos()/1e6)
}

// Every valid packet of version 1 has a version 2 that a receiver accepts, and
// version 1 can be made of it again: nothing is lost.
func TestSystemStateLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := new(systemstatev1.SystemStatePacket)
		prototest.Fill(t, in)
		in.TimestampMs = rapid.Int64Range(firstMS, lastMS).Draw(t, "timestamp")
		in.EpochDurationMs = rapid.Int64Range(0, 1<<50).Draw(t, "duration")
		_, m, err := Bytes("SystemStatePacket", in.AppendCanonical(nil))
		if err != nil {
			if _, e := durations.FromMS(in.EpochDurationMs); e != nil {
				return // no Duration is so long
			}
			t.Fatal(err)
		}
		out := accepted(t, m).(*systemstatev2.SystemStatePacket)
		back := &systemstatev1.SystemStatePacket{
			PacketId: out.PacketId, Epoch: int32(out.Epoch), TimestampMs: ms(out.Timestamp), SourceSubsystem: out.SourceSubsystem,
			Loss: out.TrainingMetrics.Loss, LearningRate: out.TrainingMetrics.LearningRate, GlobalStep: out.TrainingMetrics.GlobalStep,
			EpochDurationMs: ms(out.TrainingMetrics.EpochDuration),
		}
		for _, s := range out.SeedStates {
			if s.Health == nil || s.Health.Status != systemstatev2.SeedHealth_UNKNOWN {
				t.Fatal("the health of a seed is not UNKNOWN")
			}
			back.SeedStates = append(back.SeedStates, &systemstatev1.SeedState{SeedId: s.SeedId, Active: s.Active, LocalLoss: s.LocalLoss})
		}
		if !bytes.Equal(back.AppendCanonical(nil), in.AppendCanonical(nil)) {
			t.Fatalf("%v comes back as %v", in, back)
		}
	})
}

func TestTelemetryLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := new(telemetryv1.TelemetryPacket)
		prototest.Fill(t, in)
		in.TimestampMs = rapid.Int64Range(firstMS, lastMS).Draw(t, "timestamp")
		_, m, err := Bytes("TelemetryPacket", in.AppendCanonical(nil))
		if err != nil {
			t.Fatal(err)
		}
		out := accepted(t, m).(*telemetryv2.TelemetryPacket)
		back := &telemetryv1.TelemetryPacket{PacketId: out.PacketId, TimestampMs: ms(out.Timestamp), SourceSubsystem: out.SourceSubsystem}
		for _, p := range out.Metrics {
			back.Metrics = append(back.Metrics, &telemetryv1.MetricPoint{Name: p.Name, Value: p.Value})
		}
		if !bytes.Equal(back.AppendCanonical(nil), in.AppendCanonical(nil)) {
			t.Fatalf("%v comes back as %v", in, back)
		}
	})
}

func TestCommandLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := &adaptationv1.AdaptationCommand{
			CommandId:   rapid.StringN(1, 20, 40).Draw(t, "command_id"),
			TargetEpoch: rapid.Int64Range(0, math.MaxInt64).Draw(t, "target_epoch"),
			CreatedAtMs: rapid.Int64Range(firstMS, lastMS).Draw(t, "created_at"),
		}
		switch rapid.IntRange(0, 2).Draw(t, "arm") {
		case 0:
			in.Command = &adaptationv1.AdaptationCommand_LearningRate{
				LearningRate: rapid.Float64Range(math.SmallestNonzeroFloat64, math.MaxFloat64).Draw(t, "rate")}
		case 1:
			ids := rapid.SliceOfNDistinct(rapid.Int32Range(0, math.MaxInt32), 1, 9, rapid.ID[int32]).Draw(t, "seeds")
			n := rapid.IntRange(0, len(ids)).Draw(t, "activate")
			in.Command = &adaptationv1.AdaptationCommand_SeedActivation{
				SeedActivation: &adaptationv1.SeedActivation{Activate: ids[:n], Deactivate: ids[n:]}}
		case 2:
			in.Command = &adaptationv1.AdaptationCommand_RollbackCheckpointId{RollbackCheckpointId: rapid.StringN(1, 20, 40).Draw(t, "checkpoint")}
		}
		_, m, err := Bytes("esper.adaptation.v1.AdaptationCommand", in.AppendCanonical(nil))
		if err != nil {
			t.Fatal(err)
		}
		out := accepted(t, m).(*adaptationv2.AdaptationCommand)
		if err := validate.Command(out); err != nil || out.TtlEpochs != 1 {
			t.Fatal(out, err)
		}
		back := &adaptationv1.AdaptationCommand{CommandId: out.CommandId, TargetEpoch: out.TargetEpoch, CreatedAtMs: ms(out.CreatedAt)}
		switch arm := out.Command.(type) {
		case *adaptationv2.AdaptationCommand_LrUpdate:
			g := arm.LrUpdate.GroupRates
			if len(g) != 1 || g[0].ParamGroup != "default" {
				t.Fatal(g)
			}
			back.Command = &adaptationv1.AdaptationCommand_LearningRate{LearningRate: g[0].LearningRate}
		case *adaptationv2.AdaptationCommand_SeedActivation:
			back.Command = &adaptationv1.AdaptationCommand_SeedActivation{SeedActivation: &adaptationv1.SeedActivation{
				Activate: arm.SeedActivation.ActivateSeeds, Deactivate: arm.SeedActivation.DeactivateSeeds}}
		case *adaptationv2.AdaptationCommand_Rollback:
			if arm.Rollback.Type != adaptationv2.RollbackCommand_FULL {
				t.Fatal(arm.Rollback)
			}
			back.Command = &adaptationv1.AdaptationCommand_RollbackCheckpointId{RollbackCheckpointId: arm.Rollback.CheckpointId}
		}
		if !bytes.Equal(back.AppendCanonical(nil), in.AppendCanonical(nil)) {
			t.Fatalf("%v comes back as %v", in, back)
		}
	})
}

// What has no version 2 is refused with its field.
func TestRefusals(t *testing.T) {
	command := func(change func(*adaptationv1.AdaptationCommand)) canon.Message {
		c := &adaptationv1.AdaptationCommand{CommandId: "c", Command: &adaptationv1.AdaptationCommand_LearningRate{LearningRate: 0.1}}
		change(c)
		return c
	}
	rate := func(r float64) canon.Message {
		return command(func(c *adaptationv1.AdaptationCommand) {
			c.Command = &adaptationv1.AdaptationCommand_LearningRate{LearningRate: r}
		})
	}
	seeds := func(on, off []int32) canon.Message {
		return command(func(c *adaptationv1.AdaptationCommand) {
			c.Command = &adaptationv1.AdaptationCommand_SeedActivation{SeedActivation: &adaptationv1.SeedActivation{Activate: on, Deactivate: off}}
		})
	}
	for _, c := range []struct {
		m             canon.Message
		field, reason string
	}{
		{command(func(c *adaptationv1.AdaptationCommand) { c.Command = nil }), "command", "no content"},
		{command(func(c *adaptationv1.AdaptationCommand) { c.CommandId = "" }), "command_id", "empty"},
		{command(func(c *adaptationv1.AdaptationCommand) { c.TargetEpoch = -1 }), "target_epoch", "-1"},
		{command(func(c *adaptationv1.AdaptationCommand) { c.CreatedAtMs = lastMS + 1 }), "created_at_ms", "range"},
		{command(func(c *adaptationv1.AdaptationCommand) { c.CreatedAtMs = math.MinInt64 }), "created_at_ms", "range"},
		{rate(0), "learning_rate", "0"}, {rate(math.NaN()), "learning_rate", "NaN"}, {rate(math.Inf(1)), "learning_rate", "Inf"}, {rate(-1), "learning_rate", "-1"},
		{seeds(nil, nil), "seed_activation", "no seed"}, {seeds([]int32{1}, []int32{1}), "seed_activation", "twice"}, {seeds([]int32{-1}, nil), "seed_activation", "negative"},
		{command(func(c *adaptationv1.AdaptationCommand) {
			c.Command = &adaptationv1.AdaptationCommand_RollbackCheckpointId{}
		}), "rollback_checkpoint_id", "no checkpoint"},
		{&systemstatev1.SystemStatePacket{TimestampMs: firstMS - 1}, "timestamp_ms", "range"},
		{&systemstatev1.SystemStatePacket{EpochDurationMs: -1}, "epoch_duration_ms", "-1"},
		{&systemstatev1.SystemStatePacket{EpochDurationMs: math.MaxInt64}, "epoch_duration_ms", "range"},
		{&telemetryv1.TelemetryPacket{TimestampMs: math.MaxInt64}, "timestamp_ms", "range"},
	} {
		_, out, err := Bytes(c.m.FullName(), c.m.AppendCanonical(nil))
		var r *Refusal
		if !errors.As(err, &r) || out != nil || r.Field != c.field || r.Type != c.m.FullName() || !strings.Contains(r.Reason, c.reason) {
			t.Errorf("%v: %v, want %s: %s", c.m, err, c.field, c.reason)
		}
	}
	for _, in := range []string{
		"0a", "0a0161" + "f80601", "0a016118818000", "0a01610a0161", "100210",
	} {
		b, _ := hex.DecodeString(in) // literals
		_, _, err := Bytes("AdaptationCommand", b)
		var r *Refusal
		var e *canon.Error
		if !errors.As(err, &r) || !errors.As(err, &e) || r.Field != "" {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// Each field of version 1 has its place: a field that the lists above forget
// shows as a change of the output that is missing.
func TestEveryFieldOfVersion1Matters(t *testing.T) {
	for _, name := range Types() {
		m := wire.New(name)
		var walk func(m protoreflect.Message, path string)
		base := valid(name)
		_, want, err := Bytes(name, base.AppendCanonical(nil))
		if err != nil {
			t.Fatal(err)
		}
		walk = func(m protoreflect.Message, path string) {
			fields := m.Descriptor().Fields()
			for i := range fields.Len() {
				f := fields.Get(i)
				if f.ContainingOneof() != nil {
					continue // TestCommandLosesNothing has the arms
				}
				changed := valid(name)
				set(changed.ProtoReflect(), f)
				_, out, err := Bytes(name, changed.AppendCanonical(nil))
				if err != nil {
					t.Errorf("%s%s: %v", path, f.Name(), err)
					continue
				}
				if proto.Equal(out, want) {
					t.Errorf("%s%s is lost", path, f.Name())
				}
			}
		}
		walk(m.ProtoReflect(), name+".")
	}
}

func valid(name string) canon.Message {
	m := wire.New(name)
	if c, ok := m.(*adaptationv1.AdaptationCommand); ok {
		c.CommandId, c.Command = "c", &adaptationv1.AdaptationCommand_LearningRate{LearningRate: 1}
	}
	return m
}

func set(m protoreflect.Message, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsList():
		m.Mutable(f).List().AppendMutable()
	case f.Kind() == protoreflect.StringKind:
		m.Set(f, protoreflect.ValueOfString("other"))
	case f.Kind() == protoreflect.Int32Kind:
		m.Set(f, protoreflect.ValueOfInt32(7))
	case f.Kind() == protoreflect.Int64Kind:
		m.Set(f, protoreflect.ValueOfInt64(7))
	case f.Kind() == protoreflect.DoubleKind:
		m.Set(f, protoreflect.ValueOfFloat64(7))
	}
}

func TestFindType(t *testing.T) {
	for in, want := range map[string]string{
		"AdaptationCommand": "esper.adaptation.v1.AdaptationCommand", "adaptation.v1.AdaptationCommand": "esper.adaptation.v1.AdaptationCommand",
		"esper.telemetry.v1.TelemetryPacket": "esper.telemetry.v1.TelemetryPacket",
		"":                                   "", "Packet": "", "esper.adaptation.v2.AdaptationCommand": "", "SeedState": "",
	} {
		got, err := FindType(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, _, err := Bytes("Nothing", nil); err == nil {
		t.Error("no such type, and no error")
	}
}

// Text reads back to the same message.
func TestText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"esper.telemetry.v2.TelemetryPacket", "esper.adaptation.v2.AdaptationCommand", "esper.system_state.v1.SystemStatePacket"}).Draw(t, "type")
		m := wire.New(name)
		prototest.Fill(t, m)
		again := wire.New(name)
		if err := prototext.Unmarshal([]byte(Text(m)), again); err != nil {
			t.Fatalf("%v\n%s", err, Text(m))
		}
		if !bytes.Equal(quiet(again), quiet(m)) {
			t.Fatalf("%s\nreads as\n%s", Text(m), Text(again))
		}
	})
}

// quiet is the encoding of a message whose NaNs are all one: text has no other.
func quiet(m canon.Message) []byte {
	var walk func(protoreflect.Message)
	walk = func(m protoreflect.Message) {
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case f.IsList() && f.Message() != nil:
				for i := range v.List().Len() {
					walk(v.List().Get(i).Message())
				}
			case f.Message() != nil:
				walk(v.Message())
			case f.Kind() == protoreflect.DoubleKind && !f.IsList() && math.IsNaN(v.Float()):
				m.Set(f, protoreflect.ValueOfFloat64(math.NaN()))
			}
			return true
		})
	}
	walk(m.ProtoReflect())
	return m.AppendCanonical(nil)
}

// Whatever comes in: an error, or a message that a receiver accepts.
func FuzzBytes(f *testing.F) {
	f.Add(uint8(0), (&adaptationv1.AdaptationCommand{CommandId: "c", Command: &adaptationv1.AdaptationCommand_LearningRate{LearningRate: 0.1}}).AppendCanonical(nil))
	f.Add(uint8(1), (&systemstatev1.SystemStatePacket{PacketId: "p", SeedStates: []*systemstatev1.SeedState{{SeedId: 1}}}).AppendCanonical(nil))
	f.Add(uint8(2), (&telemetryv1.TelemetryPacket{Metrics: []*telemetryv1.MetricPoint{{Name: "n"}}}).AppendCanonical(nil))
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		name := Types()[int(kind)%len(Types())]
		_, out, err := Bytes(name, slices.Clone(b))
		if err != nil {
			var r *Refusal
			if !errors.As(err, &r) {
				t.Fatal(err)
			}
			return
		}
		accepted(t, out)
		_ = Text(out)
	})
}

func ExampleCommand() {
	out, err := Command(&adaptationv1.AdaptationCommand{
		CommandId: "c-1", TargetEpoch: 4, CreatedAtMs: 1736467200500,
		Command: &adaptationv1.AdaptationCommand_LearningRate{LearningRate: 0.01},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(Text(out))
	_, err = Command(&adaptationv1.AdaptationCommand{CommandId: "c-2"})
	fmt.Println(err)
	// Output:
	// # proto-message: esper.adaptation.v2.AdaptationCommand
	// command_id: "c-1"
	// target_epoch: 4
	// created_at {
	//   seconds: 1736467200
	//   nanos: 500000000
	// }
	// ttl_epochs: 1
	// lr_update {
	//   group_rates {
	//     param_group: "default"
	//     learning_rate: 0.01
	//   }
	// }
	// esper.adaptation.v1.AdaptationCommand.command: the command has no content
}
