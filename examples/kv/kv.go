// Package kv is a replicated key-value store that is not Esper's. It is here to be
// tested, and has a bug; see docs/own-system.md.
package kv

import (
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/simtest"
)

const primary, client, again = actor.ID("a"), actor.ID("client"), 20 * time.Millisecond

var backups = []actor.ID{"b", "c"}

// note is a message: what is wanted, of which key, in which version.
func note(kind, key string, n ...int64) *evidencev2.Note {
	return &evidencev2.Note{Kind: kind, Words: []string{key}, Numbers: n}
}

// replica holds the newest version of each key; a fixed one has not the bug.
type replica struct {
	env     actor.Env
	fixed   bool
	store   map[string]int64
	synced  bool       // a backup that has been away has everything again
	key     string     // of the write under way, at the primary
	version int64      // 0: none
	votes   []actor.ID // who has it
}

func newReplica(fixed bool) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &replica{env: env, fixed: fixed, store: map[string]int64{}, synced: env.Self == primary}, nil
	}
}

func (r *replica) send(to actor.ID, m *evidencev2.Note) { r.env.Net.Send(to, m, actor.SendOptions{}) }
func (r *replica) Start() error                         { return r.tick() }

func (r *replica) Receive(from actor.ID, m canon.Message) error {
	n, ok := m.(*evidencev2.Note)
	if !ok {
		return r.tick()
	}
	key := string([]byte(n.Words[0])) // a message is valid until the handler returns
	switch n.Kind {
	case "put":
		if r.version == 0 && n.Numbers[0] > r.store[key] {
			r.key, r.version, r.votes = key, n.Numbers[0], nil
			r.store[key] = r.version
			r.copies()
		} else if r.version == 0 {
			r.send(client, note("done", key, n.Numbers[0]))
		}
	case "copy":
		r.store[key] = max(r.store[key], n.Numbers[0])
		simtest.Always(r.env, r.store[key] >= n.Numbers[0], "a replica has what it says it has")
		r.send(primary, note("copied", key, n.Numbers[0]))
	case "copied":
		// The bug: an answer that comes twice is two votes.
		if r.version == n.Numbers[0] && (!r.fixed || !slices.Contains(r.votes, from)) {
			r.votes = append(r.votes, from)
		}
		if r.version != 0 && len(r.votes) == len(backups) {
			r.send(client, note("done", r.key, r.version))
			r.version = 0
		}
	case "sync":
		for _, k := range []string{"x", "y"} {
			r.send(from, note("state", k, r.store[k]))
		}
	case "state":
		r.store[key] = max(r.store[key], n.Numbers[0])
		r.synced = r.synced || key == "y"
	case "get":
		if r.synced {
			r.send(client, note("value", key, n.Numbers[0], r.store[key]))
		}
	}
	return nil
}

func (r *replica) copies() {
	for _, b := range backups {
		r.send(b, note("copy", r.key, r.version))
	}
}

func (r *replica) tick() error {
	r.env.Clock.SetTimer("again", 0, again)
	if r.version != 0 {
		r.copies()
	} else if !r.synced {
		r.send(primary, note("sync", ""))
	}
	return nil
}

// user writes a version, waits until it is done, reads it from a backup, and so on.
type user struct {
	env     actor.Env
	version int64
	reading bool
}

func newUser(env actor.Env) (actor.Actor, error) { return &user{env: env, version: 1}, nil }

func (u *user) Start() error { return u.ask() }

func (u *user) ask() error {
	to, kind := primary, "put"
	if u.reading {
		to, kind = backups[u.version/2%2], "get"
	}
	u.env.Net.Send(to, note(kind, []string{"x", "y"}[u.version%2], u.version), actor.SendOptions{})
	u.env.Clock.SetTimer("again", 0, again)
	return nil
}

func (u *user) Receive(_ actor.ID, m canon.Message) error {
	if n, ok := m.(*evidencev2.Note); ok {
		if n.Numbers[0] != u.version || u.reading != (n.Kind == "value") {
			return nil // late
		}
		if u.reading = !u.reading; !u.reading {
			u.version++
		}
	}
	return u.ask()
}
