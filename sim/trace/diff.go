package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A Divergence is the first difference between two runs. A or B is nil where
// that run had ended.
type Divergence struct {
	Seq    uint64
	A, B   *Event
	Fields []string // which fields differ
}

// String tells people what differs.
func (d *Divergence) String() string {
	side := func(e *Event) string {
		if e == nil {
			return "(the run has ended)"
		}
		return e.String()
	}
	return fmt.Sprintf("first divergence at event %d in %v\n  a: %s\n  b: %s", d.Seq, d.Fields, side(d.A), side(d.B))
}

// Diff reads two traces and returns their first difference, or nil if they
// hold the same events. An error says which of the two could not be read.
func Diff(a, b *Reader) (*Divergence, error) {
	for seq := uint64(1); ; seq++ {
		ea, errA := a.Next()
		if errA != nil && !errors.Is(errA, io.EOF) {
			return nil, fmt.Errorf("first trace: %w", errA)
		}
		eb, errB := b.Next()
		if errB != nil && !errors.Is(errB, io.EOF) {
			return nil, fmt.Errorf("second trace: %w", errB)
		}
		if errA != nil && errB != nil {
			return nil, nil
		}
		d := &Divergence{Seq: seq}
		if errA == nil {
			d.A = ea
		}
		if errB == nil {
			d.B = eb
		}
		if d.A == nil || d.B == nil {
			d.Fields = []string{"length"}
			return d, nil
		}
		if d.Fields = differing(ea, eb); len(d.Fields) > 0 {
			return d, nil
		}
	}
}

func differing(a, b *Event) []string {
	var f []string
	add := func(name string, differs bool) {
		if differs {
			f = append(f, name)
		}
	}
	add("time", a.At != b.At)
	add("kind", a.Kind != b.Kind)
	add("node", a.Node != b.Node)
	add("peer", a.Peer != b.Peer)
	add("life", a.Incarnation != b.Incarnation)
	add("cause", a.Cause != b.Cause)
	add("text", a.Text != b.Text)
	add("arg", a.Arg != b.Arg)
	add("data", !bytes.Equal(a.Data, b.Data))
	return f
}
