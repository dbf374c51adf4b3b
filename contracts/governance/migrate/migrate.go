// Package migrate turns messages of version 1 into messages of version 2.
//
// Version 1 is read and never written (HLD section 8.4), and has no envelope:
// its messages enter as files. Milliseconds become Timestamps and Durations;
// what version 1 does not say becomes what it meant: a command is in force for
// one epoch, its single learning rate is that of the group "default", a
// rollback is FULL, the health of a seed is UNKNOWN. A zero time of version 1
// cannot be told from none, and becomes none. All of version 1 has a place in
// version 2, so nothing is lost.
//
// What would mean something else, or nothing, in version 2 is refused.
package migrate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	adaptationv1 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v1"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	systemstatev1 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v1"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv1 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v1"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/contracts/validate"
)

// What version 1 leaves unsaid.
const (
	// TTLEpochs is how long a command of version 1 is in force.
	TTLEpochs = 1
	// ParamGroup is the group that a learning rate of version 1 is for.
	ParamGroup = "default"
)

// A Refusal is why a message has no version 2.
type Refusal struct {
	Type   string // full name of the version 1 type
	Field  string // empty: the whole message
	Reason string
	Err    error // what it was derived from, or nil
}

func (r *Refusal) Error() string {
	if r.Field == "" {
		return fmt.Sprintf("%s: %s", r.Type, r.Reason)
	}
	return fmt.Sprintf("%s.%s: %s", r.Type, r.Field, r.Reason)
}

// Unwrap returns what the refusal was derived from.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(m canon.Message, field, reason string, args ...any) error {
	return &Refusal{Type: m.FullName(), Field: field, Reason: fmt.Sprintf(reason, args...)}
}

// timestamp is ms as a Timestamp, and none for 0.
func timestamp(m canon.Message, field string, ms int64) (*timestamppb.Timestamp, error) {
	if ms == 0 {
		return nil, nil
	}
	t, err := durations.TimeFromMS(ms)
	if err != nil {
		return nil, refuse(m, field, "%v", err)
	}
	return t, nil
}

// SystemState migrates a state packet. An error is a *Refusal.
func SystemState(in *systemstatev1.SystemStatePacket) (*systemstatev2.SystemStatePacket, error) {
	at, err := timestamp(in, "timestamp_ms", in.GetTimestampMs())
	if err != nil {
		return nil, err
	}
	metrics := &systemstatev2.TrainingMetrics{Loss: in.GetLoss(), LearningRate: in.GetLearningRate(), GlobalStep: in.GetGlobalStep()}
	switch ms := in.GetEpochDurationMs(); {
	case ms < 0:
		return nil, refuse(in, "epoch_duration_ms", "%d: an epoch takes no less than no time", ms)
	case ms > 0:
		if metrics.EpochDuration, err = durations.FromMS(ms); err != nil {
			return nil, refuse(in, "epoch_duration_ms", "%v", err)
		}
	}
	out := &systemstatev2.SystemStatePacket{
		PacketId: in.GetPacketId(), Epoch: int64(in.GetEpoch()), Timestamp: at,
		SourceSubsystem: in.GetSourceSubsystem(), TrainingMetrics: metrics,
	}
	for _, s := range in.GetSeedStates() {
		out.SeedStates = append(out.SeedStates, &systemstatev2.SeedState{
			SeedId: s.GetSeedId(), Active: s.GetActive(), LocalLoss: s.GetLocalLoss(),
			Health: &systemstatev2.SeedHealth{Status: systemstatev2.SeedHealth_UNKNOWN},
		})
	}
	return out, nil
}

