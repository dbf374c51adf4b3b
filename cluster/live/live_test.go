package live_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/checkers"
	"github.com/esper-sim/espersim/cluster"
	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/lineage"
	"github.com/esper-sim/espersim/cluster/live"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim/trace"
)

// childFolder names the folder of a child process: the test binary runs itself
// as the host of a triad, to be killed from outside.
const childFolder = "ESPERSIM_LIVE_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childFolder); folder != "" {
		if err := host(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// flushing hands every event to the kernel at once: what a killed process has
// traced is there.
type flushing struct{ *trace.Writer }

func (f flushing) Observe(e *trace.Event) {
	f.Writer.Observe(e)
	_ = f.Flush() // Close reports it
}

// host runs the triad in a folder until its standard input closes.
func host(folder string) error {
	began, err := strconv.ParseInt(os.Getenv("ESPERSIM_LIVE_BEGAN"), 10, 64)
	if err != nil {
		return err
	}
	life, err := strconv.ParseUint(os.Getenv("ESPERSIM_LIVE_LIFE"), 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, fmt.Sprintf("life-%d.trace", life)))
	if err != nil {
		return err
	}
	w, err := trace.NewWriter(f, trace.Header{Scenario: "live"})
	if err != nil {
		return err
	}
	j, err := job.Default()
	if err != nil {
		return err
	}
	device, err := gpu.ByName("cpu")
	if err != nil {
		return err
	}
	var nodes []live.Node
	for _, role := range []string{"tolaria", "kasmina", "tamiyo", "oona", "reader"} {
		c, err := cluster.Constructor(j, role, nil)
		if err != nil {
			return err
		}
		nodes = append(nodes, live.Node{ID: actor.ID(role), Make: c})
	}
	h, err := live.New(live.Config{
		Folder: folder, Nodes: nodes, Device: device, Trace: trace.NewLog(flushing{w}),
		Began: time.Unix(0, began), Life: life,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it, or dies
		cancel()
	}()
	h.Run(ctx)
	return w.Close()
}

// child is a running host process.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

func start(t *testing.T, folder string, began time.Time, life int) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFolder+"="+folder,
		fmt.Sprintf("ESPERSIM_LIVE_BEGAN=%d", began.UnixNano()), fmt.Sprintf("ESPERSIM_LIVE_LIFE=%d", life))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{cmd, in}
}

// waitFor reads the growing trace of a life until it has seen n epochs end.
func waitFor(t *testing.T, folder string, life, epochs int) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-deadline:
			t.Fatalf("life %d has not ended %d epochs within a minute", life, epochs)
		case <-tick.C:
		}
		seen := 0
		_ = eachEvent(folder, life, func(e *trace.Event) {
			if e.Kind == trace.FactDeclared && e.Text == "esper.evidence.v2.EpochFact" {
				seen++
			}
		})
		if seen >= epochs {
			return
		}
	}
}

// eachEvent reads the trace of a life as far as it goes: a killed process left
// it without its trailer.
func eachEvent(folder string, life int, fn func(*trace.Event)) error {
	f, err := os.Open(filepath.Join(folder, fmt.Sprintf("life-%d.trace", life)))
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := trace.NewReader(bufio.NewReader(f))
	for err == nil {
		var e *trace.Event
		if e, err = r.Next(); err == nil {
			fn(e)
		}
	}
	var cut *trace.FormatError
	if errors.Is(err, io.EOF) || errors.As(err, &cut) && strings.Contains(cut.Wrong, "cut short") {
		return nil
	}
	return err
}

// The code that is simulated runs for real: the triad trains in a folder, is
// killed with SIGKILL, recovers from its files, trains on, and the checkers of
// the simulation judge both lives as one run.
func TestTriadSurvivesKill(t *testing.T) {
	folder := t.TempDir()
	began := time.Now()
	first := start(t, folder, began, 0)
	waitFor(t, folder, 0, 25)
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.cmd.Wait() // it was killed
	second := start(t, folder, began, 1)
	waitFor(t, folder, 1, 15)
	if err := second.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second.cmd.Wait(); err != nil {
		t.Fatal(err)
	}

	j, err := job.Default()
	if err != nil {
		t.Fatal(err)
	}
	suite, err := checkers.NewSuite(
		[]string{"C2", "C10", "C11", "O1", "O2", "A1", "A2", "A3", "K1", "K2", "K4", "K5", "T1", "T2", "T3", "T4", "T6", "W1", "E1", "R1", "R2", "P1"},
		checkers.Params{Key: j.Key[:], WallStart: began, Embargo: j.Rules.EmbargoEpochs, Replay: replay(j)}, 20, nil)
	if err != nil {
		t.Fatal(err)
	}
	for life := range 2 {
		if life > 0 {
			// What a killed process cannot say: that it is gone.
			for _, n := range []string{"tolaria", "kasmina", "tamiyo", "oona", "reader"} {
				suite.Observe(&trace.Event{At: int64(time.Since(began)), Kind: trace.NodeCrashed, Node: n})
			}
		}
		if err := eachEvent(folder, life, suite.Observe); err != nil {
			t.Fatal(err)
		}
	}
	violations, err := suite.Finish()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		t.Error(v)
	}
	judged := suite.Judgements()
	for _, id := range []string{"C2", "C11", "O1", "T1", "T2", "T3", "T6", "W1", "E1", "R1"} {
		if judged[id] == 0 {
			t.Errorf("%s had nothing to judge", id)
		}
	}
	t.Logf("judged: %v", judged)
}

// replay is the calm world of recovery equivalence.
func replay(j *job.Job) func() (checkers.Replayer, error) {
	return func() (checkers.Replayer, error) {
		r, err := lineage.NewReplay(j)
		return calm{r}, err
	}
}

type calm struct{ *lineage.Replay }

func (calm) Prove() (int, error) { return 0, nil }

func (c calm) Epoch(e *checkers.LineageEpoch) (checkers.Digests, error) {
	x := lineage.Epoch{Epoch: e.Epoch, Generation: e.Generation, LearningRate: e.LearningRate, Joined: e.Joined, ValidationLoss: e.ValidationLoss, Full: e.Full}
	for _, k := range e.Commands {
		x.Commands = append(x.Commands, lineage.Command(k))
	}
	d, err := c.Replay.Epoch(&x)
	return checkers.Digests(d), err
}
