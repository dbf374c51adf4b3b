package runner_test

import (
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/planted"
	"github.com/esper-sim/espersim/scenarios/runner"
)

const logCluster = `version: 1
name: witness
duration: %s
cluster:
  hosts:
    - {name: store, rack: r1, disk: {profile: posix-weak}}
    - {name: desk, rack: r2}
  nodes:
    - {name: ledger, host: store, options: {segment: 4096}}
    - {name: writer, host: desk, options: {every: 1ms}}
plan:
%s
checks: [W1, W2, W3]
expect: clean
`

const triadCluster = `version: 1
name: witness
duration: %s
cluster:
  hosts:
    - {name: train}
    - {name: control}
    - {name: bus}
  nodes:
    - {name: tolaria, host: train}
    - {name: kasmina, host: train}
    - {name: tamiyo, host: control, options: {policy: busy}}
    - {name: oona, host: bus}
plan:
%s
expect: clean
`

const busCluster = `version: 1
name: witness
duration: %s
cluster:
  hosts:
    - {name: bus, rack: r1}
    - {name: desk, rack: r2}
  nodes:
    - {name: oona, host: bus, options: {retain: 20, segment: 8192, snapshot: 16384}}
    - {name: publisher, host: desk, options: {every: 6ms, newest: true}}
    - {name: subscriber, host: desk, options: {forget: 0.2}}
    - {name: second, is: subscriber, host: desk, options: {slow: 20ms}}
plan:
%s
checks: [O1, O2, P1]
expect: clean
`

const benchCluster = `version: 1
name: witness
duration: %s
cluster:
  hosts:
    - {name: shelf}
    - {name: bus}
    - {name: works}
    - {name: test}
  nodes:
    - {name: urza, host: shelf}
    - {name: oona, host: bus}
    - {name: karn, host: works, options: {every: 1s, count: 3}}
    - {name: tezzeret, host: works}
    - {name: urabrask, host: test}
plan:
%s
expect: clean
`

const fleetCluster = `version: 1
name: witness
duration: %s
cluster:
  hosts:
    - {name: lead}
    - {name: gpu, devices: 2}
  nodes:
    - {name: lead, is: fleet-lead, host: lead, options: {step: 100ms}}
    - {name: worker, is: fleet-worker, host: gpu, options: {step: 100ms, restore: 300ms, beat: 200ms}}
plan:
%s
expect: clean
`

// witness is a run in which a fault is seen at work.
type witness struct {
	on     string // the cluster
	faults []string
	every  int // ms between two faults; 0: 300
	// longer: there is nothing to hit before seconds have passed.
	longer bool
	// unsynced: the ledger syncs nothing. The logs here write once before each
	// sync, so that for a correct one there is nothing to reorder.
	unsynced bool
}

