package mutants

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Status is what became of a mutant.
type Status string

// The statuses. An equivalent one has survived, and an argument says that the
// system keeps every promise with it.
const (
	Killed     Status = "killed"
	Survived   Status = "survived"
	Equivalent Status = "equivalent"
)

// Result is a mutant's hunt.
type Result struct {
	ID     string        `json:"id"`
	Status Status        `json:"status"`
	By     string        `json:"by,omitempty"`    // the checker that found it
	Found  string        `json:"found,omitempty"` // what it said
	Again  string        `json:"again,omitempty"` // the run that shows it
	Runs   int           `json:"runs"`            // made until then
	CPU    float64       `json:"cpu_s"`           // processor seconds until then
	Build  float64       `json:"build_s"`         // seconds of building
	Budget time.Duration `json:"budget_ns"`
	// Differs is how many of the suite's own runs went another way than without
	// the mutation, and Made how many of them were made, if it survived.
	Differs int `json:"differs"`
	Made    int `json:"made"`
	// Over what it was got: a mutant that was killed stays so however the
	// suite grows.
	System string `json:"system"`
	Suite  string `json:"suite"`
}

// Bench builds and runs mutants of the tree at Root.
type Bench struct {
	Root   string
	Budget time.Duration // of processor time for each mutant
	Silent time.Duration // a run that takes longer than this hangs; wall time
	Log    io.Writer
	// Stalled is Silent for races, whose scenarios have short runs, and of which a
	// mutant may hang in each search.
	Stalled time.Duration

	system, suite string
	calm          map[string]string // hashes of the runs without any mutation
}

// NewBench makes a bench for the tree at root.
func NewBench(root string, budget time.Duration, log io.Writer) (*Bench, error) {
	b := &Bench{Root: root, Budget: budget, Silent: 90 * time.Second, Stalled: 15 * time.Second, Log: log}
	var err error
	b.system, b.suite, err = fingerprints(root)
	return b, err
}

// build builds the hunter; m is nil for the tree as it is.
func (b *Bench) build(ctx context.Context, dir string, m *Mutant) (string, error) {
	bin := filepath.Join(dir, "hunter")
	args := []string{"build", "-ldflags=-s -w", "-o", bin}
	if m != nil {
		changed := filepath.Join(dir, "mutated.go")
		from, err := filepath.Abs(filepath.Join(b.Root, filepath.FromSlash(m.File)))
		if err != nil {
			return "", err
		}
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {from: changed}})
		if err != nil {
			return "", err
		}
		over := filepath.Join(dir, "overlay.json")
		if err := errors.Join(os.WriteFile(changed, m.text, 0o644), os.WriteFile(over, overlay, 0o644)); err != nil {
			return "", err
		}
		args = append(args, "-overlay", over)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./scenarios/mutants/hunter")...)
	cmd.Dir = b.Root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("it does not build: %w\n%s", err, out)
	}
	return bin, nil
}

// told is a line of the hunter.
type told struct {
	Begin string            `json:"begin"`
	Found string            `json:"found"`
	By    string            `json:"by"`
	Again string            `json:"again"`
	Runs  int               `json:"runs"`
	CPU   float64           `json:"cpu"`
	Done  bool              `json:"done"`
	Trace map[string]string `json:"trace"`
}

