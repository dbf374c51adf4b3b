package checkers

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/trace"
)

// commands judges A1 to A4, O3, O4 and L2: what became of every command, by
// the command as it was published and delivered, and by what its receiver did.
type commands struct {
	p      Params
	cmds   map[string]*command
	order  []string // by first publication, for forgetting
	acks   map[ackKey]ackOwner
	nonce  map[string]string   // nonce to event id
	events map[string]*command // by the event id of a publication
	opened map[string]uint64   // how often a node's log was opened
	last   int64

	entries map[ackKey]*command // by where the bus has them
	decided map[[2]int64]bool   // by the epoch that has ended and its generation: whether Tamiyo took part in its boundary
	ready   boundary            // that Kasmina is ready to cross
	paused  map[string]bool
	genuine map[uint64]string // deliveries that nobody may refuse: what they hold
	forgot  bool
}

// boundary is one that a subsystem carries out commands at.
type boundary struct {
	epoch int64 // that it leads to
	gen   uint32
	at    int64
	open  bool // it is not paused
}

type command struct {
	id        string
	target    int64
	ttl       int64
	confirm   bool
	confirmed bool
	published int64 // accepted by the bus; 0: not yet
	seq       uint64
	valid     bool   // an envelope of it with a good signature was delivered
	invalid   string // why another one was not
	applied   map[string]uint64
	delivered int
	redeliver int // deliveries after the first
	results   map[adaptationv2.CommandStatus]bool
	judged    bool
	to        string   // who must obey
	needs     []string // who must take part in the boundary at which it takes effect
	latency   bool     // it is worth something for a while only
	forged    string   // what is wrong with what it holds
	signed    bool     // a copy of it with a good signature was delivered
	unsigned  bool     // and one without
	taken     int64    // when its receiver acknowledged it; 0: not yet
	at        int64    // the epoch in which it took effect
	due       int64    // the first epoch into which it could have been carried out; 0: none
}

type ackKey struct {
	group, topic string
	offset       int64
}

type ackOwner struct {
	consumer string
	seq      uint64
	life     uint64 // of the bus, and of its log
}

// remembered is how many commands the checker keeps: many times what can be
// under way at once.
const remembered = 512

func newCommands(p Params) Checker {
	return &commands{p: p, cmds: map[string]*command{}, acks: map[ackKey]ackOwner{}, nonce: map[string]string{}, events: map[string]*command{}, opened: map[string]uint64{},
		entries: map[ackKey]*command{}, decided: map[[2]int64]bool{}, paused: map[string]bool{}, genuine: map[uint64]string{}}
}

func (*commands) Invariants() []string {
	return []string{"A1", "A2", "A3", "A4", "O3", "O4", "L2"}
}

func (c *commands) command(id string) *command {
	k := c.cmds[id]
	if k == nil {
		k = &command{id: id, applied: map[string]uint64{}, results: map[adaptationv2.CommandStatus]bool{}}
		c.cmds[id] = k
		c.order = append(c.order, id)
	}
	return k
}

func (c *commands) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.MessageSent:
		c.sent(e, j)
	case trace.MessageDelivered:
		c.delivered(e, j)
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.CommandFact:
			c.fact(e, f, j)
		case *evidencev2.LogFact:
			if f.Action == evidencev2.LogAction_LOG_RECOVERED {
				c.opened[e.Node]++
			}
		case *evidencev2.PauseFact:
			c.paused[e.Node] = f.State == "PAUSED"
		case *evidencev2.BoundaryFact:
			// Commands that come while it waits to cross are for the next one.
			if b := (boundary{f.Epoch, f.Generation, e.At, !c.paused[e.Node]}); c.ready.epoch != b.epoch || c.ready.gen != b.gen {
				c.ready = b
			}
		case *evidencev2.DecisionFact:
			c.decision(e, f, j)
		case *evidencev2.EpochFact:
			// That Kasmina crossed into an epoch is known at its end.
			if b := c.ready; f.KasminaJoined && b.epoch == f.Epoch && b.gen == f.Generation && b.open {
				c.carried("kasmina", b)
			}
		}
	}
}

