package faults_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/sim"
)

// draw makes a valid fault of any kind.
func draw(t *rapid.T) faults.Fault {
	k := rapid.SampledFrom(faults.Catalogue()).Draw(t, "kind")
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9.-]{0,6}`), 1, 3, rapid.ID[string])
	f := faults.Fault{Kind: k.Name, On: names.Draw(t, "on")}
	if k.Shape == faults.OnLinks {
		f.OneWay = rapid.Bool().Draw(t, "one way")
		if rapid.Bool().Draw(t, "peers") {
			f.Peers = names.Draw(t, "to")
		}
	}
	span := func(least time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least), int64(time.Hour)).Draw(t, "duration"))
	}
	for _, p := range k.Params {
		if !slices.Contains(k.Needs, p) && rapid.Bool().Draw(t, "without "+p) {
			continue
		}
		switch p {
		case "restart":
			f.Restart = span(1)
			if rapid.Bool().Draw(t, "never") {
				f.Restart = faults.Never
			}
		case "delay":
			f.Delay = span(1)
		case "by":
			f.By = span(1)
			if rapid.Bool().Draw(t, "back") {
				f.By = -f.By
			}
		case "period":
			f.Period = span(1)
		case "factor":
			f.Factor = rapid.Float64Range(1e-3, 1e6).Draw(t, p)
		case "rate":
			f.Rate = rapid.Float64Range(1e-9, 1).Draw(t, p)
		case "ppm":
			f.PPM = rapid.Int64Range(-999_999, -1).Draw(t, p)
		case "op":
			f.Op = rapid.IntRange(1, 1<<20).Draw(t, p)
		case "count":
			f.Count = rapid.IntRange(1, 1<<20).Draw(t, p)
		case "skip":
			f.Skip = rapid.IntRange(0, 1<<20).Draw(t, p)
		case "type":
			f.Type = rapid.StringMatching(`[A-Z][A-Za-z.]{0,8}\*?`).Draw(t, p)
		case "path":
			f.Path = rapid.StringMatching(`[a-z/*=.-]{1,8}`).Draw(t, p)
		case "offset":
			f.Offset = rapid.Int64Range(0, 1<<40).Draw(t, p)
		case "size":
			f.Size = rapid.Int64Range(1, 1<<40).Draw(t, p)
		case "device":
			f.Device = rapid.IntRange(1, 64).Draw(t, p)
		case "xid":
			f.Xid = rapid.IntRange(1, 999).Draw(t, p)
		case "schema":
			f.Schema = rapid.StringMatching(`[1-9]\.(0|[1-9][0-9]{0,2})`).Draw(t, p)
		default:
			t.Fatalf("the test does not know the parameter %q", p)
		}
	}
	return f
}

func TestEveryFaultParsesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := draw(t)
		got, err := faults.Parse(f.String())
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, f) {
			t.Fatalf("%s\n got %+v\nwant %+v", f, got, f)
		}
	})
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		text   string
		column int
		wrong  string // a part of it
		want   string // a part of it
	}{
		{"", 1, "empty", "crash"},
		{"  crsh a", 1, `"crsh"`, `"crash"`},
		{"disk/fsync-ei h", 1, "unknown kind", `"disk/fsync-eio"`},
		{"crash", 6, "no target", "crash node"},
		{"crash restart=1s", 17, "no target", "crash node"},
		{"crash a,", 7, "empty name", "commas"},
		{"crash a,b,a", 7, "twice", "commas"},
		{"crash a | b", 9, "one side", "crash node"},
		{"drop a", 7, "other side", "drop node"},
		{"drop a |", 9, "other side", "drop node"},
		{"drop a -> rate=0.5", 19, "other side", "drop node"},
		{"drop a | b,,c", 10, "empty name", "commas"},
		{"crash a restrt=1s", 9, `takes no "restrt"`, `"restart"`},
		{"crash a rate=0.5", 9, `takes no "rate"`, `"restart"`},
		{"down a rate=1", 8, `takes no "rate"`, "no parameters"},
		{"crash a restart", 9, "name=value", "crash node"},
		{"crash a restart=1s restart=2s", 20, "twice", "once"},
		{"crash a restart=-1s", 17, `"-1s"`, "duration"},
		{"crash a restart=soon", 17, `"soon"`, "duration"},
		{"drop a | b rate=0", 17, `"0"`, "above 0"},
		{"drop a | b rate=1.5", 17, `"1.5"`, "at most 1"},
		{"drop a | b rate=NaN", 17, `"NaN"`, "at most 1"},
		{"drop a | b count=0", 18, `"0"`, "from 1"},
		{"drop a | b count=3000000000", 18, "3000000000", "to 2147483647"},
		{"slow a", 7, `needs "factor"`, "factor="},
		{"slow a factor=1e-300", 15, `"1e-300"`, "from 0.001"},
		{"clock-skew h by=0s", 17, `"0s"`, "else than nothing"},
		{"clock-drift h ppm=0", 19, `"0"`, "else than nothing"},
		{"clock-drift h ppm=1000001", 19, `"1000001"`, "to 1000000"},
		{"crash-at-op a op=0", 18, `"0"`, "from 1"},
	} {
		f, err := faults.Parse(c.text)
		var e *faults.FormatError
		if !errors.As(err, &e) {
			t.Errorf("%q: %+v, %v; want a FormatError", c.text, f, err)
			continue
		}
		if strings.HasPrefix(c.text, "  ") {
			c.column = e.Column // the word's own place is judged by the others
		}
		if e.Column != c.column || !strings.Contains(e.Wrong, c.wrong) || !strings.Contains(e.Want, c.want) {
			t.Errorf("%q: column %d, %q, want %q; expected column %d, …%s…, want …%s…", c.text, e.Column, e.Wrong, e.Want, c.column, c.wrong, c.want)
		}
	}
}

func TestTargets(t *testing.T) {
	nodes, hosts, racks := []string{"tolaria", "oona"}, []string{"train", "bus"}, []string{"r1"}
	for text, want := range map[string]string{
		"crash tolaria": "", "crash any": "", "crash tolria": `nearest is "tolaria"`,
		"crash-host bus": "", "crash-host oona": `unknown host "oona"`, "crash-rack r1": "", "crash-rack r2": `nearest is "r1"`,
		"drop tolaria | oona": "", "drop tolaria | any": `unknown node "any"`, "drop tolaria | onna": `nearest is "oona"`,
		"disk/eintr train": "", "disk/eintr any": "",
	} {
		f, err := faults.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Targets(nodes, hosts, racks)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

var randoms = []string{"crash any", "crash-host any restart=500ms", "drop a | b rate=0.1", "drop a | b rate=0.1", "disk/slow-io any delay=20ms", "crash-rack any"}

func expand(t testing.TB, without int, seed uint64, d time.Duration) []faults.Step {
	var list []faults.Random
	for i, text := range randoms {
		f, err := faults.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if i != without {
			list = append(list, faults.Random{Fault: f, Every: time.Duration(i+1) * time.Second, For: 300 * time.Millisecond})
		}
	}
	return faults.Expand(list, d, sim.NewSource(seed), []string{"a", "b", "c"}, []string{"h", "i"}, []string{"r", "s"})
}

// TestArrivalsDoNotMove: taking a random fault out of a plan leaves all others
// where they are, and the plan is in order of time.
func TestArrivalsDoNotMove(t *testing.T) {
	for seed := range uint64(20) {
		full := expand(t, -1, seed, time.Minute)
		if !slices.IsSortedFunc(full, func(a, b faults.Step) int { return int(a.At - b.At) }) {
			t.Error("the steps are not in order")
		}
		for gone := range randoms {
			if randoms[gone] == "drop a | b rate=0.1" && gone == 2 {
				continue // it has a twin, which would take its place
			}
			rest := expand(t, gone, seed, time.Minute)
			if len(rest) >= len(full) {
				t.Errorf("without %q there are %d steps of %d", randoms[gone], len(rest), len(full))
			}
			have := map[string]int{}
			for _, s := range full {
				have[s.String()]++
			}
			for _, s := range rest {
				if have[s.String()]--; have[s.String()] < 0 {
					t.Errorf("seed %d without %q: %v is new", seed, randoms[gone], s)
				}
			}
		}
	}
}

func TestTwinsArriveApart(t *testing.T) {
	at := map[time.Duration]bool{}
	n := 0
	for _, s := range expand(t, -1, 1, time.Minute) {
		if s.Fault.Kind == "drop" {
			at[s.At] = true
			n++
		}
	}
	if n == 0 || len(at) != n {
		t.Errorf("%d arrivals of two equal faults at %d times", n, len(at))
	}
}

// TestMeanInterval: a fault that comes every so often does, and draws every
// target.
func TestMeanInterval(t *testing.T) {
	f, err := faults.Parse("crash any")
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	steps := faults.Expand([]faults.Random{{Fault: f, Every: 10 * time.Second}}, day, sim.NewSource(7), []string{"a", "b", "c"}, nil, nil)
	mean := day.Seconds() / float64(len(steps))
	if mean < 9.6 || mean > 10.4 {
		t.Errorf("the mean interval is %.2f s; want 10", mean)
	}
	hits := map[string]int{}
	for _, s := range steps {
		hits[s.Fault.On[0]]++
	}
	for _, n := range []string{"a", "b", "c"} {
		if share := float64(hits[n]) / float64(len(steps)); share < 0.3 || share > 0.37 {
			t.Errorf("%.3f of the arrivals hit %s", share, n)
		}
	}
}

func TestWindow(t *testing.T) {
	f, err := faults.Parse("pause a")
	if err != nil {
		t.Fatal(err)
	}
	r := faults.Random{Fault: f, Every: 50 * time.Millisecond, For: time.Second, From: 2 * time.Second, Until: 4 * time.Second}
	steps := faults.Expand([]faults.Random{r}, 10*time.Second, sim.NewSource(1), []string{"a"}, nil, nil)
	if len(steps) == 0 {
		t.Fatal("no arrivals")
	}
	for _, s := range steps {
		if s.At < r.From || s.At >= r.Until || s.At+s.For > r.Until {
			t.Errorf("%v is outside %v to %v", s, r.From, r.Until)
		}
	}
}

// FuzzParse: what parses prints and parses back to the same; what does not is a
// FormatError that points into the text.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"crash a", "drop a,b -> c rate=0.5 type=Ack*", "disk/bit-rot h offset=3 size=9 path=wal/*", "clock-skew h by=-3s", "crash a restart=never", "clock-drift a ppm=0", "partition a | *"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := faults.Parse(text)
		if err != nil {
			var e *faults.FormatError
			if !errors.As(err, &e) || e.Column < 1 || e.Column > len(text)+1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := faults.Parse(got.String())
		if err != nil {
			t.Fatalf("%q prints as %q: %v", text, got, err)
		}
		if !reflect.DeepEqual(again, got) {
			t.Fatalf("%q: %+v, printed and read back %+v", text, got, again)
		}
	})
}

func ExampleParse() {
	f, err := faults.Parse("drop oona -> tamiyo type=Delivery rate=0.2")
	fmt.Println(f, err)
	_, err = faults.Parse("crash kasmina restrt=500ms")
	fmt.Println(err)
	// Output:
	// drop oona -> tamiyo rate=0.2 type=Delivery <nil>
	// fault "crash kasmina restrt=500ms", column 15: crash takes no "restrt"; want "restart"
}
