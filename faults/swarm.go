package faults

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// A Swarm is a pool of random faults of which each run draws its own share.
//
// With all faults on at their usual rates every run is like every other: what
// one fault brings about another takes away before it shows. Runs that leave
// out half of the faults, and exaggerate the rest, find more (Groce, Zhang,
// Eide, Chen, Regehr: Swarm Testing, ISSTA 2012); that a run also draws the rare ways
// of the code itself is FoundationDB's (Zhou and others, SIGMOD 2021).
//
// Every draw is keyed by the run seed and by what is drawn, and by nothing
// else: taking a fault out of the pool leaves all other draws as they were.
type Swarm struct {
	Pool     []Random
	Duration time.Duration // of the run
	Until    time.Duration // no arrival that says nothing of its own is later; 0: Duration
	Nodes    []string
	Hosts    []string
	Racks    []string
}

// A SiteRate turns a site of the code on, in every node.
type SiteRate struct {
	Site string
	Rate float64 // probability at each pass
}

// How often what is drawn, in 1/256.
const (
	biasShare = 64  // of each bias, among runs
	siteShare = 64  // of each site, among runs
	twinShare = 128 // of a second crash, among crashes of such a run
	sickShare = 192 // of the lemon, among targets of such a run
)

// SiteOdds is the probability at each pass of a site that a run has drawn.
const SiteOdds = 0.25

// A Draw is what one run has drawn of a swarm.
type Draw struct {
	On    []Random   // the faults of the run, with the rates, times and parameters drawn
	Sites []SiteRate // the sites of the code that are on
	Long  bool       // outages last up to eight times as long

	Twins bool // many a crash is followed by another within Together
	// Burst and Window are the time in which everything arrives; 0: the run.
	Burst, Window time.Duration
	// Sick are the node, host and rack that most faults hit; empty: none.
	Sick map[Shape]string

	pool  int
	swarm Swarm
	keyed Keyed
}

// Together is how soon after a crash a second one hits another target.
const Together = 50 * time.Millisecond

// shares are the parts of the pool that a run may be after, in 1/256.
var shares = [4]uint64{64, 128, 128, 192}

// dice is a draw's randomness: small numbers by purpose.
func dice(k Keyed, purpose string, n, a uint64) uint64 {
	return k.For("swarm "+purpose, a, 0) >> 32 % n
}

// Draw draws the share of a run.
func (s Swarm) Draw(keyed Keyed) *Draw {
	d := &Draw{swarm: s, keyed: keyed, pool: len(s.Pool)}
	end := s.Until
	if end <= 0 || end > s.Duration {
		end = s.Duration
	}
	bias := func(name string) bool { return dice(keyed, name, 256, 0) < biasShare }
	d.Long, d.Twins = bias("long outages"), bias("twins")
	if bias("burst") {
		d.Window = max(end/8, time.Second)
		d.Burst = time.Duration(dice(keyed, "burst begins", 1024, 0)) * (end / 2) / 1024
		d.Burst = d.Burst.Round(time.Millisecond)
	}
	if bias("lemons") {
		d.Sick = map[Shape]string{
			OnNodes: sickest(keyed, s.Nodes), OnHosts: sickest(keyed, s.Hosts), OnRacks: sickest(keyed, s.Racks),
		}
	}
	share := shares[dice(keyed, "share", 4, 0)]
	twins := map[string]int{}
	for _, r := range s.Pool {
		key := r.key()
		if twins[key]++; twins[key] > 1 {
			key += fmt.Sprint(" #", twins[key])
		}
		r.Key = key
		if dice(keyed, "on "+key, 256, 0) >= share {
			continue
		}
		if r.Until == 0 {
			r.Until = end
		}
		d.On = append(d.On, d.drawn(r))
	}
	for _, site := range sites {
		if dice(keyed, "site "+site.Name, 256, 0) < siteShare {
			d.Sites = append(d.Sites, SiteRate{site.Name, SiteOdds})
		}
	}
	return d
}

// sickest is the name with the highest draw, so that a name more or less moves
// the choice only from or to itself.
func sickest(keyed Keyed, names []string) (worst string) {
	top := uint64(0)
	for _, n := range names {
		if v := keyed.For("swarm lemon "+n, 0, 0); worst == "" || v > top {
			worst, top = n, v
		}
	}
	return worst
}

// scaled is x times a power of two, from 2^least to 2^most.
func scaled(x time.Duration, draw uint64, least, most int) time.Duration {
	e := least + int(draw%uint64(most-least+1))
	if e < 0 {
		x >>= -e
	} else {
		x <<= e
	}
	return max(x.Round(time.Millisecond), time.Millisecond)
}

