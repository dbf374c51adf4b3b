package oona_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/client"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/contracts/canon"
	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// watch follows a bus from its facts and from what it sends.
type watch struct {
	published  map[string]bool // acknowledged to the publisher
	offsets    map[string]string
	consumed   map[string]int // by group and event
	dead       map[string]bool
	facts      map[evidencev2.BusAction]int
	deliveries map[string]int
	acks       map[busv2.AckStatus]int
	refused    int
	trimmed    map[string]int64
	bad        []string
	exits      int
}

func newWatch() *watch {
	return &watch{published: map[string]bool{}, offsets: map[string]string{}, consumed: map[string]int{}, dead: map[string]bool{},
		facts: map[evidencev2.BusAction]int{}, deliveries: map[string]int{}, acks: map[busv2.AckStatus]int{}, trimmed: map[string]int64{}}
}

func (w *watch) Observe(e *trace.Event) {
	switch e.Kind {
	case trace.NodeExited:
		w.exits++
		w.bad = append(w.bad, e.String())
	case trace.FactDeclared:
		if f, ok := e.Value.(*evidencev2.BusFact); ok {
			w.fact(f)
		}
	case trace.MessageSent:
		mail, ok := e.Value.(*wire.Mail)
		if !ok {
			return
		}
		w.sent(mail.Payload)
	}
}

func (w *watch) fact(f *evidencev2.BusFact) {
	w.facts[f.Action]++
	at := fmt.Sprint(f.Topic, "/", f.Offset)
	switch f.Action {
	case evidencev2.BusAction_BUS_APPENDED:
		if was := w.offsets[at]; was != "" && was != f.EventId {
			w.bad = append(w.bad, fmt.Sprintf("%s was %s and is %s", at, was, f.EventId))
		}
		w.offsets[at] = f.EventId
	case evidencev2.BusAction_BUS_CONSUMED:
		w.consumed[f.Group+" "+f.EventId]++
	case evidencev2.BusAction_BUS_DEAD_LETTERED:
		w.dead[f.EventId] = true
	case evidencev2.BusAction_BUS_TRIMMED:
		w.trimmed[f.Topic] = max(w.trimmed[f.Topic], f.Offset)
	}
}

func (w *watch) sent(m canon.Message) {
	switch m := m.(type) {
	case *busv2.PublishAck:
		if m.Status == busv2.PublishStatus_REFUSED {
			w.refused++
			return
		}
		w.published[m.EventId] = true
		if at := fmt.Sprint(m.Topic, "/", m.Offset); w.offsets[at] != m.EventId {
			w.bad = append(w.bad, fmt.Sprintf("%s acknowledged at %s, which is %q", m.EventId, at, w.offsets[at]))
		}
	case *busv2.Delivery:
		w.deliveries[fmt.Sprint(m.Group, "/", m.Topic, "/", m.Offset)]++
	case *busv2.AckReply:
		w.acks[m.Status]++
	}
}

// complete checks that everything acknowledged was consumed or is dead.
func (w *watch) complete(t *testing.T, groups ...string) {
	t.Helper()
	for _, b := range w.bad {
		t.Error(b)
	}
	if len(w.published) < 10 {
		t.Errorf("only %d publications were acknowledged", len(w.published))
	}
	missing := 0
	for _, g := range groups {
		for id := range w.published {
			if w.consumed[g+" "+id] == 0 && !w.dead[id] {
				if missing++; missing < 5 {
					t.Errorf("%s was acknowledged and never came to group %s", id, g)
				}
			}
		}
	}
	if missing > 0 {
		t.Errorf("%d lost", missing)
	}
}

type options struct {
	oona       *oona.Options
	publisher  *client.PublisherOptions
	subscriber []*client.SubscriberOptions
	seed       uint64
	sometimes  float64
}

func defaults() options {
	o := oona.Defaults()
	o.Idle, o.Lease = 200*time.Millisecond, 400*time.Millisecond
	p := client.PublisherDefaults()
	p.Every, p.Quiet = 5*time.Millisecond, time.Second
	s := client.SubscriberDefaults()
	s.Renew = 100 * time.Millisecond
	return options{oona: o, publisher: p, subscriber: []*client.SubscriberOptions{s}, seed: 1}
}

