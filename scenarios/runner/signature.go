package runner

import (
	"regexp"
	"strings"
)

// A Signature says which failure a run came to, so that two runs can be told
// to fail alike: the invariant, who violated it, and the shape of what was
// said. Numbers and ids do not count.
type Signature struct {
	Invariant string `json:"invariant"`
	Node      string `json:"node,omitempty"`
	Shape     string `json:"shape"`
}

// String is the signature on one line.
func (s Signature) String() string {
	out := s.Invariant
	if s.Node != "" {
		out += " by " + s.Node
	}
	return out + ": " + s.Shape
}

// numbers are what differs between two failures of one kind: digits, long
// hexadecimal words, and what stands in quotation marks.
var numbers = regexp.MustCompile(`"[^"]*"|[0-9a-f]{8,}|[0-9]+`)

// Signature is that of the run's first violation, or of the harness's failure;
// ok is false for a clean run.
func (r *Result) Signature() (sig Signature, ok bool) {
	switch {
	case r.Verdict == Broken:
		return Signature{Invariant: "harness", Shape: shape(r.Error)}, true
	case len(r.Violations) == 0:
		return sig, false
	}
	v := r.Violations[0]
	return Signature{Invariant: v.Invariant, Node: v.Node, Shape: shape(v.Message)}, true
}

// Signatures are those of all of the run's violations, in their order; or that
// of the harness's failure.
func (r *Result) Signatures() []Signature {
	if r.Verdict == Broken {
		return []Signature{{Invariant: "harness", Shape: shape(r.Error)}}
	}
	var list []Signature
	for _, v := range r.Violations {
		list = append(list, Signature{Invariant: v.Invariant, Node: v.Node, Shape: shape(v.Message)})
	}
	return list
}

// shape is a message up to its details, without its numbers.
func shape(s string) string {
	if i := strings.IndexAny(s, ":;("); i > 0 {
		s = s[:i]
	}
	return strings.TrimSpace(numbers.ReplaceAllString(s, "#"))
}

// Failure is what went wrong first, on one line; empty for a clean run.
func (r *Result) Failure() string {
	switch {
	case r.Verdict == Broken:
		return r.Error
	case len(r.Violations) == 0:
		return ""
	}
	return r.Violations[0].String()
}
