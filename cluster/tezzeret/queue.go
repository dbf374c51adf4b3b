package tezzeret

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/kernel"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// The limits of the queue (digest 0.3).
const (
	depth    = 100
	ageAfter = 5 * time.Minute
)

// The states of a job in the log.
const (
	queued    = "QUEUED"
	compiled  = "COMPILED"  // its binary is in the log
	ready     = "READY"     // the library has it
	failed    = "FAILED"    // for good: the blueprint is to be marked
	invalid   = "INVALID"   // and is
	cancelled = "CANCELLED" // another job is in its place, or it is found in the library again
)

// jobs is what the log says: each job's newest record.
type jobs struct {
	byID  map[string]*statev2.CompileJob
	order []*statev2.CompileJob // by their place
	next  uint64
	txn   map[string]uint64 // the transaction that holds a job's binary
}

func newJobs() jobs { return jobs{byID: map[string]*statev2.CompileJob{}, txn: map[string]uint64{}} }

// apply enters a record.
func (q *jobs) apply(r *statev2.CompileJob) {
	old := q.byID[r.JobId]
	q.byID[r.JobId] = r
	q.next = max(q.next, r.Order+1)
	if old != nil {
		i := slices.Index(q.order, old)
		q.order = slices.Delete(q.order, i, i+1)
	}
	i, _ := slices.BinarySearchFunc(q.order, r.Order, func(j *statev2.CompileJob, o uint64) int {
		switch {
		case j.Order < o:
			return -1
		case j.Order > o:
			return 1
		}
		return 0
	})
	q.order = slices.Insert(q.order, i, r)
}

// of lists the jobs of a blueprint that were not given up.
func (q *jobs) of(blueprint, hardware string) (list []*statev2.CompileJob) {
	for _, j := range q.order {
		if j.BlueprintId == blueprint && j.Hardware == hardware && j.State != cancelled {
			list = append(list, j)
		}
	}
	return list
}

// in lists the jobs in a state, in their order.
func (q *jobs) in(state string) (list []*statev2.CompileJob) {
	for _, j := range q.order {
		if j.State == state {
			list = append(list, j)
		}
	}
	return list
}

// improvable is the finished job whose blueprint is to be compiled again, and by
// which pipeline: of what was only compiled in a hurry, first what much is expected
// of, then what a better pipeline has failed at; then what an older toolchain has
// compiled; then the rest of what was compiled in a hurry. nil: there is none.
func (q *jobs) improvable(toolchain string) (*statev2.CompileJob, kernel.Pipeline) {
	var best *statev2.CompileJob
	bestRank, pipeline := 4, kernel.Standard
	for _, j := range q.in(ready) {
		p, _ := kernel.PipelineOf(j.Pipeline)
		better, tried, current := false, false, j.Toolchain == toolchain
		for _, other := range q.order {
			if other.BlueprintId != j.BlueprintId || other.Hardware != j.Hardware {
				continue
			}
			o, _ := kernel.PipelineOf(other.Pipeline)
			if other.State == cancelled {
				tried = tried || o > kernel.Fast
				continue
			}
			better = better || o > kernel.Fast
			current = current || other.Toolchain == toolchain
		}
		rank, to := 4, kernel.Standard
		switch hurried := p <= kernel.Fast && !better; {
		case hurried && j.Interest > 0.7:
			rank = 0
		case hurried && tried:
			rank = 1
		case !current:
			rank, to = 2, max(p, kernel.Fast)
		case hurried:
			rank = 3
		}
		if rank < bestRank || rank < 4 && rank == bestRank && j.Interest > best.Interest {
			best, bestRank, pipeline = j, rank, to
		}
	}
	return best, pipeline
}

// load is the share of the queue that is taken.
func (q *jobs) load() float64 { return float64(len(q.in(queued))) / depth }

// aged is the tier that a job has after waiting: one higher, once, and never an
// emergency.
func aged(j *statev2.CompileJob, now time.Time) uint32 {
	if j.Tier > tierStrategic && now.Sub(j.At.AsTime()) > ageAfter {
		return j.Tier - 1
	}
	return j.Tier
}

// first is the job to start: of the most urgent tier the oldest. skip says which
// may not be.
func (q *jobs) first(now time.Time, skip func(*statev2.CompileJob) bool) *statev2.CompileJob {
	var best *statev2.CompileJob
	for _, j := range q.in(queued) {
		if !skip(j) && (best == nil || aged(j, now) < aged(best, now)) {
			best = j
		}
	}
	return best
}

// admit says whether a job of a tier finds a place, and which one must go for
// it. Emergencies always do.
func (q *jobs) admit(tier uint32, busy func(*statev2.CompileJob) bool) (victim *statev2.CompileJob, ok bool) {
	waiting := q.in(queued)
	if tier == tierEmergency || len(waiting) < depth {
		return nil, true
	}
	for _, j := range waiting {
		if j.Tier > tier && !busy(j) && (victim == nil || j.Tier >= victim.Tier) {
			victim = j // of equals the newest: it has waited least
		}
	}
	return victim, victim != nil
}

// next record of a job in a state.
func step(j *statev2.CompileJob, state, reason string) *statev2.CompileJob {
	return &statev2.CompileJob{JobId: j.JobId, BlueprintId: j.BlueprintId, Pipeline: j.Pipeline, Hardware: j.Hardware, Toolchain: j.Toolchain,
		Tier: j.Tier, Interest: j.Interest, Emergency: j.Emergency, State: state, Attempt: j.Attempt, Reason: reason,
		At: &timestamppb.Timestamp{Seconds: j.At.GetSeconds(), Nanos: j.At.GetNanos()}, Order: j.Order, Conservative: j.Conservative, CompileMs: j.CompileMs}
}
