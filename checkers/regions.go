package checkers

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	pausev2 "github.com/esper-sim/espersim/contracts/generated/go/pause/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// regions judges J3: a summary is the aggregate of exactly the reports that it
// names, each in one summary; an emergency passes as it is, by itself and at once;
// and Tamiyo and Nissa ask for the reports themselves as well.
//
// Everything is read from messages: the reports from what was published, before
// any region saw them.
type regions struct {
	regional bool                    // there is a Narset
	reports  map[string]regionReport // by telemetry id
	order    []string
	named    map[string]string // by telemetry id: the summary that names it
	sums     map[string]string // by summary id: its bytes
	notices  map[string]notice // by node and notice: delivered and not passed on yet
	node     string            // of whom summaries come
	raised   map[string]string // by notice: who has raised it, in Narset's present life
	answer   answerBack        // an acknowledgement that Narset handles
}

// answerBack is an acknowledgement of an emergency that is to reach who raised it.
type answerBack struct {
	notice, by string
	seq        uint64
}

type regionReport struct {
	seed       *telemetryv2.SeedRef
	region     string
	epoch      int64
	loss       float64
	gradient   float64
	violations uint32
	healthy    bool
}

// notice is an emergency on its way through a region.
type notice struct {
	text string
	at   int64
	seq  uint64
	to   map[string]bool // who has got it
}

// atOnce is how long an emergency may take through a region.
const atOnce = int64(50 * time.Millisecond)

// mustHear are the nodes that hear of seeds and emergencies without a detour
// through a summary.
var mustHear = []string{"nissa", "tamiyo"}

const seedTopic = "telemetry.seed.health"

func newRegions(Params) Checker {
	return &regions{reports: map[string]regionReport{}, named: map[string]string{}, sums: map[string]string{}, notices: map[string]notice{}, raised: map[string]string{}}
}

func (*regions) Invariants() []string { return []string{"J3"} }

func (c *regions) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeCrashed, trace.NodeExited:
		if e.Node == "narset" {
			clear(c.notices) // whoever raised them repeats them
			clear(c.raised)
			c.answer = answerBack{}
		}
		return
	case trace.MessageDelivered:
		if e.Peer == "narset" {
			c.unanswered(j)
			if m, ok := e.Mail.Payload.(*pausev2.PauseAck); ok && c.raised[m.PauseId] != "" {
				c.answer = answerBack{strings.Clone(m.PauseId), c.raised[m.PauseId], e.Seq}
			}
		}
		if m, ok := e.Mail.Payload.(*telemetryv2.EmergencyNotice); ok && e.Peer == "narset" {
			c.overdue(e, j)
			if len(c.raised) < 64 { // who asks for more waits for none of the oldest
				c.raised[strings.Clone(m.NoticeId)] = e.Node
			}
			c.notices[e.Peer+"/"+m.NoticeId] = notice{text: string(m.AppendCanonical(nil)), at: e.At, seq: e.Seq, to: map[string]bool{}}
		}
		return
	case trace.MessageSent:
	default:
		return
	}
	switch m := e.Mail.Payload.(type) {
	case *pausev2.PauseAck:
		if e.Node == "narset" && e.Cause == c.answer.seq && m.PauseId == c.answer.notice && e.Peer == c.answer.by {
			c.answer = answerBack{}
			j.Judged("J3")
		}
	case *telemetryv2.SeedTelemetry:
		c.published(m)
	case *operationsv2.RegionSummary:
		c.node = e.Node
		c.summary(e, m, j)
	case *telemetryv2.EmergencyNotice:
		if e.Node == "narset" {
			c.passed(e, m, j)
		}
	case *busv2.Subscribe:
		// Where there are no regions, nobody is kept from hearing by them.
		if m.Group == "narset" {
			c.regional = true
		}
		if c.regional && slices.Contains(mustHear, m.Group) && m.Group == e.Node {
			if !slices.Contains(m.Topics, seedTopic) {
				j.Violate("J3", e.Node, "it does not ask for "+seedTopic+" itself")
			}
		}
	}
}

// unanswered judges that an acknowledgement went back to who raised the emergency,
// before anything else was done.
func (c *regions) unanswered(j *Judge) {
	if a := c.answer; a.seq != 0 {
		c.answer = answerBack{}
		j.Violate("J3", "narset", fmt.Sprintf("the emergency %s is acknowledged, and %s, who has raised it, does not hear of it", a.notice, a.by), a.seq)
	}
}

