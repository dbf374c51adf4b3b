package checkers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	innovationv2 "github.com/esper-sim/espersim/contracts/generated/go/innovation/v2"
	"github.com/esper-sim/espersim/sim/trace"
)

// requests judges I12: who asks the innovation plane is answered, with what is so,
// and a job goes the way of its states.
//
// A design that is said to be done is in the library and within the risk that was
// asked for; a compilation that is said to be done is a kernel that the library
// has. What breaks a rule is rejected. Whoever lives on answers in the end. The
// states of jobs are claims; that none is left out is what makes them worth
// something.
type requests struct {
	settle func(int64) bool
	last   int64
	open   map[string]*requestOpen    // by whom it was delivered to, by whom, and id
	stored map[string]map[string]bool // by node: assets of which the library told it that it has them
	jobs   map[string]*jobWay         // by node and job
}

// requestOpen is a request that was delivered.
type requestOpen struct {
	node string
	what string
	at   int64 // delivered last, and not answered since; -1: it is answered
	seq  uint64
	bad  string // the rule that it breaks
	risk float64
}

// jobWay is how far a job has come.
type jobWay struct {
	state  string
	passed []string // since it was begun
	seq    uint64
}

func newRequests(p Params) Checker {
	return &requests{settle: p.Settled, open: map[string]*requestOpen{}, stored: map[string]map[string]bool{}, jobs: map[string]*jobWay{}}
}

func (*requests) Invariants() []string { return []string{"I12"} }

func (c *requests) Observe(e *Event, j *Judge) {
	c.last = e.At
	switch e.Kind {
	case trace.NodeStarted:
		c.anew(e.Node)
	case trace.FactDeclared:
		switch f := e.Fact.(type) {
		case *evidencev2.LogFact:
			if f.Log == e.Node && f.Action == evidencev2.LogAction_LOG_RECOVERED {
				c.forget(e.Node) // of what was under way only the log tells
			}
		case *evidencev2.JobFact:
			c.job(e, f, j)
		}
	case trace.MessageDelivered:
		c.delivered(e)
	case trace.MessageSent:
		switch m := e.Mail.Payload.(type) {
		case *innovationv2.BlueprintReply:
			c.design(e, m, j)
		case *innovationv2.CompileReply:
			c.compilation(e, m, j)
		case *innovationv2.PolicyWeights:
			c.answered(e, m.RequestId)
		}
	}
}

// anew: a process that died owes no answer to what it was asked before.
func (c *requests) anew(node string) {
	for _, r := range c.open {
		if r.node == node {
			r.at = -1
		}
	}
	c.forget(node)
}

func (c *requests) forget(node string) {
	for k := range c.jobs {
		if strings.HasPrefix(k, node+"\x00") {
			delete(c.jobs, k)
		}
	}
}

// pipelinesKnown are those that a compilation may name; none: it is chosen.
var pipelinesKnown = []string{"", "emergency", "fast", "standard", "aggressive"}

func (c *requests) delivered(e *Event) {
	var r *requestOpen
	id := ""
	switch m := e.Mail.Payload.(type) {
	case *assetsv2.StoreReply:
		if m.Status == assetsv2.AssetStatus_STORED || m.Status == assetsv2.AssetStatus_EXISTS {
			if c.stored[e.Peer] == nil {
				c.stored[e.Peer] = map[string]bool{}
			}
			c.stored[e.Peer][strings.Clone(m.AssetId)] = true
		}
		return
	case *innovationv2.BlueprintRequest:
		id, r = m.RequestId, &requestOpen{what: "design", risk: m.MaxRisk}
		if m.RequestId == "" || m.CurriculumStage > 6 || !(m.MaxRisk >= 0 && m.MaxRisk <= 1) {
			r.bad = "it has no id, a stage above 6 or a risk that is none"
		}
	case *innovationv2.CompileRequest:
		id, r = m.RequestId, &requestOpen{what: "compilation"}
		if m.BlueprintId == "" || !slices.Contains(pipelinesKnown, m.Pipeline) {
			r.bad = fmt.Sprintf("there is no blueprint %q or pipeline %q", m.BlueprintId, m.Pipeline)
		}
	case *innovationv2.FetchPolicy:
		id, r = m.RequestId, &requestOpen{what: "policy"}
	default:
		return
	}
	if len(c.open) > remembered {
		maps.DeleteFunc(c.open, func(_ string, r *requestOpen) bool { return r.at < 0 })
	}
	k := e.Peer + "\x00" + e.Node + "\x00" + strings.Clone(id)
	r.node, r.at, r.seq = e.Peer, e.At, e.Seq
	if old := c.open[k]; old != nil && old.at >= 0 && c.settle != nil && c.settle(old.at) {
		r.at = old.at // it has waited since then
	}
	c.open[k] = r
}

// answered ends a request, and returns it.
func (c *requests) answered(e *Event, id string) *requestOpen {
	r := c.open[e.Node+"\x00"+e.Peer+"\x00"+id]
	if r != nil {
		r.at = -1
	}
	return r
}

func (c *requests) refused(e *Event, r *requestOpen, s innovationv2.RequestStatus, j *Judge) bool {
	if r.bad == "" || s == innovationv2.RequestStatus_REJECTED || s == innovationv2.RequestStatus_BUSY {
		return false
	}
	j.Violate("I12", e.Node, fmt.Sprintf("a request for a %s is answered with %v, and %s", r.what, s, r.bad), r.seq)
	return true
}

