package validate_test

import (
	"fmt"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	"github.com/esper-sim/espersim/contracts/validate"
)

func ExampleCommand() {
	// What is left of a rollback whose fields were lost: FAST, to nowhere.
	fmt.Println(validate.Command(&adaptationv2.AdaptationCommand{
		CommandId: "c-1", TtlEpochs: 1,
		Command: &adaptationv2.AdaptationCommand_Rollback{Rollback: &adaptationv2.RollbackCommand{}},
	}))
	// Output: rollback: neither a checkpoint nor a reason is given
}
