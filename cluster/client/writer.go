// Package client holds the workload: actors that ask something of the system
// and record what they were told, so that checkers can judge it.
package client

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
)

// WriterOptions of a writer.
type WriterOptions struct {
	Ledger string        `set:"ledger" doc:"node that it writes to"`
	Every  time.Duration `set:"every" doc:"between two appends"`
	Bytes  int           `set:"bytes" doc:"most bytes of an entry"`
	Resend time.Duration `set:"resend" doc:"how long it waits for an answer before it asks again"`
	Audit  time.Duration `set:"audit" doc:"between two readings of the whole log"`
	Quiet  time.Duration `set:"quiet" doc:"from when on it only reads; 0: it writes to the end"`
}

// WriterDefaults are the options of a writer that sets none.
func WriterDefaults() *WriterOptions {
	return &WriterOptions{Ledger: "ledger", Every: 10 * time.Millisecond, Bytes: 600,
		Resend: 300 * time.Millisecond, Audit: 500 * time.Millisecond}
}

// writer appends numbered entries one after the other, each until it is
// acknowledged, and reads the whole log back from time to time.
type writer struct {
	env     actor.Env
	o       WriterOptions
	next    int64 // sequence of the entry that is being written
	attempt uint32
	asked   bool
	read    int64
	payload []byte
}

// NewWriter makes the constructor of a writer.
func NewWriter(o WriterOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &writer{env: env, o: o, next: 1}, nil
	}
}

// Start implements actor.Actor.
func (w *writer) Start() error {
	w.env.Clock.SetTimer("append", 0, w.o.Every)
	w.env.Clock.SetTimer("audit", 0, w.o.Audit)
	return nil
}

// Receive implements actor.Actor.
func (w *writer) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case "append":
			if w.o.Quiet == 0 || w.env.Clock.Monotonic() < w.o.Quiet {
				w.append()
			}
		case "audit":
			w.read++
			w.page(0)
			w.env.Clock.SetTimer("audit", 0, w.o.Audit)
		}
	case *ledgerv2.AppendReply:
		if m.Sequence == w.next && m.Outcome == ledgerv2.Outcome_DONE {
			w.next++
			w.attempt = 0
			w.env.Clock.SetTimer("append", 0, w.o.Every)
		}
	case *ledgerv2.ReadReply:
		if m.ReadId == w.read && m.Outcome == ledgerv2.Outcome_DONE && !m.End {
			w.page(m.NextPosition)
		}
	}
	return nil
}

func (w *writer) append() {
	// Lengths vary, so that records begin and end anywhere in a sector.
	n := 1 + int(w.env.Rand.For("length", uint64(w.next), 0)%uint64(max(w.o.Bytes, 1)))
	w.payload = w.payload[:0]
	for i := 0; i < n; i++ {
		w.payload = append(w.payload, byte(w.env.Rand.For("byte", uint64(w.next), uint64(i/8))>>(8*uint(i%8))))
	}
	w.env.Net.Send(actor.ID(w.o.Ledger), &ledgerv2.AppendRequest{
		Client: string(w.env.Self), Sequence: w.next, Payload: w.payload,
	}, actor.SendOptions{Key: fmt.Sprint("append/", w.next), Attempt: w.attempt})
	w.attempt++
	w.env.Clock.SetTimer("append", 0, w.o.Resend)
}

func (w *writer) page(from int64) {
	w.env.Net.Send(actor.ID(w.o.Ledger), &ledgerv2.ReadRequest{
		Client: string(w.env.Self), ReadId: w.read, FromPosition: from, MaxEntries: 64,
	}, actor.SendOptions{Key: fmt.Sprint("read/", w.read, "/", from)})
}