func (c *commands) sent(e *Event, j *Judge) {
	switch m := e.Mail.Payload.(type) {
	case *adaptationv2.AdaptationCommand:
		k := c.command(m.CommandId)
		if k.seq == 0 {
			k.seq = e.Seq
			// A copy that says something else later does not count.
			k.target, k.ttl = m.TargetEpoch, int64(m.TtlEpochs)
			k.confirm = m.GetConstraints().GetRequireConfirmation()
			k.needs, k.latency = slices.Clone(m.GetConstraints().GetRequiredSubsystems()), m.GetConstraints().GetMaxLatencyMs() > 0
			k.to = commandee(e.Mail.Envelope.Topic)
			if a := m.GetArchChange(); a != nil {
				if sum := sha256.Sum256(a.SerializedConfig); hex.EncodeToString(sum[:]) != a.ValidationHash {
					k.forged = "its configuration is not the one that its hash is of"
				}
			}
		}
		if len(c.events) > remembered {
			clear(c.events)
		}
		c.events[e.Mail.Envelope.EventId] = k
	case *busv2.PublishAck:
		if m.Status == busv2.PublishStatus_ACCEPTED && (m.Topic == "control.kasmina.commands" || m.Topic == "control.tolaria.commands") {
			if k := c.events[m.EventId]; k != nil && k.published == 0 {
				k.published = e.At
			}
		}
	case *busv2.Ack:
		if k := c.entries[ackKey{"", m.Topic, m.Offset}]; k != nil && k.taken == 0 && e.Node == k.to {
			k.taken = e.At
		}
	case *adaptationv2.CommandResult:
		k := c.command(m.CommandId)
		if m.Status == adaptationv2.CommandStatus_EXPIRED && k.due != 0 {
			j.Violate("L2", e.Node, fmt.Sprintf("command %s expires; it was there at the boundary into epoch %d, and nothing kept it from being carried out", m.CommandId, k.due), k.seq)
			k.due = 0
		}
		switch m.Status {
		case adaptationv2.CommandStatus_ACCEPTED, adaptationv2.CommandStatus_AWAITING_CONFIRMATION:
			return
		}
		k.results[m.Status] = true
		if n := terminal(k.results); n > 1 {
			j.Violate("L2", e.Node, fmt.Sprintf("command %s has %d results: %v", m.CommandId, n, k.results), k.seq)
		}
		if !k.judged {
			k.judged = true
			j.Judged("L2")
		}
	case *busv2.AckReply:
		if m.Status != busv2.AckStatus_ACKED {
			return
		}
		key := ackKey{m.Group, m.Topic, m.Offset}
		// A bus that has restarted, or opened its log anew after a failure, may
		// have lost the first acknowledgement.
		life := uint64(e.Incarnation)<<32 | c.opened[e.Node]
		if o, ok := c.acks[key]; ok && o.consumer != e.Peer && o.life == life {
			j.Violate("O4", e.Node, fmt.Sprintf("offset %d of %s was accepted as done by %s and by %s in the group %s", m.Offset, m.Topic, o.consumer, e.Peer, m.Group), o.seq)
		}
		if len(c.acks) > remembered {
			clear(c.acks)
		}
		c.acks[key] = ackOwner{e.Peer, e.Seq, life}
		j.Judged("O4")
	}
}

// terminal counts the results that end a command. DUPLICATE only says that
// another one does.
func terminal(r map[adaptationv2.CommandStatus]bool) (n int) {
	for _, s := range []adaptationv2.CommandStatus{adaptationv2.CommandStatus_APPLIED, adaptationv2.CommandStatus_REJECTED, adaptationv2.CommandStatus_EXPIRED} {
		if r[s] {
			n++
		}
	}
	return n
}

func (c *commands) delivered(e *Event, j *Judge) {
	switch m := e.Mail.Payload.(type) {
	case *adaptationv2.CommandConfirm:
		if c.authentic(e.Mail.Envelope, m) {
			if m.Approve {
				c.command(m.CommandId).confirmed = true
			}
			auth := m.Auth
			if auth == nil {
				auth = e.Mail.Envelope.Auth
			}
			if c.fresh(auth, "confirm/"+m.CommandId, e.At) {
				c.acceptable(e.Seq, "the confirmation of "+m.CommandId)
			}
		}
	case *busv2.Delivery:
		if e.Inner == nil {
			return
		}
		m2, ok := e.Inner.Payload.(*adaptationv2.AdaptationCommand)
		if !ok {
			return
		}
		k := c.command(m2.CommandId)
		if len(c.entries) > remembered {
			clear(c.entries)
		}
		c.entries[ackKey{"", m.Topic, m.Offset}] = k
		if k.delivered++; k.delivered > 1 || m.Attempt > 1 {
			k.redeliver++
		}
		if env := e.Inner.Envelope; env.Auth != nil && (c.p.Key == nil || wire.Verify(env, c.p.Key) == nil) {
			k.signed = true
		} else {
			k.unsigned = true
		}
		nonceSeen := c.p.Key == nil || e.Inner.Envelope.Auth == nil || c.nonce[string(e.Inner.Envelope.Auth.Nonce)] != ""
		why := c.check(e.Inner.Envelope, e.At)
		if why == "" {
			k.valid = true
			age := c.p.WallStart.Add(time.Duration(e.At)).Sub(m2.CreatedAt.AsTime())
			if !nonceSeen && e.Inner.Envelope.Topic == m.Topic && c.timely(e.Inner.Envelope.Auth, e.At) && age < 60*time.Second-c.p.MaxSkew {
				c.acceptable(e.Seq, "command "+m2.CommandId)
			}
		} else {
			k.invalid = why
			j.Judged("A3")
		}
	}
}

