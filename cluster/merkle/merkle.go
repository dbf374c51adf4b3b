// Package merkle computes the root that a checkpoint is accepted by: a hash
// over its components and its execution context, such that different contents
// never feed the same bytes to it (rows W5 and W6 of the invariants).
//
// The shape is that of RFC 6962: a leaf hash per component, node hashes above,
// a tree of n leaves split at the largest power of two below n. The context is
// hashed by itself and joined at the root:
//
//	leaf    = SHA-256(0x00 ‖ len(name) ‖ name ‖ len(data) ‖ data)
//	node    = SHA-256(0x01 ‖ left ‖ right)
//	context = SHA-256(0x02 ‖ count ‖ (len(name) ‖ name ‖ type ‖ len(value) ‖ value)*)
//	root    = SHA-256(0x03 ‖ count of leaves ‖ top node ‖ context)
//
// Lengths and counts are 8 bytes, little-endian; leaves and context entries
// stand in the order of their names, and a name stands once.
//
// Package hld beside this one has the design's own tree and the seven
// collisions that this one is built to exclude.
package merkle

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math/bits"
	"slices"
	"strings"
)

// Size of a root in bytes.
const Size = sha256.Size

// The domains: the first byte of whatever is hashed. Without them a component
// that holds 64 bytes of an inner node would hash to that node.
const (
	domainLeaf    = 0x00
	domainNode    = 0x01
	domainContext = 0x02
	domainRoot    = 0x03
)

// Errors of Root and Verify, compared with errors.Is.
var (
	ErrNoComponents = errors.New("merkle: no components")
	ErrDuplicate    = errors.New("merkle: duplicate name")
	ErrMismatch     = errors.New("merkle: root does not match the content")
)

// Component is one named part of a checkpoint.
type Component struct {
	Name string
	Data []byte
}

// Root computes the root over components and context. The order of neither
// matters; both are left as they are. It fails without components, since an
// empty checkpoint restores nothing, and on a name that occurs twice.
func Root(components []Component, context Context) ([Size]byte, error) {
	if len(components) == 0 {
		return [Size]byte{}, ErrNoComponents
	}
	sorted := slices.Clone(components)
	slices.SortStableFunc(sorted, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
	leaves := make([][Size]byte, len(sorted))
	h := sha256.New()
	for i, c := range sorted {
		if i > 0 && c.Name == sorted[i-1].Name {
			return [Size]byte{}, fmt.Errorf("%w: component %q", ErrDuplicate, c.Name)
		}
		leaves[i] = leaf(h, c)
	}
	ctx, err := context.hash()
	if err != nil {
		return [Size]byte{}, err
	}
	return rootOf(h, leaves, ctx), nil
}

// Verify recomputes the root from the bytes at hand and compares in constant
// time. It returns nil, ErrMismatch or an error of Root.
func Verify(root []byte, components []Component, context Context) error {
	got, err := Root(components, context)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(root, got[:]) != 1 {
		return ErrMismatch
	}
	return nil
}

func leaf(h hash.Hash, c Component) (sum [Size]byte) {
	h.Reset()
	var b [9]byte
	b[0] = domainLeaf
	binary.LittleEndian.PutUint64(b[1:], uint64(len(c.Name)))
	h.Write(b[:])
	h.Write([]byte(c.Name))
	binary.LittleEndian.PutUint64(b[1:], uint64(len(c.Data)))
	h.Write(b[1:])
	h.Write(c.Data)
	h.Sum(sum[:0])
	return sum
}

// top is the Merkle tree hash of RFC 6962 over one or more leaves. An odd
// leaf is promoted, never doubled: {A, B, B} is not {A, B}. The recursion is
// as deep as the logarithm of their number.
func top(h hash.Hash, leaves [][Size]byte) (sum [Size]byte) {
	if len(leaves) == 1 {
		return leaves[0]
	}
	split := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	left, right := top(h, leaves[:split]), top(h, leaves[split:])
	h.Reset()
	h.Write([]byte{domainNode})
	h.Write(left[:])
	h.Write(right[:])
	h.Sum(sum[:0])
	return sum
}

func rootOf(h hash.Hash, leaves [][Size]byte, context [Size]byte) (sum [Size]byte) {
	t := top(h, leaves)
	h.Reset()
	var b [9]byte
	b[0] = domainRoot
	binary.LittleEndian.PutUint64(b[1:], uint64(len(leaves)))
	h.Write(b[:])
	h.Write(t[:])
	h.Write(context[:])
	h.Sum(sum[:0])
	return sum
}

// Preimage is everything that Root feeds to the hash about components and
// context, in one string of bytes. It is what "never the same bytes" means;
// Root is what one uses.
func Preimage(components []Component, context Context) ([]byte, error) {
	if _, err := Root(components, context); err != nil {
		return nil, err
	}
	sorted := slices.Clone(components)
	slices.SortStableFunc(sorted, func(a, b Component) int { return strings.Compare(a.Name, b.Name) })
	le := binary.LittleEndian
	b := le.AppendUint64([]byte{domainRoot}, uint64(len(sorted)))
	for _, c := range sorted {
		b = le.AppendUint64(append(b, domainLeaf), uint64(len(c.Name)))
		b = le.AppendUint64(append(b, c.Name...), uint64(len(c.Data)))
		b = append(b, c.Data...)
	}
	return context.encode(b)
}
