package trainer_test

import (
	"fmt"

	"github.com/esper-sim/espersim/cluster/trainer"
)

// A network is read from text, given places for grafts, and trained.
func Example() {
	g, err := trainer.ParseGraph([]byte(trainer.RingsGraph))
	if err != nil {
		fmt.Println(err)
		return
	}
	if g, err = trainer.InjectGrafts(g); err != nil {
		fmt.Println(err)
		return
	}
	m, err := trainer.NewModel(g, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	data, held := trainer.Rings(512, 1), trainer.Rings(512, 2)
	p := m.NewPass(512)
	var order []int32
	var x []float32
	var labels []uint8
	for epoch := range int64(20) {
		order = trainer.Order(order, 1, epoch, 0, data.Len())
		for i := 0; i < len(order); i += 8 {
			x, labels = data.Gather(order[i:i+8], x, labels)
			p.Start(x, labels)
			for layer, _ := p.Forward(); layer >= 0; layer, _ = p.Forward() {
			} // nothing is grafted: activations pass unchanged
			p.Backward()
			p.Step(0.02)
		}
	}
	p.Start(held.X, held.Labels)
	for layer, _ := p.Forward(); layer >= 0; layer, _ = p.Forward() {
	}
	_, right := p.Loss()
	fmt.Println("above 95 %:", float64(right)/float64(held.Len()) > 0.95)
	// Output: above 95 %: true
}