// authentic says whether a confirmation is signed: itself or its envelope.
func (c *commands) authentic(env *envelopev2.EventEnvelope, m *adaptationv2.CommandConfirm) bool {
	if c.p.Key == nil || wire.Verify(env, c.p.Key) == nil {
		return true
	}
	if m.Auth == nil {
		return false
	}
	signature := m.Auth.HmacSha256
	m.Auth.HmacSha256 = nil
	mac := hmac.New(sha256.New, c.p.Key)
	mac.Write(m.AppendCanonical(nil))
	m.Auth.HmacSha256 = signature
	return hmac.Equal(mac.Sum(nil), signature)
}

// fresh says whether an auth is so by everybody's clock, and its nonce by
// everybody's memory.
func (c *commands) fresh(a *envelopev2.Auth, event string, now int64) bool {
	if c.p.Key == nil || a == nil {
		return false
	}
	nonce := string(a.Nonce)
	if c.nonce[nonce] != "" {
		return false
	}
	c.nonce[nonce] = event
	return c.timely(a, now)
}

func (c *commands) timely(a *envelopev2.Auth, now int64) bool {
	age := c.p.WallStart.Add(time.Duration(now)).Sub(a.SignedAt.AsTime())
	limit := 59*time.Second - c.p.MaxSkew
	return age < limit && -age < limit
}

// acceptable notes a delivery that nobody may refuse as not genuine.
func (c *commands) acceptable(seq uint64, what string) {
	if len(c.genuine) > remembered {
		clear(c.genuine)
	}
	c.genuine[seq] = what
}

// statuses are what a fact may say of a command.
var statuses = map[string]bool{"ACCEPTED": true, "APPLIED": true, "REJECTED": true, "EXPIRED": true, "DUPLICATE": true,
	"AWAITING_CONFIRMATION": true, "REFUSED": true}

// told judges what is said of a command, whatever it is.
func (c *commands) told(e *Event, f *evidencev2.CommandFact, j *Judge) {
	if !statuses[f.Status] {
		j.Violate("L2", e.Node, fmt.Sprintf("command %q is said to be %q, which is no status", f.CommandId, f.Status))
		return
	}
	if f.Status == "REFUSED" {
		if what, ok := c.genuine[e.Cause]; ok {
			j.Violate("A3", e.Node, fmt.Sprintf("it refuses %s, which is genuine: %s", what, f.Reason), e.Cause)
		}
		return
	}
	if k := c.cmds[f.CommandId]; !c.forgot && (k == nil || k.seq == 0 && k.delivered == 0) {
		j.Violate("L2", e.Node, fmt.Sprintf("command %q is said to be %s, and nobody has issued it", f.CommandId, f.Status))
	}
}

// check says what is wrong with a signed envelope, judged by the key and the
// true time; empty: nothing.
func (c *commands) check(e *envelopev2.EventEnvelope, now int64) string {
	if e.Auth == nil {
		return "it is not signed"
	}
	if c.p.Key != nil {
		if err := wire.Verify(e, c.p.Key); err != nil {
			return err.Error()
		}
	}
	nonce := string(e.Auth.Nonce)
	if prev, used := c.nonce[nonce]; used && prev != e.EventId {
		return "its nonce was used by the event " + prev
	}
	if len(c.nonce) > remembered {
		clear(c.nonce)
	}
	c.nonce[nonce] = e.EventId
	signed := e.Auth.SignedAt.AsTime().Sub(c.p.WallStart)
	if age := time.Duration(now) - signed; age > 60*time.Second+c.p.MaxSkew || age < -60*time.Second-c.p.MaxSkew {
		return fmt.Sprintf("it was signed %v ago", age)
	}
	return ""
}