// witnesses has one for each kind of fault.
var witnesses = map[string]witness{
	"crash":         {on: logCluster, faults: []string{"crash ledger"}},
	"crash-host":    {on: logCluster, faults: []string{"crash-host store"}},
	"crash-rack":    {on: logCluster, faults: []string{"crash-rack r1"}},
	"crash-at-op":   {on: logCluster, faults: []string{"crash-at-op ledger op=5"}},
	"power-at-op":   {on: logCluster, faults: []string{"power-at-op ledger op=5"}},
	"crash-at-send": {on: logCluster, faults: []string{"crash-at-send ledger op=2 type=AppendReply"}},
	"crash-loop":    {on: logCluster, faults: []string{"crash-loop ledger period=100ms"}},
	"upgrade":       {on: busCluster, faults: []string{"upgrade subscriber schema=2.0", "crash publisher"}},
	"down":          {on: logCluster, faults: []string{"down ledger"}},
	"pause":         {on: logCluster, faults: []string{"pause ledger"}},
	"slow":          {on: logCluster, faults: []string{"slow ledger factor=20"}},

	"clock-skew":  {on: logCluster, faults: []string{"clock-skew desk by=20s"}},
	"clock-jump":  {on: logCluster, faults: []string{"clock-jump desk by=-20s"}},
	"clock-drift": {on: logCluster, faults: []string{"clock-drift desk ppm=10000"}},

	"partition": {on: logCluster, faults: []string{"partition writer -> ledger"}},
	"flap":      {on: logCluster, faults: []string{"flap writer | ledger period=100ms"}},
	"drop":      {on: logCluster, faults: []string{"drop writer | ledger rate=0.3"}},
	"delay":     {on: logCluster, faults: []string{"delay writer | ledger delay=100ms"}},
	"reorder":   {on: logCluster, faults: []string{"reorder writer | ledger delay=100ms"}},
	"duplicate": {on: logCluster, faults: []string{"duplicate writer | ledger delay=100ms"}},
	"corrupt":   {on: logCluster, faults: []string{"corrupt writer | ledger rate=0.3"}},

	"disk/lose-unsynced":    power(logCluster, "disk/lose-unsynced store", "ledger", "store"),
	"disk/reorder-unsynced": unsyncedLog("disk/reorder-unsynced store"),
	"disk/torn-write":       power(logCluster, "disk/torn-write store", "ledger", "store"),
	"disk/zero-tail":        power(logCluster, "disk/zero-tail store", "ledger", "store"),
	"disk/stale-tail":       power(logCluster, "disk/stale-tail store", "ledger", "store"),
	"disk/lost-entry":       power(logCluster, "disk/lost-entry store", "ledger", "store"),
	"disk/lost-rename":      power(logCluster, "disk/lost-rename store", "ledger", "store"),
	"disk/lost-unlink":      power(busCluster, "disk/lost-unlink bus", "oona", "bus"),
	"disk/fsync-eio":        {on: logCluster, faults: []string{"disk/fsync-eio store count=1", "crash ledger"}},
	"disk/dsync-eio":        {on: logCluster, faults: []string{"disk/dsync-eio store count=1"}},
	"disk/enospc":           {on: logCluster, faults: []string{"disk/enospc store count=1"}},
	"disk/enospc-sync":      {on: logCluster, faults: []string{"disk/enospc-sync store count=1"}},
	"disk/short-write":      {on: logCluster, faults: []string{"disk/short-write store count=1"}},
	"disk/eintr":            {on: logCluster, faults: []string{"disk/eintr store count=1"}},
	"disk/bit-rot":          {on: logCluster, faults: []string{"disk/bit-rot store count=1", "crash ledger"}},
	"disk/bad-sector":       {on: logCluster, faults: []string{"disk/bad-sector store count=1", "crash ledger"}},
	"disk/misdirected":      {on: logCluster, faults: []string{"disk/misdirected store count=1"}},
	"disk/lost-write":       {on: logCluster, faults: []string{"disk/lost-write store count=1"}},
	"disk/stale-read":       {on: logCluster, faults: []string{"disk/stale-read store count=1", "crash ledger"}},
	"disk/lying-flush":      {on: logCluster, faults: []string{"disk/lying-flush store", "crash-host store"}},
	"disk/slow-io":          {on: logCluster, faults: []string{"disk/slow-io store delay=20ms"}},
	"disk/hung-io":          {on: logCluster, faults: []string{"disk/hung-io store count=1"}},

	"gpu/out-of-memory":     {on: benchCluster, longer: true, faults: []string{"gpu/out-of-memory test rate=0.5"}},
	"gpu/launch-failed":     {on: benchCluster, longer: true, faults: []string{"gpu/launch-failed test rate=0.2"}},
	"gpu/app-fault":         {on: benchCluster, longer: true, faults: []string{"gpu/app-fault test rate=0.1"}},
	"gpu/sticky":            {on: benchCluster, longer: true, faults: []string{"gpu/sticky test rate=0.1"}},
	"gpu/ecc-contained":     {on: benchCluster, longer: true, faults: []string{"gpu/ecc-contained test rate=0.1"}},
	"gpu/ecc-uncontained":   {on: benchCluster, longer: true, faults: []string{"gpu/ecc-uncontained test rate=0.1"}},
	"gpu/remap-pending":     {on: benchCluster, longer: true, faults: []string{"gpu/remap-pending test rate=0.1"}},
	"gpu/remap-failed":      {on: benchCluster, longer: true, faults: []string{"gpu/remap-failed test count=1"}},
	"gpu/off-bus":           {on: benchCluster, longer: true, faults: []string{"gpu/off-bus test count=1"}},
	"gpu/gsp":               {on: benchCluster, longer: true, faults: []string{"gpu/gsp test count=1"}},
	"gpu/hung-kernel":       {on: benchCluster, longer: true, faults: []string{"gpu/hung-kernel test count=1"}},
	"gpu/silent-corruption": {on: benchCluster, longer: true, faults: []string{"gpu/silent-corruption test rate=0.3"}},
	"gpu/nvlink":            {on: fleetCluster, longer: true, faults: []string{"gpu/nvlink gpu rate=0.5"}},
	"gpu/health-lies":       {on: benchCluster, longer: true, faults: []string{"gpu/health-lies test rate=0.5"}},
	"gpu/throttle":          {on: benchCluster, longer: true, faults: []string{"gpu/throttle test factor=3"}},
	"kernel/throws":         {on: triadCluster, longer: true, faults: []string{"kernel/throws kasmina rate=0.1"}},
	"kernel/gradient-leak":  {on: triadCluster, longer: true, faults: []string{"kernel/gradient-leak kasmina rate=0.3"}},
	"training/foreign-rate": {on: triadCluster, faults: []string{"training/foreign-rate tolaria rate=0.3"}},
	"bus/duplicate":         {on: busCluster, faults: []string{"bus/duplicate oona rate=0.3"}},
	"bus/reorder":           {on: busCluster, faults: []string{"bus/reorder oona rate=0.3"}},
	"bus/drop-ack":          {on: busCluster, faults: []string{"bus/drop-ack oona rate=0.3"}},
	"bus/claim":             {on: busCluster, faults: []string{"bus/claim oona rate=0.3"}},
	"bus/rewind-cursor":     {on: busCluster, faults: []string{"bus/rewind-cursor oona", "crash oona"}},
	"bus/trim-pending":      {on: busCluster, faults: []string{"bus/trim-pending oona"}},
	"bus/poison":            {on: busCluster, faults: []string{"bus/poison oona rate=0.1"}},
	"bus/zombie-ack":        {on: busCluster, faults: []string{"bus/zombie-ack oona rate=0.3"}},
}

