// Package assets asks the asset library: requests are signed, repeated until
// they are answered, and again later where the library is not available now.
//
// It lives in memory. Storing twice stores once, so an owner that does not know
// after a crash whether it was answered asks again.
//
//	case *assetsv2.StoreReply, *assetsv2.FetchKernelReply:
//		p.library.Answer(from, m)
package assets

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Timer is the name of the timer that the owner passes to Tick.
const Timer = "assets"

const (
	firstWait = 300 * time.Millisecond
	longest   = 2 * time.Second
)

// request is one that is not answered.
type request struct {
	key   string
	id    string
	m     canon.Message
	done  func(reply canon.Message)
	sent  uint32
	since time.Duration // monotonic
	due   time.Duration
}

// Client asks for one process.
type Client struct {
	env   actor.Env
	urza  actor.ID
	sign  *signer
	open  []*request
	armed bool
	count uint64
	// Slow, if set, is told of requests that the library did not answer in time or
	// answered UNAVAILABLE, each time that they are repeated.
	Slow func(key string)
}

// New makes a client that signs with the key of the run.
func New(env actor.Env, urza actor.ID, key []byte) (*Client, error) {
	s, err := wire.NewHMACSigner("run", key)
	if err != nil {
		return nil, err
	}
	return &Client{env: env, urza: urza, sign: &signer{env: env, s: s}}, nil
}

// signer signs with a fresh nonce at each use.
type signer struct {
	env actor.Env
	s   *wire.HMACSigner
	n   uint64
}

// Sign implements actor.Signer.
func (s *signer) Sign(e *envelopev2.EventEnvelope, payload []byte) {
	s.n++
	sum := sha256.Sum256(payload)
	a, b := binary.LittleEndian.Uint64(sum[:]), s.env.Incarnation<<32|s.n
	binary.LittleEndian.PutUint64(s.s.Nonce[:8], s.env.Rand.For("nonce", a, b))
	binary.LittleEndian.PutUint64(s.s.Nonce[8:], s.env.Rand.For("nonce-2", a, b))
	s.s.SignedAt = s.env.Clock.Now()
	s.s.Sign(e, payload)
}

// Asks says whether a request with a key waits.
func (c *Client) Asks(key string) bool { return c.find(key) != nil }

func (c *Client) find(key string) *request {
	for _, r := range c.open {
		if r.key == key {
			return r
		}
	}
	return nil
}

// Ask sends a request and calls done with its answer, once. A request with the
// same key that waits is the same request. The reply is valid until done
// returns; m belongs to the client. UNAVAILABLE is no answer.
func (c *Client) Ask(key string, m canon.Message, done func(reply canon.Message)) {
	if c.find(key) != nil {
		return
	}
	c.count++
	now := c.env.Clock.Monotonic()
	r := &request{key: key, id: fmt.Sprint(c.env.Self, "/", c.env.Incarnation, "/", c.count), m: m, done: done, since: now}
	switch m := m.(type) {
	case *assetsv2.StoreBlueprint:
		m.RequestId = r.id
	case *assetsv2.StoreKernel:
		m.RequestId = r.id
	case *assetsv2.StoreReport:
		m.RequestId = r.id
	case *assetsv2.MoveAsset:
		m.RequestId = r.id
	case *assetsv2.FetchKernel:
		m.RequestId = r.id
	case *assetsv2.FetchBlueprint:
		m.RequestId = r.id
	case *assetsv2.ListPending:
		m.RequestId = r.id
	default:
		c.env.Log.Error("no request of the library's: " + m.FullName())
		return
	}
	c.open = append(c.open, r)
	c.send(r)
	c.arm()
}

// Drop forgets a request: its answer will mean nothing.
func (c *Client) Drop(key string) {
	c.open = slices.DeleteFunc(c.open, func(r *request) bool { return r.key == key })
}

func (c *Client) send(r *request) {
	c.env.Net.Send(c.urza, r.m, actor.SendOptions{Key: "ask/" + r.key, Attempt: r.sent, Auth: c.sign})
	r.due = c.env.Clock.Monotonic() + min(firstWait<<min(r.sent, 3), longest)
	r.sent++
}

// Answer takes a reply, and says whether somebody waited for it. Requests have
// numbers that anybody can guess: only the library answers them.
func (c *Client) Answer(from actor.ID, m canon.Message) bool {
	if from != c.urza {
		return false
	}
	id, status := "", assetsv2.AssetStatus_EXISTS
	switch m := m.(type) {
	case *assetsv2.StoreReply:
		id, status = m.RequestId, m.Status
	case *assetsv2.FetchKernelReply:
		id, status = m.RequestId, m.Status
	case *assetsv2.FetchBlueprintReply:
		id, status = m.RequestId, m.Status
	case *assetsv2.ListPendingReply:
		id = m.RequestId
	}
	i := slices.IndexFunc(c.open, func(r *request) bool { return r.id == id })
	if i < 0 || status == assetsv2.AssetStatus_UNAVAILABLE {
		return false // later
	}
	r := c.open[i]
	c.open = slices.Delete(c.open, i, i+1)
	r.done(m)
	return true
}

// Tick repeats what is due. The owner calls it when Timer fires.
func (c *Client) Tick() {
	c.armed = false
	now := c.env.Clock.Monotonic()
	var slow []string
	for _, r := range c.open {
		if r.due > now {
			continue
		}
		slow = append(slow, r.key)
		c.send(r)
	}
	for _, key := range slow {
		if c.Slow != nil {
			c.Slow(key)
		}
	}
	c.arm()
}

func (c *Client) arm() {
	if len(c.open) > 0 && !c.armed {
		c.armed = true
		c.env.Clock.SetTimer(Timer, 0, firstWait)
	}
}
