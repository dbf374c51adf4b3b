package merkle

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Context is the execution context of a checkpoint: model hash, toolchain
// version, run id, hardware fingerprint. Make values with Text, Int, Float,
// Bool and Bytes; their types count, so the text "1" is not the number 1.
type Context []Entry

// Entry is one named value of a context.
type Entry struct {
	Name  string
	Value Value
}

// Value is a typed value. The zero value is not one.
type Value struct {
	kind byte
	data string
}

const (
	kindText  = 's'
	kindInt   = 'i'
	kindFloat = 'f'
	kindBool  = 'b'
	kindBytes = 'x'
)

// Text is a value of text.
func Text(s string) Value { return Value{kindText, s} }

// Bytes is a value of raw bytes; they are copied.
func Bytes(b []byte) Value { return Value{kindBytes, string(b)} }

// Int is a value of a whole number.
func Int(i int64) Value { return eight(kindInt, uint64(i)) }

// Float is a value of a number by its bits: -0 is not 0, and a NaN is itself.
func Float(f float64) Value { return eight(kindFloat, math.Float64bits(f)) }

// Bool is a truth value.
func Bool(v bool) Value {
	if v {
		return Value{kindBool, "\x01"}
	}
	return Value{kindBool, "\x00"}
}

func eight(kind byte, v uint64) Value {
	return Value{kind, string(binary.LittleEndian.AppendUint64(nil, v))}
}

// size is the length that a value of a kind must have, -1 for any.
func size(kind byte) (int, bool) {
	switch kind {
	case kindText, kindBytes:
		return -1, true
	case kindInt, kindFloat:
		return 8, true
	case kindBool:
		return 1, true
	}
	return 0, false
}

// String is the value for people.
func (v Value) String() string {
	switch n := []byte(v.data); v.kind {
	case kindText:
		return v.data
	case kindInt:
		return fmt.Sprint(int64(binary.LittleEndian.Uint64(n)))
	case kindFloat:
		return fmt.Sprint(math.Float64frombits(binary.LittleEndian.Uint64(n)))
	case kindBool:
		return fmt.Sprint(v.data == "\x01")
	default:
		return fmt.Sprintf("%x", v.data)
	}
}

// Get is the value with a name.
func (c Context) Get(name string) (Value, bool) {
	for _, e := range c {
		if e.Name == name {
			return e.Value, true
		}
	}
	return Value{}, false
}

// Marshal is the canonical encoding: one for each set of entries.
func (c Context) Marshal() ([]byte, error) { return c.encode(nil) }

func (c Context) encode(b []byte) ([]byte, error) {
	sorted := slices.Clone(c)
	slices.SortStableFunc(sorted, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	le := binary.LittleEndian
	b = le.AppendUint64(append(b, domainContext), uint64(len(sorted)))
	for i, e := range sorted {
		if i > 0 && e.Name == sorted[i-1].Name {
			return nil, fmt.Errorf("%w: context entry %q", ErrDuplicate, e.Name)
		}
		if _, ok := size(e.Value.kind); !ok {
			return nil, fmt.Errorf("merkle: context entry %q has no value", e.Name)
		}
		b = le.AppendUint64(b, uint64(len(e.Name)))
		b = append(append(b, e.Name...), e.Value.kind)
		b = le.AppendUint64(b, uint64(len(e.Value.data)))
		b = append(b, e.Value.data...)
	}
	return b, nil
}

func (c Context) hash() ([Size]byte, error) {
	b, err := c.encode(nil)
	return sha256.Sum256(b), err
}

var errContext = errors.New("merkle: not the canonical encoding of a context")

// ParseContext decodes what Marshal wrote, and nothing else: another encoding
// of the same entries is refused. Memory stays within a small multiple of the
// input.
func ParseContext(b []byte) (Context, error) {
	r := cursor{rest: b}
	if r.byte() != domainContext || r.bad {
		return nil, errContext
	}
	n := r.number()
	const smallest = 8 + 1 + 8 // an entry without name and value
	if r.bad || n > uint64(len(r.rest)/smallest) {
		return nil, errContext
	}
	c := make(Context, 0, n)
	for range n {
		name := string(r.bytes())
		kind := r.byte()
		data := string(r.bytes())
		want, ok := size(kind)
		switch {
		case r.bad, !ok, want >= 0 && len(data) != want,
			kind == kindBool && data[0] > 1,
			len(c) > 0 && name <= c[len(c)-1].Name:
			return nil, errContext
		}
		c = append(c, Entry{name, Value{kind, data}})
	}
	if len(r.rest) != 0 {
		return nil, errContext
	}
	return c, nil
}

// cursor reads lengths and bytes; bad says that it ran out.
type cursor struct {
	rest []byte
	bad  bool
}

func (r *cursor) take(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *cursor) byte() byte {
	if p := r.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *cursor) number() uint64 {
	if p := r.take(8); p != nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (r *cursor) bytes() []byte { return r.take(r.number()) }
