package tolaria_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/kasmina"
	"github.com/esper-sim/espersim/cluster/lineage"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/cluster/tolaria"
	"github.com/esper-sim/espersim/contracts/canon"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationalv2 "github.com/esper-sim/espersim/contracts/generated/go/operational/v2"
	rollbackv2 "github.com/esper-sim/espersim/contracts/generated/go/rollback/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	systemstatev2 "github.com/esper-sim/espersim/contracts/generated/go/system_state/v2"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/sim"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// order is a command that the tests' Tamiyo publishes when it is told of an
// epoch.
type order struct {
	at    int64
	topic string
	m     *adaptationv2.AdaptationCommand
	age   time.Duration // how long ago it was signed
	nonce byte          // 0: its own
	key   []byte        // nil: the job's
}

// tamiyo is the least of a Tamiyo: it signals, has a part, and takes part in
// rollbacks.
type tamiyo struct {
	env    actor.Env
	job    *job.Job
	orders []order
	sent   int
	gen    uint32
	epoch  int64
	offer  uint32
	id     string
	last   string
	root   []byte
	mute   bool
}

func newTamiyo(j *job.Job, orders []order, mute bool) actor.Constructor {
	return func(env actor.Env) (actor.Actor, error) {
		return &tamiyo{env: env, job: j, orders: orders, mute: mute}, nil
	}
}

func (t *tamiyo) Start() error {
	t.env.Clock.SetTimer("query", 0, 300*time.Millisecond)
	return nil
}

func (t *tamiyo) Receive(from actor.ID, m canon.Message) error {
	switch m := m.(type) {
	case *localv2.TimerFired:
		if t.gen == 0 {
			t.env.Net.Send(t.job.Tolaria, &trainingv2.RollbackQuery{Subsystem: "tamiyo"}, actor.SendOptions{})
		}
		t.env.Clock.SetTimer("query", 0, 300*time.Millisecond)
	case *systemstatev2.SystemStatePacket:
		if t.mute {
			return nil
		}
		t.epoch = m.Epoch
		e, _ := t.env.Net.Incoming()
		t.env.Clock.Work(gpu.Inference, 1)
		for t.sent < len(t.orders) && t.orders[t.sent].at <= m.Epoch {
			t.publish(t.sent)
			t.sent++
		}
		t.env.Net.Send(from, &operationalv2.AdaptationSignal{SignalId: "s"}, actor.SendOptions{CorrelationID: e.CorrelationId})
	case *trainingv2.StatePartRequest:
		if t.gen == 0 && m.Generation == 1 && m.Epoch == 0 {
			t.gen = 1
		}
		if t.gen != m.Generation {
			return nil
		}
		data := (&statev2.TamiyoState{Epoch: m.Epoch, LearningRate: float64(t.epoch)}).AppendCanonical(nil)
		sum := sha256.Sum256(data)
		t.env.Net.Send(from, &trainingv2.StatePart{CheckpointId: m.CheckpointId, Subsystem: "tamiyo", Epoch: m.Epoch,
			Generation: m.Generation, Data: data, Sha256: sum[:]}, actor.SendOptions{})
	case *trainingv2.RestorePart:
		if m.RollbackId == t.last {
			t.ack(rollbackv2.Phase_RESTORED)
			return nil
		}
		t.id, t.offer, t.root = m.RollbackId, m.Generation, append([]byte(nil), m.Root...)
		t.env.Net.Send(from, &rollbackv2.RollbackVote{RollbackId: m.RollbackId, Subsystem: "tamiyo", Vote: rollbackv2.Vote_YES}, actor.SendOptions{})
	case *rollbackv2.RollbackDecision:
		if m.Decision == rollbackv2.Decision_COMMIT && (m.RollbackId == t.id || m.RollbackId == t.last) {
			t.last, t.id, t.gen = m.RollbackId, "", t.offer
			t.ack(rollbackv2.Phase_RESTORED)
		}
	case *rollbackv2.RollbackAck:
		if m.RollbackId == t.last {
			t.ack(rollbackv2.Phase_CONFIRMED)
		}
	}
	return nil
}

func (t *tamiyo) ack(p rollbackv2.Phase) {
	t.env.Net.Send(t.job.Tolaria, &rollbackv2.RollbackAck{RollbackId: t.last, Subsystem: "tamiyo", Phase: p, Ok: true, Root: t.root}, actor.SendOptions{})
}

