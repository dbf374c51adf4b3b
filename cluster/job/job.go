// Package job says what the members of a training run agree on before it
// starts: the network, the data, the rhythm of epochs and checkpoints, the
// kernels that are validated, and who is who.
package job

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/graft"
	"github.com/esper-sim/espersim/cluster/trainer"
)

// Job is shared by Tolaria, Kasmina, Tamiyo and their clients. It is read-only.
type Job struct {
	RunID string
	Seed  uint64 // of parameters, data and sample orders; not the run seed

	Graph        *trainer.Graph // graft layers included
	Samples      int            // of the training set
	HeldOut      int            // of the validation set
	Batch        int            // samples a step
	Steps        int            // steps an epoch
	LearningRate float64
	Checkpoint   int // epochs between checkpoints
	Slots        int // seed slots a graft layer
	Rules        graft.Rules
	Kernels      Kernels
	Policy       string
	// Library says that kernels come from the asset library: Tamiyo asks it which
	// there are, and Kasmina for their bytes. Else they are the ones above.
	Library bool

	Tolaria, Kasmina, Tamiyo, Oona actor.ID
	Urza, Karn, Tezzeret, Urabrask actor.ID
	Simic, Nissa, Jace             actor.ID
	Emrakul, Elesh                 actor.ID
	Mycosynth, Leyline, Narset     actor.ID
	Key                            [32]byte // signs commands, pause tokens and writes to the library
}

// Role is the subsystem that a node is, or "" for none. Elesh's workers are
// called after it, such as "elesh-2".
func (j *Job) Role(id actor.ID) string {
	for _, r := range j.roles() {
		if r.id == id {
			return r.name
		}
	}
	if j.Elesh != "" && strings.HasPrefix(string(id), string(j.Elesh)+"-") {
		return "elesh"
	}
	return ""
}

// RoleKey is the key that people in a role sign with: whoever has one role's key
// cannot sign for another.
func (j *Job) RoleKey(role string) [32]byte {
	return sha256.Sum256(append(append([]byte("espersim role "), j.Key[:]...), role...))
}

type role struct {
	name string
	id   actor.ID
}

func (j *Job) roles() []role {
	return []role{{"tolaria", j.Tolaria}, {"kasmina", j.Kasmina}, {"tamiyo", j.Tamiyo}, {"oona", j.Oona}, {"urza", j.Urza}, {"karn", j.Karn},
		{"tezzeret", j.Tezzeret}, {"urabrask", j.Urabrask}, {"simic", j.Simic}, {"nissa", j.Nissa}, {"jace", j.Jace}, {"emrakul", j.Emrakul},
		{"elesh", j.Elesh}, {"mycosynth", j.Mycosynth}, {"leyline", j.Leyline}, {"narset", j.Narset}}
}

// Kernels maps the ids of validated kernels to their hidden widths.
type Kernels map[string]int

// Kernel implements graft.Catalogue.
func (k Kernels) Kernel(id string, width int) (*trainer.Kernel, error) {
	h, ok := k[id]
	if !ok {
		return nil, fmt.Errorf("there is no validated kernel %q", id)
	}
	return trainer.NewKernel(id, width, h)
}

// KernelIDs lists the validated kernels in the order in which Tamiyo's
// policies choose them.
func (j *Job) KernelIDs() []string {
	return []string{"residual-4", "residual-6", "residual-8"}
}

// Default is the job of scenarios that say nothing else: a run of the rings
// problem, with the lifecycle's waiting times cut down so that a seed can live
// its whole life within a minute.
func Default() (*Job, error) {
	g, err := trainer.ParseGraph([]byte(trainer.RingsGraph))
	if err != nil {
		return nil, err
	}
	if g, err = trainer.InjectGrafts(g); err != nil {
		return nil, err
	}
	return &Job{
		RunID: "run-1", Seed: 1,
		Graph: g, Samples: 256, HeldOut: 64, Batch: 8, Steps: 8,
		LearningRate: 0.02, Checkpoint: 4, Slots: 2,
		Rules: graft.Rules{
			TrainingGate: 0.6, StabilizeEpochs: 2, EvaluatePatience: 4,
			EvaluateGate: 0.001, FineTunePatience: 4, EmbargoEpochs: 8,
		},
		Kernels: Kernels{"residual-4": 4, "residual-6": 6, "residual-8": 8},
		Policy:  "heuristic",
		Tolaria: "tolaria", Kasmina: "kasmina", Tamiyo: "tamiyo", Oona: "oona",
		Urza: "urza", Karn: "karn", Tezzeret: "tezzeret", Urabrask: "urabrask",
		Simic: "simic", Nissa: "nissa", Jace: "jace", Emrakul: "emrakul", Elesh: "elesh",
		Mycosynth: "mycosynth", Leyline: "leyline", Narset: "narset",
		Key: sha256.Sum256([]byte("espersim training run")),
	}, nil
}

// Time limits of the triad's protocols (digest 0.6 to 0.8, cards 01 and 03).
const (
	BoundaryBudget  = 18 * time.Millisecond // an objective: an overrun means conservative mode
	TamiyoTimeout   = 2 * time.Second       // hard: then the conservative decision
	FastPrepare     = 150 * time.Millisecond
	FastCommit      = 250 * time.Millisecond
	FastConfirm     = 100 * time.Millisecond
	FullPrepare     = 2 * time.Second
	FullCommit      = 5 * time.Second
	RollbackLimit   = 30 * time.Second
	HeartbeatEvery  = 500 * time.Millisecond
	CriticalAck     = 90 * time.Millisecond
	MaxClockSkew    = 60 * time.Second // of a signed message
	NonceMemory     = 5 * time.Minute
	PauseQuota      = 10_000 // identity calls in PauseWindow
	PauseWindow     = 60 * time.Second
	PausePerRequest = 1_000
)