// drawn is a fault with its own rates, times and parameters.
func (d *Draw) drawn(r Random) Random {
	die := func(what string) uint64 { return dice(d.keyed, what+" "+r.Key, 1<<16, 0) }
	least, most := -2, 1
	if d.Long {
		least, most = 0, 3
	}
	r.Every = scaled(r.Every, die("every"), -2, 2)
	if r.For > 0 {
		r.For = scaled(r.For, die("for"), least, most)
	}
	f := &r.Fault
	k := Lookup(f.Kind)
	if d.Long && k.takes("restart") && f.Restart >= 0 {
		f.Restart = scaled(f.restart(), die("restart"), 0, 3)
	}
	if f.Delay > 0 {
		f.Delay = scaled(f.Delay, die("delay"), -2, 2)
	}
	if f.Rate > 0 {
		rate := f.Rate / 4
		for range die("rate") % 5 {
			rate *= 2
		}
		f.Rate = min(rate, 1)
	}
	return r
}

// Expand turns what was drawn into explicit steps, in order of time.
func (d *Draw) Expand() []Step {
	return expand(d.On, d.swarm.Duration, d.keyed, names{d.swarm.Nodes, d.swarm.Hosts, d.swarm.Racks}, d)
}

// moment moves an arrival into the burst of the run, if it has one.
func (d *Draw) moment(at, from, end time.Duration) time.Duration {
	if d == nil || d.Window == 0 || end <= from || d.Burst < from || d.Burst+d.Window > end {
		return at
	}
	// In thousandths: a product of two times of hours overflows.
	return d.Burst + d.Window/1000*((at-from)/((end-from)/1000+1))
}

// lemon turns most arrivals of a run with a lemon towards it.
func (d *Draw) lemon(s *Step, asked []string, shape Shape, draw uint64) {
	if d == nil || d.Sick[shape] == "" || draw>>32%256 >= sickShare {
		return
	}
	for i, n := range asked {
		if n == Any {
			s.Fault.On[i] = d.Sick[shape]
		}
	}
}

// twin is the second crash of a pair, on another target than the first.
func (d *Draw) twin(s Step, k *Kind, have names, keyed Keyed, purpose string, n uint64, end time.Duration) (Step, bool) {
	all := have.of(k.Shape)
	if d == nil || !d.Twins || !k.Instant || k.Area != "process" || k.Shape == OnLinks || len(k.Needs) > 0 ||
		len(s.Fault.On) != 1 || len(all) < 2 || keyed.For(purpose, n, 3)>>32%256 >= twinShare {
		return Step{}, false
	}
	v := keyed.For(purpose, n, 4)
	to := all[v>>32%uint64(len(all))]
	if to == s.Fault.On[0] {
		to = all[(v>>32+1)%uint64(len(all))]
	}
	s.At += time.Duration(v&0xffffffff) % Together
	s.Fault.On = []string{to}
	return s, s.At < end
}

// String is the draw on one line: how much of the pool, and the biases.
func (d *Draw) String() string {
	s := fmt.Sprintf("%d of %d faults, %d of %d sites", len(d.On), d.pool, len(d.Sites), len(sites))
	for _, b := range d.biases() {
		s += ", " + b
	}
	return s
}

func (d *Draw) biases() (list []string) {
	if d.Long {
		list = append(list, "long outages")
	}
	if d.Window > 0 {
		list = append(list, fmt.Sprintf("a burst from %v to %v", d.Burst, d.Burst+d.Window))
	}
	if d.Twins {
		list = append(list, "crashes in pairs")
	}
	if len(d.Sick) > 0 {
		var names []string
		for _, shape := range []Shape{OnNodes, OnHosts, OnRacks} {
			if n := d.Sick[shape]; n != "" {
				names = append(names, n)
			}
		}
		list = append(list, "lemons "+strings.Join(names, ", "))
	}
	return list
}

// Lines are the whole draw: String, each fault, each site.
func (d *Draw) Lines() []string {
	list := []string{d.String()}
	for _, r := range d.On {
		list = append(list, r.String())
	}
	for _, s := range d.Sites {
		list = append(list, "site "+s.Site+" rate="+strconv.FormatFloat(s.Rate, 'g', -1, 64))
	}
	return list
}

// String is the random fault as people read it.
func (r Random) String() string {
	s := r.Fault.String() + " every " + r.Every.String()
	if r.For > 0 {
		s += " for " + r.For.String()
	}
	if r.From > 0 {
		s += " from " + r.From.String()
	}
	if r.Until > 0 {
		s += " until " + r.Until.String()
	}
	return s
}