func (t *tamiyo) publish(i int) {
	o := t.orders[i]
	key := o.key
	if key == nil {
		key = t.job.Key[:]
	}
	s, err := wire.NewHMACSigner("k", key)
	if err != nil {
		panic(err)
	}
	s.Nonce[0], s.Nonce[1] = byte(i+1), 7
	if o.nonce != 0 {
		s.Nonce[0] = o.nonce
	}
	s.SignedAt = t.env.Clock.Now().Add(-o.age)
	o.m.CreatedAt = timestamppb.New(t.env.Clock.Now())
	id := fmt.Sprint("order/", i)
	t.env.Net.Send(t.job.Oona, o.m, actor.SendOptions{Key: id, EventID: id, Topic: o.topic, Auth: s})
}

// witness collects what a run claims, and builds its lineage from it.
type witness struct {
	t        testing.TB
	gen      uint32
	full     map[[2]int64][]bool // by epoch and generation
	rate     map[[2]int64]float64
	crossed  map[[2]int64]*lineage.Epoch
	epochs   []*evidencev2.EpochFact
	grafts   map[[2]int64][]byte // digest before crossing into an epoch
	rolls    []string
	steps    int
	identity int
	commands []string
	stages   []string
	pauses   []string
	modes    []string
	exits    []string
	ckpts    []string
	replay   *lineage.Replay
	last     lineage.Digests
	compared int
	ends     map[string]string
	started  []string
	fallback int
	lines    []string
	verbose  bool
}

func newWitness(t testing.TB, j *job.Job) *witness {
	r, err := lineage.NewReplay(j)
	if err != nil {
		t.Fatal(err)
	}
	return &witness{t: t, gen: 1, full: map[[2]int64][]bool{}, rate: map[[2]int64]float64{}, crossed: map[[2]int64]*lineage.Epoch{},
		grafts: map[[2]int64][]byte{}, replay: r, ends: map[string]string{}}
}

func (w *witness) Observe(e *trace.Event) {
	if w.verbose {
		w.lines = append(w.lines, e.String())
	}
	switch e.Kind {
	case trace.NodeExited:
		w.exits = append(w.exits, e.String())
	case trace.FactDeclared:
		w.fact(e.Value)
	case trace.MessageSent:
	}
}

func (w *witness) fact(v any) {
	switch f := v.(type) {
	case *evidencev2.StepFact:
		w.steps++
		k := [2]int64{f.Step.Epoch, int64(f.Step.Generation)}
		w.full[k] = append(w.full[k], f.Effect == trainingv2.StepEffect_FULL)
		w.rate[k] = f.LearningRate
		if f.Effect != trainingv2.StepEffect_FULL {
			w.identity++
		}
	case *evidencev2.BoundaryFact:
		k := [2]int64{f.Epoch, int64(f.Generation)}
		l := &lineage.Epoch{Epoch: f.Epoch, Generation: f.Generation, Joined: true, ValidationLoss: f.ValidationLoss}
		for _, c := range f.Commands {
			l.Commands = append(l.Commands, lineage.Command{ID: c.CommandId, Layer: c.Seed.LayerId, Seed: c.Seed.SeedId, Operation: c.Operation, Kernel: c.KernelArtifactId})
		}
		w.crossed[k] = l
		if got := w.replay.Digests().Grafts; string(got[:]) != string(f.StateDigest) {
			w.t.Errorf("epoch %d of generation %d: Kasmina crosses with grafts %x, the replay has %x", f.Epoch, f.Generation, f.StateDigest[:4], got[:4])
		}
	case *evidencev2.EpochFact:
		k := [2]int64{f.Epoch, int64(f.Generation)}
		l := w.crossed[k]
		if l == nil {
			l = &lineage.Epoch{Epoch: f.Epoch, Generation: f.Generation}
		}
		l.LearningRate, l.Full = w.rate[k], w.full[k]
		d, err := w.replay.Epoch(l)
		if err != nil {
			w.t.Errorf("replay: %v", err)
		}
		w.compared++
		if string(d.Weights[:]) != string(f.WeightsSha256) || string(d.Optimizer[:]) != string(f.OptimizerSha256) ||
			string(d.SampleOrder[:]) != string(f.SampleOrderSha256) || d.GlobalStep != f.GlobalStep {
			w.t.Errorf("epoch %d of generation %d differs from its replay (steps %d, %d)", f.Epoch, f.Generation, d.GlobalStep, f.GlobalStep)
		}
		w.last = d
	case *evidencev2.CheckpointFact:
		w.ckpts = append(w.ckpts, fmt.Sprint(f.Action, " ", f.Epoch, " ", f.Retained))
		if f.Action == evidencev2.CheckpointAction_CHECKPOINT_SAVED {
			w.replay.Mark(f.Epoch)
		}
	case *evidencev2.RollbackFact:
		w.rolls = append(w.rolls, fmt.Sprint(f.RollbackId, " ", f.Subsystem, " ", f.Step, " ", f.Epoch, " gen ", f.Generation, " ", f.Reason))
		if f.Subsystem != "tolaria" {
			return
		}
		switch f.Step {
		case evidencev2.RollbackStep_RB_RESTORED:
			// Half-trained epochs leave no trace.
			if err := w.replay.Return(f.Epoch); err != nil {
				w.t.Error(err)
			}
		case evidencev2.RollbackStep_RB_STARTED:
			w.ends[f.RollbackId] = ""
		case evidencev2.RollbackStep_RB_DONE, evidencev2.RollbackStep_RB_ABORTED:
			w.ends[f.RollbackId] = f.Step.String()
		}
	case *evidencev2.CommandFact:
		w.commands = append(w.commands, fmt.Sprint(f.CommandId, " ", f.Subsystem, " ", f.Status, " ", f.Epoch, " ", f.Effect, " ", f.Reason))
	case *evidencev2.StageFact:
		w.stages = append(w.stages, fmt.Sprint(f.Seed.LayerId, "/", f.Seed.SeedId, " ", f.From, " ", f.To, " ", f.Cause))
	case *evidencev2.PauseFact:
		w.pauses = append(w.pauses, fmt.Sprint(f.Subsystem, " ", f.State, " ", f.Reason))
	case *evidencev2.ModeFact:
		w.modes = append(w.modes, fmt.Sprint(f.From, " ", f.To, " ", f.Reason))
	case *evidencev2.DecisionFact:
		if f.Fallback {
			w.fallback++
		}
	}
}