// power is a witness of what shows at a power loss: of many, at all sorts of
// moments.
func power(on, f, node, host string) witness {
	w := witness{on: on, every: 71, faults: []string{f}}
	for i := range 45 {
		if i%3 == 0 {
			w.faults = append(w.faults, fmt.Sprintf("power-at-op %s op=%d restart=20ms", node, 1+i*7%23))
		} else {
			w.faults = append(w.faults, fmt.Sprintf("crash-host %s restart=20ms", host))
		}
	}
	return w
}

func unsyncedLog(f string) witness {
	return witness{on: logCluster, faults: []string{f, "crash-host store"}, unsynced: true}
}

func (w witness) scenario(t *testing.T) *scenarios.Scenario {
	t.Helper()
	plan := ""
	every := w.every
	if every == 0 {
		every = 300
	}
	duration, holds := "4s", "3400ms"
	if w.longer {
		duration, holds = "20s", "19s"
	}
	for i, text := range w.faults {
		f, err := faults.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		hold := ", for: " + holds
		if faults.Lookup(f.Kind).Instant {
			hold = ""
		}
		plan += fmt.Sprintf("  - {at: %dms, fault: %q%s}\n", 500+every*i, text, hold)
	}
	s, err := scenarios.Parse("witness.yaml", fmt.Appendf(nil, w.on, duration, plan), runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEveryFaultIsWitnessed: each kind fires, and the run is another one than
// without it. What a kind of class survivable does breaks no promise.
func TestEveryFaultIsWitnessed(t *testing.T) {
	for _, k := range faults.Catalogue() {
		t.Run(k.Name, func(t *testing.T) {
			w, ok := witnesses[k.Name]
			if !ok {
				t.Fatal("nothing shows that it ever fires")
			}
			s := w.scenario(t)
			steps, err := s.Steps(0, nil)
			if err != nil {
				t.Fatal(err)
			}
			o := runner.Options{All: true}
			if w.unsynced {
				o.Wrap = planted.Unsynced("ledger")
			}
			var fired bool
			for seed := uint64(1); seed <= 20 && !fired; seed++ {
				o.Seed = seed
				rest := o
				rest.Steps = steps[1:]
				with, err := runner.Run(s, o)
				if err != nil {
					t.Fatal(err)
				}
				if with.Error != "" {
					t.Fatal(with.Error)
				}
				if k.Class == faults.Survivable && !w.unsynced && with.Verdict != runner.Clean {
					t.Fatalf("seed %d: %s %v", seed, with.Verdict, with.Violations)
				}
				if with.Fired[k.Name] == 0 {
					continue
				}
				// Only the fault itself is taken out, not what makes it show.
				without, err := runner.Run(s, rest)
				if err != nil {
					t.Fatal(err)
				}
				if without.TraceHash == with.TraceHash {
					t.Fatalf("seed %d: it fired %d times, and the run is as it is without it", seed, with.Fired[k.Name])
				}
				fired = with.Events != without.Events || with.Messages != without.Messages || !sameCounts(with.Judged, without.Judged)
			}
			if !fired {
				t.Error("it never fired with an effect in 20 runs")
			}
		})
	}
	for name := range witnesses {
		if faults.Lookup(name) == nil {
			t.Errorf("there is no fault %s", name)
		}
	}
}

func sameCounts(a, b map[string]uint64) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}
