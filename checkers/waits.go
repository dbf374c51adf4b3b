package checkers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// A Wait is something that has begun and has not come to its end.
type Wait struct {
	Who   string `json:"who"`             // the node that waits
	For   string `json:"for,omitempty"`   // the node that it waits for; empty: for nobody in particular
	What  string `json:"what"`            // answer, publication, delivery, command, rollback, hold, pause, breaker, process or epoch
	About string `json:"about,omitempty"` // which one
	Since int64  `json:"since_ns"`
	Last  int64  `json:"last_ns"` // when it was last asked for
	Tries int    `json:"tries"`
	Seq   uint64 `json:"event"` // with which it began
}

// String is the wait on one line.
func (w Wait) String() string {
	s := w.Who
	switch {
	case w.What == "process":
		return fmt.Sprintf("%s is %s since %s", w.Who, w.About, trace.Stamp(w.Since))
	case w.What == "epoch":
		return fmt.Sprintf("%s waits for the end of an epoch since %s", w.Who, trace.Stamp(w.Since))
	case w.What == "breaker":
		return fmt.Sprintf("%s's breaker against %s %s, not closed since %s", w.Who, w.For, w.About, trace.Stamp(w.Since))
	case w.For != "":
		s += " waits for " + w.For
	default:
		s += " waits"
	}
	s += ": " + w.What
	if w.About != "" {
		s += " " + w.About
	}
	s += ", since " + trace.Stamp(w.Since)
	if w.Tries > 1 {
		s += fmt.Sprintf(", asked %d times, last at %s", w.Tries, trace.Stamp(w.Last))
	}
	return s
}

// A TimerHabit is a timer that fires again and again, or that did.
type TimerHabit struct {
	Node  string `json:"node"`
	Name  string `json:"name"`
	Fired int    `json:"fired"`
	Last  int64  `json:"last_ns"`
	Every int64  `json:"every_ns"` // the longest between two of its firings
	// Stopped says that it is overdue by far: whoever set it each time has not
	// set it again.
	Stopped bool `json:"stopped,omitempty"`
}

// String is the habit on one line.
func (h TimerHabit) String() string {
	if h.Stopped {
		return fmt.Sprintf("%s's timer %q fired %d times, the last at %s, and not again: before, it came at least every %v", h.Node, h.Name, h.Fired, trace.Stamp(h.Last), time.Duration(h.Every))
	}
	return fmt.Sprintf("%s's timer %q fires again and again: %d times, last at %s", h.Node, h.Name, h.Fired, trace.Stamp(h.Last))
}

// A WaitReport says who waits for whom at a moment of a run: why it does not
// go on.
type WaitReport struct {
	At    int64  `json:"at_ns"`
	Waits []Wait `json:"waits"` // the longest first
	// Cycle are nodes of which each waits for the next and the last for the
	// first; empty: there is none.
	Cycle []string `json:"cycle,omitempty"`
	// Roots are waited for, directly or through others, and wait for nobody
	// themselves: the places to look at first.
	Roots  []string     `json:"roots,omitempty"`
	Timers []TimerHabit `json:"timers,omitempty"`
}

// Lines is the report for people.
func (r *WaitReport) Lines() []string {
	list := []string{"at " + trace.Stamp(r.At) + " there waits:"}
	if len(r.Waits) == 0 {
		list[0] = "at " + trace.Stamp(r.At) + " nobody waits for anybody"
	}
	const most = 16
	for i, w := range r.Waits {
		if i == most {
			list = append(list, fmt.Sprintf("  … and %d more", len(r.Waits)-most))
			break
		}
		list = append(list, "  "+w.String())
	}
	if len(r.Cycle) > 0 {
		list = append(list, "a cycle: "+strings.Join(append(slices.Clone(r.Cycle), r.Cycle[0]), " → "))
	}
	if len(r.Roots) > 0 {
		list = append(list, "they wait in the end for: "+strings.Join(r.Roots, ", "))
	}
	for _, t := range r.Timers {
		list = append(list, t.String())
	}
	return list
}

