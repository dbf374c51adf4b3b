// Package validate refuses messages that are well formed and mean something
// dangerous or nothing: above all the zero values, since a field that was
// lost or forgotten reads as one.
package validate

import (
	"errors"
	"fmt"
	"math"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Command says why an adaptation command must not be obeyed, or nil.
func Command(c *adaptationv2.AdaptationCommand) error {
	switch {
	case c == nil:
		return errors.New("there is no command")
	case c.CommandId == "":
		return errors.New("command_id is empty: the command cannot be applied once only")
	case c.TargetEpoch < 0:
		return fmt.Errorf("target_epoch is %d", c.TargetEpoch)
	case c.TtlEpochs <= 0:
		return fmt.Errorf("ttl_epochs is %d: the command is in force in no epoch", c.TtlEpochs)
	case !finite(c.RiskLevel) || c.RiskLevel < 0:
		return fmt.Errorf("risk_level is %v", c.RiskLevel)
	}
	if c.CreatedAt != nil {
		if err := c.CreatedAt.CheckValid(); err != nil {
			return fmt.Errorf("created_at: %w", err)
		}
	}
	if ms := c.GetConstraints().GetMaxLatencyMs(); ms < 0 {
		return fmt.Errorf("constraints.max_latency_ms is %d", ms)
	}
	var err error
	name := ""
	switch arm := c.Command.(type) {
	case *adaptationv2.AdaptationCommand_LrUpdate:
		name, err = "lr_update", learningRates(arm.LrUpdate)
	case *adaptationv2.AdaptationCommand_SeedActivation:
		name, err = "seed_activation", seedActivation(arm.SeedActivation)
	case *adaptationv2.AdaptationCommand_ArchChange:
		name, err = "arch_change", architecture(arm.ArchChange)
	case *adaptationv2.AdaptationCommand_Rollback:
		name, err = "rollback", rollback(arm.Rollback)
	case *adaptationv2.AdaptationCommand_Pause:
		name, err = "pause", pause(arm.Pause)
	case *adaptationv2.AdaptationCommand_SeedLifecycle:
		name, err = "seed_lifecycle", seedLifecycle(arm.SeedLifecycle)
	default:
		return errors.New("the command has no content")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func learningRates(u *adaptationv2.LearningRateUpdate) error {
	if len(u.GetGroupRates()) == 0 {
		return errors.New("no rate is given")
	}
	seen := map[string]bool{}
	for _, g := range u.GroupRates {
		name, rate := g.GetParamGroup(), g.GetLearningRate()
		switch {
		case name == "":
			return errors.New("a rate is without its param_group")
		case seen[name]:
			return fmt.Errorf("param_group %q has two rates", name)
		case !finite(rate) || rate <= 0:
			return fmt.Errorf("the rate of param_group %q is %v", name, rate)
		}
		seen[name] = true
	}
	return nil
}

func seedActivation(s *adaptationv2.SeedActivation) error {
	if len(s.GetActivateSeeds()) == 0 && len(s.GetDeactivateSeeds()) == 0 {
		return errors.New("no seed is named")
	}
	seen := map[int32]bool{}
	for _, list := range [][]int32{s.ActivateSeeds, s.DeactivateSeeds} {
		for _, id := range list {
			if id < 0 || seen[id] {
				return fmt.Errorf("seed %d is negative or named twice", id)
			}
			seen[id] = true
		}
	}
	return nil
}

func architecture(a *adaptationv2.ArchitectureChange) error {
	switch {
	case a.GetChangeType() == "":
		return errors.New("change_type is empty")
	case len(a.SerializedConfig) == 0:
		return errors.New("serialized_config is empty")
	case a.ValidationHash == "":
		return errors.New("validation_hash is empty")
	}
	return nil
}

// rollback refuses the zero value, which reads as FAST to no checkpoint.
func rollback(r *adaptationv2.RollbackCommand) error {
	switch {
	case r.GetCheckpointId() == "" && r.GetReason() == "":
		return errors.New("neither a checkpoint nor a reason is given")
	case r.Type != adaptationv2.RollbackCommand_FAST && r.Type != adaptationv2.RollbackCommand_FULL:
		return fmt.Errorf("type is %d", r.Type)
	}
	return nil
}

// pause refuses the zero value, which reads as an order to resume.
func pause(p *adaptationv2.PauseCommand) error {
	switch {
	case len(p.GetPauseToken()) == 0 && p.GetReason() == "":
		return errors.New("neither a token nor a reason is given")
	case p.Pause && p.MaxDurationMs <= 0:
		return fmt.Errorf("max_duration_ms is %d: the pause would have no end", p.MaxDurationMs)
	case !p.Pause && p.MaxDurationMs != 0:
		return fmt.Errorf("max_duration_ms is %d in an order to resume", p.MaxDurationMs)
	}
	return nil
}

func seedLifecycle(s *adaptationv2.SeedLifecycleCommand) error {
	op := s.GetOperation()
	switch {
	case s.GetSeed() == nil:
		return errors.New("no seed is named")
	case s.Seed.LayerId < 0 || s.Seed.SeedId < 0:
		return fmt.Errorf("seed %d of layer %d", s.Seed.SeedId, s.Seed.LayerId)
	case op <= adaptationv2.SeedOperation_SEED_OPERATION_UNSPECIFIED || op > adaptationv2.SeedOperation_RETIRE:
		return fmt.Errorf("operation is %d", op)
	case op == adaptationv2.SeedOperation_GERMINATE && s.KernelArtifactId == "":
		return errors.New("GERMINATE without a kernel_artifact_id")
	case s.ExpectedStage < 0 || s.ExpectedStage > telemetryv2.SeedStage_ROLLED_BACK:
		return fmt.Errorf("expected_stage is %d", s.ExpectedStage)
	}
	return nil
}
