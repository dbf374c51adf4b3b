package checkers

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/esper-sim/espersim/checkers/models"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// linearTimeout is how long one check may take. A check that does not end in
// it is a failure that says so: "unknown" is no verdict.
const linearTimeout = 10 * time.Second

// register judges R1: the newest good checkpoint is a linearizable register.
// Tolaria's saves write it, its clients' queries read it.
type register struct {
	history models.History
	picture func(string, func(io.Writer) error)
	reads   map[string]pendingRead // by query id
	writing *pendingWrite
	// given are the saves that were given up in this life of Tolaria. What one
	// left on the disk may come to light when the store is opened again.
	given   []pendingWrite
	crashed bool
	saved   []string // the newest saves, oldest first
	refused []string // of them, those refused as the newest in this life
	clients map[string]int
}

type pendingRead struct {
	client string
	call   int64
}

type pendingWrite struct {
	id   string
	call int64
}

func newRegister(p Params) Checker {
	return &register{picture: p.Picture, reads: map[string]pendingRead{}, clients: map[string]int{}, history: models.NewHistory(models.Register())}
}

func (*register) Invariants() []string { return []string{"R1"} }

func (c *register) client(name string) int {
	n, ok := c.clients[name]
	if !ok {
		n = len(c.clients)
		c.clients[name] = n
	}
	return n
}

func (c *register) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeCrashed, trace.NodeExited:
		if e.Node == "tolaria" {
			c.giveUp()
			// It was refused because of what one read brought. If that read was
			// stale, the next life finds the checkpoint sound.
			for _, id := range c.refused {
				c.given = append(c.given, pendingWrite{id, e.At})
			}
			c.refused = c.refused[:0]
			c.crashed = true
		}
	case trace.NodeReady:
		// The store is open: what became of them is decided.
		if e.Node == "tolaria" && c.crashed {
			for _, w := range c.given {
				c.history.Add(models.RegisterWrite(c.client(e.Node), w.id, w.call, e.At, true))
			}
			c.given, c.crashed = c.given[:0], false
		}
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *trainingv2.CheckpointQuery:
			if _, again := c.reads[m.QueryId]; !again {
				c.abandon(e.At)
				c.reads[m.QueryId] = pendingRead{e.Node, e.At}
			}
		case *trainingv2.BoundaryRequest:
			if m.CheckpointId != "" && (c.writing == nil || c.writing.id != m.CheckpointId) {
				c.giveUp()
				c.writing = &pendingWrite{m.CheckpointId, e.At}
			}
		}
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*trainingv2.CheckpointInfo); ok {
			if r, ok := c.reads[m.QueryId]; ok {
				delete(c.reads, m.QueryId)
				c.history.Add(models.RegisterRead(c.client(r.client), m.CheckpointId, r.call, e.At))
				c.quiet(j)
			}
		}
	case trace.FactDeclared:
		f, ok := e.Fact.(*evidencev2.CheckpointFact)
		if ok && (f.Action == evidencev2.CheckpointAction_CHECKPOINT_REFUSED || f.Action == evidencev2.CheckpointAction_CHECKPOINT_UNREADABLE) {
			// Damage was detected, or the disk did not answer: an older one is the newest
			// good one now.
			c.check(j)
			if n := len(c.saved); n > 0 && c.saved[n-1] == f.CheckpointId {
				c.refused = append(c.refused, f.CheckpointId)
			}
			c.saved = slices.DeleteFunc(c.saved, func(id string) bool { return id == f.CheckpointId })
			c.history.Restart(append([]string{""}, c.saved...))
		}
		if ok && f.Action == evidencev2.CheckpointAction_CHECKPOINT_SAVED {
			if len(c.saved) == maxGiven {
				c.saved = append(c.saved[:0], c.saved[1:]...)
			}
			c.saved = append(c.saved, f.CheckpointId)
			c.refused = c.refused[:0] // it would not be the newest any more
			call := e.At
			if c.writing != nil && c.writing.id == f.CheckpointId {
				call = c.writing.call
				c.writing = nil
			}
			c.history.Add(models.RegisterWrite(c.client(e.Node), f.CheckpointId, call, e.At, false))
		}
	}
}

