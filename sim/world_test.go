package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/contracts/canon"
	ledgerv2 "github.com/esper-sim/espersim/contracts/generated/go/ledger/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// funcs is an actor made of functions.
type funcs struct {
	start   func() error
	receive func(from actor.ID, m canon.Message) error
}

func (f funcs) Start() error {
	if f.start == nil {
		return nil
	}
	return f.start()
}

func (f funcs) Receive(from actor.ID, m canon.Message) error {
	if f.receive == nil {
		return nil
	}
	return f.receive(from, m)
}

// record keeps the events of a run as text.
type record struct{ lines []string }

func (r *record) Observe(e *trace.Event) { r.lines = append(r.lines, e.String()) }

func (r *record) count(substr string) (n int) {
	for _, l := range r.lines {
		if strings.Contains(l, substr) {
			n++
		}
	}
	return n
}

// pinger sends numbered pings to a peer; ponger writes each to its disk, syncs
// and answers.
func pinger(peer actor.ID, every time.Duration) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		n := int64(0)
		return funcs{
			start: func() error { env.Clock.SetTimer("ping", 0, every); return nil },
			receive: func(_ actor.ID, m canon.Message) error {
				if _, ok := m.(*localv2.TimerFired); ok {
					n++
					env.Net.Send(peer, &ledgerv2.AppendRequest{Client: "p", Sequence: n, Payload: []byte("0123456789")}, actor.SendOptions{Key: fmt.Sprint("ping/", n)})
					env.Clock.SetTimer("ping", 0, every)
				}
				return nil
			},
		}, nil
	}
}

func ponger(env actor.Env) (actor.Actor, error) {
	var f actor.File
	return funcs{
		start: func() error {
			var err error
			f, err = env.FS.Open("log", actor.Create)
			if err == nil {
				err = env.FS.SyncDir("")
			}
			return err
		},
		receive: func(from actor.ID, m canon.Message) error {
			r, ok := m.(*ledgerv2.AppendRequest)
			if !ok {
				return nil
			}
			size, err := f.Size()
			if err != nil {
				return err
			}
			if _, err := actor.WriteFull(f, r.Payload, size); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
			env.Net.Send(from, &ledgerv2.AppendReply{Client: r.Client, Sequence: r.Sequence, Outcome: ledgerv2.Outcome_DONE}, actor.SendOptions{})
			return nil
		},
	}, nil
}

func pingWorld(t testing.TB, seed uint64, log *trace.Log, change func(*Config)) *World {
	t.Helper()
	var hosts []Host
	for _, name := range []string{"h1", "h2"} {
		d, err := disk.New(disk.Config{Keyed: NewSource(seed)})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, Host{Name: name, Disk: d})
	}
	cfg := Config{
		Name: "ping", Seed: seed, Hosts: hosts, Trace: log, Poison: true,
		Nodes: []Node{
			{ID: "a", Host: "h1", Make: pinger("b", 10*time.Millisecond), Callback: true},
			{ID: "b", Host: "h2", Make: ponger, Restart: 50 * time.Millisecond},
		},
	}
	if change != nil {
		change(&cfg)
	}
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func run(t testing.TB, w *World, d time.Duration) {
	t.Helper()
	if err := w.Run(d); err != nil {
		t.Fatal(err)
	}
}

// Two runs of one seed have one hash; another seed has another.
func TestSameSeedSameHash(t *testing.T) {
	hash := func(seed uint64) string {
		w := pingWorld(t, seed, nil, nil)
		run(t, w, time.Second)
		w.End()
		return w.Hash().String()
	}
	if a, b := hash(1), hash(1); a != b {
		t.Errorf("seed 1 gives %s and %s", a, b)
	}
	if hash(1) == hash(2) {
		t.Error("seeds 1 and 2 give the same hash")
	}
}

