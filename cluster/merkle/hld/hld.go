// Package hld is the MerkleCheckpoint of the HLD, section 8.3, as it is
// written there, for tests and scenarios that show what it lets through.
//
// It needed one mechanical change to exist at all: the Python module does not
// import Dict and Any (defect 14). A context value is the text that Python's
// format makes of it. Every other defect of part II.1 is kept; the comments
// carry their numbers.
package hld

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
)

// Checkpoint is the HLD's MerkleCheckpoint.
type Checkpoint struct {
	leaves [][]byte
	root   []byte
}

// Pair is one entry of the context dictionary; Value is f"{v}", so that the
// number 1 and the text "1" are the same here (18).
type Pair struct{ Key, Value string }

// AddComponent is add_component. Name and data are joined by a colon that both
// may contain (15), no domain byte sets a leaf apart from a node (17), and the
// order of calls and repeated names count as they come (19).
func (c *Checkpoint) AddComponent(name string, data []byte) {
	sum := sha256.Sum256(append([]byte(name+":"), data...))
	c.leaves = append(c.leaves, sum[:])
}

// ComputeRoot is compute_root.
func (c *Checkpoint) ComputeRoot(context []Pair) ([]byte, error) {
	if len(c.leaves) == 0 {
		return nil, errors.New("No components added to checkpoint") //nolint:staticcheck // the HLD's words
	}
	sorted := slices.Clone(context)
	slices.SortFunc(sorted, func(a, b Pair) int { return strings.Compare(a.Key, b.Key) })
	parts := make([]string, len(sorted))
	for i, p := range sorted {
		parts[i] = p.Key + "=" + p.Value // (18)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "|"))) // (18)
	level := append(slices.Clone(c.leaves), sum[:])        // (17): the context is a leaf like any
	for len(level) > 1 {
		var next [][]byte
		for i := 0; i < len(level); i += 2 {
			left, right := level[i], level[i]
			if i+1 < len(level) {
				right = level[i+1]
			} // else the odd one is doubled (16)
			sum := sha256.Sum256(append(slices.Clone(left), right...))
			next = append(next, sum[:])
		}
		level = next
	}
	c.root = level[0]
	return c.root, nil
}

// VerifyIntegrity is verify_integrity: it compares with the root computed
// last, whatever was added since, and an object that computed none verifies
// against none (20).
func (c *Checkpoint) VerifyIntegrity(expected []byte) bool {
	return (c.root == nil) == (expected == nil) && bytes.Equal(c.root, expected)
}
