package bundle

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// event is one of Chrome's trace-event format, which Perfetto reads. Times are
// in microseconds.
type event struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"`
	At    float64        `json:"ts"`
	For   float64        `json:"dur,omitempty"`
	Pid   int            `json:"pid"`
	Tid   int            `json:"tid"`
	ID    uint64         `json:"id,omitempty"`
	Cat   string         `json:"cat,omitempty"`
	Scope string         `json:"s,omitempty"`
	Bind  string         `json:"bp,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// Perfetto writes a trace as a file for ui.perfetto.dev: one track a node,
// with its lives, what it handled, its facts, and arrows for the messages; the
// faults are a track of their own.
func Perfetto(w io.Writer, in io.Reader) error {
	r, err := trace.NewReader(in)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	p := &perfetto{out: out, tracks: map[string]int{}, alive: map[string]int64{}, faults: map[int64]int64{}}
	p.text(`{"displayTimeUnit":"ms","traceEvents":[`)
	codec := wire.NewCodec()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		p.add(codec, e)
	}
	for _, node := range slices.Sorted(maps.Keys(p.alive)) {
		p.span(node, "alive", p.alive[node], p.last)
	}
	p.text("]}\n")
	if p.err != nil {
		return p.err
	}
	return out.Flush()
}

type perfetto struct {
	out    *bufio.Writer
	tracks map[string]int
	alive  map[string]int64 // since when a node lives
	faults map[int64]int64  // since when a step holds
	last   int64
	some   bool
	err    error
}

func (p *perfetto) text(s string) {
	if p.err == nil {
		_, p.err = p.out.WriteString(s)
	}
}

func (p *perfetto) put(e event) {
	if p.some {
		p.text(",\n")
	}
	p.some = true
	b, err := json.Marshal(e)
	if err != nil && p.err == nil {
		p.err = err
	}
	p.text(string(b))
}

// track is the number of a node's track; the first use names it.
func (p *perfetto) track(name string) int {
	id, ok := p.tracks[name]
	if !ok {
		id = len(p.tracks) + 1
		p.tracks[name] = id
		p.put(event{Name: "thread_name", Phase: "M", Pid: 1, Tid: id, Args: map[string]any{"name": name}})
	}
	return id
}

func micro(ns int64) float64 { return float64(ns) / 1000 }

func (p *perfetto) span(track, name string, from, to int64) {
	p.put(event{Name: name, Phase: "X", At: micro(from), For: max(micro(to-from), 0.001), Pid: 1, Tid: p.track(track)})
}

func (p *perfetto) mark(track, name string, at int64, args map[string]any) {
	p.put(event{Name: name, Phase: "i", At: micro(at), Pid: 1, Tid: p.track(track), Scope: "t", Args: args})
}

func (p *perfetto) add(codec *wire.Codec, e *trace.Event) {
	p.last = e.At
	seq := map[string]any{"event": e.Seq}
	switch e.Kind {
	case trace.NodeStarted:
		p.alive[e.Node] = e.At
	case trace.NodeCrashed, trace.NodeExited:
		if at, ok := p.alive[e.Node]; ok {
			p.span(e.Node, "alive", at, e.At)
			delete(p.alive, e.Node)
		}
		p.mark(e.Node, e.Kind.String()+" "+e.Text, e.At, seq)
	case trace.HostCrashed:
		p.mark("faults", "host "+e.Node+" loses power", e.At, seq)
	case trace.FaultBegan:
		p.faults[e.Arg] = e.At
		p.mark("faults", e.Text, e.At, seq)
	case trace.FaultEnded:
		if at, ok := p.faults[e.Arg]; ok {
			p.span("faults", e.Text, at, e.At)
			delete(p.faults, e.Arg)
		}
	case trace.MessageSent, trace.MessageDelivered:
		name := "message"
		if env, _, err := codec.Open(e.Data); err == nil {
			name = env.PayloadType[strings.LastIndexByte(env.PayloadType, '.')+1:]
		}
		if e.Kind == trace.MessageSent {
			p.put(event{Name: name, Phase: "s", Cat: "mail", ID: e.Seq, At: micro(e.At), Pid: 1, Tid: p.track(e.Node)})
			return
		}
		p.span(e.Peer, name, e.At, e.At)
		p.put(event{Name: name, Phase: "f", Cat: "mail", ID: e.Cause, Bind: "e", At: micro(e.At), Pid: 1, Tid: p.track(e.Peer)})
	case trace.MessageDropped, trace.MessageRefused:
		p.mark(e.Peer, e.Kind.String()+": "+e.Text, e.At, seq)
	case trace.TimerFired:
		p.span(e.Node, "timer "+e.Text, e.At, e.At)
	case trace.FactDeclared:
		p.mark(e.Node, e.Text[strings.LastIndexByte(e.Text, '.')+1:], e.At, seq)
	}
}