// hunt runs the hunter, and fills in what it came to.
func (b *Bench) hunt(ctx context.Context, bin string, list []string, first int, budget time.Duration) (r Result, trace map[string]string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, append([]string{"-first", fmt.Sprint(first), "-budget", budget.String()}, list...)...)
	cmd.Dir = b.Root
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOTRACEBACK=single")
	var wrong bytes.Buffer
	cmd.Stderr = &wrong
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, nil, err
	}
	if err := cmd.Start(); err != nil {
		return r, nil, err
	}
	var last told
	hung, ended := false, false
	watch := time.AfterFunc(b.Silent, func() { hung = true; cancel() })
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		watch.Reset(b.Silent)
		var t told
		if err := json.Unmarshal(lines.Bytes(), &t); err != nil {
			break // cut off by a crash
		}
		switch {
		case t.Begin != "":
			last = t
		case t.Done:
			ended = true
			r.Status, r.Runs, r.CPU, trace = Survived, t.Runs, t.CPU, t.Trace
		default:
			ended = true
			r.Status, r.Found, r.By, r.Again, r.Runs, r.CPU = Killed, t.Found, t.By, t.Again, t.Runs, t.CPU
		}
	}
	watch.Stop()
	waited := cmd.Wait()
	switch {
	case ended:
		return r, trace, nil
	case hung:
		r.By, r.Found = "hang", fmt.Sprintf("a run went on for %v", b.Silent)
	case ctx.Err() != nil:
		return r, nil, ctx.Err()
	case last.Begin == "":
		return r, nil, fmt.Errorf("the hunt did not begin: %w\n%s", waited, wrong.String())
	default:
		text := strings.TrimSpace(wrong.String())
		text, _, _ = strings.Cut(text, "\n")
		r.By, r.Found = "crash", fmt.Sprintf("%s (%v)", text, waited)
	}
	r.Status, r.Runs, r.CPU = Killed, last.Runs+1, last.CPU
	if f := strings.Fields(last.Begin); len(f) == 3 {
		r.Again = fmt.Sprintf("espersim replay %s --seed %s", f[0], f[1])
		if f[2] != "0" {
			r.Again += " --n " + f[2]
		}
	}
	return r, nil, nil
}

// Calm makes the suite's own runs without any mutation: what is killed must
// not be killed by nothing.
func (b *Bench) Calm(ctx context.Context, cache string) error {
	name := filepath.Join(cache, "calm-"+b.system+"-"+b.suite+".json")
	if text, err := os.ReadFile(name); err == nil && json.Unmarshal(text, &b.calm) == nil {
		return nil
	}
	dir, err := os.MkdirTemp("", "espersim-mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin, err := b.build(ctx, dir, nil)
	if err != nil {
		return fmt.Errorf("the tree: %w", err)
	}
	list, _, err := files(b.Root, "wal")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.Log, "the suite without mutations, %d scenarios\n", len(list))
	r, trace, err := b.hunt(ctx, bin, list, 0, time.Hour)
	if err != nil {
		return err
	}
	if r.Status != Survived {
		return fmt.Errorf("the suite fails without any mutation: %s: %s\nagain: %s", r.By, r.Found, r.Again)
	}
	b.calm = trace
	text, err := json.Marshal(trace)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o644)
}

// ArguedBudget is the processor time for a mutant that is argued to be
// equivalent: enough for the suite's own runs, to see whether the argument is
// wrong.
const ArguedBudget = 40 * time.Second

// Run hunts one mutant; argued says that equivalent.txt has an argument.
func (b *Bench) Run(ctx context.Context, m *Mutant, argued bool) (Result, error) {
	list, first, err := files(b.Root, m.Package)
	if err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp("", "espersim-mutants-")
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	began := time.Now()
	bin, err := b.build(ctx, dir, m)
	if err != nil {
		return Result{}, fmt.Errorf("mutant %s: %w", m.ID, err)
	}
	build := time.Since(began)
	budget := b.Budget
	if argued {
		budget = min(budget, ArguedBudget)
	}
	r, trace, err := b.hunt(ctx, bin, list, first, budget)
	if err != nil {
		return r, err
	}
	r.ID, r.Build, r.Budget, r.System, r.Suite = m.ID, build.Seconds(), b.Budget, b.system, b.suite
	for run, hash := range trace {
		if b.calm[run] != "" {
			r.Made++
			if b.calm[run] != hash {
				r.Differs++
			}
		}
	}
	return r, nil
}

// Holds says whether a result need not be got again. argued is that an argument
// says of the mutant that it is equivalent: it is hunted once, to see whether
// the argument is wrong.
func (b *Bench) Holds(r Result, argued bool) bool {
	if r.System != b.system {
		return false
	}
	return r.Status == Killed || argued || r.Suite == b.suite && r.Budget >= b.Budget
}