func (c *commands) fact(e *Event, f *evidencev2.CommandFact, j *Judge) {
	c.told(e, f, j)
	if f.Status != "APPLIED" {
		return
	}
	k := c.command(f.CommandId)
	if before, again := k.applied[f.Subsystem]; again {
		j.Violate("A1", e.Node, fmt.Sprintf("command %s takes effect a second time", f.CommandId), before)
		if k.redeliver > 0 {
			j.Violate("O3", e.Node, fmt.Sprintf("a second delivery of command %s changed the state again", f.CommandId), before)
		}
		return
	}
	if len(k.applied) > 0 {
		for other, seq := range k.applied {
			j.Violate("O4", e.Node, fmt.Sprintf("command %s takes effect at %s and at %s", f.CommandId, other, f.Subsystem), seq)
		}
	}
	k.applied[f.Subsystem], k.at = e.Seq, f.Epoch
	j.Judged("A1")
	if k.redeliver > 0 {
		j.Judged("O3")
	}
	if k.ttl > 0 {
		if f.Epoch < k.target || f.Epoch >= k.target+k.ttl {
			j.Violate("A2", e.Node, fmt.Sprintf("command %s for the epochs %d to %d takes effect in epoch %d", f.CommandId, k.target, k.target+k.ttl-1, f.Epoch), k.seq)
		} else {
			j.Judged("A2")
		}
	}
	if c.p.Settled != nil && f.Subsystem == "kasmina" && slices.Contains(k.needs, "tamiyo") {
		c.attended(e, k, f.Epoch-1, f.Generation, j)
	}
	if k.forged != "" {
		j.Violate("A3", e.Node, fmt.Sprintf("command %s takes effect, and %s", f.CommandId, k.forged), k.seq)
	}
	if !k.valid {
		why := k.invalid
		if why == "" {
			why = "no signed envelope of it was ever delivered"
		}
		j.Violate("A3", e.Node, fmt.Sprintf("command %s takes effect, and %s", f.CommandId, why), k.seq)
	} else {
		j.Judged("A3")
	}
	if k.confirm {
		if !k.confirmed {
			j.Violate("A4", e.Node, fmt.Sprintf("command %s takes effect without the confirmation that it requires", f.CommandId), k.seq)
		} else {
			j.Judged("A4")
		}
	}
	c.forget()
}

// attended judges that Tamiyo took part in the boundary behind an epoch, at
// which a command that requires it took effect. Where a rollback has led back to
// that boundary, nobody decides about it a second time.
func (c *commands) attended(e *Event, k *command, epoch int64, gen uint32, j *Judge) {
	there, known := c.decided[[2]int64{epoch, int64(gen)}]
	switch {
	case !known:
	case there:
		j.Judged("A2")
	default:
		j.Violate("A2", e.Node, fmt.Sprintf("command %s requires tamiyo, and takes effect at the boundary behind epoch %d, in which it took no part", k.id, epoch), k.seq)
	}
}

// decision is the boundary at which Tolaria carries out commands.
func (c *commands) decision(e *Event, f *evidencev2.DecisionFact, j *Judge) {
	if len(c.decided) > remembered {
		clear(c.decided)
	}
	c.decided[[2]int64{f.Epoch, int64(f.Generation)}] = !f.Fallback
	for _, id := range c.order {
		if k := c.cmds[id]; k != nil && k.at == f.Epoch+1 && k.applied["tolaria"] != 0 && slices.Contains(k.needs, "tamiyo") {
			k.at = 0
			c.attended(e, k, f.Epoch, f.Generation, j)
		}
	}
	c.carried("tolaria", boundary{f.Epoch + 1, f.Generation, e.At, true})
}

// carried notes the commands that a subsystem could have carried out at a
// boundary that it has crossed: if they are not at their end by then, they never
// had a reason to wait. Where faults are about, there may be others.
func (c *commands) carried(who string, b boundary) {
	if c.p.Settled == nil {
		return
	}
	for _, id := range c.order {
		k := c.cmds[id]
		if k == nil || k.to != who || k.taken == 0 || k.taken >= b.at || k.confirm || k.latency || len(k.results) > 0 || k.due != 0 ||
			b.epoch < k.target || b.epoch >= k.target+k.ttl || !c.p.Settled(k.taken) {
			continue
		}
		if !slices.ContainsFunc(k.needs, func(n string) bool {
			return n != who && n != "tolaria" && (n != "tamiyo" || !c.decided[[2]int64{b.epoch - 1, int64(b.gen)}])
		}) {
			k.due = b.epoch
		}
	}
}

// forget drops the oldest commands once there are many.
func (c *commands) forget() {
	for len(c.order) > remembered {
		delete(c.cmds, c.order[0])
		c.order = c.order[1:]
		c.forgot = true
	}
}

// unanswered is how long a command may wait for its result once the faults
// have ended: its time to live is counted in epochs, and an epoch lasts about a
// second.
const unanswered = int64(30 * time.Second)

func (c *commands) Finish(j *Judge) {
	if c.p.Settled == nil || !c.p.Settled(c.last-unanswered) {
		return
	}
	for _, id := range c.order {
		k := c.cmds[id]
		if k == nil || k.published == 0 || c.last-k.published < unanswered {
			continue
		}
		// What nobody signed is no command, and has no result.
		if len(k.results) == 0 && (k.signed || !k.unsigned) {
			j.Violate("L2", "", fmt.Sprintf("command %s was published at %s and has no result", id, trace.Stamp(k.published)), k.seq)
		}
	}
}
