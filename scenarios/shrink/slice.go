package shrink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

// moment is one event of a causal slice.
type moment struct {
	seq        uint64
	at         int64
	kind       trace.Kind
	node, peer string
	text       string
	cause      uint64
}

// rows bounds a diagram.
const rows = 40

// Diagram runs a scenario again and draws what led to its first violation of
// an invariant: one column a node, time downwards, the events that the
// violation follows from, the faults, and every crash and start. It is empty
// for a run without such a violation.
func Diagram(s *scenarios.Scenario, o runner.Options, invariant string) (string, error) {
	var stored bytes.Buffer
	o.Trace, o.All = &stored, true
	r, err := runner.Run(s, o)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(r.Violations, func(v checkers.Violation) bool { return v.Invariant == invariant })
	if i < 0 {
		return "", nil
	}
	v := r.Violations[i]
	in, err := trace.NewReader(&stored)
	if err != nil {
		return "", err
	}
	all, err := moments(in, v.Seq)
	if err != nil {
		return "", err
	}
	return draw(s, slice(all, v), v), nil
}

// moments reads the events up to the violation.
func moments(in *trace.Reader, last uint64) ([]moment, error) {
	codec := wire.NewCodec()
	var all []moment
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) || err == nil && e.Seq > last {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		m := moment{seq: e.Seq, at: e.At, kind: e.Kind, node: e.Node, peer: e.Peer, text: e.Text, cause: e.Cause}
		switch e.Kind {
		case trace.MessageSent, trace.MessageDelivered:
			if env, _, err := codec.Open(e.Data); err == nil {
				m.text = short(env.PayloadType)
				if env.Topic != "" {
					m.text += " on " + env.Topic
				}
			}
		case trace.FactDeclared:
			m.text = short(e.Text)
		}
		all = append(all, m)
	}
}

func short(fullName string) string { return fullName[strings.LastIndexByte(fullName, '.')+1:] }

// slice keeps the events that the violation follows from, and what happened to
// the processes.
func slice(all []moment, v checkers.Violation) []moment {
	at := map[uint64]int{}
	for i, m := range all {
		at[m.seq] = i
	}
	keep := map[int]bool{}
	chase := func(seq uint64, most int) {
		for ; seq != 0 && most > 0; most-- {
			i, ok := at[seq]
			if !ok || keep[i] {
				return
			}
			keep[i] = true
			seq = all[i].cause
		}
	}
	chase(v.Seq, 12)
	for _, seq := range v.Because {
		chase(seq, 8)
	}
	for i, m := range all {
		switch m.kind {
		case trace.FaultBegan, trace.FaultEnded, trace.NodeCrashed, trace.HostCrashed, trace.NodeExited:
			keep[i] = true
		case trace.NodeReady:
			keep[i] = keep[i] || m.at > 0 && crashed(all[:i], m.node)
		}
	}
	var out []moment
	for i, m := range all {
		if keep[i] {
			out = append(out, m)
		}
	}
	if len(out) > rows { // the end of it
		out = out[len(out)-rows:]
	}
	return out
}

func crashed(before []moment, node string) bool {
	return slices.ContainsFunc(before, func(m moment) bool {
		return m.node == node && (m.kind == trace.NodeCrashed || m.kind == trace.NodeExited)
	})
}

// width of a column.
const width = 16

// draw makes the picture.
func draw(s *scenarios.Scenario, list []moment, v checkers.Violation) string {
	var names []string
	for _, n := range s.Cluster.Nodes {
		used := n.Name == v.Node
		for _, m := range list {
			used = used || m.node == n.Name || m.peer == n.Name
		}
		if used {
			names = append(names, n.Name)
		}
	}
	col := func(name string) int { return slices.Index(names, name) }
	var b strings.Builder
	line := func(stamp string, cells string, note string) {
		fmt.Fprintf(&b, "%14s  %s", stamp, strings.TrimRight(cells+"  "+note, " "))
		b.WriteByte('\n')
	}
	rails := func() []rune {
		r := []rune(strings.Repeat(" ", width*len(names)))
		for i := range names {
			r[i*width+width/2] = '│'
		}
		return r
	}
	head := ""
	for _, n := range names {
		head += fmt.Sprintf("%-*s", width, fmt.Sprintf("%*s", (width+len([]rune(n)))/2, n))
	}
	line("", head, "")
	for _, m := range list {
		r := rails()
		stamp := trace.Stamp(m.at)
		mark := func(sign rune) {
			if c := col(m.node); c >= 0 {
				r[c*width+width/2] = sign
			}
		}
		switch m.kind {
		case trace.MessageSent, trace.MessageDelivered, trace.MessageDropped, trace.MessageRefused:
			from, to := col(m.node), col(m.peer)
			if from < 0 || to < 0 {
				line(stamp, string(r), fmt.Sprintf("%s → %s: %s", m.node, m.peer, m.text))
				continue
			}
			if m.kind == trace.MessageSent {
				r[from*width+width/2] = '├'
				if to < from {
					r[from*width+width/2] = '┤'
				}
				line(stamp, string(r), fmt.Sprintf("sends %s to %s", m.text, m.peer))
				continue
			}
			lo, hi := min(from, to), max(from, to)
			for x := lo*width + width/2 + 1; x < hi*width+width/2; x++ {
				if r[x] == ' ' {
					r[x] = '─'
				}
			}
			head := '>'
			if to < from {
				head = '<'
			}
			switch {
			case m.kind != trace.MessageDelivered:
				head = 'x'
			case from == to:
				head = '●'
			}
			if to > from {
				r[to*width+width/2-1] = head
			} else {
				r[to*width+width/2+1] = head
			}
			line(stamp, string(r), m.text)
		case trace.FaultBegan:
			line(stamp, string(r), "FAULT "+m.text)
		case trace.FaultEnded:
			line(stamp, string(r), "fault ends: "+m.text)
		case trace.NodeCrashed, trace.NodeExited:
			mark('X')
			line(stamp, string(r), m.node+" dies "+m.text)
		case trace.HostCrashed:
			line(stamp, string(r), "host "+m.node+" loses power")
		case trace.NodeReady:
			mark('▲')
			line(stamp, string(r), m.node+" is back")
		case trace.NodeStarted:
			mark('▲')
			line(stamp, string(r), m.node+" starts")
		case trace.TimerFired:
			mark('○')
			line(stamp, string(r), "timer "+m.text)
		default:
			mark('■')
			line(stamp, string(r), m.text)
		}
	}
	r := rails()
	if c := col(v.Node); c >= 0 {
		r[c*width+width/2] = '!'
	}
	line(trace.Stamp(v.At), string(r), v.Invariant+": "+v.Message)
	return b.String()
}
