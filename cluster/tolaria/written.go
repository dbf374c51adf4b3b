package tolaria

import (
	"bytes"

	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/merkle/hld"
)

// written is the HLD's own tree, for scenarios that show what it accepts.
type written struct{}

// Root implements checkpoint.Tree.
func (written) Root(parts []checkpoint.Part, context merkle.Context) ([]byte, error) {
	var c hld.Checkpoint
	for _, p := range parts {
		c.AddComponent(p.Name, p.Data)
	}
	pairs := make([]hld.Pair, 0, len(context))
	for _, e := range context {
		pairs = append(pairs, hld.Pair{Key: e.Name, Value: e.Value.String()})
	}
	return c.ComputeRoot(pairs)
}

// Verify implements checkpoint.Tree.
func (w written) Verify(root []byte, parts []checkpoint.Part, context merkle.Context) error {
	got, err := w.Root(parts, context)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, root) {
		return merkle.ErrMismatch
	}
	return nil
}
