package tolaria

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
)

// push sends whoever is awaited what it needs, and sets the timer for the
// next try.
func (t *tolaria) push() error {
	rb := t.rb
	switch rb.stage {
	case preparing:
		for _, p := range rb.parties {
			if !p.yes {
				t.offer(p)
			}
		}
		for _, p := range rb.aux {
			if !p.yes && !p.out {
				t.env.Net.Send(p.id, t.request(), actor.SendOptions{Key: "rollback-request", Attempt: rb.attempt})
			}
		}
	case committing:
		for rb.turn < len(rb.parties) && (rb.parties[rb.turn].restored || rb.parties[rb.turn].out) {
			rb.turn++
			rb.since, rb.attempt = t.env.Clock.Monotonic(), 0
		}
		if rb.turn == len(rb.parties) {
			return t.own()
		}
		p := rb.parties[rb.turn]
		if rb.attempt > 0 || !p.yes {
			// It may have lost what it was offered, and its memory with it.
			t.offer(p)
		}
		t.decide(p, rb.id, rollbackv2.Decision_COMMIT, rb.reason)
	case following:
		if t.follow() {
			rb.stage, rb.since, rb.attempt = confirming, t.env.Clock.Monotonic(), 0
			return t.push()
		}
	case confirming:
		all := true
		for _, p := range rb.parties {
			if p.confirmed || p.out {
				continue
			}
			all = false
			t.env.Net.Send(p.id, &rollbackv2.RollbackAck{RollbackId: rb.id, Subsystem: Subsystem, Phase: rollbackv2.Phase_RESTORED,
				Epoch: rb.ckpt.Epoch, Root: rb.ckpt.Root, Ok: true}, actor.SendOptions{Key: "rollback-confirm", Attempt: rb.attempt})
		}
		if all {
			return t.done()
		}
	}
	rb.serial++
	every := 50 * time.Millisecond
	if rb.tier == rollbackv2.Tier_FULL {
		every = 200 * time.Millisecond
	}
	t.env.Clock.SetTimer("rollback", rb.serial, every)
	return nil
}

// offer sends a participant the request and its part.
func (t *tolaria) offer(p *party) {
	rb := t.rb
	data := rb.ckpt.Part(p.name)
	sum := sha256.Sum256(data)
	t.env.Net.Send(p.id, t.request(), actor.SendOptions{Key: "rollback-request", Attempt: rb.attempt})
	t.env.Net.Send(p.id, &trainingv2.RestorePart{RollbackId: rb.id, Generation: rb.gen, Root: rb.ckpt.Root, Culprits: t.locked,
		Part: &trainingv2.StatePart{CheckpointId: rb.ckpt.ID, Subsystem: p.name, Epoch: rb.ckpt.Epoch, Generation: rb.ckpt.Generation,
			Data: data, Sha256: sum[:]}}, actor.SendOptions{Key: "restore-part", Attempt: rb.attempt})
}

func (t *tolaria) decide(p *party, id string, d rollbackv2.Decision, why string) {
	m := &rollbackv2.RollbackDecision{RollbackId: id, Decision: d, Reason: why}
	var attempt uint32
	if t.rb != nil {
		attempt = t.rb.attempt
		for _, p := range t.rb.parties { // without those who are given up as dead
			m.Order = append(m.Order, p.name)
		}
	}
	m.Order = append(m.Order, Subsystem)
	if t.rb != nil {
		for _, p := range t.rb.aux {
			if p.yes {
				m.Order = append(m.Order, p.name)
			}
		}
	}
	t.env.Net.Send(p.id, m, actor.SendOptions{Key: "rollback-decision/" + d.String(), Attempt: attempt})
}

func (rb *rollback) party(name string) *party {
	for _, p := range rb.all() {
		if p.name == name {
			return p
		}
	}
	return nil
}

// limit is how long the present stage may take.
func (rb *rollback) limit() time.Duration {
	fast := rb.tier == rollbackv2.Tier_FAST
	switch {
	case rb.stage == preparing && fast:
		return job.FastPrepare
	case rb.stage == preparing:
		return job.FullPrepare
	case rb.stage == committing && fast:
		return job.FastCommit
	case rb.stage == committing:
		return job.FullCommit
	case rb.stage == following:
		return auxiliaryTurn
	case fast:
		return job.FastConfirm
	}
	return job.FullPrepare
}