// abandon forgets queries that nobody answers any more, so that the history can
// be cut: a read that returned nothing says nothing.
func (c *register) abandon(now int64) {
	for id, r := range c.reads {
		if now-r.call > int64(30*time.Second) {
			delete(c.reads, id)
		}
	}
}

// giveUp notes that the save under way will not be told of.
func (c *register) giveUp() {
	if c.writing == nil {
		return
	}
	if len(c.given) == maxGiven {
		c.given = append(c.given[:0], c.given[1:]...)
	}
	c.given = append(c.given, *c.writing)
	c.writing = nil
}

// maxGiven bounds the saves of one life that are remembered without an outcome.
const maxGiven = 8

// quiet cuts the history where nothing is under way, so that it stays short.
func (c *register) quiet(j *Judge) {
	if c.history.Len() < 24 || c.crashed || len(c.reads) > 0 || c.writing != nil {
		return
	}
	c.check(j)
}

func (c *register) check(j *Judge) {
	if c.history.Len() == 0 {
		return
	}
	switch result, detail := c.history.Cut(linearTimeout); result {
	case porcupine.Ok:
		j.Judged("R1")
	case porcupine.Illegal:
		j.Violate("R1", "tolaria", "the newest checkpoint is no linearizable register: "+detail)
		if c.picture != nil {
			c.picture("R1", c.history.Picture)
		}
	default:
		j.Violate("R1", "tolaria", fmt.Sprintf("linearizability was not decided within %v: no verdict", linearTimeout))
	}
}

func (c *register) Finish(j *Judge) { c.check(j) }

// application judges R2: for each command, applying it is linearizable. It
// takes effect once, after it was published and before its result is told, and
// whoever delivers it again is told so.
type application struct {
	picture func(string, func(io.Writer) error)
	keys    map[string]*models.History
	order   []string
	last    int64
	forgot  bool // some are not in keys any more
}

func newApplication(p Params) Checker {
	return &application{picture: p.Picture, keys: map[string]*models.History{}}
}

func (*application) Invariants() []string { return []string{"R2"} }

func (c *application) key(id string) *models.History {
	h := c.keys[id]
	if h == nil {
		fresh := models.NewHistory(models.Command())
		h = &fresh
		c.keys[id] = h
		c.order = append(c.order, id)
	}
	return h
}

func (c *application) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.MessageSent:
		if m, ok := e.Mail.Payload.(*adaptationv2.AdaptationCommand); ok {
			h := c.key(m.CommandId)
			if h.Len() == 0 {
				h.Begin(e.At)
				h.Add(models.CommandIssued(e.At))
			}
		}
	case trace.MessageDelivered:
		if _, ok := e.Mail.Payload.(*busv2.Delivery); ok && e.Inner != nil {
			if m, ok := e.Inner.Payload.(*adaptationv2.AdaptationCommand); ok {
				if h := c.keys[m.CommandId]; h != nil || !c.forgot {
					c.key(m.CommandId).Begin(e.At)
				}
			}
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.CommandFact); ok {
			if c.forgot && c.keys[f.CommandId] == nil {
				return // of a command whose history was judged and let go
			}
			if op, ok := models.CommandOutcome(f.Status, c.key(f.CommandId).Began(), e.At); ok {
				c.key(f.CommandId).Add(op)
			}
			if len(c.order) > remembered {
				c.check(c.order[0], j)
			}
		}
	}
}

func (c *application) check(id string, j *Judge) {
	h := c.keys[id]
	delete(c.keys, id)
	c.forgot = c.forgot || h != nil && h.Len() > 0
	if len(c.order) > 0 && c.order[0] == id {
		c.order = c.order[1:]
	}
	if h == nil || h.Len() < 2 {
		return
	}
	switch result, detail := h.Cut(linearTimeout); result {
	case porcupine.Ok:
		j.Judged("R2")
	case porcupine.Illegal:
		j.Violate("R2", "", fmt.Sprintf("applying the command %s is not linearizable: %s", id, detail))
		if c.picture != nil {
			c.picture("R2", h.Picture)
		}
	default:
		j.Violate("R2", "", fmt.Sprintf("command %s: linearizability was not decided within %v: no verdict", id, linearTimeout))
	}
}

func (c *application) Finish(j *Judge) {
	for len(c.order) > 0 {
		c.check(c.order[0], j)
	}
}