func (o options) world(t testing.TB, watch trace.Observer) *sim.World {
	t.Helper()
	var hosts []sim.Host
	for _, name := range []string{"bus", "clients"} {
		d, err := disk.New(disk.Config{Keyed: sim.NewSource(o.seed)})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, sim.Host{Name: name, Disk: d})
	}
	cfg := sim.Config{Name: "bus", Seed: o.seed, Hosts: hosts, Trace: trace.NewLog(watch), Poison: true, Sometimes: o.sometimes,
		Nodes: []sim.Node{
			{ID: "oona", Host: "bus", Make: oona.New(new(job.Job), *o.oona), Restart: 20 * time.Millisecond},
			{ID: "pub", Host: "clients", Make: client.NewPublisher(*o.publisher), Callback: true, Restart: 20 * time.Millisecond},
		}}
	for i, s := range o.subscriber {
		cfg.Nodes = append(cfg.Nodes, sim.Node{ID: actor.ID(fmt.Sprint("sub-", i+1)), Host: "clients",
			Make: client.NewSubscriber(*s), Callback: true, Restart: 50 * time.Millisecond})
	}
	w, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, w *sim.World, d time.Duration) {
	t.Helper()
	must(t, w.Run(d))
	w.End()
}

func TestUndisturbed(t *testing.T) {
	r := newWatch()
	o := defaults()
	second := *o.subscriber[0]
	second.Group = "others"
	o.subscriber = append(o.subscriber, &second)
	w := o.world(t, r)
	run(t, w, 3*time.Second)
	r.complete(t, "readers", "others")
	for at, n := range r.deliveries {
		if n != 1 {
			t.Errorf("%s was delivered %d times", at, n)
		}
	}
	if r.acks[busv2.AckStatus_ACKED] != 2*len(r.published) {
		t.Errorf("%d of %d were acknowledged", r.acks[busv2.AckStatus_ACKED], 2*len(r.published))
	}
}

// A crash before each of Oona's operations on its disk, of the process or of
// the host, loses nothing that was acknowledged.
func TestCrashAtEveryOperation(t *testing.T) {
	for _, host := range []bool{false, true} {
		for k := 1; k <= 60; k++ {
			r := newWatch()
			o := defaults()
			o.publisher.Quiet = 300 * time.Millisecond
			o.oona.Segment, o.oona.Snapshot = 16<<10, 8<<10
			w := o.world(t, r)
			must(t, w.CrashAtOperation("oona", k, host, 20*time.Millisecond, 0, nil))
			w.At(150*time.Millisecond, 1, func() {
				must(t, w.CrashAtOperation("oona", k, host, 20*time.Millisecond, 0, nil))
			})
			run(t, w, 3*time.Second)
			r.complete(t, "readers")
			if t.Failed() {
				t.Fatalf("operation %d, host %v", k, host)
			}
		}
	}
}

// A consumer that dies has its entries handed to another one of its group.
func TestConsumerCrash(t *testing.T) {
	r := newWatch()
	o := defaults()
	o.subscriber[0].Slow = 30 * time.Millisecond
	o.subscriber = append(o.subscriber, o.subscriber[0])
	w := o.world(t, r)
	w.At(500*time.Millisecond, 1, func() {
		_, err := w.CrashNode("sub-1", -1, 0)
		must(t, err)
	})
	run(t, w, 4*time.Second)
	r.complete(t, "readers")
	if r.facts[evidencev2.BusAction_BUS_CLAIMED] == 0 {
		t.Error("nothing was claimed")
	}
}

func TestForgottenAcksAndZombies(t *testing.T) {
	r := newWatch()
	o := defaults()
	o.subscriber[0].Forget = 0.3
	zombie := *o.subscriber[0]
	zombie.Zombie = true
	zombie.Slow = 250 * time.Millisecond
	o.subscriber = append(o.subscriber, &zombie)
	w := o.world(t, r)
	run(t, w, 6*time.Second)
	r.complete(t, "readers")
	if r.acks[busv2.AckStatus_STALE_CLAIM]+r.acks[busv2.AckStatus_NOT_PENDING] == 0 {
		t.Error("no acknowledgement was refused")
	}
}

// Nobody can decode a poisoned entry: it is dead-lettered after as many
// deliveries as it may have, and the group goes on. The dead letter has its
// bytes, which nobody can decode either, and stays among the dead letters.
func TestPoisonGoesToTheDeadLetters(t *testing.T) {
	r := newWatch()
	o := defaults()
	dead := *o.subscriber[0]
	dead.Group, dead.Topics = "undertakers", oona.DeadLetters
	o.subscriber = append(o.subscriber, &dead)
	w := o.world(t, r)
	_, err := w.AddSite("oona", "poison", 0.1, 0)
	must(t, err)
	run(t, w, 20*time.Second)
	r.complete(t, "readers")
	if len(r.dead) == 0 {
		t.Error("nothing was dead-lettered")
	}
	letters := map[string]bool{}
	for at, id := range r.offsets {
		letters[id] = letters[id] || strings.HasPrefix(at, oona.DeadLetters+"/")
	}
	for id := range r.dead {
		if !letters[id] && !letters["dead-letter/readers/"+id] {
			t.Errorf("%s is not among the dead letters", id)
		}
	}
	for at, n := range r.deliveries {
		if n > o.oona.Attempts {
			t.Errorf("%s was delivered %d times", at, n)
		}
	}
}