// usual are the parameters and times with which a kind of the pool of
// survivable faults begins. A kind that is not here has none to speak of.
var usual = map[string]struct {
	params string
	every  time.Duration
	hold   time.Duration
}{
	"crash":         {"restart=300ms", 20 * time.Second, 0},
	"crash-host":    {"restart=500ms", 30 * time.Second, 0},
	"crash-rack":    {"restart=500ms", 60 * time.Second, 0},
	"crash-at-op":   {"op=7", 30 * time.Second, 0},
	"power-at-op":   {"op=15", 40 * time.Second, 0},
	"crash-at-send": {"op=3", 30 * time.Second, 0},
	"crash-loop":    {"period=700ms", 60 * time.Second, 2 * time.Second},
	"upgrade":       {"schema=2.1 restart=300ms", 60 * time.Second, 8 * time.Second},
	"down":          {"", 40 * time.Second, 1500 * time.Millisecond},
	"pause":         {"", 30 * time.Second, 800 * time.Millisecond},
	"slow":          {"factor=5", 30 * time.Second, 3 * time.Second},
	"clock-skew":    {"by=20s", 60 * time.Second, 5 * time.Second},
	"clock-jump":    {"by=-3s", 60 * time.Second, 0},
	"clock-drift":   {"ppm=300", 60 * time.Second, 8 * time.Second},
	"partition":     {"", 30 * time.Second, 1500 * time.Millisecond},
	"flap":          {"period=300ms", 60 * time.Second, 2 * time.Second},
	"drop":          {"rate=0.05", 30 * time.Second, 5 * time.Second},
	"delay":         {"delay=200ms rate=0.2", 30 * time.Second, 5 * time.Second},
	"reorder":       {"delay=200ms rate=0.2", 30 * time.Second, 5 * time.Second},
	"duplicate":     {"delay=500ms rate=0.2", 30 * time.Second, 5 * time.Second},
	"corrupt":       {"rate=0.05", 30 * time.Second, 5 * time.Second},
	"disk/":         {"", 40 * time.Second, 5 * time.Second},
	"bus/":          {"rate=0.3", 40 * time.Second, 5 * time.Second},
}

// diskParams are those of the disk's kinds that would never end otherwise.
var diskParams = map[string]string{
	"disk/fsync-eio": "count=1", "disk/dsync-eio": "count=1", "disk/hung-io": "count=1",
	"disk/enospc": "count=3", "disk/enospc-sync": "count=3", "disk/short-write": "count=3", "disk/eintr": "count=3",
	"disk/slow-io": "delay=20ms rate=0.3", "disk/stale-read": "count=1", // a second stale reading of the same is damage for a log, and no fault of its
}

// alone are the survivable kinds that no pool holds. A poisoned entry is one
// only as long as the bus lives: with a crash it is whole again, and offset 4 of
// a topic would hold other bytes than before. And a poisoned command has no
// result, which is no failure of whoever waits for it. What befalls a GPU needs one
// that somebody computes on.
var alone = map[string]bool{"bus/poison": true, "kernel/throws": true, "kernel/gradient-leak": true, "training/foreign-rate": true}

// SurvivablePool is every survivable kind of the catalogue that fits a cluster,
// with usual parameters: on any node, host or rack, on the links of each node,
// and on each of the bus's nodes. A kind that is there several times is as
// frequent as the others all together.
func SurvivablePool(nodes, hosts, racks, bus []string) []Random {
	var pool []Random
	for _, k := range catalogue {
		if k.Class != Survivable || k.Area == "gpu" || alone[k.Name] {
			continue
		}
		u, ok := usual[k.Name]
		if !ok {
			u = usual[k.Area+"/"]
		}
		if p := diskParams[k.Name]; p != "" {
			u.params = p
		}
		var targets []string
		switch {
		case k.Area == "bus":
			targets = bus
		case k.Shape == OnLinks:
			for _, n := range nodes {
				if len(nodes) < 2 {
					break
				}
				targets = append(targets, n+" | *")
				if k.Name == "partition" {
					targets = append(targets, n+" -> *")
				}
			}
		case k.Shape == OnNodes && len(nodes) > 0, k.Shape == OnHosts && len(hosts) > 0, k.Shape == OnRacks && len(racks) > 0:
			targets = []string{Any}
		}
		for _, t := range targets {
			f, err := Parse(strings.TrimSpace(k.Name + " " + t + " " + u.params))
			if err != nil {
				continue // a test parses each
			}
			hold := u.hold
			if k.Instant {
				hold = 0
			}
			pool = append(pool, Random{Fault: f, Every: u.every * time.Duration(len(targets)), For: hold})
		}
	}
	sort.SliceStable(pool, func(i, j int) bool { return pool[i].Fault.Kind < pool[j].Fault.Kind })
	return pool
}
