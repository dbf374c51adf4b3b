package contractstest

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
)

// Message generates messages of a type: each field set half the time, values
// at the bounds of their kinds half the time, lists and maps of up to three,
// messages up to five deep. Enums also get numbers without a name, as proto3
// allows. It shrinks towards the empty message.
//
// The messages are dynamic ones; proto.Merge or their bytes make generated
// ones of them.
func Message(d protoreflect.MessageDescriptor) *rapid.Generator[proto.Message] {
	return rapid.Custom(func(t *rapid.T) proto.Message {
		return witness.Random(witness.Drawn{T: t}, d).Interface()
	})
}
