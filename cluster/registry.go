package cluster

import (
	"fmt"
	"sort"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/client"
	"github.com/esper-sim/espersim/cluster/elesh"
	"github.com/esper-sim/espersim/cluster/emrakul"
	"github.com/esper-sim/espersim/cluster/fleet"
	"github.com/esper-sim/espersim/cluster/jace"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/karn"
	"github.com/esper-sim/espersim/cluster/kasmina"
	"github.com/esper-sim/espersim/cluster/ledger"
	"github.com/esper-sim/espersim/cluster/leyline"
	"github.com/esper-sim/espersim/cluster/mycosynth"
	"github.com/esper-sim/espersim/cluster/narset"
	"github.com/esper-sim/espersim/cluster/nissa"
	"github.com/esper-sim/espersim/cluster/oona"
	"github.com/esper-sim/espersim/cluster/setting"
	"github.com/esper-sim/espersim/cluster/simic"
	"github.com/esper-sim/espersim/cluster/tamiyo"
	"github.com/esper-sim/espersim/cluster/tezzeret"
	"github.com/esper-sim/espersim/cluster/tolaria"
	"github.com/esper-sim/espersim/cluster/urabrask"
	"github.com/esper-sim/espersim/cluster/urza"
	"github.com/esper-sim/espersim/cluster/vault"
)

// Role is a kind of process that a node can be.
type Role struct {
	Name string
	Doc  string
	// Callback roles neither use files nor charge work.
	Callback bool
	// Options makes the role's options with their defaults: a pointer to a
	// struct for package setting.
	Options func() any
	// Make is the constructor for a job and for what Options made.
	Make func(j *job.Job, options any) actor.Constructor
}

