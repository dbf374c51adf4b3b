package checkers

import (
	"bytes"
	"fmt"
	"math/bits"

	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// ledger judges W1, W2 and W3 of a log by what its clients were told: the
// appends they asked for, the acknowledgements they got, and what a later
// reading of the whole log returned. It never looks at what the log says about
// itself.
type ledger struct {
	logs map[string]*ledgerLog // by node
}

type ledgerLog struct {
	sent    map[entryKey][]byte // what clients asked to append
	acked   map[entryKey]uint64 // acknowledged: the event
	reading map[readKey]*reading
}

type entryKey struct {
	client   string
	sequence int64
}

type readKey struct {
	client string
	id     int64
}

// reading is one pass over the whole log, page by page.
type reading struct {
	due  map[entryKey]uint64 // acknowledged before the first page was asked for
	got  map[entryKey]bool
	next int64
	last map[string]int64 // highest sequence so far, by client
	life uint32           // of the log's process when it answered the first page
}

func newLedger(Params) Checker { return &ledger{logs: map[string]*ledgerLog{}} }

func (*ledger) Invariants() []string { return []string{"W1", "W2", "W3"} }

func (l *ledger) log(node string) *ledgerLog {
	g := l.logs[node]
	if g == nil {
		g = &ledgerLog{sent: map[entryKey][]byte{}, acked: map[entryKey]uint64{}, reading: map[readKey]*reading{}}
		l.logs[node] = g
	}
	return g
}

func (l *ledger) Observe(e *Event, j *Judge) {
	if e.Kind != trace.MessageSent {
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *ledgerv2.AppendRequest:
		k := entryKey{m.Client, m.Sequence}
		g := l.log(e.Peer)
		if _, again := g.sent[k]; !again {
			g.sent[k] = bytes.Clone(m.Payload)
		}
	case *ledgerv2.AppendReply:
		if m.Outcome == ledgerv2.Outcome_DONE {
			g := l.log(e.Node)
			k := entryKey{m.Client, m.Sequence}
			if _, again := g.acked[k]; !again {
				g.acked[k] = e.Seq
			}
		}
	case *ledgerv2.ReadRequest:
		g := l.log(e.Peer)
		k := readKey{m.Client, m.ReadId}
		if m.FromPosition == 0 && g.reading[k] == nil {
			r := &reading{due: map[entryKey]uint64{}, got: map[entryKey]bool{}, last: map[string]int64{}}
			for a, seq := range g.acked {
				r.due[a] = seq
			}
			clear(g.reading) // a client reads one pass at a time
			g.reading[k] = r
		}
	case *ledgerv2.ReadReply:
		l.page(e, m, j)
	}
}

func (l *ledger) page(e *Event, m *ledgerv2.ReadReply, j *Judge) {
	g := l.log(e.Node)
	k := readKey{m.Client, m.ReadId}
	r := g.reading[k]
	if r == nil || m.Outcome != ledgerv2.Outcome_DONE {
		// A log that refuses to go on and says why has detected the damage.
		delete(g.reading, k)
		return
	}
	if r.life != 0 && r.life != e.Incarnation {
		delete(g.reading, k) // the process restarted between two pages
		return
	}
	r.life = e.Incarnation
	if m.Reason != "" {
		j.Violate("W2", e.Node, "a reading returned bytes that no client ever appended: "+m.Reason)
		return
	}
	for _, entry := range m.Entries {
		k := entryKey{entry.Client, entry.Sequence}
		want, known := g.sent[k]
		switch {
		case !known:
			j.Violate("W2", e.Node, fmt.Sprintf("a reading returned entry %d of %q, which nobody appended", entry.Sequence, entry.Client))
		case !bytes.Equal(want, entry.Payload):
			id := "W2"
			if n := flipped(want, entry.Payload); n > 0 && n <= 8 {
				id = "W3"
			}
			j.Violate(id, e.Node, fmt.Sprintf("entry %d of %s was appended as %s and read back as %s", entry.Sequence, entry.Client, brief(want), brief(entry.Payload)))
		case entry.Sequence > r.last[entry.Client]+1:
			j.Violate("W2", e.Node, fmt.Sprintf("a reading returned entry %d of %s without entry %d before it: not a prefix of what was appended", entry.Sequence, entry.Client, r.last[entry.Client]+1))
		default:
			j.Judged("W2")
			j.Judged("W3")
		}
		r.last[entry.Client] = max(r.last[entry.Client], entry.Sequence)
		r.got[k] = true
	}
	if !m.End {
		return
	}
	delete(g.reading, k)
	lost, first := 0, entryKey{}
	for a := range r.due {
		if !r.got[a] {
			if lost++; lost == 1 || a.client < first.client || a.client == first.client && a.sequence < first.sequence {
				first = a
			}
		}
	}
	if lost > 0 {
		j.Violate("W1", e.Node, fmt.Sprintf("entry %d of %s was acknowledged and is gone; %d of %d acknowledged entries are missing", first.sequence, first.client, lost, len(r.due)), r.due[first])
		return
	}
	if len(r.due) > 0 {
		j.Judged("W1")
	}
}

func (l *ledger) Finish(*Judge) {}

// flipped counts the bits in which two byte strings of one length differ; 0
// for different lengths.
func flipped(a, b []byte) (n int) {
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// brief is the length of some bytes and how they begin.
func brief(b []byte) string {
	if len(b) > 8 {
		return fmt.Sprintf("%d bytes %x…", len(b), b[:8])
	}
	return fmt.Sprintf("%d bytes %x", len(b), b)
}
