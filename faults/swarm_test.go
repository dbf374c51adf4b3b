package faults_test

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/faults"
)

// hashed is keyed randomness for tests.
type hashed uint64

func (h hashed) For(purpose string, a, b uint64) uint64 {
	f := fnv.New64a()
	fmt.Fprint(f, uint64(h), purpose, a, b)
	x := f.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>29
}

func swarm(pool []faults.Random) faults.Swarm {
	return faults.Swarm{Pool: pool, Duration: 60 * time.Second, Until: 30 * time.Second,
		Nodes: []string{"a", "b", "c"}, Hosts: []string{"h", "i"}, Racks: []string{"r"}}
}

func pool() []faults.Random {
	return faults.SurvivablePool([]string{"a", "b", "c"}, []string{"h", "i"}, []string{"r"}, []string{"a"})
}

// Every survivable kind is in the pool, or has a reason not to be; nothing else
// is.
func TestSurvivablePool(t *testing.T) {
	have := map[string]bool{}
	for _, r := range pool() {
		have[r.Fault.Kind] = true
		if err := r.Fault.Targets([]string{"a", "b", "c"}, []string{"h", "i"}, []string{"r"}); err != nil {
			t.Errorf("%v: %v", r, err)
		}
		if k := faults.Lookup(r.Fault.Kind); k.Instant == (r.For > 0) || r.Every <= 0 {
			t.Errorf("%v: it holds %v", r, r.For)
		}
	}
	for _, k := range faults.Catalogue() {
		// Poison, and what takes kernels out of use for good, would leave a swarm
		// little to look at; a GPU's faults need one that somebody computes on.
		alone := k.Area == "gpu" || k.Name == "bus/poison" || k.Area == "kernel" || k.Area == "training"
		if want := k.Class == faults.Survivable && !alone; have[k.Name] != want {
			t.Errorf("%s (%v): in the pool %v", k.Name, k.Class, have[k.Name])
		}
	}
}

// Taking a fault out of the pool moves nothing else: not which faults are on,
// not their parameters, not when and where they hit.
func TestDrawsAreIndependent(t *testing.T) {
	steps := func(p []faults.Random, seed hashed) (lines []string, d *faults.Draw) {
		d = swarm(p).Draw(seed)
		for _, s := range d.Expand() {
			lines = append(lines, s.String())
		}
		return lines, d
	}
	all := pool()
	for seed := range hashed(40) {
		whole, d := steps(all, seed)
		i := int(seed) % len(all)
		rest, e := steps(slices.Delete(slices.Clone(all), i, i+1), seed)
		if !slices.Equal(d.Sites, e.Sites) {
			t.Errorf("seed %d: other sites", seed)
		}
		var without []string
		kind := all[i].Fault.Kind
		for _, l := range whole {
			if !strings.Contains(l, ": "+kind+" ") {
				without = append(without, l)
			}
		}
		rest = slices.DeleteFunc(rest, func(l string) bool { return strings.Contains(l, ": "+kind+" ") })
		if !slices.Equal(without, rest) {
			t.Errorf("seed %d, without %v:\n%v\nand with it\n%v", seed, all[i], rest, without)
		}
	}
}

// Over many runs every bias comes up, and does what it says.
func TestBiases(t *testing.T) {
	long, bursts, twins, lemons, shares := 0, 0, 0, 0, map[int]bool{}
	for seed := range hashed(400) {
		d := swarm(pool()).Draw(seed)
		shares[len(d.On)*4/len(pool())] = true
		steps := d.Expand()
		if d.Long {
			long++
		}
		if d.Window > 0 {
			bursts++
			for _, s := range steps {
				if s.At < d.Burst || s.At > d.Burst+d.Window+faults.Together {
					t.Errorf("seed %d: %v is outside of the burst from %v for %v", seed, s, d.Burst, d.Window)
				}
			}
		}
		if d.Twins {
			for i, s := range steps[1:] {
				if k := steps[i]; s.Fault.Kind == "crash" && k.Fault.Kind == "crash" && s.At-k.At < faults.Together && s.Fault.On[0] != k.Fault.On[0] {
					twins++
				}
			}
		}
		if d.Sick != nil {
			hit, all := 0, 0
			for _, s := range steps {
				if k := faults.Lookup(s.Fault.Kind); k.Shape == faults.OnHosts {
					all++
					if s.Fault.On[0] == d.Sick[faults.OnHosts] {
						hit++
					}
				}
			}
			if all >= 20 && 2*hit < all {
				t.Errorf("seed %d: the lemon has %d faults of %d", seed, hit, all)
			}
			lemons++
		}
		for _, s := range steps {
			if s.At >= 60*time.Second || s.For < 0 {
				t.Errorf("seed %d: %v", seed, s)
			}
			if text := s.Fault.String(); !parses(text) {
				t.Errorf("seed %d: %q does not parse back", seed, text)
			}
		}
	}
	if long < 50 || bursts < 50 || twins < 10 || lemons < 50 || len(shares) < 3 {
		t.Errorf("of 400 runs %d have long outages, %d bursts, %d pairs of crashes, %d lemons, shares %v", long, bursts, twins, lemons, shares)
	}
}

func parses(text string) bool {
	f, err := faults.Parse(text)
	return err == nil && f.String() == text
}