// roles is the registry: a map in the source, never filled by init.
var roles = map[string]Role{
	"ledger": {
		Doc:     "appends its clients' entries to a write-ahead log and reads them back",
		Options: func() any { return ledger.Defaults() },
		Make:    func(_ *job.Job, o any) actor.Constructor { return ledger.New(*o.(*ledger.Options)) },
	},
	"tolaria": {
		Doc:     "training: the epoch clock, the optimizer, checkpoints and rollback",
		Options: func() any { return tolaria.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return tolaria.New(j, *o.(*tolaria.Options)) },
	},
	"kasmina": {
		Doc:     "seeds: executes validated kernels that are grafted into the host network",
		Options: func() any { return kasmina.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return kasmina.New(j, *o.(*kasmina.Options)) },
	},
	"tamiyo": {
		Doc:     "decisions: watches the training run, commands, and reports what became of it",
		Options: func() any { return tamiyo.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return tamiyo.New(j, *o.(*tamiyo.Options)) },
	},
	"oona": {
		Doc:     "the message bus: durable topics, consumer groups, dead letters",
		Options: func() any { return oona.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return oona.New(j, *o.(*oona.Options)) },
	},
	"urza": {
		Doc:     "the asset library: blueprints, kernels and reports, for ever, in files and SQLite",
		Options: func() any { return urza.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return urza.New(j, *o.(*urza.Options)) },
	},
	"karn": {
		Doc:     "designs blueprints: templates and their mutations, chosen by what became of earlier ones",
		Options: func() any { return karn.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return karn.New(j, *o.(*karn.Options)) },
	},
	"tezzeret": {
		Doc:     "compiles blueprints to kernels, in the background",
		Options: func() any { return tezzeret.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return tezzeret.New(j, *o.(*tezzeret.Options)) },
	},
	"urabrask": {
		Doc:     "validates kernels: runs each on a device, measures it, and gives the one verdict",
		Options: func() any { return urabrask.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return urabrask.New(j, *o.(*urabrask.Options)) },
	},
	"nissa": {
		Doc:     "operations: metrics, alerts, error budgets, dead letters and the audit trail",
		Options: func() any { return nissa.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return nissa.New(j, *o.(*nissa.Options)) },
	},
	"leyline": {
		Doc:      "the registry of the contracts: who speaks which version, and which one may be written",
		Callback: true,
		Options:  func() any { return leyline.Defaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return leyline.New(j, *o.(*leyline.Options)) },
	},
	"process": {
		Doc:      "a process as Leyline sees it: tells which version of the contracts it speaks, rightly or wrongly",
		Callback: true,
		Options:  func() any { return client.ProcessDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewProcess(j, *o.(*client.ProcessOptions)) },
	},
	"mycosynth": {
		Doc:     "the configuration: versioned keys, in force everywhere from the same epoch on",
		Options: func() any { return mycosynth.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return mycosynth.New(j, *o.(*mycosynth.Options)) },
	},
	"administrator": {
		Doc:      "a person at the configuration: asks for changes, and now and then for a wrong one",
		Callback: true,
		Options:  func() any { return client.AdministratorDefaults() },
		Make: func(j *job.Job, o any) actor.Constructor {
			return client.NewAdministrator(j, *o.(*client.AdministratorOptions))
		},
	},
	"narset": {
		Doc:     "regions: sums up the telemetry of seeds, and passes emergencies on",
		Options: func() any { return narset.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return narset.New(j, *o.(*narset.Options)) },
	},
	"sensor": {
		Doc:      "a source of telemetry: reports of seeds in some regions, and emergencies",
		Callback: true,
		Options:  func() any { return client.SensorDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewSensor(j, *o.(*client.SensorOptions)) },
	},
	"reporter": {
		Doc:      "a subsystem as Nissa sees it: reports its health, good and bad",
		Callback: true,
		Options:  func() any { return client.ReporterDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewReporter(j, *o.(*client.ReporterOptions)) },
	},
	"viewer": {
		Doc:      "a person at the dashboard: reads metrics and status, and answers alerts",
		Callback: true,
		Options:  func() any { return client.ViewerDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewViewer(j, *o.(*client.ViewerOptions)) },
	},
	"donor": {
		Doc:      "a client of the asset library: stores designs, kernels or reports, in place of the subsystems that do",
		Callback: true,
		Options:  func() any { return client.DonorDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewDonor(j, *o.(*client.DonorOptions)) },
	},
	"researcher": {
		Doc:      "a client of the asset library: queries it, and fetches kernels and blueprints",
		Callback: true,
		Options:  func() any { return client.ResearcherDefaults() },
		Make: func(j *job.Job, o any) actor.Constructor {
			return client.NewResearcher(j, *o.(*client.ResearcherOptions))
		},
	},
	"petitioner": {
		Doc:      "a client of the innovation plane: asks for designs, and has some compiled at once",
		Callback: true,
		Options:  func() any { return client.PetitionerDefaults() },
		Make: func(j *job.Job, o any) actor.Constructor {
			return client.NewPetitioner(j, *o.(*client.PetitionerOptions))
		},
	},
	"vault": {
		Doc:     "keeps bundles of components under a Merkle root",
		Options: func() any { return vault.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return vault.New(j, *o.(*vault.Options)) },
	},
	"sealer": {
		Doc:      "a client of a vault: seals bundles, and opens them again",
		Callback: true,
		Options:  func() any { return client.SealerDefaults() },
		Make:     func(_ *job.Job, o any) actor.Constructor { return client.NewSealer(*o.(*client.SealerOptions)) },
	},
	"operator": {
		Doc:      "a person at the controls: pauses, resumes, confirms",
		Callback: true,
		Options:  func() any { return client.OperatorDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewOperator(j, *o.(*client.OperatorOptions)) },
	},
	"commander": {
		Doc:      "a client that commands beside Tamiyo: what has an effect, and what must have none",
		Callback: true,
		Options:  func() any { return client.CommanderDefaults() },
		Make: func(j *job.Job, o any) actor.Constructor {
			return client.NewCommander(j, *o.(*client.CommanderOptions))
		},
	},
	"sentinel": {
		Doc:      "an alarm: raises emergencies of all levels",
		Callback: true,
		Options:  func() any { return client.SentinelDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewSentinel(j, *o.(*client.SentinelOptions)) },
	},
	"intruder": {
		Doc:      "reads along on the bus, and sends forged, altered and replayed commands, confirmations and tokens",
		Callback: true,
		Options:  func() any { return client.IntruderDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewIntruder(j, *o.(*client.IntruderOptions)) },
	},
	"reader": {
		Doc:      "a client that asks for the newest checkpoint",
		Callback: true,
		Options:  func() any { return client.ReaderDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewReader(j, *o.(*client.ReaderOptions)) },
	},
	"publisher": {
		Doc:      "a client of the bus: publishes numbered events until each is acknowledged",
		Callback: true,
		Options:  func() any { return client.PublisherDefaults() },
		Make:     func(_ *job.Job, o any) actor.Constructor { return client.NewPublisher(*o.(*client.PublisherOptions)) },
	},
	"subscriber": {
		Doc:      "a client of the bus: consumes topics in a group, well or badly",
		Callback: true,
		Options:  func() any { return client.SubscriberDefaults() },
		Make: func(_ *job.Job, o any) actor.Constructor {
			return client.NewSubscriber(*o.(*client.SubscriberOptions))
		},
	},
	"writer": {
		Doc:      "a client of a ledger: appends numbered entries, and reads the whole log back",
		Callback: true,
		Options:  func() any { return client.WriterDefaults() },
		Make:     func(_ *job.Job, o any) actor.Constructor { return client.NewWriter(*o.(*client.WriterOptions)) },
	},
	"simic": {
		Doc:     "policies: trains them from field reports, validates them, and releases them in stages",
		Options: func() any { return simic.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return simic.New(j, *o.(*simic.Options)) },
	},
	"jace": {
		Doc:     "curricula: aligns how far the task has come with how far the strategies have",
		Options: func() any { return jace.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return jace.New(j, *o.(*jace.Options)) },
	},
	"strategist": {
		Doc:      "a client in the place of Simic: tells Jace of strategies, good and bad",
		Callback: true,
		Options:  func() any { return client.StrategistDefaults() },
		Make: func(j *job.Job, o any) actor.Constructor {
			return client.NewStrategist(j, *o.(*client.StrategistOptions))
		},
	},
	"emrakul": {
		Doc:     "pruning: coordinates the cycles in which structures are masked at the load of a checkpoint",
		Options: func() any { return emrakul.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return emrakul.New(j, *o.(*emrakul.Options)) },
	},
	"elesh": {
		Doc:     "structural analysis: a worker of Emrakul's; nodes are called elesh-1 and so on",
		Options: func() any { return elesh.Defaults() },
		Make:    func(j *job.Job, o any) actor.Constructor { return elesh.New(j, *o.(*elesh.Options)) },
	},
	"fleet-lead": {
		Doc:     "leads the training of a fleet of hosts with accelerators: step by step, from checkpoint to checkpoint",
		Options: func() any { return fleet.LeadDefaults() },
		Make:    func(_ *job.Job, o any) actor.Constructor { return fleet.NewLead(*o.(*fleet.LeadOptions)) },
	},
	"fleet-worker": {
		Doc:     "a host of a fleet: computes its part of every step on all its accelerators",
		Options: func() any { return fleet.WorkerDefaults() },
		Make:    func(_ *job.Job, o any) actor.Constructor { return fleet.NewWorker(*o.(*fleet.WorkerOptions)) },
	},
	"sparse": {
		Doc:      "a client in the place of a network: has structures of all kinds by the hundred, and masks them when it loads a checkpoint",
		Callback: true,
		Options:  func() any { return client.SparseDefaults() },
		Make:     func(j *job.Job, o any) actor.Constructor { return client.NewSparse(j, *o.(*client.SparseOptions)) },
	},
	"examiner": {
		Doc:      "a client in the place of Urabrask: gives verdicts on prunings",
		Callback: true,
		Options:  func() any { return client.ExaminerDefaults() },
		Make:     func(_ *job.Job, o any) actor.Constructor { return client.NewExaminer(*o.(*client.ExaminerOptions)) },
	},
	"correspondent": {
		Doc:      "a client in the place of Tamiyo: reports adaptations by the hundred, and runs the policies that are made of them",
		Callback: true,
		Options:  func() any { return client.CorrespondentDefaults() },
		Make: func(j *job.Job, o any) actor.Constructor {
			return client.NewCorrespondent(j, *o.(*client.CorrespondentOptions))
		},
	},
}

// RoleNames lists the names of all roles, sorted.
func RoleNames() []string {
	var names []string
	for n := range roles {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// FindRole is the role with the given name.
func FindRole(name string) (Role, bool) {
	r, ok := roles[name]
	r.Name = name
	return r, ok
}

// CheckOption says what is wrong with a setting of a role, if anything is.
func CheckOption(role, key, value string) error {
	r, ok := FindRole(role)
	if !ok {
		return fmt.Errorf("unknown role %q", role)
	}
	return setting.Set(r.Options(), key, value)
}

// Setting is one option of a node by name.
type Setting struct{ Key, Value string }

// Constructor makes the constructor of a node with a role and settings.
func Constructor(j *job.Job, role string, settings []Setting) (actor.Constructor, error) {
	r, ok := FindRole(role)
	if !ok {
		return nil, fmt.Errorf("unknown role %q", role)
	}
	o := r.Options()
	for _, s := range settings {
		if err := setting.Set(o, s.Key, s.Value); err != nil {
			return nil, fmt.Errorf("role %s: %w", role, err)
		}
	}
	return r.Make(j, o), nil
}
