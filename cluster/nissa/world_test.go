package nissa_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/client"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/nissa"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/cluster/outbox"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// desk publishes results of commands, and asks Nissa for her metrics.
type desk struct {
	env   actor.Env
	box   *outbox.Box
	n     int
	texts *[]string
}

func (d *desk) Start() error {
	d.env.Clock.SetTimer("publish", 0, 50*time.Millisecond)
	d.env.Clock.SetTimer("ask", 0, time.Second)
	return nil
}

func (d *desk) Receive(_ actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		switch m.Name {
		case "publish":
			d.n++
			id := fmt.Sprint("result/", d.n)
			d.box.Put(outbox.Letter{ID: id, Topic: "control.command.results", Message: &adaptationv2.CommandResult{CommandId: id, Subsystem: "kasmina", Status: adaptationv2.CommandStatus_APPLIED}})
			if d.n < 60 {
				d.env.Clock.SetTimer("publish", 0, 50*time.Millisecond)
			}
		case outbox.Timer:
			d.box.Tick()
		case "ask":
			d.env.Net.Send("nissa", &operationsv2.MetricsQuery{QueryId: "q"}, actor.SendOptions{})
			d.env.Clock.SetTimer("ask", 0, time.Second)
		}
	case *busv2.PublishAck:
		d.box.Acked(m)
	case *operationsv2.MetricsReply:
		*d.texts = append(*d.texts, m.Text)
	}
	return nil
}

type alertLog struct {
	t      *testing.T
	states map[string][]platformv2.AlertState // by alert, as published
	acked  map[string]bool
}

func (a *alertLog) Observe(e *trace.Event) {
	if e.Kind == trace.NodeExited {
		a.t.Errorf("%v", e)
	}
	mail, ok := e.Value.(*wire.Mail)
	if !ok || e.Kind != trace.MessageSent || e.Node != "nissa" || a.acked[mail.Envelope.EventId] {
		return
	}
	if m, ok := mail.Payload.(*platformv2.AlertEvent); ok {
		a.acked[mail.Envelope.EventId] = true
		a.states[m.AlertId] = append(a.states[m.AlertId], m.State)
	}
}

func world(t *testing.T, seed uint64, a *alertLog, texts *[]string) *sim.World {
	t.Helper()
	j, err := job.Default()
	must(t, err)
	var hosts []sim.Host
	for _, name := range []string{"bus", "watch", "desk"} {
		d, err := disk.New(disk.Config{Keyed: sim.NewSource(seed)})
		must(t, err)
		hosts = append(hosts, sim.Host{Name: name, Disk: d})
	}
	v := client.ViewerDefaults()
	v.Every = 300 * time.Millisecond
	w, err := sim.New(sim.Config{Name: "nissa", Seed: seed, Hosts: hosts, Trace: trace.NewLog(a), Poison: true, Nodes: []sim.Node{
		{ID: "oona", Host: "bus", Make: oona.New(j, *oona.Defaults()), Restart: 20 * time.Millisecond},
		{ID: "nissa", Host: "watch", Make: nissa.New(j, *nissa.Defaults()), Restart: 20 * time.Millisecond},
		{ID: "tezzeret", Host: "desk", Callback: true, Make: client.NewReporter(j, *client.ReporterDefaults())},
		{ID: "viewer", Host: "desk", Callback: true, Make: client.NewViewer(j, *v)},
		{ID: "desk", Host: "desk", Callback: true, Make: func(env actor.Env) (actor.Actor, error) {
			return &desk{env: env, box: outbox.New(env, "oona", 100), texts: texts}, nil
		}},
	}})
	must(t, err)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ofBus is the part of the text that the bus's events make.
func ofBus(text string) string {
	var out []string
	for _, l := range strings.Split(text, "\n") {
		if strings.HasPrefix(l, "esper_command_results_total") || strings.HasPrefix(l, `esper_events_total{source="desk"`) {
			out = append(out, l)
		}
	}
	return strings.Join(out, "\n")
}

// A crash at any of her operations on the disk, of her or of her whole host:
// afterwards she has the metrics that the bus's log makes, every result is in the
// trail once, and the alert about the ill subsystem went its way.
func TestCrashes(t *testing.T) {
	calm := ""
	for k := 0; k < 60; k += 2 {
		a := &alertLog{t: t, states: map[string][]platformv2.AlertState{}, acked: map[string]bool{}}
		var texts []string
		w := world(t, 1, a, &texts)
		if k > 0 {
			for i, at := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 5 * time.Second} {
				w.At(at, 1, func() { must(t, w.CrashAtOperation("nissa", k, i == 1, 30*time.Millisecond, 0, nil)) })
			}
		}
		must(t, w.Run(30*time.Second))
		w.End()
		got := ofBus(texts[len(texts)-1])
		if k == 0 {
			calm = got
			if !strings.Contains(got, `esper_command_results_total{status="APPLIED",subsystem="kasmina"} 60`) {
				t.Fatalf("in peace:\n%s", texts[len(texts)-1])
			}
		}
		if got != calm {
			t.Fatalf("crash at operation %d:\n%s\nwant\n%s", k, got, calm)
		}
		if n := audit(texts[len(texts)-1]); n < 60 || n > 64 {
			t.Fatalf("crash at operation %d: %d records in the trail", k, n)
		}
		for id, s := range a.states {
			if s[0] != platformv2.AlertState_FIRING || s[len(s)-1] != platformv2.AlertState_RESOLVED {
				t.Fatalf("crash at operation %d: %s went %v", k, id, s)
			}
		}
		if len(a.states) != 1 {
			t.Fatalf("crash at operation %d: alerts %v", k, a.states)
		}
	}
}

func audit(text string) (n int) {
	for _, l := range strings.Split(text, "\n") {
		_, _ = fmt.Sscanf(l, "nissa_audit_records %d", &n)
	}
	return n
}