// answers are the payload types that answer a request, by short names. A
// publication is answered by PublishAck, whatever it carries.
var answers = map[string][]string{
	"ForwardRequest":    {"ForwardReply"},
	"BackwardRequest":   {"BackwardReply"},
	"BoundaryRequest":   {"BoundaryReply"},
	"SystemStatePacket": {"AdaptationSignal"},
	"StatePartRequest":  {"StatePart"},
	"RollbackRequest":   {"RollbackVote"},
	"RollbackDecision":  {"RollbackAck"},
	"RollbackQuery":     {"RollbackDecision", "RollbackOutcome", "RollbackRequest"},
	"CheckpointQuery":   {"CheckpointInfo"},
	"ReadLog":           {"LogSlice"},
	"Ack":               {"AckReply"},
	"AppendRequest":     {"AppendReply"},
	"ReadRequest":       {"ReadReply"},
	"SealRequest":       {"SealReply"},
	"OpenRequest":       {"OpenReply"},
	"PauseRequest":      {"PauseAck"},
	"ResumeRequest":     {"PauseAck"},
}

// questions is answers the other way round.
var questions = func() map[string][]string {
	m := map[string][]string{}
	for q, list := range answers {
		for _, a := range list {
			m[a] = append(m[a], q)
		}
	}
	return m
}()

// spared are the topics of which a publication may be given up after some
// tries: a command is worth nothing once its epochs are over, and the next
// report of a seed says the same and more.
var spared = map[string]bool{"telemetry.seed.health": true, "control.kasmina.commands": true, "control.tolaria.commands": true,
	// The next one says more than this one does.
	"telemetry.subsystem.health": true, "innovation.jobs": true, "innovation.curriculum": true, "innovation.strategy": true}

// waitKey is what is waited for: its kind, by whom, of whom, which one.
type waitKey struct{ what, who, of, id string }

// waiting follows what has begun and not ended in a run.
type waiting struct {
	nodes   map[string]bool
	open    map[waitKey]*Wait
	durable map[string]bool // consumer groups whose entries must be done with
	habits  map[[2]string]*TimerHabit
	cmds    map[string]string   // event id of a command's publication to its id
	to      map[string]string   // command id to who must obey
	issuer  map[string]string   // and who issued it
	done    map[string]struct{} // commands with a result, and entries that a group is done with
	trained bool
	at      int64
}

func newWaiting() *waiting {
	return &waiting{nodes: map[string]bool{}, open: map[waitKey]*Wait{}, durable: map[string]bool{}, habits: map[[2]string]*TimerHabit{},
		cmds: map[string]string{}, to: map[string]string{}, issuer: map[string]string{}, done: map[string]struct{}{}}
}

// begin notes that something is waited for, once more if it was already.
func (c *waiting) begin(e *Event, k waitKey, about string) {
	if w, first := c.once(e, k); first {
		w.About = about
	}
}

// once is begin where what it is about is put together the first time only.
func (c *waiting) once(e *Event, k waitKey) (w *Wait, first bool) {
	if w = c.open[k]; w == nil {
		w, first = &Wait{Who: k.who, For: k.of, What: k.what, Since: e.At, Seq: e.Seq}, true
		c.open[k] = w
	}
	w.Tries++
	w.Last = e.At
	return w, first
}

func (c *waiting) end(k waitKey) { delete(c.open, k) }

// gone forgets what a node's memory held, and begins to wait for its return.
func (c *waiting) gone(e *Event) {
	for k := range c.open {
		if k.who == e.Node && k.what != "command" && k.what != "delivery" && k.what != "epoch" && k.what != "process" {
			delete(c.open, k)
		}
	}
	for h := range c.habits {
		if h[0] == e.Node {
			delete(c.habits, h)
		}
	}
	c.begin(e, waitKey{"process", e.Node, "", "down"}, "down")
}