// Nothing is delivered after its time to live.
func TestExpiry(t *testing.T) {
	r := newWatch()
	o := defaults()
	o.oona.TTL = 2 * time.Second
	o.publisher.Quiet = 100 * time.Millisecond
	w := o.world(t, r)
	w.At(50*time.Millisecond, 1, func() { must(t, w.PauseNode("sub-1", 0)) })
	w.At(time.Second, 1, func() {
		_, err := w.CrashNode("sub-1", 4*time.Second, 0)
		must(t, err)
	})
	run(t, w, 10*time.Second)
	if r.facts[evidencev2.BusAction_BUS_EXPIRED] == 0 {
		t.Error("nothing expired")
	}
	if got := r.facts[evidencev2.BusAction_BUS_ACKED] + r.facts[evidencev2.BusAction_BUS_EXPIRED]; got != len(r.published) {
		t.Errorf("%d entries ended of %d", got, len(r.published))
	}
}

// Trimming stops at what a durable group has not ended; without such a group
// it does not.
func TestTrim(t *testing.T) {
	for _, durable := range []bool{true, false} {
		r := newWatch()
		o := defaults()
		o.oona.Age = 100 * time.Millisecond
		o.oona.Snapshot, o.oona.Segment = 16<<10, 16<<10
		o.publisher.Quiet = 2 * time.Second
		o.subscriber[0].Durable = durable
		w := o.world(t, r)
		w.At(200*time.Millisecond, 1, func() {
			_, err := w.CrashNode("sub-1", 3*time.Second, 0)
			must(t, err)
		})
		w.At(2500*time.Millisecond, 1, func() {
			_, err := w.CrashNode("oona", 20*time.Millisecond, 0)
			must(t, err)
		})
		run(t, w, 8*time.Second)
		if r.trimmed["telemetry.seed.health"] == 0 {
			t.Error("nothing was trimmed")
		}
		if durable {
			r.complete(t, "readers")
		} else if len(r.consumed) >= len(r.published) {
			t.Error("a group that is not durable lost nothing")
		}
		if w.Probes()["oona/snapshot"] == 0 {
			t.Error("there was no snapshot")
		}
	}
}

// Each fault of the bus is seen by somebody, and those that are survivable
// lose nothing.
func TestFaultSites(t *testing.T) {
	for site, seen := range map[string]func(r *watch) bool{
		"duplicate": func(r *watch) bool { return r.again() > 0 },
		"reorder":   func(r *watch) bool { return true },
		"drop-ack":  func(r *watch) bool { return r.again() > 0 },
		"claim":     func(r *watch) bool { return r.facts[evidencev2.BusAction_BUS_CLAIMED] > 0 },
		"poison":    func(r *watch) bool { return r.again() > 0 },
		"rewind-cursor": func(r *watch) bool {
			return r.again() > 0
		},
		"trim-pending": func(r *watch) bool { return r.facts[evidencev2.BusAction_BUS_ACKED] < len(r.published) },
		"zombie-ack":   func(r *watch) bool { return r.facts[evidencev2.BusAction_BUS_CLAIMED] > 0 },
	} {
		t.Run(site, func(t *testing.T) {
			r := newWatch()
			o := defaults()
			o.subscriber[0].Slow = 150 * time.Millisecond
			o.subscriber = append(o.subscriber, o.subscriber[0])
			if site == "zombie-ack" {
				o.subscriber[0].Forget = 0.3
			}
			w := o.world(t, r)
			rate := 0.2
			if site == "rewind-cursor" {
				rate = 1
			}
			id, err := w.AddSite("oona", site, rate, 0)
			must(t, err)
			var fired uint64
			w.At(1200*time.Millisecond, 1, func() {
				if site != "rewind-cursor" {
					fired = w.RemoveSite(id)
				}
				if site == "trim-pending" {
					return // what was trimmed is in the log, and a restart would bring it back
				}
				_, err := w.CrashNode("oona", 20*time.Millisecond, 0)
				must(t, err)
			})
			w.At(2*time.Second, 1, func() { fired += w.RemoveSite(id) })
			run(t, w, 20*time.Second)
			if fired == 0 || !seen(r) {
				t.Errorf("fired %d times, and nobody saw it", fired)
			}
			if site != "trim-pending" {
				r.complete(t, "readers")
			}
		})
	}
}

// again counts the entries that were delivered more than once.
func (w *watch) again() (n int) {
	for _, d := range w.deliveries {
		if d > 1 {
			n++
		}
	}
	return n
}

