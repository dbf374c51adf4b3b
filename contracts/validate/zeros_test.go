package validate_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	"github.com/esper-sim/espersim/contracts/generated/go/options"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/validate"
)

// zeros are the enums whose zero means something, each with a message that
// carries the zero by default, and what refuses it; or why it is harmless.
var zeros = map[protoreflect.FullName]struct {
	refused *adaptationv2.AdaptationCommand
	reason  string
}{
	"esper.adaptation.v2.RollbackCommand.RollbackType": {refused: &adaptationv2.AdaptationCommand{
		Command: &adaptationv2.AdaptationCommand_Rollback{Rollback: &adaptationv2.RollbackCommand{}}}},
	"esper.blueprint.v2.BlueprintStatus": {reason: "UNVALIDATED permits nothing: a blueprint is used only once it was validated"},
	"esper.blueprint.v2.KernelStatus":    {reason: "PENDING_BENCHMARKING permits nothing: a kernel is loaded from VALIDATED or KERNEL_ACTIVE only"},
	"esper.system_state.v2.SeedHealth.Status": {
		reason: "UNKNOWN is in a report, no order, and claims nothing"},
}

// Every enum with zero_is_value has a validator or a reason.
func TestZerosThatMeanSomething(t *testing.T) {
	s, err := schema.Load("..")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[protoreflect.FullName]bool{}
	for _, e := range s.Enums() {
		if !proto.GetExtension(e.Options(), options.E_ZeroIsValue).(bool) {
			continue
		}
		name := e.FullName()
		seen[name] = true
		z, ok := zeros[name]
		switch {
		case !ok:
			t.Errorf("the zero of %s means %s: list what refuses it, or why it is harmless", name, e.Values().ByNumber(0).Name())
		case z.refused != nil:
			z.refused.CommandId, z.refused.TtlEpochs = "c", 1
			if err := validate.Command(z.refused); err == nil {
				t.Errorf("%v is obeyed", z.refused)
			}
		case z.reason == "":
			t.Errorf("%s: no reason", name)
		case commanded(s, e):
			t.Errorf("%s is part of a command: a reason will not do", name)
		}
	}
	for name := range zeros {
		if !seen[name] {
			t.Errorf("%s is no enum whose zero means something", name)
		}
	}
}

// commanded says whether a command can carry the enum.
func commanded(s *schema.Schema, e protoreflect.EnumDescriptor) bool {
	found := false
	seen := map[protoreflect.FullName]bool{}
	var walk func(protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			found = found || f.Enum() != nil && f.Enum().FullName() == e.FullName()
			if f.Message() != nil {
				walk(f.Message())
			}
		}
	}
	for _, name := range []protoreflect.FullName{"esper.adaptation.v2.AdaptationCommand", "esper.training.v2.OptimizerCommand",
		"esper.platform.v2.AllocationCommand", "esper.operational.v2.AdaptationSignal", "esper.pause.v2.PauseRequest",
		"esper.pause.v2.ResumeRequest", "esper.rollback.v2.RollbackRequest", "esper.telemetry.v2.EmergencyNotice"} {
		m, ok := s.Find(name).(protoreflect.MessageDescriptor)
		if !ok {
			panic("there is no " + name)
		}
		walk(m)
	}
	return found
}

// An arm that was set and left empty is what a lost field reads as: no arm of a
// command is obeyed like that.
func TestNoEmptyArmIsObeyed(t *testing.T) {
	d := new(adaptationv2.AdaptationCommand).ProtoReflect().Descriptor()
	arms := d.Oneofs().ByName("command").Fields()
	var names []string
	for i := range arms.Len() {
		c := &adaptationv2.AdaptationCommand{CommandId: "c", TtlEpochs: 1}
		c.ProtoReflect().Mutable(arms.Get(i))
		if err := validate.Command(c); err == nil {
			t.Errorf("%v is obeyed", c)
		}
		names = append(names, string(arms.Get(i).Name()))
	}
	for _, dangerous := range []string{"rollback", "pause"} { // FAST to nowhere; resume
		if !slices.Contains(names, dangerous) {
			t.Errorf("there is no arm %s", dangerous)
		}
	}
}
