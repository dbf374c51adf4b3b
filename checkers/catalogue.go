package checkers

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/esper-sim/espersim/sim/trace"
)

// Invariant is a row of the catalogue.
type Invariant struct {
	ID        string
	Statement string
	Source    string // section of the HLD or of its companions
	Liveness  bool
}

// group is a checker with the invariants that it judges and the events that it
// must see.
type group struct {
	ids   []string
	kinds []trace.Kind
	make  func(Params) Checker // nil: nothing to judge with
}

// Catalogue lists every invariant that can be judged.
func Catalogue() []Invariant { return catalogue }

// Find is the invariant with the given id, or nil.
func Find(id string) *Invariant {
	for i := range catalogue {
		if catalogue[i].ID == id {
			return &catalogue[i]
		}
	}
	return nil
}

// IDs lists the ids of all invariants.
func IDs() []string {
	ids := make([]string, len(catalogue))
	for i, inv := range catalogue {
		ids[i] = inv.ID
	}
	return ids
}

// Judges names the checkers that judge an invariant, each by its type and where
// it is.
func Judges(id string) (names []string) {
	p := Params{Phases: Phases{Heal: time.Second, Within: time.Second}, Replay: func() (Replayer, error) { return nil, errors.New("nothing is replayed") }}
	for _, g := range groups {
		if !slices.Contains(g.ids, id) {
			continue
		}
		if c := g.make(p); c != nil {
			names = append(names, strings.TrimPrefix(fmt.Sprintf("%T", c), "*"))
		}
	}
	return names
}
