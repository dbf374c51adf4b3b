// Package breaker is the one circuit breaker of all subsystems: CLOSED until
// enough consecutive failures, OPEN until the recovery timeout, HALF_OPEN
// while a bounded number of probes decides.
//
// It replaces assertion crashes (C-016): a caller that is refused takes its
// fallback. [Settings] is data, [Table] has those of the companion documents.
// A [Breaker] knows no clock: each call is given the monotonic time.
//
//	ticket, ok := b.Allow(now)
//	if !ok {
//		return fallback
//	}
//	err := work()
//	b.Done(later, ticket, err == nil)
package breaker

import (
	"errors"
	"fmt"
	"time"
)

// State is one of the three states.
type State uint8

// The states.
const (
	Closed State = iota
	Open
	HalfOpen
)

var stateNames = [...]string{"CLOSED", "OPEN", "HALF_OPEN"}

// String is the state's name as the design writes it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Settings of one breaker.
type Settings struct {
	Owner string // the subsystem
	Name  string // of the breaker within it
	// Failures is how many consecutive ones open it.
	Failures int
	// Window forgets failures: only those within it count. 0 is no limit.
	Window time.Duration
	// Recovery is how long it stays open. 0 is until Reset, where the design
	// gives no time.
	Recovery time.Duration
	// Probes bounds the calls under way in HALF_OPEN.
	Probes int
	// Successes in HALF_OPEN close it.
	Successes int
	// OpTimeout is how long a caller should let one operation take before it
	// counts it as failed; 0 where the design gives none.
	OpTimeout time.Duration
	// RollBack says that a trip rolls back at once.
	RollBack bool
}

// Validate says what makes settings unusable.
func (s Settings) Validate() error {
	switch {
	case s.Failures < 1:
		return fmt.Errorf("breaker %s: %d failures to open, want at least 1", s.ID(), s.Failures)
	case s.Probes < 1 || s.Successes < 1:
		return fmt.Errorf("breaker %s: %d probes, %d successes, want at least 1 of each", s.ID(), s.Probes, s.Successes)
	case s.Window < 0 || s.Recovery < 0 || s.OpTimeout < 0:
		return fmt.Errorf("breaker %s: negative duration", s.ID())
	}
	return nil
}

// ID is "owner/name".
func (s Settings) ID() string { return s.Owner + "/" + s.Name }

// Transition is a change of state, for telemetry.
type Transition struct {
	ID       string
	From, To State
	At       time.Duration // monotonic
	Failures int           // consecutive ones that led to it
}

// ErrOpen is the refusal, for callers that return an error.
var ErrOpen = errors.New("circuit breaker is open")

// Breaker is one breaker. It is not for concurrent use.
type Breaker struct {
	s         Settings
	on        func(Transition)
	state     State
	recent    []time.Duration // consecutive failures in CLOSED, oldest first
	openedAt  time.Duration
	probes    int    // under way
	successes int    // in this HALF_OPEN
	life      uint64 // periods of one state so far
}

// New makes a closed breaker; on, which may be nil, is told of transitions.
func New(s Settings, on func(Transition)) (*Breaker, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &Breaker{s: s, on: on}, nil
}

// Settings are those it was made with.
func (b *Breaker) Settings() Settings { return b.s }

// State is the state at the given time: an open breaker whose time has come
// is HALF_OPEN without any call.
func (b *Breaker) State(now time.Duration) State {
	b.advance(now)
	return b.state
}

// Ticket is an admitted call. Its outcome counts only for the state period it
// was admitted in: a slow call from before a trip must not close the breaker
// that it helped to open.
type Ticket struct{ life uint64 }

// Allow admits a call or refuses it. Each admitted call must end in one Done.
func (b *Breaker) Allow(now time.Duration) (Ticket, bool) {
	b.advance(now)
	switch b.state {
	case Open:
		return Ticket{}, false
	case HalfOpen:
		if b.probes >= b.s.Probes {
			return Ticket{}, false
		}
		b.probes++
	}
	return Ticket{b.life}, true
}

// Done reports the outcome of an admitted call.
func (b *Breaker) Done(now time.Duration, t Ticket, ok bool) {
	b.advance(now)
	if t.life != b.life {
		return
	}
	switch {
	case b.state == Closed && ok:
		b.recent = b.recent[:0]
	case b.state == Closed:
		b.fail(now)
	case b.state == HalfOpen:
		b.probes--
		if !ok {
			b.move(now, Open, 1)
			return
		}
		if b.successes++; b.successes >= b.s.Successes {
			b.move(now, Closed, 0)
		}
	}
}

// Trip opens the breaker whatever was counted.
func (b *Breaker) Trip(now time.Duration) {
	b.advance(now)
	if b.state != Open {
		b.move(now, Open, len(b.recent))
	}
}

// Reset closes the breaker by hand.
func (b *Breaker) Reset(now time.Duration) {
	if b.state != Closed {
		b.move(now, Closed, 0)
	}
	b.recent = b.recent[:0]
}

// RetryAfter is how long an open breaker stays open; 0 when it is not open,
// and -1 when only Reset closes it.
func (b *Breaker) RetryAfter(now time.Duration) time.Duration {
	if b.State(now) != Open {
		return 0
	}
	if b.s.Recovery == 0 {
		return -1
	}
	return b.openedAt + b.s.Recovery - now
}

// fail counts a failure in CLOSED.
func (b *Breaker) fail(now time.Duration) {
	if b.s.Window > 0 {
		keep := 0
		for keep < len(b.recent) && now-b.recent[keep] >= b.s.Window {
			keep++
		}
		b.recent = b.recent[:copy(b.recent, b.recent[keep:])]
	}
	if b.recent = append(b.recent, now); len(b.recent) >= b.s.Failures {
		b.move(now, Open, len(b.recent))
	}
}

// advance takes an open breaker to HALF_OPEN when its time has come.
func (b *Breaker) advance(now time.Duration) {
	if b.state == Open && b.s.Recovery > 0 && now-b.openedAt >= b.s.Recovery {
		b.move(now, HalfOpen, 0)
	}
}

// move changes the state and zeroes every counter: the companions' copies
// that kept one closed after a single success, or never again.
func (b *Breaker) move(now time.Duration, to State, failures int) {
	from := b.state
	b.state = to
	b.recent, b.probes, b.successes = b.recent[:0], 0, 0
	b.life++
	if to == Open {
		b.openedAt = now
	}
	if b.on != nil {
		b.on(Transition{ID: b.s.ID(), From: from, To: to, At: now, Failures: failures})
	}
}
