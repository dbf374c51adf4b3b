package tezzeret

import (
	"time"

	"github.com/esper-sim/espersim/cluster/kernel"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
)

// Tiers, the most urgent first (digest 0.3).
const (
	tierEmergency uint32 = iota
	tierStrategic
	tierNormal
	tierExperimental
	tierBackground
	tiers
)

// tierOf is where a submitted blueprint queues.
func tierOf(interest float64, t eventsv2.BlueprintTier) uint32 {
	switch {
	case interest > 0.8:
		return tierStrategic
	case t == eventsv2.BlueprintTier_EXPERIMENTAL:
		return tierExperimental
	}
	return tierNormal
}

// choose is the pipeline for a job: the more is expected of it and the less
// there is to do, the better.
func choose(interest, load float64, conservative bool) kernel.Pipeline {
	p := kernel.Fast
	switch {
	case interest > 0.7 && load < 0.3:
		p = kernel.Aggressive
	case interest > 0.7 || load < 0.5:
		p = kernel.Standard
	}
	if conservative && p > kernel.Fast {
		p--
	}
	return p
}

// work is what a pipeline takes.
type work struct {
	passes int
	limit  time.Duration
	memory int64 // bytes of the device
}

// works are by pipeline (06.1).
var works = map[kernel.Pipeline]work{
	kernel.Emergency:  {1, 10 * time.Second, 2 << 30},
	kernel.Fast:       {2, 65 * time.Second, 4 << 30},
	kernel.Standard:   {6, 250 * time.Second, 8 << 30},
	kernel.Aggressive: {16, 960 * time.Second, 16 << 30},
}

// limit is how long a job may be active.
func (w work) time(conservative bool) time.Duration {
	if conservative {
		return w.limit * 3 / 2
	}
	return w.limit
}
