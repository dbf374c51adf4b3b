// Package auxiliary is the side of a rollback of those whom training does not
// need: Emrakul, Nissa and Simic. They show Tolaria that they live; a rollback of
// the full tier asks them along with the core, and when Tolaria herself has
// restored, each takes back what it holds of the epochs that are undone, in
// alphabetical order (digest 0.7).
//
// A rollback never waits for one of them for longer than it says it does. Whoever
// is left out hears of the rollback from the event on the bus, and takes back the
// same.
//
//	if p.back.Receive(from, m) {
//		return nil
//	}
package auxiliary

import (
	"bytes"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
)

// Timer is the name of a party's own timer.
const Timer = "auxiliary"

// Every is between two words to Tolaria that a party lives. One that was not
// heard for [Fresh] takes no part.
const (
	Every = 2 * time.Second
	Fresh = 3 * Every
)

// Names lists the auxiliaries in the order in which they restore.
var Names = []string{"emrakul", "nissa", "simic"}

// Point is where training goes back to.
type Point struct {
	RollbackID string // empty: learnt from the event
	Epoch      int64
	Generation uint32
}

// Party takes part for one process. It lives in memory: a process that begins
// again has nothing to take back that its log does not tell.
type Party struct {
	env     actor.Env
	name    string
	tolaria actor.ID
	// restore takes back what the owner holds of the epochs from Point.Epoch on.
	// false: it could not, and is asked again.
	restore func(Point) bool

	offer  Point
	tier   string
	id     string // of the checkpoint
	root   []byte
	voted  bool
	done   Point // the newest that was restored
	beaten uint32
}

// New makes the party of a subsystem.
func New(env actor.Env, tolaria actor.ID, name string, restore func(Point) bool) *Party {
	return &Party{env: env, name: name, tolaria: tolaria, restore: restore}
}

// Start says that the process lives.
func (p *Party) Start() { p.beat() }

func (p *Party) beat() {
	p.beaten++
	p.env.Net.Send(p.tolaria, &rollbackv2.RollbackHeartbeat{Subsystem: p.name, Sequence: p.beaten}, actor.SendOptions{Key: "auxiliary", Attempt: p.beaten})
	p.env.Clock.SetTimer(Timer, 0, Every)
}

// Receive takes a message if it is about a rollback, and says whether it is.
func (p *Party) Receive(from actor.ID, m canon.Message) bool {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name != Timer {
			return false
		}
		p.beat()
	case *rollbackv2.RollbackRequest:
		if from == p.tolaria {
			p.prepare(m)
		}
	case *rollbackv2.RollbackDecision:
		if from == p.tolaria {
			p.decided(m)
		}
	case *rollbackv2.RollbackAck, *rollbackv2.RollbackOutcome, *rollbackv2.RollbackHeartbeat:
	default:
		return false
	}
	return true
}

// prepare votes. There is nothing that an auxiliary would lose by going back: it
// says no only where it is there already.
func (p *Party) prepare(m *rollbackv2.RollbackRequest) {
	vote := rollbackv2.Vote_YES
	if m.Generation < p.done.Generation || m.Generation == p.done.Generation && p.done.RollbackID != m.RollbackId {
		vote = rollbackv2.Vote_NO
	} else {
		p.offer = Point{strings.Clone(m.RollbackId), m.CheckpointEpoch, m.Generation}
		p.tier, p.id, p.root, p.voted = m.Tier.String(), strings.Clone(m.CheckpointId), bytes.Clone(m.CheckpointRoot), true
	}
	p.env.Net.Send(p.tolaria, &rollbackv2.RollbackVote{RollbackId: m.RollbackId, Subsystem: p.name, Vote: vote, LocalRoot: m.CheckpointRoot}, actor.SendOptions{Key: "vote"})
}

func (p *Party) decided(m *rollbackv2.RollbackDecision) {
	switch {
	case m.Decision == rollbackv2.Decision_ABORT && m.RollbackId == p.offer.RollbackID:
		p.voted = false
	case m.Decision != rollbackv2.Decision_COMMIT:
	case m.RollbackId == p.done.RollbackID:
		p.acknowledge()
	case p.voted && m.RollbackId == p.offer.RollbackID && p.back(p.offer):
		p.acknowledge()
	}
}

func (p *Party) acknowledge() {
	p.env.Net.Send(p.tolaria, &rollbackv2.RollbackAck{RollbackId: p.done.RollbackID, Subsystem: p.name, Phase: rollbackv2.Phase_RESTORED,
		Epoch: p.done.Epoch, Root: p.root, Ok: true}, actor.SendOptions{Key: "rollback-ack"})
}

// back has the owner restore, once for each generation.
func (p *Party) back(to Point) bool {
	if to.Generation <= p.done.Generation {
		p.done.RollbackID = to.RollbackID
		return true
	}
	if !p.restore(to) {
		return false
	}
	p.done, p.voted = to, false
	if to.RollbackID != "" {
		p.env.Facts.Record(&evidencev2.RollbackFact{RollbackId: to.RollbackID, Subsystem: p.name, Step: evidencev2.RollbackStep_RB_RESTORED,
			Tier: p.tier, CheckpointId: p.id, Epoch: to.Epoch, Generation: to.Generation, Root: p.root})
	}
	return true
}

// Event takes an event of Tolaria's from the bus, and says whether the owner has
// taken back what it tells of; an event that it has not comes again.
func (p *Party) Event(m *eventsv2.EpochEvent) bool {
	if m.Phase != eventsv2.EpochPhase_ROLLED_BACK || m.RollbackGeneration <= p.done.Generation {
		return true
	}
	return p.back(Point{"", m.Epoch, m.RollbackGeneration})
}
