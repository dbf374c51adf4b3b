package faults_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/sim"
)

func fleetOf(hosts, devices int) (list []faults.Place) {
	for i := range hosts {
		list = append(list, faults.Place{Host: fmt.Sprint("h-", i+1), Node: fmt.Sprint("w-", i+1), Devices: devices})
	}
	return list
}

// As many failures come as the rates say, and the causes in their shares.
func TestFleetRates(t *testing.T) {
	for _, rates := range faults.FleetRates() {
		f := faults.Fleet{Rates: rates, Times: 100}
		want, got := 0.0, 0
		for seed := range uint64(8) {
			steps, err := f.Steps(fleetOf(128, 8), 24*time.Hour, sim.NewSource(seed+1))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.IsSortedFunc(steps, func(a, b faults.Step) int { return int(a.At - b.At) }) {
				t.Errorf("%s: the steps are not in order", rates)
			}
			want += f.Expected(1024, 24*time.Hour)
			got += len(steps)
		}
		// The distribution of waiting times is a table, whose tail is cut.
		if d := math.Abs(float64(got)/want - 1); d > 0.15 {
			t.Errorf("%s: %d failures, %.1f expected", rates, got, want)
		}
	}
}

// The lemons get their share, and few devices are lemons.
func TestLemons(t *testing.T) {
	count := func(lemons float64) (most int, all int) {
		steps, err := faults.Fleet{Rates: "delta-h100", Times: 20, Lemons: lemons}.Steps(fleetOf(32, 8), 24*time.Hour, sim.NewSource(3))
		if err != nil {
			t.Fatal(err)
		}
		by := map[string]int{}
		for _, s := range steps {
			if strings.HasPrefix(s.Fault.Kind, "gpu/") {
				k := fmt.Sprint(s.Fault.On, s.Fault.Device)
				by[k]++
				most = max(most, by[k])
				all++
			}
		}
		return most, all
	}
	if most, all := count(0); most > all/8 {
		t.Errorf("without lemons one device has %d of %d failures", most, all)
	}
	if most, all := count(0.9); most < all*8/10 {
		t.Errorf("the lemon has %d of %d failures, nine of ten are expected", most, all)
	}
}

// What a cause does is the same when the others are rarer.
func TestFleetIsKeyed(t *testing.T) {
	all, err := faults.Fleet{Rates: "llama-3", Times: 400}.Steps(fleetOf(16, 8), 24*time.Hour, sim.NewSource(9))
	if err != nil {
		t.Fatal(err)
	}
	again, err := faults.Fleet{Rates: "llama-3", Times: 400}.Steps(fleetOf(16, 8), 24*time.Hour, sim.NewSource(9))
	if err != nil || fmt.Sprint(all) != fmt.Sprint(again) || len(all) == 0 {
		t.Errorf("the same seed gives other steps: %d and %d, %v", len(all), len(again), err)
	}
}
