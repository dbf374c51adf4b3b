package crash_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/scenarios/explore/crash"
)

func find(t testing.TB, name string) *crash.Workload {
	t.Helper()
	w, err := crash.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// The real programs keep every promise in every state, within a smaller bound
// than that of make explore; and the search is no empty one.
func TestPromisesAreKept(t *testing.T) {
	for _, c := range []struct {
		name string
		ops  int
		most uint64 // states at least
	}{{"wal", 2, 50_000}, {"checkpoint", 1, 2000}, {"bus", 1, 500}} {
		t.Run(c.name, func(t *testing.T) {
			r, err := crash.Explore(find(t, c.name), crash.Options{Ops: c.ops})
			if err != nil {
				t.Fatal(err)
			}
			if g := r.Guilty; g != nil {
				t.Fatalf("%v\n%v\n%s", g.Violation, g, g.Repro())
			}
			if n := r.Work.Checked + r.Recovery.Checked; n < c.most {
				t.Errorf("%d states were judged; at least %d are there", n, c.most)
			}
			t.Logf("%+v", *r)
		})
	}
}

// Equal bounds give equal numbers, whatever the number of jobs.
func TestJobsChangeNothing(t *testing.T) {
	var first string
	for _, jobs := range []int{1, 3} {
		r, err := crash.Explore(find(t, "bus"), crash.Options{Ops: 1, Jobs: jobs})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(b)
		} else if string(b) != first {
			t.Errorf("%d jobs: %s\n1 job: %s", jobs, b, first)
		}
	}
}

