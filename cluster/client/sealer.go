package client

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// SealerOptions of a sealer.
type SealerOptions struct {
	Vault  string        `set:"vault" doc:"node of the vault"`
	Every  time.Duration `set:"every" doc:"between two bundles"`
	Bytes  int           `set:"bytes" doc:"most bytes of an ordinary component"`
	Resend time.Duration `set:"resend" doc:"how long it waits for an answer before it asks again"`
	Audit  time.Duration `set:"audit" doc:"between two openings of an older bundle"`
	Recent int           `set:"recent" doc:"how many of the newest bundles it opens again"`
	Quiet  time.Duration `set:"quiet" doc:"from when on it only opens; 0: never"`
}

// SealerDefaults are the options of a sealer that sets none.
func SealerDefaults() *SealerOptions {
	return &SealerOptions{Vault: "vault", Every: 30 * time.Millisecond, Bytes: 900,
		Resend: 300 * time.Millisecond, Audit: 20 * time.Millisecond, Recent: 32}
}

// sealer seals bundles one after the other, each until it is answered, and
// opens the newest ones again and again. Every second bundle is the twin of
// the one before: different content that a careless tree gives the same root.
type sealer struct {
	env     actor.Env
	o       SealerOptions
	next    int64 // number of the bundle that is being sealed
	attempt uint32
	sealed  []string
	read    int64
}

// NewSealer makes the constructor of a sealer.
func NewSealer(o SealerOptions) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &sealer{env: env, o: o, next: 1}, nil
	}
}

// Start implements actor.Actor.
func (s *sealer) Start() error {
	s.env.Clock.SetTimer("seal", 0, s.o.Every)
	s.env.Clock.SetTimer("audit", 0, s.o.Audit)
	return nil
}

func (s *sealer) id(n int64) string {
	return string(s.env.Self) + "/" + strconv.FormatUint(s.env.Incarnation, 10) + "/" + strconv.FormatInt(n, 10)
}

// Receive implements actor.Actor.
func (s *sealer) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case "seal":
			if s.o.Quiet == 0 || s.env.Clock.Monotonic() < s.o.Quiet {
				s.seal()
			}
		case "audit":
			s.audit()
		}
	case *ledgerv2.SealReply:
		if m.BundleId != s.id(s.next) {
			break
		}
		// FAILED may be for now (a disk that does not answer) or for good (a
		// bundle that the tree refuses): it is tried a few times.
		if m.Outcome == ledgerv2.Outcome_DONE || s.attempt >= 5 {
			if m.Outcome == ledgerv2.Outcome_DONE {
				s.sealed = append(s.sealed, m.BundleId)
				if n := len(s.sealed) - max(s.o.Recent, 1); n > 0 {
					s.sealed = s.sealed[:copy(s.sealed, s.sealed[n:])]
				}
			}
			s.next++
			s.attempt = 0
			s.env.Clock.SetTimer("seal", 0, s.o.Every)
		}
	}
	return nil
}

func (s *sealer) audit() {
	if n := int64(len(s.sealed)); n > 0 {
		id := s.sealed[s.read%n]
		s.read++
		s.env.Net.Send(actor.ID(s.o.Vault), &ledgerv2.OpenRequest{BundleId: id, ReadId: s.read},
			actor.SendOptions{Key: fmt.Sprint("open/", id, "/", s.read)})
	}
	s.env.Clock.SetTimer("audit", 0, s.o.Audit)
}

func (s *sealer) seal() {
	m := Bundle(s.next, s.o.Bytes, s.env.Rand)
	m.BundleId = s.id(s.next)
	s.env.Net.Send(actor.ID(s.o.Vault), m, actor.SendOptions{Key: "seal/" + m.BundleId, Attempt: s.attempt})
	s.attempt++
	s.env.Clock.SetTimer("seal", 0, s.o.Resend)
}

func part(name, data string) *ledgerv2.Component {
	return &ledgerv2.Component{Name: name, Data: []byte(data)}
}

func label(key, value string) *telemetryv2.Label { return &telemetryv2.Label{Key: key, Value: value} }

// Bundle is the n-th bundle of a sealer, from 1: an odd one and its twin. The
// pairs are those of part II.1 of the digest, numbers 15 to 19, one whose twin
// has a label of the store's own, and bundles of any bytes.
func Bundle(n int64, bytes int, random actor.Keyed) *ledgerv2.SealRequest {
	salt := strconv.FormatInt((n+1)/2, 10)
	twin := n%2 == 0
	pick := func(a, b *ledgerv2.SealRequest) *ledgerv2.SealRequest {
		if twin {
			return b
		}
		return a
	}
	bundle := func(context []*telemetryv2.Label, parts ...*ledgerv2.Component) *ledgerv2.SealRequest {
		return &ledgerv2.SealRequest{Components: parts, Context: context}
	}
	run := []*telemetryv2.Label{label("device", "cuda:0"), label("run", salt)}
	switch (n + 1) / 2 % 8 {
	case 0: // 15: a colon joins name and data
		return pick(bundle(run, part("a", "b:"+salt)), bundle(run, part("a:b", salt)))
	case 1: // 16: the odd node is doubled
		ctx := []*telemetryv2.Label{label("device", "cuda:"+salt)}
		return pick(bundle(ctx, part("A", salt), part("B", salt)),
			bundle(ctx, part("A", salt), part("B", salt), part("device=cuda", salt)))
	case 2: // 17: an inner node passes for a leaf, if it holds a colon to split at
		left, right := sha256.Sum256([]byte("x:"+salt)), sha256.Sum256([]byte("y:"+salt))
		node := string(left[:]) + string(right[:])
		return pick(bundle(run, part("x", salt), part("y", salt), part("z", salt)),
			bundle(run, &ledgerv2.Component{Name: "inner", Data: []byte(node)}, part("z", salt)))
	case 3: // 18: the context is joined by "|" and "="
		return pick(bundle([]*telemetryv2.Label{label("x", "1|y="+salt)}, part("model", salt)),
			bundle([]*telemetryv2.Label{label("x", "1"), label("y", salt)}, part("model", salt)))
	case 4: // 19: the order counts
		return pick(bundle(run, part("A", salt), part("B", "b"+salt)), bundle(run, part("B", "b"+salt), part("A", salt)))
	case 5: // 19: a name that occurs twice
		return pick(bundle(run, part("A", salt)), bundle(run, part("A", salt), part("A", "again"+salt)))
	}
	if twin && (n+1)/2%8 == 6 {
		// A label that the store uses itself, to say which bundle it is. Were the
		// two taken for one, what a root is over would be for the owner to say.
		return bundle(append(run, label("checkpoint/id", "another")), part("A", salt))
	}
	data := func(k uint64) []byte {
		b := make([]byte, random.For("length", uint64(n), k)%uint64(max(bytes, 1)))
		for i := range b {
			b[i] = byte(random.For("byte", uint64(n)<<8|k, uint64(i/8)) >> (8 * uint(i%8)))
		}
		return b
	}
	return bundle(run, &ledgerv2.Component{Name: "model", Data: data(1)}, &ledgerv2.Component{Name: "optimizer", Data: data(2)})
}
