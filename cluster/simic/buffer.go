package simic

import (
	"hash/fnv"
	"slices"
	"sort"
	"time"

	"github.com/esper-sim/espersim/cluster/policy"
	"github.com/esper-sim/espersim/cluster/trainer"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Exponents of prioritised sampling (Schaul et al., 2016; card 04).
const (
	alpha = 0.6 // of priorities
	beta  = 0.4 // of the correction
)

// entry is an experience in the buffer.
type entry struct {
	*statev2.Experience
	stored time.Duration // on the clock that expiry is judged by
	weight float64       // priority to the power of alpha; 0: held out
}

// buffer is the replay buffer, oldest first.
type buffer struct {
	limit   int
	ttl     time.Duration
	entries []entry
	top     float32 // largest priority so far: what a new experience starts with
}

func newBuffer(limit int, ttl time.Duration) *buffer {
	return &buffer{limit: limit, ttl: ttl, top: 1}
}

// heldOut says whether an experience is kept for validation: a fifth of them, by
// their ids, so that it is always the same ones.
func heldOut(report string) bool {
	h := fnv.New32a()
	h.Write([]byte(report))
	return h.Sum32()%5 == 0
}

func power(p, exponent float32) float64 {
	return float64(trainer.Exp(float32(exponent * trainer.Log(p))))
}

// add takes an experience. A buffer that is over its limit drops its oldest
// tenth.
func (b *buffer) add(x *statev2.Experience, now time.Duration) {
	e := entry{Experience: x, stored: now}
	if !heldOut(x.ReportId) {
		e.weight = power(b.top, alpha)
	}
	b.entries = append(b.entries, e)
	if len(b.entries) > b.limit {
		b.entries = slices.Delete(b.entries, 0, max(b.limit/10, 1))
	}
}

// expire drops what is older than the time to live, and says how many that were.
// A restart may bring experiences back whose ages are out of order.
func (b *buffer) expire(now time.Duration) int {
	before := len(b.entries)
	b.entries = slices.DeleteFunc(b.entries, func(e entry) bool { return now-e.stored >= b.ttl })
	return before - len(b.entries)
}

// drawn is one experience of a batch.
type drawn struct {
	at     int     // in entries
	share  float32 // of the draws
	weight float32
}

// sample draws n experiences with replacement, each with the probability that
// its priority gives it, by random numbers for 0 to n-1. Weights correct the
// bias; the largest is 1.
func (b *buffer) sample(n int, random func(i int) uint64) []drawn {
	sums := make([]float64, len(b.entries))
	total, count := 0.0, 0
	for i := range b.entries {
		if w := b.entries[i].weight; w > 0 {
			total += w
			count++
		}
		sums[i] = total
	}
	if count == 0 {
		return nil
	}
	batch := make([]drawn, n)
	top := float32(0)
	for i := range batch {
		u := float64(random(i)>>11) / (1 << 53) * total
		at := sort.Search(len(sums), func(k int) bool { return sums[k] > u })
		at = min(at, len(sums)-1)
		for at > 0 && b.entries[at].weight == 0 {
			at--
		}
		share := float32(b.entries[at].weight / total)
		w := float32(power(float32(count)*share, -beta))
		batch[i] = drawn{at, share, w}
		top = max(top, w)
	}
	for i := range batch {
		batch[i].weight /= top
	}
	return batch
}

// learnt sets the priority of an experience that was trained on: how wrong the
// expectation was.
func (b *buffer) learnt(at int, err float32) {
	p := max(err, -err) + 0.01
	b.top = max(b.top, p)
	b.entries[at].weight = power(p, alpha)
}

// trainable is how many experiences may be trained on.
func (b *buffer) trainable() int {
	n := 0
	for i := range b.entries {
		if b.entries[i].weight > 0 {
			n++
		}
	}
	return n
}

// validation is what policies are judged by, and which of it ended badly.
func (b *buffer) validation() (batch []policy.Sample, harmful []bool) {
	for i := range b.entries {
		if e := &b.entries[i]; e.weight == 0 {
			batch = append(batch, sampleOf(e.Experience, 1))
			harmful = append(harmful, e.Harmful)
		}
	}
	return batch, harmful
}

func sampleOf(x *statev2.Experience, weight float32) policy.Sample {
	s := policy.Sample{Action: x.Action, Likelihood: x.Likelihood, Reward: x.Reward, Weight: weight}
	copy(s.Features[:], x.Features)
	return s
}