// Each fault of the kernel is seen by somebody: a witness for each.
func TestFaultsAreWitnessed(t *testing.T) {
	for name, tc := range map[string]struct {
		inject func(t *testing.T, w *World)
		want   func(r *record) error
	}{
		"crash": {
			func(t *testing.T, w *World) { ok(t)(w.CrashNode("b", 100*time.Millisecond, 0)) },
			wants("crashed b", 1, "started b (life 2)", 1, "the node is down", 10),
		},
		"crash for good": {
			func(t *testing.T, w *World) { ok(t)(w.CrashNode("b", -1, 0)) },
			wants("crashed b", 1, "started b (life 2)", 0),
		},
		"host crash": {
			func(t *testing.T, w *World) { ok(t)(w.CrashHost("h2", 100*time.Millisecond, 0)) },
			wants("host-crashed h2", 1, "started b (life 2)", 1),
		},
		"crash at operation": {
			func(t *testing.T, w *World) { must(t, w.CrashAtOperation("b", 3, false, 0, 0, nil)) },
			wants("crashed b", 1, "started b (life 2)", 1),
		},
		"power at operation": {
			func(t *testing.T, w *World) { must(t, w.CrashAtOperation("b", 3, true, 0, 0, nil)) },
			wants("host-crashed h2", 1, "started b (life 2)", 1),
		},
		"crash at send": {
			func(t *testing.T, w *World) { must(t, w.CrashAtSend("b", 2, "AppendReply", 0, 0, nil)) },
			wants("crashed b", 1, "started b (life 2)", 1),
		},
		"crash at send of a callback node": {
			func(t *testing.T, w *World) { must(t, w.CrashAtSend("a", 2, "Append*", 0, 0, nil)) },
			wants("crashed a", 1, "started a (life 2)", 1),
		},
		"pause": {
			func(t *testing.T, w *World) {
				must(t, w.PauseNode("b", 0))
				w.At(w.Now()+100*time.Millisecond, 1, func() { must(t, w.ResumeNode("b")) })
			},
			func(r *record) error {
				if n := r.between("paused b", "resumed b", " b "); n > 0 {
					return fmt.Errorf("%d steps of b while it was paused", n)
				}
				return wants("paused b", 1, "resumed b", 1)(r)
			},
		},
		"partition": {
			func(t *testing.T, w *World) {
				addLink(t, w, LinkFault{Effect: LinkCut, From: []string{"a"}, To: []string{"b"}})
			},
			wants("dropped a → b partitioned", 51, "dropped b", 0),
		},
		"drop": {
			func(t *testing.T, w *World) {
				addLink(t, w, LinkFault{Effect: LinkDrop, Type: "AppendReply", Count: 3})
			},
			wants("dropped b → a dropped", 3),
		},
		"duplicate": {
			func(t *testing.T, w *World) {
				addLink(t, w, LinkFault{Effect: LinkDuplicate, From: []string{"a"}, Count: 4, Delay: time.Millisecond})
			},
			wants("sent a → b", 100, "delivered a → b", 103),
		},
		"corrupt": {
			func(t *testing.T, w *World) {
				addLink(t, w, LinkFault{Effect: LinkCorrupt, From: []string{"a"}, Count: 7})
			},
			wants("refused a → b", 7),
		},
		"delay": {
			func(t *testing.T, w *World) {
				addLink(t, w, LinkFault{Effect: LinkDelay, From: []string{"a"}, Count: 1, Delay: time.Hour})
			},
			// In order: whatever is behind the delayed message waits for it.
			wants("delivered a → b", 49),
		},
		"reorder": {
			func(t *testing.T, w *World) {
				addLink(t, w, LinkFault{Effect: LinkReorder, From: []string{"a"}, Count: 1, Delay: time.Hour})
			},
			wants("delivered a → b", 98),
		},
		"hung disk": {
			func(t *testing.T, w *World) { inject(t, w, disk.Fault{Kind: disk.HungIO}) },
			wants("delivered b → a", 49),
		},
		"failed sync": {
			func(t *testing.T, w *World) { inject(t, w, disk.Fault{Kind: disk.SyncError, Limit: 1}) },
			wants("exited b", 1, "started b (life 2)", 1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := new(record)
			w := pingWorld(t, 1, trace.NewLog(r), nil)
			w.At(500*time.Millisecond, 1, func() { tc.inject(t, w) })
			run(t, w, time.Second)
			w.End()
			if err := tc.want(r); err != nil {
				t.Error(err)
			}
		})
	}
}