func (c *waiting) observe(e *Event) {
	c.at = e.At
	switch e.Kind {
	case trace.NodeStarted:
		c.nodes[e.Node] = true
		if e.Node == "tolaria" && !c.trained {
			c.trained = true
			c.begin(e, waitKey{"epoch", e.Node, "", ""}, "the end of an epoch")
		}
		if c.open[waitKey{"process", e.Node, "", "down"}] == nil {
			c.begin(e, waitKey{"process", e.Node, "", "down"}, "not ready")
		}
	case trace.NodeReady:
		c.end(waitKey{"process", e.Node, "", "down"})
	case trace.NodeCrashed, trace.NodeExited:
		c.end(waitKey{"process", e.Node, "", "stopped"})
		c.gone(e)
	case trace.NodePaused:
		c.begin(e, waitKey{"process", e.Node, "", "stopped"}, "stopped")
	case trace.NodeResumed:
		c.end(waitKey{"process", e.Node, "", "stopped"})
	case trace.TimerFired:
		c.fired(e)
	case trace.MessageSent:
		c.asked(e)
	case trace.MessageDelivered:
		c.heard(e)
	case trace.FactDeclared:
		c.fact(e)
	}
}

func (c *waiting) fired(e *Event) {
	k := [2]string{e.Node, e.Text}
	h := c.habits[k]
	if h == nil {
		h = &TimerHabit{Node: e.Node, Name: e.Text}
		c.habits[k] = h
	} else {
		h.Every = max(h.Every, e.At-h.Last)
	}
	h.Fired++
	h.Last = e.At
}

func shortName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }

// asked looks at what is sent: a question, a publication, or a piece of work.
func (c *waiting) asked(e *Event) {
	env := e.Mail.Envelope
	if env.Topic != "" {
		if m, ok := e.Mail.Payload.(*adaptationv2.AdaptationCommand); ok {
			c.cmds[env.EventId] = m.CommandId
			if _, done := c.done[m.CommandId]; !done {
				c.to[m.CommandId], c.issuer[m.CommandId] = commandee(env.Topic), e.Node
			}
		}
		if m, ok := e.Mail.Payload.(*adaptationv2.CommandResult); ok {
			c.result(m)
		}
		if !spared[env.Topic] {
			if w, first := c.once(e, waitKey{"publication", e.Node, e.Peer, env.EventId}); first {
				w.About = env.EventId + " on " + env.Topic
			}
		}
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *busv2.Delivery:
		// An entry that is delivered again after it was acknowledged need not be
		// acknowledged again: a bus that has restarted may not even ask.
		if !c.durable[m.Group] {
			return
		}
		k := deliveryKey(e.Node, m.Group, m.Topic, m.Offset)
		if _, done := c.done[k.id]; !done {
			w, first := c.once(e, k)
			if w.For = e.Peer; first {
				w.About = fmt.Sprintf("of offset %d of %s to the group %s", m.Offset, m.Topic, m.Group)
			}
		}
		return
	case *busv2.AckReply:
		if m.Status == busv2.AckStatus_ACKED {
			c.taken(deliveryKey(e.Node, m.Group, m.Topic, m.Offset))
		}
	case *busv2.PublishAck:
		if id := c.cmds[m.EventId]; id != "" && m.Status == busv2.PublishStatus_ACCEPTED {
			if _, done := c.done[id]; !done {
				c.begin(e, waitKey{"command", c.issuer[id], c.to[id], id}, id)
			}
		}
	case *adaptationv2.CommandResult:
		c.result(m)
	}
	if name := shortName(e.Mail.Payload.FullName()); answers[name] != nil {
		if w, first := c.once(e, waitKey{"answer", e.Node, e.Peer, name}); first {
			w.About = "to " + name
		}
	}
}

// deliveryKey is an entry that the bus has handed to a group.
func deliveryKey(bus, group, topic string, offset int64) waitKey {
	return waitKey{"delivery", bus, "", group + " " + topic + " " + strconv.FormatInt(offset, 10)}
}

