package vault

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/merkle/hld"
)

// written is the HLD's tree as it is written, used as the HLD uses it: the
// object that computed a root is kept, and verifies by the root that it
// remembers (II.1 #20). Only a restart makes it compute one anew.
type written struct {
	roots map[string]*hld.Checkpoint
}

func newWritten() *written { return &written{make(map[string]*hld.Checkpoint)} }

// most bounds the objects that are kept; the oldest are not worth finding.
const most = 1024

// Root implements checkpoint.Tree.
func (w *written) Root(parts []checkpoint.Part, context merkle.Context) ([]byte, error) {
	var c hld.Checkpoint
	for _, p := range parts {
		c.AddComponent(p.Name, p.Data)
	}
	var pairs []hld.Pair
	for _, e := range context {
		pairs = append(pairs, hld.Pair{Key: e.Name, Value: e.Value.String()})
	}
	root, err := c.ComputeRoot(pairs)
	if err == nil {
		if len(w.roots) >= most {
			clear(w.roots)
		}
		w.roots[string(root)] = &c
	}
	return root, err
}

// Verify implements checkpoint.Tree.
func (w *written) Verify(root []byte, parts []checkpoint.Part, context merkle.Context) error {
	c := w.roots[string(root)]
	if c == nil {
		if _, err := w.Root(parts, context); err != nil {
			return err
		}
		if c = w.roots[string(root)]; c == nil {
			return merkle.ErrMismatch
		}
	}
	if !c.VerifyIntegrity(root) {
		return errors.New("hld: integrity check failed")
	}
	return nil
}
