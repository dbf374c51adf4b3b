package sim_test

import (
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	"github.com/esper-sim/espersim/sim"
)

// greeter answers every append, and knows nothing of the world it runs in.
type greeter struct{ env actor.Env }

func (g greeter) Start() error {
	if g.env.Self == "client" {
		g.env.Net.Send("server", &ledgerv2.AppendRequest{Client: "client", Sequence: 1}, actor.SendOptions{Key: "hello"})
	}
	return nil
}

func (g greeter) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *ledgerv2.AppendRequest:
		fmt.Println(g.env.Self, "got append", m.Sequence)
		g.env.Net.Send(from, &ledgerv2.AppendReply{Sequence: m.Sequence}, actor.SendOptions{Key: "answer"})
	case *ledgerv2.AppendReply:
		fmt.Println(g.env.Self, "got reply", m.Sequence)
	}
	return nil
}

// Two actors in a world of their own. The same seed gives the same hash.
func Example() {
	build := func(env actor.Env) (actor.Actor, error) { return greeter{env}, nil }
	w, err := sim.New(sim.Config{
		Seed:  7,
		Hosts: []sim.Host{{Name: "host"}},
		Nodes: []sim.Node{{ID: "server", Host: "host", Make: build}, {ID: "client", Host: "host", Make: build}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := w.Run(time.Second); err != nil {
		fmt.Println(err)
	}
	w.End()
	fmt.Println(w.Messages(), "messages")
	// Output:
	// server got append 1
	// client got reply 1
	// 2 messages
}