// taken notes that a group is done with an entry.
func (c *waiting) taken(k waitKey) {
	c.finish(k.id)
	c.end(k)
}

// finish remembers what needs no end any more, for many times as long as it may
// come up again.
func (c *waiting) finish(id string) {
	if len(c.done) > 16*remembered {
		clear(c.done)
	}
	c.done[id] = struct{}{}
}

// commandee is who must obey the commands of a topic.
func commandee(topic string) string {
	if s, ok := strings.CutPrefix(topic, "control."); ok {
		if s, ok = strings.CutSuffix(s, ".commands"); ok {
			return s
		}
	}
	return ""
}

func (c *waiting) result(m *adaptationv2.CommandResult) {
	switch m.Status {
	case adaptationv2.CommandStatus_ACCEPTED, adaptationv2.CommandStatus_AWAITING_CONFIRMATION:
		return
	}
	c.finish(m.CommandId)
	c.end(waitKey{"command", c.issuer[m.CommandId], c.to[m.CommandId], m.CommandId})
}

// heard looks at what arrives: an answer ends the waiting of who gets it.
func (c *waiting) heard(e *Event) {
	switch m := e.Mail.Payload.(type) {
	case *busv2.PublishAck:
		if m.Status == busv2.PublishStatus_ACCEPTED || m.Status == busv2.PublishStatus_DUPLICATE {
			c.end(waitKey{"publication", e.Peer, e.Node, m.EventId})
		}
		return
	case *busv2.Subscribe:
		if m.Durable {
			c.durable[m.Group] = true
		}
		return
	}
	for _, q := range questions[shortName(e.Mail.Payload.FullName())] {
		c.end(waitKey{"answer", e.Peer, e.Node, q})
	}
}

func (c *waiting) fact(e *Event) {
	switch f := e.Fact.(type) {
	case *evidencev2.EpochFact:
		c.end(waitKey{"epoch", e.Node, "", ""})
		c.begin(e, waitKey{"epoch", e.Node, "", ""}, "the end of an epoch")
	case *evidencev2.PauseFact:
		k := waitKey{"pause", e.Node, "", ""}
		if f.State == "PAUSED" {
			c.begin(e, k, f.PauseId)
		} else {
			c.end(k)
		}
	case *evidencev2.BreakerFact:
		k := waitKey{"breaker", e.Node, f.Breaker, ""}
		if f.To == "CLOSED" {
			c.end(k)
		} else {
			c.begin(e, k, "is "+f.To)
			c.open[k].About = "is " + f.To
		}
	case *evidencev2.BusFact:
		switch f.Action {
		case evidencev2.BusAction_BUS_ACKED, evidencev2.BusAction_BUS_EXPIRED, evidencev2.BusAction_BUS_DEAD_LETTERED:
			c.taken(deliveryKey(e.Node, f.Group, f.Topic, f.Offset))
		}
	case *evidencev2.RollbackFact:
		c.rollback(e, f)
	}
}

// rollback follows the coordinator, and the participants that hold still for
// its decision.
func (c *waiting) rollback(e *Event, f *evidencev2.RollbackFact) {
	switch f.Step {
	case evidencev2.RollbackStep_RB_STARTED:
		c.begin(e, waitKey{"rollback", e.Node, "", f.RollbackId}, f.RollbackId)
	case evidencev2.RollbackStep_RB_PREPARED, evidencev2.RollbackStep_RB_FENCED:
		if f.Subsystem != "tolaria" {
			c.begin(e, waitKey{"hold", e.Node, "tolaria", ""}, "for the decision of the rollback "+f.RollbackId)
		}
	case evidencev2.RollbackStep_RB_RESTORED, evidencev2.RollbackStep_RB_ABORTED, evidencev2.RollbackStep_RB_DONE, evidencev2.RollbackStep_RB_FAILED:
		c.end(waitKey{"hold", e.Node, "tolaria", ""})
		if f.Subsystem == "tolaria" && f.Step != evidencev2.RollbackStep_RB_RESTORED {
			for k := range c.open {
				if k.what == "rollback" && k.who == e.Node {
					delete(c.open, k)
				}
			}
		}
	}
}