// The design's log: one append, and a crash between its two writes, of which
// nothing is lost. Nothing smaller does it, and nowhere else.
func TestTheDesignsLogIsGuilty(t *testing.T) {
	r, err := crash.Explore(find(t, "hld"), crash.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := r.Guilty
	if g == nil {
		t.Fatal("it is found innocent")
	}
	if g.Case.String() != "hld/used/append" || g.Midway || g.Op != "write log at the end, 7 bytes" || len(g.Fates) != 0 || g.Lost() != 0 || g.Recovery != nil || g.Violation.Invariant != "W1" {
		t.Errorf("%v\n%v", g.Violation, g)
	}
	if r.Places != 1 {
		t.Errorf("%d places are as small; want that one only", r.Places)
	}
	again(t, g, nil)
	if r, err = crash.Explore(find(t, "hld-new"), crash.Options{}); err != nil || r.Guilty == nil {
		t.Errorf("without a sync of the directory it is innocent: %v", err)
	}
}

// again wants the crash that a counterexample names to break the same promise.
func again(t *testing.T, g *crash.Counterexample, wrap func(actor.FS) actor.FS) {
	t.Helper()
	o := crash.ReplayOptions{At: g.At, State: g.State, Wrap: wrap}
	if g.Recovery != nil {
		o.RecoveryAt, o.RecoveryState = g.Recovery.At, g.Recovery.State
	}
	c, err := crash.ParseCase(g.Case.String())
	if err != nil {
		t.Fatal(err)
	}
	r, err := crash.Replay(c, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Violation == nil || *r.Violation != *g.Violation || r.String() != g.String() {
		t.Errorf("again it is %v\n%vinstead of %v\n%v", r.Violation, r, g.Violation, g)
	}
}

// careless is a file system that leaves something out.
type careless struct {
	actor.FS
	syncDir func(renamed bool) bool // false: it does nothing
	flags   actor.Flag              // taken away from every Open
	rotates bool                    // the directory is not synced after a segment that is not the first
	renamed bool                    // since the last SyncDir
	rotated bool                    // likewise
}

func (f *careless) Open(name string, flag actor.Flag) (actor.File, error) {
	if flag&actor.Excl != 0 && strings.HasSuffix(name, ".wal") && !strings.HasSuffix(name, "01.wal") {
		f.rotated = f.rotates
	}
	return f.FS.Open(name, flag&^f.flags)
}

// Within is the same file system, as careless.
func (f *careless) Within(d time.Duration) actor.FS {
	c := *f
	c.FS = f.FS.Within(d)
	return &c
}

func (f *careless) Rename(a, b string) error {
	f.renamed = true
	return f.FS.Rename(a, b)
}

func (f *careless) SyncDir(dir string) error {
	was := f.renamed
	f.renamed = false
	if f.rotated {
		f.rotated = false
		return nil
	}
	if f.syncDir != nil && !f.syncDir(was) {
		return nil
	}
	return f.FS.SyncDir(dir)
}

// Bugs of the kind that ACE and ALICE found in real systems, planted under the
// real programs: each is found, and what is found shows again.
func TestPlantedBugs(t *testing.T) {
	for _, c := range []struct {
		name     string
		workload string
		plant    careless
	}{
		{"the directory is not synced", "wal", careless{syncDir: func(bool) bool { return false }}},
		{"records are written without O_DSYNC", "wal", careless{flags: actor.DSync}},
		{"recovery does not sync the name of what it wrote anew", "wal", careless{syncDir: func(renamed bool) bool { return !renamed }}},
		{"checkpoints are written without O_DSYNC", "checkpoint", careless{flags: actor.DSync}},
		{"the bus's directory is not synced", "bus", careless{syncDir: func(bool) bool { return false }}},
		{"publications are written without O_DSYNC", "bus", careless{flags: actor.DSync}},
	} {
		t.Run(c.name, func(t *testing.T) {
			wrap := func(fs actor.FS) actor.FS {
				f := c.plant
				f.FS = fs
				return &f
			}
			r, err := crash.Explore(find(t, c.workload), crash.Options{Ops: 1, Wrap: wrap})
			if err != nil {
				t.Fatal(err)
			}
			if r.Guilty == nil {
				t.Fatal("it is not found")
			}
			t.Logf("%v\n%v%s", r.Guilty.Violation, r.Guilty, r.Guilty.Repro())
			again(t, r.Guilty, wrap)
		})
	}
}

// The asset library keeps its promises in every state that a crash of an opening
// leaves, and of a reading that follows; with a bug under it, it does not. Its
// stores are for make explore: each has some ten thousand states.
func TestLibrary(t *testing.T) {
	c, err := crash.ParseCase("urza/judged/")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name   string
		plant  careless
		guilty bool
	}{
		{name: "as it is"},
		{"its folders are not synced", careless{syncDir: func(bool) bool { return false }}, true},
	} {
		wrap := func(fs actor.FS) actor.FS {
			f := p.plant
			f.FS = fs
			return &f
		}
		r, err := crash.Explore(c.Workload, crash.Options{Only: &c, Wrap: wrap})
		if err != nil {
			t.Fatal(err)
		}
		if (r.Guilty != nil) != p.guilty {
			t.Errorf("%s: %v", p.name, r.Guilty)
		}
		if r.Guilty != nil {
			again(t, r.Guilty, wrap)
		} else if r.Work.Checked < 100 {
			t.Errorf("%d states were judged; at least 100 are there", r.Work.Checked)
		}
	}
}

// A rotation that does not sync the directory takes two operations to be seen:
// one that rotates, and one whose acknowledgement is lost with the segment.
func TestPlantedRotation(t *testing.T) {
	wrap := func(fs actor.FS) actor.FS { return &careless{FS: fs, rotates: true} }
	for name, guilty := range map[string]bool{
		"wal/new/append-long,append-long":      false,
		"wal/new/append-long,append-long,sync": true,
		"wal/new/append,append,sync":           false, // it does not rotate
	} {
		c, err := crash.ParseCase(name)
		if err != nil {
			t.Fatal(err)
		}
		r, err := crash.Explore(c.Workload, crash.Options{Only: &c, Wrap: wrap, RecoveryUnits: -1})
		if err != nil {
			t.Fatal(err)
		}
		if (r.Guilty != nil) != guilty {
			t.Errorf("%s: %v", name, r.Guilty)
		}
		if g := r.Guilty; g != nil {
			t.Logf("%v\n%v%s", g.Violation, g, g.Repro())
			if g.Violation.Invariant != "W1" {
				t.Errorf("%s: %v", name, g.Violation)
			}
			again(t, g, wrap)
		}
	}
}

func TestParseCase(t *testing.T) {
	for _, name := range []string{"wal/new/", "wal/used/begin,data,commit", "bus/used/acknowledge"} {
		c, err := crash.ParseCase(name)
		if err != nil || c.String() != name {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for name, want := range map[string]string{
		"wall":              `want "wal"`,
		"wal":               "names no sequence",
		"wal/usd/append":    `want "used"`,
		"wal/used/apend":    `want "append"`,
		"wal/used/append,":  "no operation",
		"wal/used/append/x": "names no sequence",
	} {
		if _, err := crash.ParseCase(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", name, err, want)
		}
	}
}

// Places and states that are not there are errors that say which are.
func TestReplayOfWhatIsNotThere(t *testing.T) {
	c, err := crash.ParseCase("hld/used/append")
	if err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]crash.ReplayOptions{
		"want one from":          {At: 1},
		"place 1000":             {At: 1000},
		"admits numbers 0 to 0":  {At: 17, State: 1},
		"not in the recovery":    {At: 17, RecoveryAt: 1000},
		"admits numbers 0 to 49": {At: 16, State: -1},
	} {
		if _, err := crash.Replay(c, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v; want %s", o, err, want)
		}
	}
	if c, err = crash.ParseCase("wal/used/commit"); err != nil {
		t.Fatal(err)
	}
	if _, err = crash.Replay(c, crash.ReplayOptions{At: 1}); err == nil || !strings.Contains(err.Error(), "makes no sense") {
		t.Errorf("a COMMIT without a transaction: %v", err)
	}
}

// Every crash of the design's log, and the smallest that loses what it
// acknowledged.
func Example() {
	w, err := crash.Find("hld")
	if err != nil {
		panic(err)
	}
	r, err := crash.Explore(w, crash.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Work.Checked, "states were judged")
	fmt.Print(r.Guilty)
	fmt.Println(r.Guilty.Violation)
	// Output:
	// 12 states were judged
	// start:      used: a log with one acknowledged entry, and a durable name
	// operations: append
	// crash:      place 17, before write log at the end, 7 bytes
	//             nothing is undecided: every write before it is whole
	// W1: after a second crash, which lost only what was not synced: entry "entry-3" was acknowledged and is gone; the log reads ["entry-1"]
}