// rollbackTick is the coordinator's clock.
func (t *tolaria) rollbackTick() error {
	rb := t.rb
	now := t.env.Clock.Monotonic()
	if rb.tier == rollbackv2.Tier_FULL && now-rb.beat >= job.HeartbeatEvery {
		rb.beat = now
		rb.beats++
		for _, p := range rb.all() {
			t.env.Net.Send(p.id, &rollbackv2.RollbackHeartbeat{RollbackId: rb.id, Subsystem: Subsystem, Sequence: rb.beats},
				actor.SendOptions{Key: "heartbeat", Attempt: rb.beats})
		}
	}
	late := now-rb.since >= rb.limit() || rb.stage != preparing && now-rb.started >= limitAfter
	if late {
		switch {
		case rb.stage == preparing:
			why := "silent:"
			for _, p := range rb.parties {
				if !p.yes {
					why += " " + p.name
					t.missing = append(t.missing, p.name)
				}
			}
			return t.abort(why)
		case !rb.escalated && rb.tier == rollbackv2.Tier_FAST:
			rb.escalated, rb.tier = true, rollbackv2.Tier_FULL
			rb.since = now
			t.declare(evidencev2.RollbackStep_RB_ESCALATED, "the fast tier's time is over")
			for _, p := range rb.parties {
				t.decide(p, rb.id, rollbackv2.Decision_ESCALATE, "the fast tier's time is over")
			}
		case rb.stage == committing:
			// The decision stands. Whoever is silent has the older generation
			// and restores before it acts again.
			rb.parties[rb.turn].out = true
			rb.since = now
		case rb.stage == following:
			rb.aux[rb.turn].out = true
			rb.since = now
		default:
			for _, p := range rb.parties {
				p.out = p.out || !p.confirmed
			}
		}
	}
	rb.attempt++
	if rb.stage == preparing && rb.agreed(now) {
		return t.commit()
	}
	return t.push()
}

// voted takes a vote. COMMIT needs all of the core.
func (t *tolaria) voted(m *rollbackv2.RollbackVote) error {
	rb := t.rb
	if rb == nil || m.RollbackId != rb.id || rb.stage != preparing {
		return nil
	}
	p := rb.party(m.Subsystem)
	if p == nil {
		return nil
	}
	if slices.Contains(rb.aux, p) {
		p.yes, p.out = m.Vote == rollbackv2.Vote_YES, m.Vote != rollbackv2.Vote_YES
	} else if m.Vote != rollbackv2.Vote_YES {
		return t.abort(p.name + " votes no: " + m.Reason)
	}
	if !p.out {
		p.yes = true
	}
	if rb.agreed(t.env.Clock.Monotonic()) {
		return t.commit()
	}
	return nil
}

// acknowledged takes the word that a participant has restored or confirms.
func (t *tolaria) acknowledged(m *rollbackv2.RollbackAck) error {
	rb := t.rb
	if rb == nil || m.RollbackId != rb.id || rb.stage == preparing {
		return nil
	}
	p := rb.party(m.Subsystem)
	if p == nil {
		return nil
	}
	switch m.Phase {
	case rollbackv2.Phase_RESTORED:
		p.restored = true
	case rollbackv2.Phase_CONFIRMED:
		p.restored, p.confirmed = true, true
	default:
		return nil
	}
	if rb.stage == committing && rb.parties[rb.turn].restored || rb.stage == following && rb.aux[rb.turn].restored {
		return t.push()
	}
	if rb.stage == confirming {
		for _, p := range rb.parties {
			if !p.confirmed && !p.out {
				return nil
			}
		}
		return t.done()
	}
	return nil
}

// queried answers a participant that is fenced or has lost its memory.
func (t *tolaria) queried(from actor.ID, m *trainingv2.RollbackQuery) error {
	p := &party{name: m.Subsystem, id: from}
	if p.name != "tamiyo" && p.name != "kasmina" {
		return nil
	}
	if rb := t.rb; rb != nil {
		if q := rb.party(p.name); q != nil && (m.RollbackId == "" || m.RollbackId == rb.id) {
			return nil // what it needs comes with the next try
		}
	}
	if m.RollbackId != "" && !t.log.committed[m.RollbackId] {
		t.decide(p, m.RollbackId, rollbackv2.Decision_ABORT, "it was not decided")
		return nil
	}
	if m.Generation == t.gen {
		if t.ended != nil {
			t.env.Net.Send(from, t.ended, actor.SendOptions{Key: "rollback-outcome"})
		} else {
			t.env.Net.Send(from, &rollbackv2.RollbackOutcome{Generation: t.gen}, actor.SendOptions{Key: "rollback-outcome"})
		}
		return nil
	}
	if t.lastShot < 0 || t.rb != nil || t.phase == broken {
		return nil // the run has not begun, or a rollback is under way
	}
	t.wish(&wish{reason: p.name + " has lost its memory", severity: "SEVERE", fast: true, patient: true})
	if t.want != nil && (t.phase == paused || t.phase == frozen) {
		return t.roll(t.phase)
	}
	return nil
}