// list is what is open now, the oldest first.
func (c *waiting) list() []Wait {
	var list []Wait
	for _, k := range slices.SortedFunc(maps.Keys(c.open), compareWaits) {
		list = append(list, *c.open[k])
	}
	slices.SortStableFunc(list, func(a, b Wait) int { return cmp.Compare(a.Since, b.Since) })
	return list
}

func compareWaits(a, b waitKey) int {
	return cmp.Or(cmp.Compare(a.what, b.what), cmp.Compare(a.who, b.who), cmp.Compare(a.of, b.of), cmp.Compare(a.id, b.id))
}

// fresh is how old a wait must be to be told of: everything that goes well
// waits for a moment.
const fresh = int64(time.Second)

// report is who waits for whom now.
func (c *waiting) report() *WaitReport {
	r := &WaitReport{At: c.at, Waits: []Wait{}}
	for _, w := range c.list() {
		// A question that nobody repeats was given up, unless its asker has
		// fallen silent altogether.
		if w.What == "answer" && c.at-w.Last > 5*int64(time.Second) && c.speaks(w.Who, w.Last) {
			continue
		}
		if c.at-w.Since >= fresh {
			r.Waits = append(r.Waits, w)
		}
	}
	r.Cycle, r.Roots = graph(r.Waits)
	for _, k := range slices.SortedFunc(maps.Keys(c.habits), func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	}) {
		h := *c.habits[k]
		if h.Fired < 3 {
			continue
		}
		idle := c.at - h.Last
		h.Stopped = idle > 5*int64(time.Second) && idle > 5*h.Every
		if h.Stopped || idle <= 2*max(h.Every, fresh) && c.pressing(h.Node, r.Waits) {
			r.Timers = append(r.Timers, h)
		}
	}
	return r
}

// speaks says whether a node has asked for anything since.
func (c *waiting) speaks(node string, since int64) bool {
	for _, w := range c.open {
		if w.Who == node && w.What == "answer" && w.Last > since {
			return true
		}
	}
	for k, h := range c.habits {
		if k[0] == node && h.Last > since {
			return true
		}
	}
	return false
}

// pressing says whether a node asks for something again and again.
func (c *waiting) pressing(node string, list []Wait) bool {
	return slices.ContainsFunc(list, func(w Wait) bool {
		return w.Who == node && w.Tries > 2 && (w.What == "answer" || w.What == "publication" || w.What == "delivery")
	})
}

// graph finds a cycle among who waits for whom, or else those in whom all
// chains end.
func graph(list []Wait) (cycle, roots []string) {
	to := map[string][]string{}
	var who []string
	for _, w := range list {
		if w.For == "" || w.For == w.Who {
			continue
		}
		if to[w.Who] == nil {
			who = append(who, w.Who)
		}
		if !slices.Contains(to[w.Who], w.For) {
			to[w.Who] = append(to[w.Who], w.For)
		}
	}
	slices.Sort(who)
	var path []string
	state := map[string]int{} // 1: on the path, 2: done
	var visit func(n string)
	visit = func(n string) {
		state[n] = 1
		path = append(path, n)
		for _, next := range to[n] {
			switch state[next] {
			case 1:
				if cycle == nil {
					cycle = slices.Clone(path[slices.Index(path, next):])
				}
			case 0:
				visit(next)
			}
		}
		if len(to[n]) == 0 && !slices.Contains(roots, n) {
			roots = append(roots, n)
		}
		path = path[:len(path)-1]
		state[n] = 2
	}
	for _, n := range who {
		if state[n] == 0 {
			visit(n)
		}
	}
	slices.Sort(roots)
	return cycle, roots
}
