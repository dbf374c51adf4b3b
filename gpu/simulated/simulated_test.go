package simulated_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
)

// double is a program that doubles its input.
type double struct{ f gpu.Footprint }

func (p double) Footprint(int) gpu.Footprint { return p.f }
func (double) Run(out, in []float32) {
	for i, v := range in {
		out[i] = 2 * v
	}
}

func device(t interface{ Fatal(...any) }, memory int64) *simulated.Context {
	p, err := gpu.ByName("a100")
	if err != nil {
		t.Fatal(err)
	}
	return simulated.NewChip(simulated.Config{Profile: p, Memory: memory}).Open(simulated.Process{})
}

// Whatever is taken and given back, the account is right, and nothing is taken
// beyond the limit.
func TestMemoryIsAccountedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 1000
		d := device(t, limit)
		held := map[gpu.Slice]int64{}
		var order []gpu.Slice
		sum := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(order) > 0 && rapid.Bool().Draw(t, "free") {
				i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
				s := order[i]
				order = append(order[:i], order[i+1:]...)
				if err := d.Free(s); err != nil {
					t.Fatal(err)
				}
				sum -= held[s]
				var bad *gpu.Error
				if err := d.Free(s); !errors.As(err, &bad) || bad.Class != gpu.InvalidHandle {
					t.Fatalf("freed twice: %v", err)
				}
			} else {
				n := int64(rapid.IntRange(0, 600).Draw(t, "bytes"))
				s, err := d.Alloc(n)
				if fits := sum+n <= limit; (err == nil) != fits {
					t.Fatalf("%d bytes with %d taken: %v", n, sum, err)
				}
				if err == nil {
					held[s], order = n, append(order, s)
					sum += n
				}
			}
			if used, _ := d.Memory(); used != sum {
				t.Fatalf("%d bytes are taken, want %d", used, sum)
			}
		}
	})
}

// Launches compute, wait for each other, and cost what the profile says.
func TestLaunches(t *testing.T) {
	d := device(t, 1000)
	m, err := d.Load(double{gpu.Footprint{Passes: 4, Bytes: 100, Retained: 7}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float32, 2)
	first, err := d.Run(m, out, []float32{1, 3})
	if err != nil || out[0] != 2 || out[1] != 6 {
		t.Fatalf("%v %v", out, err)
	}
	if first.Ran != 24*time.Microsecond || first.Queued != 0 || first.Units != 20 {
		t.Errorf("the first launch: %+v", first)
	}
	second, err := d.Run(m, out, []float32{1, 3})
	if err != nil || second.Queued != first.Ran || second.Units != 40 {
		t.Errorf("the second waits for the first: %+v, %v", second, err)
	}
	if err := d.Unload(m); err != nil {
		t.Fatal(err)
	}
	if used, _ := d.Memory(); used != 7 {
		t.Errorf("%d bytes are taken after unloading, 7 are retained", used)
	}
	if _, err := d.Run(m, out, out); err == nil {
		t.Error("an unloaded program runs")
	}
	if err := d.Reset(); err != nil {
		t.Fatal(err)
	}
	if used, _ := d.Memory(); used != 0 {
		t.Errorf("%d bytes are taken after a reset", used)
	}
}

// A process hears of its launches, and of what failed.
func TestOutcomes(t *testing.T) {
	p, err := gpu.ByName("a100")
	if err != nil {
		t.Fatal(err)
	}
	var got []simulated.Outcome
	c := simulated.NewChip(simulated.Config{Profile: p, Memory: 1000})
	d := c.Open(simulated.Process{Done: func(o simulated.Outcome) { got = append(got, o) }})
	if _, err := d.Alloc(10); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Alloc(2000); err == nil {
		t.Fatal("there is room for all")
	}
	m, err := d.Load(double{gpu.Footprint{Passes: 1, Bytes: 10}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, 2)
	if _, err := d.Run(m, x, x); err != nil {
		t.Fatal(err)
	}
	if err := d.Rebuild(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Run(m, x, x); err == nil {
		t.Fatal("a context that was made anew has the module still")
	}
	want := []simulated.Outcome{{"alloc", gpu.OutOfMemory, 1}, {"run", 0, 1}, {"rebuild", 0, 2}, {"run", gpu.InvalidHandle, 2}}
	if !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
}