func (w *witness) rolled(step string) (n int) {
	for _, r := range w.rolls {
		if strings.Contains(r, step) {
			n++
		}
	}
	return n
}

func (w *witness) has(list []string, sub string) bool {
	for _, l := range list {
		if strings.Contains(l, sub) {
			return true
		}
	}
	return false
}

// sound: no process ended by itself, rollbacks ended, and something was
// compared.
func (w *witness) sound(atLeast int) {
	w.t.Helper()
	for _, x := range w.exits {
		w.t.Error(x)
	}
	for id, end := range w.ends {
		if end == "" {
			w.t.Errorf("%s has no end", id)
		}
	}
	if w.compared < atLeast {
		w.t.Errorf("%d epochs were trained, want %d", w.compared, atLeast)
	}
}

type setup struct {
	orders []order
	seed   uint64
	mute   bool
	change func(*job.Job)
	plain  bool // no poison, for benchmarks
}

func triad(t testing.TB, s setup) (*sim.World, *witness) {
	t.Helper()
	j, err := job.Default()
	if err != nil {
		t.Fatal(err)
	}
	if s.change != nil {
		s.change(j)
	}
	h100, _ := gpu.ByName("h100")
	var hosts []sim.Host
	for _, name := range []string{"h1", "h2", "h3", "h4"} {
		d, err := disk.New(disk.Config{Keyed: sim.NewSource(s.seed)})
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, sim.Host{Name: name, Disk: d, Device: h100})
	}
	log := trace.NewLog()
	w := newWitness(t, j)
	if !s.plain {
		log = trace.NewLog(w)
	}
	world, err := sim.New(sim.Config{
		Name: "triad", Seed: s.seed, Hosts: hosts, Trace: log, Poison: !s.plain, Link: sim.Link{Latency: sim.DefaultLatency},
		Nodes: []sim.Node{
			{ID: "tolaria", Host: "h1", Make: tolaria.New(j, *tolaria.Defaults()), Restart: 300 * time.Millisecond},
			{ID: "kasmina", Host: "h2", Make: kasmina.New(j, *kasmina.Defaults()), Restart: 200 * time.Millisecond},
			{ID: "tamiyo", Host: "h3", Make: newTamiyo(j, s.orders, s.mute), Restart: 200 * time.Millisecond},
			{ID: "oona", Host: "h4", Make: oona.New(j, *oona.Defaults()), Restart: 200 * time.Millisecond},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return world, w
}

func run(t testing.TB, w *sim.World, d time.Duration) {
	t.Helper()
	if err := w.Run(d); err != nil {
		t.Fatal(err)
	}
}

func TestTrainsCalmEpochs(t *testing.T) {
	w, wit := triad(t, setup{})
	run(t, w, 20*time.Second)
	wit.sound(25)
	if wit.identity > 0 {
		t.Errorf("%d of %d steps took the identity path", wit.identity, wit.steps)
	}
	if n := w.Messages(); n < 2000 {
		t.Errorf("%d messages in 20 s", n)
	}
	t.Log(wit.compared, "epochs", w.Messages(), "messages", wit.modes, wit.ckpts)
}
