package witness

import (
	"math/rand/v2"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

// Options say how long to search. The result depends on nothing else: the
// same options and types give the same result, message for message.
type Options struct {
	// Random is how many random messages follow those of small scope.
	Random int
	// Shrink makes the witness small; without it, it is the first one found.
	Shrink bool
	// Rapid has pgregory.net/rapid search and shrink, too; it needs Shrink. It
	// sets rapid's flags for that time, so it is not for use beside tests that
	// run rapid in parallel.
	Rapid bool
	// Checks are the comparisons; nil: all of them.
	Checks *Checks
}

// Result is the worst that was found.
type Result struct {
	Class   exchange.Class
	Outcome Outcome // of the witness, if the class is not exchange.Identical
	Tried   int     // messages
}

// Search sends messages of the type w within the scope to a reader of the type
// r and returns the worst that happened.
func Search(w, r protoreflect.MessageDescriptor, s exchange.Scope, o Options) Result {
	return NewSearcher(o).Search(w, r, s)
}

// A Searcher searches more than once, and remembers what it learned of types.
// It is not for concurrent use.
type Searcher struct {
	options   Options
	exchanger exchanger
}

// NewSearcher returns a searcher.
func NewSearcher(o Options) *Searcher {
	s := &Searcher{options: o, exchanger: exchanger{codec: new(codec), checks: AllChecks()}}
	if o.Checks != nil {
		s.exchanger.checks = *o.Checks
		s.exchanger.codec.unknownLast = !o.Checks.Order
	}
	return s
}

// Search is the function Search.
func (s *Searcher) Search(w, r protoreflect.MessageDescriptor, scope exchange.Scope) Result {
	x := s.exchanger
	x.shallow = scope.Shallow
	var best Result
	try := func(m protoreflect.Message) bool {
		o := x.exchange(m, r)
		best.Tried++
		if o.Class > best.Class || o.Class == best.Class && o.Class > exchange.Identical && len(o.Bytes) < len(best.Outcome.Bytes) {
			best.Class, best.Outcome = o.Class, o
		}
		// Nothing is worse than what cannot be read; a smaller witness is the
		// business of shrinking.
		return best.Class < exchange.ParseFailure
	}
	k := &maker{scope: scope, to: r}
	k.small(w, r, try)
	src := &pcg{rand.NewPCG(1, 2)}
	for i := 0; i < s.options.Random && best.Class < exchange.ParseFailure; i++ {
		try(k.random(src, w, r, 4))
	}
	if best.Class > exchange.Identical && s.options.Shrink {
		s.shrink(&x, k, w, r, &best)
	}
	return best
}

// pcg is a Source with a fixed seed.
type pcg struct{ *rand.PCG }

func (p *pcg) Below(n int) int { return int(p.Uint64() >> 33 % uint64(n)) }
func (p *pcg) Bits() uint64    { return p.Uint64() >> (p.Uint64() % 64) }
