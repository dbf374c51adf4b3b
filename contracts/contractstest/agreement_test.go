package contractstest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/rules"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
)

const soakPairs = 100_000

// seeded is a Source for many schemas in little time.
type seeded struct{ *rand.PCG }

func (s seeded) Below(n int) int { return int(s.Uint64() >> 33 % uint64(n)) }
func (s seeded) Bits() uint64    { return s.Uint64() >> (s.Uint64() % 64) }

func seed(n uint64) seeded { return seeded{rand.NewPCG(n, 7)} }

func link(t testing.TB, f *descriptorpb.FileDescriptorProto) protoreflect.FileDescriptor {
	d, err := protodesc.NewFile(f, nil)
	if err != nil {
		t.Fatalf("%v\n%v", err, f)
	}
	return d
}

// The rules and the search agree on random evolutions, for every message type
// in both directions: on 2,000 pairs of schemas, or on 100,000 with
// ESPERSIM_SOAK=1.
func TestAgreement(t *testing.T) {
	pairs := 2000
	if os.Getenv("ESPERSIM_SOAK") != "" {
		pairs = soakPairs
	}
	began := time.Now()
	classes := map[exchange.Class]int{}
	for i := range pairs {
		s := evolve(seed(uint64(i)))
		for _, p := range disagreements(t, s, rules.Default(), classes) {
			t.Errorf("seed %d: %s\n%v", i, p, s.Taken)
		}
		if t.Failed() && i > 100000 {
			break
		}
	}
	spent := time.Since(began)
	t.Logf("%d pairs of schemas in %v, %.0f a minute: %v", pairs, spent.Round(time.Millisecond), float64(pairs)/spent.Minutes(), classes)
}

func disagreements(t testing.TB, s Steps, table rules.Table, classes map[exchange.Class]int) (out []string) {
	old, new := link(t, s.Old), link(t, s.New)
	a, search := rules.New(table), witness.NewSearcher(witness.Options{Random: 3})
	for i := range old.Messages().Len() {
		o, n := old.Messages().Get(i), new.Messages().Get(i)
		for _, p := range [][2]protoreflect.MessageDescriptor{{o, n}, {n, o}} {
			predicted := a.Message(p[0], p[1], exchange.Scope{})
			found := search.Search(p[0], p[1], exchange.Scope{})
			classes[found.Class]++
			if predicted != found.Class {
				out = append(out, fmt.Sprintf("%s: the rules say %v, the search says %v: %x at %q",
					o.Name(), predicted, found.Class, found.Outcome.Bytes, found.Outcome.Where))
			}
		}
	}
	return out
}