func (c *regions) published(m *telemetryv2.SeedTelemetry) {
	if _, known := c.reports[m.TelemetryId]; known {
		return
	}
	region := m.RegionId
	if region == "" {
		region = fmt.Sprint("layer-", m.Seed.GetLayerId())
	}
	c.reports[m.TelemetryId] = regionReport{seed: &telemetryv2.SeedRef{LayerId: m.Seed.GetLayerId(), SeedId: m.Seed.GetSeedId()}, region: region, epoch: m.Epoch,
		loss: m.LocalLoss, gradient: m.GradientNorm, violations: m.IsolationViolations, healthy: m.Health.GetStatus() == systemstatev2.SeedHealth_HEALTHY}
	c.order = append(c.order, m.TelemetryId)
	if len(c.order) > 4*ringSize {
		delete(c.reports, c.order[0])
		delete(c.named, c.order[0])
		c.order = c.order[1:]
	}
}

// mostReports is the fan-in: 32 to 1.
const mostReports = 32

func (c *regions) summary(e *Event, m *operationsv2.RegionSummary, j *Judge) {
	bad := func(how string) { j.Violate("J3", e.Node, fmt.Sprintf("summary %s %s", m.SummaryId, how)) }
	text := string(m.AppendCanonical(nil))
	if was, known := c.sums[m.SummaryId]; known {
		if was != text {
			bad("says something else than before")
		}
		return
	}
	c.sums[m.SummaryId] = text
	if len(c.sums) > 4*ringSize {
		clear(c.sums)
	}
	if len(m.TelemetryIds) == 0 || len(m.TelemetryIds) > mostReports || !slices.IsSorted(m.TelemetryIds) {
		bad(fmt.Sprintf("names %d reports, or not in order", len(m.TelemetryIds)))
		return
	}
	want := &operationsv2.RegionSummary{SummaryId: m.SummaryId, RegionId: m.RegionId, TelemetryIds: m.TelemetryIds}
	seeds := map[[2]int32]*telemetryv2.SeedRef{}
	sum := 0.0
	for i, id := range m.TelemetryIds {
		r, known := c.reports[id]
		switch {
		case !known:
			bad("names " + id + ", which nobody has published")
			return
		case c.named[id] != "":
			bad("names " + id + ", and so does " + c.named[id])
			return
		case r.region != m.RegionId:
			bad(fmt.Sprintf("is of %s, and names %s of %s", m.RegionId, id, r.region))
			return
		}
		c.named[id] = m.SummaryId
		if i == 0 {
			want.FirstEpoch, want.LastEpoch, want.MaxGradientNorm = r.epoch, r.epoch, r.gradient
		}
		want.FirstEpoch, want.LastEpoch = min(want.FirstEpoch, r.epoch), max(want.LastEpoch, r.epoch)
		want.MaxGradientNorm = max(want.MaxGradientNorm, r.gradient)
		want.IsolationViolations += r.violations
		if !r.healthy {
			want.Unhealthy++
		}
		sum += r.loss
		seeds[[2]int32{r.seed.LayerId, r.seed.SeedId}] = r.seed
	}
	want.MeanLoss = sum / float64(len(m.TelemetryIds))
	for _, k := range slices.SortedFunc(maps.Keys(seeds), func(a, b [2]int32) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }) {
		want.Seeds = append(want.Seeds, seeds[k])
	}
	if string(want.AppendCanonical(nil)) != text {
		bad(fmt.Sprintf("is not that of its reports: %v, want %v", m, want))
		return
	}
	j.Judged("J3")
}

func (c *regions) passed(e *Event, m *telemetryv2.EmergencyNotice, j *Judge) {
	key := e.Node + "/" + m.NoticeId
	n, known := c.notices[key]
	switch {
	case !known:
		j.Violate("J3", e.Node, fmt.Sprintf("it passes on the emergency %s, which it was not given", m.NoticeId))
	case string(m.AppendCanonical(nil)) != n.text:
		j.Violate("J3", e.Node, fmt.Sprintf("it has altered the emergency %s", m.NoticeId), n.seq)
	case e.At-n.at > atOnce:
		j.Violate("J3", e.Node, fmt.Sprintf("the emergency %s was with it for %v", m.NoticeId, time.Duration(e.At-n.at)), n.seq)
	default:
		n.to[e.Peer] = true
		for _, who := range mustHear {
			if !n.to[who] {
				return
			}
		}
		delete(c.notices, key)
		j.Judged("J3")
	}
}

// overdue looks for emergencies that were not passed on.
func (c *regions) overdue(e *Event, j *Judge) {
	for _, k := range slices.Sorted(maps.Keys(c.notices)) {
		if n := c.notices[k]; e.At-n.at > atOnce {
			delete(c.notices, k)
			j.Violate("J3", "narset", fmt.Sprintf("the emergency %s was not passed on to all of %v", k, mustHear), n.seq)
		}
	}
}

func (*regions) Finish(*Judge) {}
