package faults

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// Fleet is how often the accelerators of a cluster, and what they stand in, fail:
// at measured rates, and so many times as often. Few devices make most of the
// failures: a share of them befalls lemons, one device in 256 and at least one.
type Fleet struct {
	Rates  string  // see FleetRates
	Times  float64 // 0: once
	Lemons float64 // the share of failures of devices that befalls the lemons
}

// failure is something that befalls a fleet, and how often in a million hours of one
// device.
type failure struct {
	fault string // $host, $node and $device stand for where
	hold  time.Duration
	rate  float64
	of    bool // a device, not the host
}

// fleetRates are measured. Llama 3's report (419 interruptions of 16,384 H100s in 54
// days) gives causes; what it calls a faulty GPU, 7.0 with NVLink, and its HBM, 3.4,
// are shared out among classes that look so from a host. Delta's are Xids of H100s and
// A100s (Cui et al., SC '25).
var fleetRates = map[string][]failure{
	"llama-3": {
		{"gpu/off-bus $host device=$device count=1", time.Minute, 3.0, true},
		{"gpu/nvlink $host device=$device count=1", time.Minute, 2.0, true},
		{"gpu/remap-failed $host device=$device count=1", 30 * time.Minute, 1.0, true},
		{"gpu/sticky $host device=$device count=1", time.Minute, 1.0, true},
		{"gpu/ecc-contained $host device=$device count=1", time.Minute, 1.7, true},
		{"gpu/ecc-uncontained $host device=$device count=1", time.Minute, 1.7 + 0.89, true},
		{"gpu/gsp $host device=$device count=1", time.Minute, 0.80, true},
		{"gpu/throttle $host device=$device factor=1.5", 10 * time.Minute, 0.28, true},
		{"partition $node | *", 2 * time.Minute, 1.65 + 0.33, false}, // switch, cable, NIC
		{"crash $node restart=5s", 0, 2.5 + 1.07, false},             // software, and what has no cause
		{"crash-host $host restart=10m", 0, 1.5, false},              // maintenance
	},
	"delta-h100": {
		{"gpu/ecc-uncontained $host device=$device xid=48 count=1", time.Minute, 8.0, true},
		{"gpu/remap-pending $host device=$device count=1", time.Minute, 7.5, true},
		{"gpu/remap-failed $host device=$device count=1", 30 * time.Minute, 3.8, true},
		{"gpu/ecc-contained $host device=$device count=1", time.Minute, 6.6, true},
		{"gpu/ecc-uncontained $host device=$device xid=95 count=1", time.Minute, 8.9, true},
		{"gpu/app-fault $host device=$device xid=31 count=1", time.Minute, 815, true},
		{"gpu/gsp $host device=$device count=1", time.Minute, 1.4, true},
	},
	"delta-a100": {
		{"gpu/app-fault $host device=$device xid=31 count=1", time.Minute, 921, true},
		{"gpu/gsp $host device=$device count=1", time.Minute, 401, true},
		{"gpu/nvlink $host device=$device count=1", time.Minute, 200, true},
	},
}

// FleetRates are the names of the measured rates.
func FleetRates() []string {
	var names []string
	for n := range fleetRates {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// Expected is how many failures there will be, in the mean, of so many devices in a
// time.
func (f Fleet) Expected(devices int, d time.Duration) float64 {
	n := 0.0
	for _, x := range fleetRates[f.Rates] {
		n += x.rate
	}
	return n * f.times() * float64(devices) * d.Hours() / 1e6
}

func (f Fleet) times() float64 {
	if f.Times == 0 {
		return 1
	}
	return f.Times
}

// A Place is a host of a fleet: how many devices it has, and the first process on it.
type Place struct {
	Host, Node string
	Devices    int
}

// Steps are the failures of a fleet in a time, in order. Those of one cause do not
// move when another is left out.
func (f Fleet) Steps(places []Place, duration time.Duration, keyed Keyed) ([]Step, error) {
	var devices []int // for each device the index of its place
	for i, p := range places {
		for range p.Devices {
			devices = append(devices, i)
		}
	}
	if len(devices) == 0 {
		return nil, nil
	}
	var lemons []int
	for k := range uint64(max(len(devices)/256, 1)) {
		lemons = append(lemons, int(keyed.For("fleet/lemon", k, 0)%uint64(len(devices))))
	}
	var steps []Step
	for _, x := range fleetRates[f.Rates] {
		every := int64(float64(time.Hour) * 1e6 / (x.rate * f.times() * float64(len(devices))))
		purpose := "fleet/" + x.fault
		at := time.Duration(0)
		for n := uint64(0); ; n++ {
			if at += time.Duration(max(exponential(keyed.For(purpose, n, 0), every), int64(time.Millisecond))); at >= duration {
				break
			}
			device := int(keyed.For(purpose, n, 1) % uint64(len(devices)))
			if x.of && float64(keyed.For(purpose, n, 2)>>11)/(1<<53) < f.Lemons {
				device = lemons[keyed.For(purpose, n, 3)%uint64(len(lemons))]
			}
			p := places[devices[device]]
			text := strings.NewReplacer("$host", p.Host, "$node", p.Node, "$device", fmt.Sprint(device-slices.Index(devices, devices[device])+1)).Replace(x.fault)
			fault, err := Parse(text)
			if err != nil {
				return nil, err
			}
			steps = append(steps, Step{At: at, For: min(x.hold, duration-at), Fault: fault})
		}
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].At < steps[j].At })
	return steps, nil
}
