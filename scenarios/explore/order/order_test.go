package order_test

import (
	"testing"
	"time"

	"github.com/esper-sim/espersim/scenarios/explore/order"
)

func TestSize(t *testing.T) {
	for _, w := range order.Windows() {
		for k := range 3 {
			began := time.Now()
			r, err := order.Explore(w, order.Options{Deviations: k, Jobs: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %d: %+v %v", w.Name, k, *r, time.Since(began))
			if g := r.Guilty; g != nil {
				t.Log(g.Schedule, g.Violations)
				for i, m := range g.Messages {
					t.Log(i+1, m)
				}
				break
			}
		}
	}
}