// Command migrates a command. What it returns passes validate.Command. An
// error is a *Refusal.
func Command(in *adaptationv1.AdaptationCommand) (*adaptationv2.AdaptationCommand, error) {
	at, err := timestamp(in, "created_at_ms", in.GetCreatedAtMs())
	if err != nil {
		return nil, err
	}
	out := &adaptationv2.AdaptationCommand{
		CommandId: in.GetCommandId(), TargetEpoch: in.GetTargetEpoch(), CreatedAt: at, TtlEpochs: TTLEpochs,
	}
	field := ""
	switch arm := in.GetCommand().(type) {
	case *adaptationv1.AdaptationCommand_LearningRate:
		field = "learning_rate"
		if r := arm.LearningRate; math.IsNaN(r) || math.IsInf(r, 0) || r <= 0 {
			return nil, refuse(in, field, "%v is no learning rate; want a finite one above 0", r)
		}
		out.Command = &adaptationv2.AdaptationCommand_LrUpdate{LrUpdate: &adaptationv2.LearningRateUpdate{
			GroupRates: []*adaptationv2.LearningRateGroup{{ParamGroup: ParamGroup, LearningRate: arm.LearningRate}}}}
	case *adaptationv1.AdaptationCommand_SeedActivation:
		field = "seed_activation"
		out.Command = &adaptationv2.AdaptationCommand_SeedActivation{SeedActivation: &adaptationv2.SeedActivation{
			ActivateSeeds: slices.Clone(arm.SeedActivation.GetActivate()), DeactivateSeeds: slices.Clone(arm.SeedActivation.GetDeactivate())}}
	case *adaptationv1.AdaptationCommand_RollbackCheckpointId:
		field = "rollback_checkpoint_id"
		if arm.RollbackCheckpointId == "" {
			return nil, refuse(in, field, "it is empty: a rollback to no checkpoint")
		}
		out.Command = &adaptationv2.AdaptationCommand_Rollback{Rollback: &adaptationv2.RollbackCommand{
			Type: adaptationv2.RollbackCommand_FULL, CheckpointId: arm.RollbackCheckpointId}}
	default:
		return nil, refuse(in, "command", "the command has no content")
	}
	switch {
	case in.GetCommandId() == "":
		return nil, refuse(in, "command_id", "it is empty: the command cannot be applied once only")
	case in.GetTargetEpoch() < 0:
		return nil, refuse(in, "target_epoch", "it is %d", in.GetTargetEpoch())
	}
	if err := validate.Command(out); err != nil {
		return nil, &Refusal{Type: in.FullName(), Field: field, Reason: err.Error(), Err: err}
	}
	return out, nil
}

// Telemetry migrates a telemetry packet. What a metric counts is not said in
// version 1, so its type stays unspecified. An error is a *Refusal.
func Telemetry(in *telemetryv1.TelemetryPacket) (*telemetryv2.TelemetryPacket, error) {
	at, err := timestamp(in, "timestamp_ms", in.GetTimestampMs())
	if err != nil {
		return nil, err
	}
	out := &telemetryv2.TelemetryPacket{PacketId: in.GetPacketId(), Timestamp: at, SourceSubsystem: in.GetSourceSubsystem()}
	for _, p := range in.GetMetrics() {
		out.Metrics = append(out.Metrics, &telemetryv2.MetricPoint{Name: p.GetName(), Value: p.GetValue()})
	}
	return out, nil
}

// kinds are the types that can be migrated, by full name.
var kinds = map[string]func(b []byte) (in, out canon.Message, err error){
	"esper.adaptation.v1.AdaptationCommand":   kind(Command),
	"esper.system_state.v1.SystemStatePacket": kind(SystemState),
	"esper.telemetry.v1.TelemetryPacket":      kind(Telemetry),
}

// kind is a migration on bytes.
func kind[In, Out any, PIn interface {
	*In
	canon.Message
}, POut interface {
	*Out
	canon.Message
}](migrate func(PIn) (POut, error)) func([]byte) (canon.Message, canon.Message, error) {
	return func(b []byte) (canon.Message, canon.Message, error) {
		in := PIn(new(In))
		if err := in.ParseCanonical(b); err != nil {
			return nil, nil, &Refusal{Type: in.FullName(), Reason: "the input is no canonical encoding: " + err.Error(), Err: err}
		}
		out, err := migrate(in)
		if err != nil {
			return nil, nil, err
		}
		return in, out, nil
	}
}

// Types are the full names of the types that can be migrated, sorted.
func Types() []string { return slices.Sorted(maps.Keys(kinds)) }

// FindType returns the full name of a type that is given by its full name or
// by the end of it: AdaptationCommand, adaptation.v1.AdaptationCommand.
func FindType(name string) (string, error) {
	var found []string
	for _, t := range Types() {
		if t == name || name != "" && strings.HasSuffix(t, "."+name) {
			found = append(found, t)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%q is no type of version 1 that can be migrated; want one of %s", name, strings.Join(Types(), ", "))
	}
	return found[0], nil
}

// Bytes migrates an encoded message of the named type, which FindType finds.
// The input must be canonical, and the encoding of out is accepted again. An
// error about the message is a *Refusal.
func Bytes(name string, b []byte) (in, out canon.Message, err error) {
	full, err := FindType(name)
	if err != nil {
		return nil, nil, err
	}
	return kinds[full](b)
}