func (r *record) between(from, to, substr string) (n int) {
	inside := false
	for _, l := range r.lines {
		if strings.Contains(l, from) {
			inside = true
			continue
		}
		if strings.Contains(l, to) {
			inside = false
		}
		if inside && strings.Contains(l, substr) && !strings.Contains(l, "sent") {
			n++
		}
	}
	return n
}

// wants checks how often texts stand in the events.
func wants(pairs ...any) func(*record) error {
	return func(r *record) error {
		for i := 0; i < len(pairs); i += 2 {
			if n := r.count(pairs[i].(string)); n != pairs[i+1].(int) {
				return fmt.Errorf("%q stands %d times; want %v", pairs[i], n, pairs[i+1])
			}
		}
		return nil
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ok(t testing.TB) func(bool, error) {
	return func(hit bool, err error) {
		t.Helper()
		must(t, err)
		if !hit {
			t.Fatal("the fault hit nothing")
		}
	}
}

func addLink(t testing.TB, w *World, f LinkFault) {
	t.Helper()
	_, err := w.AddLinkFault(f, false)
	must(t, err)
}

func inject(t testing.TB, w *World, f disk.Fault) {
	t.Helper()
	d, err := w.Disk("h2")
	must(t, err)
	_, err = d.Inject(f)
	must(t, err)
}

// An actor that swallows the panic that unwinds it is dead all the same.
func TestDeathIsLatched(t *testing.T) {
	var after int
	w := pingWorld(t, 1, nil, func(c *Config) {
		c.Nodes[1].Make = func(env actor.Env) (actor.Actor, error) {
			return funcs{receive: func(from actor.ID, m canon.Message) error {
				func() {
					defer func() { _ = recover() }()
					_, _ = env.FS.ReadDir("")
				}()
				after++ // reached although it is dead
				env.Net.Send(from, &ledgerv2.AppendReply{}, actor.SendOptions{})
				after += 100
				return nil
			}}, nil
		}
	})
	must(t, w.CrashAtOperation("b", 1, false, -1, 0, nil))
	run(t, w, time.Second)
	w.End()
	if after != 1 {
		t.Errorf("after its death the actor came to %d; want 1", after)
	}
}

// A panic of an actor ends its life, names the place, and the world goes on.
func TestActorPanicIsAnEvent(t *testing.T) {
	r := new(record)
	w := pingWorld(t, 1, trace.NewLog(r), func(c *Config) {
		c.Nodes[1].Make = func(actor.Env) (actor.Actor, error) {
			return funcs{receive: func(actor.ID, canon.Message) error {
				var m map[string]int
				m["x"] = 1
				return nil
			}}, nil
		}
	})
	run(t, w, 200*time.Millisecond)
	w.End()
	if n := r.count("exited b"); n < 2 {
		t.Errorf("b exited %d times", n)
	}
	if r.count("nil map") == 0 || r.count("TestActorPanicIsAnEvent") == 0 {
		t.Errorf("the event does not name the panic and its place: %v", r.lines[len(r.lines)-3:])
	}
}

// Removing a fault leaves every decision as it was that is not in the fault's
// causal future.
func TestDecisionsOutsideTheCausalFutureStay(t *testing.T) {
	type id struct {
		purpose string
		key     uint64
		n       uint32
	}
	decisions := func(fault bool) (map[id]uint64, map[id]uint64) {
		all, tainted := map[id]uint64{}, map[id]uint64{}
		w := pingWorld(t, 3, nil, func(c *Config) {
			d1, _ := disk.New(disk.Config{})
			c.Hosts = append(c.Hosts, Host{Name: "h3", Disk: d1})
			c.Nodes = append(c.Nodes,
				Node{ID: "c", Host: "h3", Make: pinger("d", 7*time.Millisecond), Callback: true},
				Node{ID: "d", Host: "h3", Make: ponger})
			c.Decisions = func(d Decision) {
				k := id{d.Purpose, d.Identity, d.Occurrence}
				all[k] = d.Value
				if d.Taint != 0 {
					tainted[k] = d.Value
				}
			}
		})
		if fault {
			w.At(300*time.Millisecond, 1, func() { ok(t)(w.CrashNode("b", 50*time.Millisecond, 1)) })
		}
		run(t, w, time.Second)
		w.End()
		return all, tainted
	}
	with, tainted := decisions(true)
	without, _ := decisions(false)
	outside := 0
	for k, v := range with {
		if _, inFuture := tainted[k]; inFuture {
			continue
		}
		outside++
		if got, there := without[k]; !there || got != v {
			t.Fatalf("decision %v changed from %d to %d, %v", k, v, got, there)
		}
	}
	if outside == 0 || len(tainted) == 0 {
		t.Fatalf("%d decisions outside, %d inside: nothing was compared", outside, len(tainted))
	}
}

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]Config{
		"declared twice":    {Hosts: []Host{{Name: "h"}, {Name: "h"}}},
		"is not declared":   {Nodes: []Node{{ID: "a", Host: "x", Make: ponger}}},
		"has no construct":  {Hosts: []Host{{Name: "h"}}, Nodes: []Node{{ID: "a", Host: "h"}}},
		`"a" is declared t`: {Hosts: []Host{{Name: "h"}}, Nodes: []Node{{ID: "a", Host: "h", Make: ponger}, {ID: "a", Host: "h", Make: ponger}}},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// An actor that never lets time go on is reported, not waited for.
func TestRunawayIsReported(t *testing.T) {
	w := pingWorld(t, 1, nil, func(c *Config) {
		c.Nodes[0].Make = func(env actor.Env) (actor.Actor, error) {
			return funcs{
				start:   func() error { env.Clock.SetTimer("again", 0, 0); return nil },
				receive: func(actor.ID, canon.Message) error { env.Clock.SetTimer("again", 0, 0); return nil },
			}, nil
		}
	})
	if err := w.Run(time.Second); !errors.Is(err, ErrRunaway) {
		t.Errorf("got %v", err)
	}
	w.End()
}

// A node's clocks: skew moves the wall only, drift stretches timers, a jump
// back leaves monotonic time going on.
func TestClocks(t *testing.T) {
	var wall []time.Time
	var mono []time.Duration
	w := pingWorld(t, 1, nil, func(c *Config) {
		c.Nodes[0].Make = func(env actor.Env) (actor.Actor, error) {
			return funcs{
				start: func() error { env.Clock.SetTimer("t", 0, 100*time.Millisecond); return nil },
				receive: func(actor.ID, canon.Message) error {
					wall, mono = append(wall, env.Clock.Now()), append(mono, env.Clock.Monotonic())
					env.Clock.SetTimer("t", 0, 100*time.Millisecond)
					return nil
				},
			}, nil
		}
	})
	w.At(150*time.Millisecond, 1, func() { must(t, w.SkewClock("h1", -time.Hour, 0)) })
	w.At(250*time.Millisecond, 1, func() { must(t, w.DriftClock("h1", 100_000, 0)) })
	run(t, w, time.Second)
	w.End()
	if d := wall[1].Sub(wall[0]); d != 100*time.Millisecond-time.Hour {
		t.Errorf("the jump moved the wall clock by %v", d)
	}
	for i := 1; i < len(mono); i++ {
		if d := mono[i] - mono[i-1]; d < 99*time.Millisecond || d > 106*time.Millisecond {
			t.Errorf("monotonic time went on by %v", d)
		}
	}
	// A clock that is a tenth too fast counts 100 ms in 91.
	if n := len(mono); n != 10 {
		t.Errorf("%d timers in a second; want 10: %v", n, mono)
	}
}
