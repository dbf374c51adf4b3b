// Package vault seals bundles of named components under a Merkle root, to
// judge a checkpoint format alone. It is a thin actor over the store that
// Tolaria keeps its checkpoints in.
//
// A reply DONE to a seal promises that the bundle, under the root that the
// reply names, survives every crash, for as long as it is among the newest
// that are kept. What an open returns was read from the files and accepted by
// the tree that the options name.
package vault

import (
	"errors"
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Options of a vault.
type Options struct {
	Merkle  string        `set:"merkle" oneof:"hardened,hld" doc:"which tree it trusts: the hardened one, or the HLD's as written"`
	Keep    int           `set:"keep" doc:"bundles that it keeps"`
	Segment int           `set:"segment" doc:"bytes a segment of the log"`
	Record  int           `set:"record" doc:"most bytes of a component in one record of the log; 0: as many as fit"`
	Timeout time.Duration `set:"io-timeout" doc:"longest that an operation on the disk may take"`
}

// Defaults are the options of a vault that sets none.
func Defaults() *Options {
	return &Options{Merkle: "hardened", Keep: 64, Segment: 64 << 10, Timeout: 500 * time.Millisecond}
}

type vault struct {
	env     actor.Env
	o       Options
	tree    checkpoint.Tree
	store   *checkpoint.Store
	refused error // damage; nil and no store: the disk did not answer
}

// New makes the constructor of a vault.
func New(_ *job.Job, o Options) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		v := &vault{env: env, o: o, tree: checkpoint.Hardened{}}
		if o.Merkle == "hld" {
			v.tree = newWritten()
		}
		return v, nil
	}
}

// Start implements actor.Actor.
func (v *vault) Start() error {
	v.open()
	return nil
}

// open recovers the store. Damage does not end the process: it answers with
// it. A disk that does not answer is asked again with the next request.
func (v *vault) open() {
	v.store, v.refused = nil, nil
	s, err := checkpoint.Open(v.env.FS, "vault", checkpoint.Options{Keep: v.o.Keep, SegmentSize: int64(v.o.Segment), Record: v.o.Record,
		Deadline: v.o.Timeout, Tree: v.tree, Clock: v.env.Clock, Probe: v.env.Probe})
	var damage *wal.CorruptionError
	switch {
	case err == nil:
		v.store = s
	case errors.As(err, &damage):
		v.refused = err
	}
}

// Receive implements actor.Actor.
func (v *vault) Receive(from actor.ID, m canon.Message) error {
	if v.store == nil && v.refused == nil {
		v.open()
	}
	switch m := m.(type) {
	case *ledgerv2.SealRequest:
		v.seal(from, m)
	case *ledgerv2.OpenRequest:
		v.unseal(from, m)
	}
	return nil
}

func (v *vault) seal(from actor.ID, m *ledgerv2.SealRequest) {
	r := &ledgerv2.SealReply{BundleId: m.BundleId}
	r.Root, r.Outcome, r.Reason = v.save(m)
	v.env.Net.Send(from, r, actor.SendOptions{Key: "sealed/" + m.BundleId})
}

// save stores a bundle, unless it is there already: a request is repeated
// until it is answered.
func (v *vault) save(m *ledgerv2.SealRequest) ([]byte, ledgerv2.Outcome, string) {
	switch {
	case v.refused != nil:
		return nil, ledgerv2.Outcome_CORRUPT, v.refused.Error()
	case v.store == nil:
		return nil, ledgerv2.Outcome_FAILED, "the disk does not answer"
	}
	c := &checkpoint.Checkpoint{ID: m.BundleId}
	for _, p := range m.Components {
		c.Parts = append(c.Parts, checkpoint.Part{Name: p.Name, Data: p.Data})
	}
	for _, l := range m.Context {
		c.Context = append(c.Context, merkle.Entry{Name: l.Key, Value: merkle.Text(l.Value)})
	}
	for _, there := range v.store.List() {
		if there.ID != m.BundleId {
			continue
		}
		// Not the root of parts and context alone: a request that came again would
		// never be the one that was answered.
		root, err := v.store.Root(c)
		if err != nil || string(root) != string(there.Root) {
			return nil, ledgerv2.Outcome_FAILED, "another bundle has this id"
		}
		return there.Root, ledgerv2.Outcome_DONE, ""
	}
	if _, err := v.store.Save(c); err != nil {
		v.failed(err)
		return nil, ledgerv2.Outcome_FAILED, err.Error()
	}
	return c.Root, ledgerv2.Outcome_DONE, ""
}

// failed reopens the store after a write with an unknown outcome. A refusal of
// the tree wrote nothing, and a full disk is an answer.
func (v *vault) failed(err error) {
	var poisoned *wal.PoisonedError
	if errors.As(err, &poisoned) || errors.Is(err, wal.ErrTxnOpen) {
		v.env.Probe.Reached("vault/reopen")
		v.open()
	}
}

func (v *vault) unseal(from actor.ID, m *ledgerv2.OpenRequest) {
	r := &ledgerv2.OpenReply{BundleId: m.BundleId, ReadId: m.ReadId, Outcome: ledgerv2.Outcome_DONE}
	c, err := v.load(m.BundleId)
	var refused *checkpoint.RefusedError
	switch {
	case errors.As(err, &refused), err != nil && v.refused != nil:
		r.Outcome, r.Reason = ledgerv2.Outcome_CORRUPT, err.Error()
	case err != nil:
		r.Outcome, r.Reason = ledgerv2.Outcome_FAILED, err.Error()
	default:
		for _, p := range c.Parts {
			r.Components = append(r.Components, &ledgerv2.Component{Name: p.Name, Data: p.Data})
		}
		for _, e := range c.Context {
			r.Context = append(r.Context, &telemetryv2.Label{Key: e.Name, Value: e.Value.String()})
		}
		r.Root = c.Root
	}
	v.env.Net.Send(from, r, actor.SendOptions{Key: fmt.Sprint("opened/", m.BundleId, "/", m.ReadId)})
}

func (v *vault) load(id string) (*checkpoint.Checkpoint, error) {
	switch {
	case v.refused != nil:
		return nil, v.refused
	case v.store == nil:
		return nil, errors.New("the disk does not answer")
	}
	return v.store.Load(id)
}
