package validate

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

func TestCommand(t *testing.T) {
	type command = adaptationv2.AdaptationCommand
	lr := func(groups ...*adaptationv2.LearningRateGroup) *command {
		return &command{Command: &adaptationv2.AdaptationCommand_LrUpdate{
			LrUpdate: &adaptationv2.LearningRateUpdate{GroupRates: groups}}}
	}
	group := func(name string, rate float64) *adaptationv2.LearningRateGroup {
		return &adaptationv2.LearningRateGroup{ParamGroup: name, LearningRate: rate}
	}
	seeds := func(on, off []int32) *command {
		return &command{Command: &adaptationv2.AdaptationCommand_SeedActivation{
			SeedActivation: &adaptationv2.SeedActivation{ActivateSeeds: on, DeactivateSeeds: off}}}
	}
	arch := func(a *adaptationv2.ArchitectureChange) *command {
		return &command{Command: &adaptationv2.AdaptationCommand_ArchChange{ArchChange: a}}
	}
	rollback := func(r *adaptationv2.RollbackCommand) *command {
		return &command{Command: &adaptationv2.AdaptationCommand_Rollback{Rollback: r}}
	}
	pause := func(p *adaptationv2.PauseCommand) *command {
		return &command{Command: &adaptationv2.AdaptationCommand_Pause{Pause: p}}
	}
	life := func(s *adaptationv2.SeedLifecycleCommand) *command {
		return &command{Command: &adaptationv2.AdaptationCommand_SeedLifecycle{SeedLifecycle: s}}
	}
	with := func(change func(*command)) *command {
		c := lr(group("default", 0.1))
		change(c)
		return c
	}
	seed := &telemetryv2.SeedRef{LayerId: 1, SeedId: 0}
	good := ""
	for _, k := range []struct {
		name string
		c    *command
		want string // part of the error; empty: accepted
	}{
		{"rate", lr(group("default", 0.1)), good},
		{"no arm", &command{}, "no content"},
		{"no rates", lr(), "no rate"},
		{"rate without group", lr(group("", 0.1)), "param_group"},
		{"zero rate", lr(group("a", 0)), "is 0"},
		{"NaN rate", lr(group("a", math.NaN())), "NaN"},
		{"infinite rate", lr(group("a", math.Inf(1))), "Inf"},
		{"group twice", lr(group("a", 1), group("a", 2)), "two rates"},
		{"negative epoch", with(func(c *command) { c.TargetEpoch = -1 }), "target_epoch"},
		{"NaN risk", with(func(c *command) { c.RiskLevel = math.NaN() }), "risk_level"},
		{"bad time", with(func(c *command) { c.CreatedAt = &timestamppb.Timestamp{Nanos: -1} }), "created_at"},
		{"negative latency", with(func(c *command) {
			c.Constraints = &adaptationv2.ExecutionConstraints{MaxLatencyMs: -1}
		}), "max_latency_ms"},
		{"seeds", seeds([]int32{0, 1}, []int32{2}), good},
		{"no seeds", seeds(nil, nil), "no seed"},
		{"seed on and off", seeds([]int32{1}, []int32{1}), "twice"},
		{"negative seed", seeds([]int32{-1}, nil), "negative"},
		{"architecture", arch(&adaptationv2.ArchitectureChange{ChangeType: "add", SerializedConfig: []byte{1}, ValidationHash: "h"}), good},
		{"empty architecture", arch(&adaptationv2.ArchitectureChange{}), "change_type"},
		{"architecture without config", arch(&adaptationv2.ArchitectureChange{ChangeType: "add"}), "serialized_config"},
		{"architecture without hash", arch(&adaptationv2.ArchitectureChange{ChangeType: "add", SerializedConfig: []byte{1}}), "validation_hash"},
		{"empty rollback is FAST to nowhere", rollback(&adaptationv2.RollbackCommand{}), "neither a checkpoint"},
		{"nil rollback", rollback(nil), "neither a checkpoint"},
		{"rollback", rollback(&adaptationv2.RollbackCommand{CheckpointId: "c"}), good},
		{"rollback with a reason", rollback(&adaptationv2.RollbackCommand{Reason: "loss"}), good},
		{"rollback of unknown type", rollback(&adaptationv2.RollbackCommand{Type: 5, Reason: "loss"}), "type"},
		{"empty pause means resume", pause(&adaptationv2.PauseCommand{}), "neither a token"},
		{"nil pause", pause(nil), "neither a token"},
		{"pause", pause(&adaptationv2.PauseCommand{Pause: true, MaxDurationMs: 10, Reason: "r"}), good},
		{"pause without an end", pause(&adaptationv2.PauseCommand{Pause: true, Reason: "r"}), "no end"},
		{"negative pause", pause(&adaptationv2.PauseCommand{Pause: true, MaxDurationMs: -1, Reason: "r"}), "no end"},
		{"resume", pause(&adaptationv2.PauseCommand{PauseToken: []byte{1}}), good},
		{"resume with a duration", pause(&adaptationv2.PauseCommand{Reason: "r", MaxDurationMs: 5}), "resume"},
		{"germinate", life(&adaptationv2.SeedLifecycleCommand{Seed: seed, Operation: adaptationv2.SeedOperation_GERMINATE, KernelArtifactId: "k"}), good},
		{"germinate nothing", life(&adaptationv2.SeedLifecycleCommand{Seed: seed, Operation: adaptationv2.SeedOperation_GERMINATE}), "kernel_artifact_id"},
		{"cull", life(&adaptationv2.SeedLifecycleCommand{Seed: seed, Operation: adaptationv2.SeedOperation_CULL}), good},
		{"no operation", life(&adaptationv2.SeedLifecycleCommand{Seed: seed}), "operation"},
		{"unknown operation", life(&adaptationv2.SeedLifecycleCommand{Seed: seed, Operation: 12}), "operation"},
		{"no seed", life(&adaptationv2.SeedLifecycleCommand{Operation: adaptationv2.SeedOperation_CULL}), "no seed"},
		{"empty arms", life(nil), "no seed"},
		{"empty lr", &command{Command: &adaptationv2.AdaptationCommand_LrUpdate{}}, "no rate"},
		{"nil seeds", &command{Command: &adaptationv2.AdaptationCommand_SeedActivation{}}, "no seed"},
		{"nil architecture", arch(nil), "change_type"},
		{"unknown stage", life(&adaptationv2.SeedLifecycleCommand{Seed: seed, Operation: adaptationv2.SeedOperation_CULL, ExpectedStage: 12}), "stage"},
	} {
		t.Run(k.name, func(t *testing.T) {
			k.c.CommandId, k.c.TtlEpochs = "c-1", 1
			check(t, Command(k.c), k.want)
		})
	}
	check(t, Command(nil), "no command")
	check(t, Command(&command{}), "command_id")
	check(t, Command(&command{CommandId: "c"}), "ttl_epochs")
	check(t, Command(&command{CommandId: "c", TtlEpochs: -1}), "ttl_epochs")
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%v, want an error about %q", err, want)
	}
}