// A damaged log does not end the process: publications are refused with the
// reason.
func TestDamageRefuses(t *testing.T) {
	r := newWatch()
	o := defaults()
	o.publisher.Quiet = 3 * time.Second
	w := o.world(t, r)
	w.At(time.Second, 1, func() {
		d, err := w.Disk("bus")
		must(t, err)
		// Unlimited bit rot of what is read at the next start.
		_, err = d.Inject(disk.Fault{Kind: disk.BitRot, Limit: 50})
		must(t, err)
		_, err = w.CrashNode("oona", 20*time.Millisecond, 0)
		must(t, err)
	})
	run(t, w, 4*time.Second)
	if r.refused == 0 {
		t.Error("nothing was refused")
	}
	for _, b := range r.bad {
		t.Error(b)
	}
}

// A disk that fails a sync, hangs or is full for a while ends nothing.
func TestDiskFaults(t *testing.T) {
	for _, f := range []disk.Fault{
		{Kind: disk.DSyncError, Limit: 3}, {Kind: disk.SyncError, Limit: 3}, {Kind: disk.NoSpaceWrite}, {Kind: disk.HungIO},
	} {
		t.Run(fmt.Sprint(f.Kind), func(t *testing.T) {
			r := newWatch()
			o := defaults()
			w := o.world(t, r)
			w.At(300*time.Millisecond, 1, func() {
				d, err := w.Disk("bus")
				must(t, err)
				id, err := d.Inject(f)
				must(t, err)
				w.At(700*time.Millisecond, 1, func() { d.Lift(id) })
			})
			run(t, w, 5*time.Second)
			r.complete(t, "readers")
		})
	}
}

// Memory and disk of a long run stay bounded, and the bus is cheap.
func TestLongRun(t *testing.T) {
	r := newWatch()
	o := defaults()
	o.oona.Age = 10 * time.Second
	o.oona.Retain = 200
	o.oona.Snapshot = 64 << 10
	o.publisher.Quiet = 0
	w := o.world(t, r)
	began := time.Now()
	run(t, w, 60*time.Second)
	t.Logf("%d messages, %v", w.Messages(), time.Since(began))
	if w.Probes()["oona/snapshot"] < 5 {
		t.Errorf("%d snapshots", w.Probes()["oona/snapshot"])
	}
}

// Everything survivable at once, for many seeds: crashes of processes and of
// the host, failing disks, a bad network, and the bus's own faults.
func TestEverythingAtOnce(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := newWatch()
		o := defaults()
		o.seed = uint64(seed + 1)
		o.publisher.Quiet = 3 * time.Second
		o.oona.Retain, o.oona.Snapshot, o.oona.Segment = 100, 32<<10, 16<<10
		o.subscriber[0].Slow, o.subscriber[0].Forget = 20*time.Millisecond, 0.05
		second, other := *o.subscriber[0], *o.subscriber[0]
		other.Group = "others"
		o.subscriber = append(o.subscriber, &second, &other)
		w := o.world(t, r)
		var sites, links []int
		for _, s := range []string{"duplicate", "reorder", "drop-ack", "claim", "poison", "rewind-cursor", "zombie-ack"} {
			id, err := w.AddSite("oona", s, 0.05, 0)
			must(t, err)
			sites = append(sites, id)
		}
		for _, e := range []sim.LinkEffect{sim.LinkDrop, sim.LinkDuplicate, sim.LinkReorder, sim.LinkDelay, sim.LinkCorrupt} {
			id, err := w.AddLinkFault(sim.LinkFault{Effect: e, Rate: 0.03, Delay: 200 * time.Millisecond}, false)
			must(t, err)
			links = append(links, id)
		}
		for k := range 5 {
			at := time.Duration(300+500*k+7*seed) * time.Millisecond
			w.At(at, uint64(k), func() {
				must(t, w.CrashAtOperation("oona", 1+(seed*5+k*3)%23, k%2 == 0, 30*time.Millisecond, 0, nil))
				d, err := w.Disk("bus")
				must(t, err)
				kinds := []disk.Kind{disk.DSyncError, disk.NoSpaceWrite, disk.ShortWrite, disk.Interrupted, disk.SyncError}
				_, err = d.Inject(disk.Fault{Kind: kinds[(k+seed)%len(kinds)], Limit: 2})
				must(t, err)
			})
		}
		w.At(3500*time.Millisecond, 1, func() {
			for i, id := range sites {
				w.RemoveSite(id)
				if i < len(links) {
					w.RemoveLinkFault(links[i])
				}
			}
		})
		run(t, w, 30*time.Second)
		r.complete(t, "readers", "others")
		if t.Failed() {
			t.Fatalf("seed %d", seed+1)
		}
	}
}
