// Command hunter is the program in which a mutant lives: it makes the runs of a
// hunt, and says on its standard output, line by line as JSON, which run begins
// and what was found. It ends with the first finding.
//
// It makes each scenario's own runs first, round by round, those of the first
// files before those of the rest, and judges each scenario as the suite does:
// what must fire, must be reached and must be judged is counted over them. Then
// it goes on with further run seeds of the first files until the budget is
// spent.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func main() {
	debug.SetGCPercent(400)
	// A mutant may want all the memory there is. Address space is another matter:
	// each database reserves some gigabytes of it, and uses none.
	if err := syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: 6 << 30, Max: 6 << 30}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	first := flag.Int("first", 0, "how many of the files belong to the mutated package")
	budget := flag.Duration("budget", 2*time.Minute, "processor time after which no run is begun")
	search := flag.String("search", "", "random or guided: search one scenario again and again, instead of making the runs of the suite")
	from := flag.Int("from", 0, "the number of the first search: those before it were made")
	repetitions := flag.Int("repetitions", 20, "searches, each from its own seed")
	limit := flag.Int("runs", 300, "runs of a search at most")
	flag.Parse()
	h := &hunt{out: json.NewEncoder(os.Stdout), budget: *budget, sums: map[string]*sum{}}
	for _, name := range flag.Args() {
		s, err := scenarios.Load(name, runner.Catalogue())
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitUsage)
		}
		h.list = append(h.list, s)
	}
	if *search != "" {
		if err := h.race(*search, *from, *repetitions, *limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitUsage)
		}
		return
	}
	if err := h.run(*first); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}

// exitUsage says that the hunt could not begin, which is no finding.
const exitUsage = 64

// line is what is printed.
type line struct {
	Begin string            `json:"begin,omitempty"` // scenario, run seed and $n of the run
	Found string            `json:"found,omitempty"` // what the suite did not expect
	By    string            `json:"by,omitempty"`    // the checker
	Again string            `json:"again,omitempty"` // the command that shows it again
	Runs  int               `json:"runs,omitempty"`
	CPU   float64           `json:"cpu,omitempty"` // seconds
	Done  bool              `json:"done,omitempty"`
	Trace map[string]string `json:"trace,omitempty"` // at the end: the runs' hashes
}

// sum is what a scenario's own runs amount to.
type sum struct {
	fired, judged, probes map[string]uint64
}

type hunt struct {
	out    *json.Encoder
	list   []*scenarios.Scenario
	budget time.Duration
	runs   int
	sums   map[string]*sum
	found  bool
	hashes map[string]string
}

func spent() time.Duration {
	var u syscall.Rusage
	// On a machine with other work, wall time would measure that.
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (h *hunt) over() bool { return h.found || spent() >= h.budget }

func (h *hunt) run(first int) error {
	h.hashes = map[string]string{}
	own := func(list []*scenarios.Scenario) error {
		for seed, more := uint64(1), true; more; seed++ {
			more = false
			for _, s := range list {
				seeds := uint64(max(s.Seeds, 1))
				if seed > seeds {
					continue
				}
				more = true
				if err := h.round(s, seed, true); err != nil || h.over() {
					return err
				}
				if seed == seeds {
					if h.conclude(s); h.over() {
						return nil
					}
				}
			}
		}
		return nil
	}
	if err := own(h.list[:first]); err != nil {
		return err
	}
	if !h.over() {
		if err := own(h.list[first:]); err != nil {
			return err
		}
	}
	for seed := uint64(2); !h.over() && first > 0; seed++ {
		for _, s := range h.list[:first] {
			if seed > uint64(max(s.Seeds, 1)) && !h.over() {
				if err := h.round(s, seed, false); err != nil {
					return err
				}
			}
		}
	}
	if h.found {
		return nil
	}
	return h.out.Encode(line{Done: true, Runs: h.runs, CPU: spent().Seconds(), Trace: h.hashes})
}

// round makes the runs of one scenario with one run seed.
func (h *hunt) round(s *scenarios.Scenario, seed uint64, own bool) error {
	if s.Enumerate == nil {
		return h.one(s, seed, 0, own)
	}
	for n := s.Enumerate.From; n <= s.Enumerate.To && !h.over(); n++ {
		if err := h.one(s, seed, n, own); err != nil {
			return err
		}
	}
	return nil
}

func (h *hunt) one(s *scenarios.Scenario, seed uint64, n int, own bool) error {
	name := fmt.Sprintf("%s %d %d", s.File, seed, n)
	if err := h.out.Encode(line{Begin: name, Runs: h.runs, CPU: spent().Seconds()}); err != nil {
		return err
	}
	o := runner.Options{Seed: seed, N: n}
	r, err := runner.Run(s, o)
	if err != nil {
		return err
	}
	h.runs++
	if sig, bad := runner.Unexpected(s, r); bad {
		return h.report(r, sig.Invariant, r.Failure())
	}
	if h.runs == 1 {
		again, err := runner.Run(s, o)
		if err != nil {
			return err
		}
		if again.TraceHash != r.TraceHash {
			return h.report(r, "determinism", fmt.Sprintf("two runs have the hashes %s and %s", r.TraceHash, again.TraceHash))
		}
	}
	if !own {
		return nil
	}
	h.hashes[name] = r.TraceHash[:min(16, len(r.TraceHash))]
	t := h.sums[s.File]
	if t == nil {
		t = &sum{map[string]uint64{}, map[string]uint64{}, map[string]uint64{}}
		h.sums[s.File] = t
	}
	for into, from := range map[*map[string]uint64]map[string]uint64{&t.fired: r.Fired, &t.judged: r.Judged, &t.probes: r.Probes} {
		for k, v := range from {
			(*into)[k] += v
		}
	}
	return nil
}

func (h *hunt) report(r *runner.Result, by, what string) error {
	h.found = true
	return h.out.Encode(line{Found: strings.ToValidUTF8(what, "?"), By: by, Again: r.Repro(), Runs: h.runs, CPU: spent().Seconds()})
}

// conclude judges what a scenario's own runs must have shown, as the suite
// does.
func (h *hunt) conclude(s *scenarios.Scenario) {
	t := h.sums[s.File]
	if t == nil {
		return
	}
	missing := func(by, what string, list []string, count map[string]uint64) {
		for _, k := range list {
			if count[k] == 0 && !h.found {
				h.found = true
				// A hunter that cannot write is seen by whoever started it.
				_ = h.out.Encode(line{Found: what + " " + k, By: by, Again: "espersim run " + s.File, Runs: h.runs, CPU: spent().Seconds()})
			}
		}
	}
	missing("must-fire", "never fired:", s.MustFire, t.fired)
	missing("must-reach", "never reached:", s.MustReach, t.probes)
	if s.Expect.Clean() {
		missing("nothing to judge", "nothing to judge for", s.Checks, t.judged)
	}
}
