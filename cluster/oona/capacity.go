package oona

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

// capacityEvery is how often Tamiyo is told of a capacity that is not normal: an
// update may be lost.
const capacityEvery = 5 * time.Second

// capacityOf is what is left of the innovation pipeline while its fullest queue
// is as full as load says, from 0 to 1 and beyond (digest 0.3).
func capacityOf(load float64) (platformv2.CapacityState, float64) {
	switch {
	case load > 0.9:
		return platformv2.CapacityState_CAPACITY_EMERGENCY, 0.1
	case load > 0.7:
		return platformv2.CapacityState_CAPACITY_OVERLOADED, 0.3
	case load > 0.5:
		return platformv2.CapacityState_CAPACITY_DEGRADED, 0.7
	}
	return platformv2.CapacityState_CAPACITY_NORMAL, 1
}

// fullest is how full the fullest of the pipeline's queues is.
func (s *state) fullest() (most float64) {
	for i := range queues {
		if t := s.findTopic(queues[i].topic); t != nil {
			most = max(most, float64(t.backlog(false))/float64(queues[i].limit))
		}
	}
	return most
}

// capacity is what Tamiyo was told last of the pipeline, in this life.
type capacity struct {
	state platformv2.CapacityState
	at    time.Duration
	n     uint64
}

// tellCapacity tells Tamiyo how much of the pipeline is left when that changes,
// and again for as long as it is not all. A bus that begins says nothing: what it
// was told before, Tamiyo does not believe for long.
func (b *oona) tellCapacity() {
	if b.tamiyo == "" {
		return // there is nobody to tell
	}
	state, factor := capacityOf(b.s.fullest())
	c, now := &b.capacity, b.env.Clock.Monotonic()
	if c.state == 0 {
		c.state = platformv2.CapacityState_CAPACITY_NORMAL
	}
	if state == c.state && (state == platformv2.CapacityState_CAPACITY_NORMAL || now-c.at < capacityEvery) {
		return
	}
	c.state, c.at = state, now
	c.n++
	b.env.Net.Send(b.tamiyo, &platformv2.CapacityUpdate{State: state, Factor: factor, Timestamp: timestamppb.New(b.env.Clock.Now())},
		actor.SendOptions{Key: fmt.Sprint("capacity/", b.env.Incarnation, "/", c.n), Priority: envelopev2.Priority_STRATEGIC})
}
