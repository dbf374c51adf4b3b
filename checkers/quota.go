package checkers

import (
	"fmt"
	"strings"
	"time"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// quota judges A7: in any 60 s Tamiyo grants pauses of at most 10 000 identity
// calls, and Kasmina makes no more, and no more in one pause than one may cost.
//
// When a pause was granted is known to lie between the newest request for it and
// the first word that it was. Of a window only those count that lie in it with
// both.
type quota struct {
	window  int64
	asked   map[string]int64 // pause id to its oldest request since it was last denied
	grants  []granted
	known   map[string]bool
	paused  map[string]*spent // by node
	replies []int64           // identity calls of the last window
}

type granted struct {
	from, to int64
	units    uint32
}

// spent is a pause of Kasmina's and the calls that it has answered in it.
type spent struct {
	id    string
	calls int
	last  callRef
}

type callRef struct {
	epoch int64
	step  int32
	layer int32
	gen   uint32
	train bool
}

const (
	quotaOfWindow = 10_000
	quotaOfPause  = 1_000
)

func newQuota(p Params) Checker {
	w := int64(time.Minute)
	return &quota{window: w - w/1e6*p.Drift - int64(time.Millisecond), asked: map[string]int64{}, known: map[string]bool{}, paused: map[string]*spent{}}
}

func (*quota) Invariants() []string { return []string{"A7"} }

func (c *quota) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		delete(c.paused, e.Node)
	case trace.MessageDelivered:
		if m, ok := e.Mail.Payload.(*pausev2.PauseRequest); ok {
			if _, waits := c.asked[m.PauseId]; !waits {
				c.asked[strings.Clone(m.PauseId)] = e.At
			}
		}
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *pausev2.PauseAck:
			c.answer(e, m, j)
		case *trainingv2.ForwardReply:
			c.call(e, m, j)
		}
	case trace.FactDeclared:
		if f, ok := e.Fact.(*evidencev2.PauseFact); ok && f.Subsystem == "kasmina" {
			delete(c.paused, e.Node)
			if f.State == "PAUSED" {
				c.paused[e.Node] = &spent{id: strings.Clone(f.PauseId)}
			}
		}
	}
}

func (c *quota) answer(e *Event, m *pausev2.PauseAck, j *Judge) {
	switch {
	case m.State == pausev2.PauseState_DENIED:
		delete(c.asked, m.PauseId)
	case m.State == pausev2.PauseState_PAUSING && !c.known[m.PauseId]:
		c.known[strings.Clone(m.PauseId)] = true
		from, ok := c.asked[m.PauseId]
		if !ok {
			from = e.At
		}
		c.grants = append(c.grants, granted{from, e.At, m.GrantedQuota})
		sum := 0
		keep := c.grants[:0]
		for _, g := range c.grants {
			if g.to <= e.At-2*c.window {
				continue
			}
			keep = append(keep, g)
			if g.from > e.At-c.window {
				sum += int(g.units)
			}
		}
		c.grants = keep
		if m.GrantedQuota > quotaOfPause || sum > quotaOfWindow {
			j.Violate("A7", e.Node, fmt.Sprintf("it grants %d identity calls for the pause %s, and %d within a minute; at most %d are granted at once, and %d a minute",
				m.GrantedQuota, m.PauseId, sum, quotaOfPause, quotaOfWindow))
			return
		}
		j.Judged("A7")
	}
}

// call counts what Kasmina answers in a pause. An answer that comes again is one.
func (c *quota) call(e *Event, m *trainingv2.ForwardReply, j *Judge) {
	p := c.paused[e.Node]
	if p == nil || m.Status != trainingv2.ReplyStatus_PAUSED {
		return
	}
	at := callRef{m.Step.GetEpoch(), m.Step.GetStep(), m.LayerId, m.Step.GetGeneration(), m.Training}
	if at == p.last {
		return
	}
	p.last = at
	p.calls++
	c.replies = append(c.replies, e.At)
	k := 0
	for c.replies[k] <= e.At-c.window {
		k++
	}
	c.replies = c.replies[k:]
	if p.calls > quotaOfPause || len(c.replies) > quotaOfWindow {
		j.Violate("A7", e.Node, fmt.Sprintf("it has answered %d calls by the identity in the pause %s, and %d within a minute", p.calls, p.id, len(c.replies)))
		return
	}
	j.Judged("A7")
}

func (*quota) Finish(*Judge) {}