// design judges Karn's answer.
func (c *requests) design(e *Event, m *innovationv2.BlueprintReply, j *Judge) {
	r := c.answered(e, m.RequestId)
	if r == nil || c.refused(e, r, m.Status, j) {
		return
	}
	switch {
	case m.Status == innovationv2.RequestStatus_DONE && !c.stored[e.Node][m.BlueprintId]:
		j.Violate("I12", e.Node, fmt.Sprintf("the design %.16s is said to be done, and the library has not said that it has it", m.BlueprintId), r.seq)
	case m.Status == innovationv2.RequestStatus_FALLBACK && m.RiskScore > r.risk:
		j.Violate("I12", e.Node, fmt.Sprintf("the fallback %s has the risk %.2f, and at most %.2f was asked for", m.TemplateId, m.RiskScore, r.risk), r.seq)
	default:
		j.Judged("I12")
	}
}

// compilation judges Tezzeret's answer.
func (c *requests) compilation(e *Event, m *innovationv2.CompileReply, j *Judge) {
	r := c.answered(e, m.RequestId)
	if r == nil || c.refused(e, r, m.Status, j) {
		return
	}
	if m.Status == innovationv2.RequestStatus_DONE && !c.stored[e.Node][m.KernelArtifactId] {
		j.Violate("I12", e.Node, fmt.Sprintf("the kernel %.80s is said to be done, and the library has not said that it has it", m.KernelArtifactId), r.seq)
		return
	}
	j.Judged("I12")
}

// jobEdges are the ways of a job, by subsystem: of a compilation by card 06, with
// COMPILED for an artifact that is in the log and to be stored. What fails is
// tried again, and what is begun anew begins at its start.
var jobEdges = map[string]map[string][]string{
	"tezzeret": {
		"QUEUED":     {"QUEUED", "VALIDATING", "CANCELLED"},
		"VALIDATING": {"VALIDATING", "COMPILING", "CANCELLED", "FAILED", "INVALID", "QUEUED"},
		"COMPILING":  {"VALIDATING", "SIGNING", "CANCELLED", "FAILED", "INVALID", "QUEUED"},
		"SIGNING":    {"VALIDATING", "COMPILED", "FAILED"},
		"COMPILED":   {"READY", "CANCELLED"},
		"FAILED":     {"INVALID"},
		"CANCELLED":  {"QUEUED"},
	},
	"urabrask": {
		"RECEIVED":   {"RECEIVED", "SAFETY", "RETRY", "REJECTED"},
		"SAFETY":     {"RECEIVED", "SAFETY", "STRUCTURAL", "BENCHMARK", "RETRY", "REJECTED"},
		"STRUCTURAL": {"RECEIVED", "BENCHMARK", "RETRY", "REJECTED"},
		"BENCHMARK":  {"RECEIVED", "BENCHMARK", "RETRY", "VALIDATED", "REJECTED"},
		"RETRY":      {"RECEIVED"},
	},
}

// begins are the states with which a job begins.
var begins = map[string]string{"tezzeret": "VALIDATING", "urabrask": "RECEIVED"}

// checksOf is what a kernel passes by before it is validated, by the pipeline that
// its id names: in an emergency its structure is not asked for, and what was
// compiled to serve for long is run for longer.
func checksOf(kernel string) []string {
	list := []string{"SAFETY", "SAFETY", "SAFETY", "SAFETY"}
	pipeline := ""
	if parts := strings.SplitN(kernel, "-", 4); len(parts) == 4 {
		pipeline = parts[2]
	}
	if pipeline != "emergency" {
		list = append(list, "STRUCTURAL")
	}
	if list = append(list, "BENCHMARK"); pipeline == "aggressive" {
		list = append(list, "BENCHMARK")
	}
	return list
}

// job judges where a job stands.
func (c *requests) job(e *Event, f *evidencev2.JobFact, j *Judge) {
	edges := jobEdges[f.Subsystem]
	if edges == nil || f.State == "FAULT" {
		return
	}
	k := e.Node + "\x00" + strings.Clone(f.JobId)
	w := c.jobs[k]
	if w == nil {
		w = new(jobWay)
		c.jobs[k] = w
	}
	if w.state != "" && !slices.Contains(edges[w.state], f.State) {
		j.Violate("I12", e.Node, fmt.Sprintf("the job %.100s is %s, and was %s", f.JobId, f.State, w.state), w.seq)
		return
	}
	if f.State == begins[f.Subsystem] {
		w.passed = w.passed[:0]
	} else {
		w.passed = append(w.passed, strings.Clone(f.State))
	}
	if f.State == "VALIDATED" {
		if want := checksOf(f.JobId); !slices.Equal(w.passed[:len(w.passed)-1], want) {
			j.Violate("I12", e.Node, fmt.Sprintf("the kernel %.80s is validated after %s; want %s", f.JobId, strings.Join(w.passed, ", "), strings.Join(want, ", ")), w.seq)
			return
		}
	}
	w.state, w.seq = strings.Clone(f.State), e.Seq
	j.Judged("I12")
}

// answerTime is how long after the faults have ended an answer may take.
const answerTime = int64(5 * time.Second)

// Finish implements Checker.
func (c *requests) Finish(j *Judge) {
	if c.settle == nil {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(c.open)) {
		if r := c.open[k]; r.at >= 0 && c.settle(r.at) && c.last-r.at > answerTime {
			j.Violate("I12", r.node, fmt.Sprintf("a request for a %s is not answered for %v", r.what, time.Duration(c.last-r.at).Round(time.Second)), r.seq)
			return
		}
	}
}
