package cluster

// A Probe is a place in the system's code that a sweep should come to: a way
// that is taken only when something went wrong at the right moment.
type Probe struct {
	Name    string // as in Probe.Reached
	Summary string
}

// Probes lists them all, by name. A test compares the list with the source.
func Probes() []Probe { return probes }

var probes = []Probe{
	{"checkpoint-truncate-failed", "what was evicted could not be removed, and is tried again"},
	{"checkpoint/salvaged", "a damaged store was written anew from what is good in it"},
	{"command/forgotten", "a receiver lets go of commands of long ago, and remembers a watermark"},
	{"command/newer-than-known", "a command asks for what this version does not know"},
	{"config/lacks", "a boundary carries a revision that a subsystem lacks"},
	{"config/reopen", "a subsystem opens its log of the configuration anew after a failed write"},
	{"elesh/too-slow", "an analysis took longer than it may, and is skipped"},
	{"emrakul/reopen", "Emrakul closes its log after a failed write, and opens it anew"},
	{"jace/matrix-damaged", "Jace's matrix is damaged, and written anew"},
	{"jace/memory", "Jace's decision caches take too much memory, and give some back"},
	{"jace/told-again", "after a restart Jace was told again where the strategies stand, and decides by it"},
	{"journal/reopen", "a subsystem opens its log anew after a failed write"},
	{"karn/fallback", "a request is answered by a template that is always there"},
	{"karn/pattern", "of several new mutations one is made because its patterns did well"},
	{"kasmina/isolation-open", "gradients are not taken, for three in a row were not isolated"},
	{"kasmina/isolation-violation", "a seed's gradients lie in parameters of the host, and the step is refused"},
	{"kasmina/kernel-fault", "a kernel's output is no number, and the layer is bypassed"},
	{"kasmina/no-statistics", "Emrakul asks how important the channels are, and too little was seen"},
	{"kasmina/rollback-at-half-alpha", "a rollback leaves or restores a seed on its ramp, with about half of its share"},
	{"kasmina/statistics", "Emrakul is told how important the channels are"},
	{"ledger-reopened", "the ledger's log was opened anew after it was poisoned"},
	{"mycosynth/decided", "a revision of the configuration is in force"},
	{"mycosynth/reopen", "Mycosynth opens its log anew after a failed write"},
	{"narset/reopen", "Narset opens her log anew after a failed write"},
	{"nissa/logs", "an operator reads the logs"},
	{"nissa/reopen", "Nissa opens her log anew after a failed write"},
	{"nissa/replayed", "Nissa has read what the bus still had"},
	{"nissa/role", "somebody asks Nissa for what is not for their role"},
	{"oona/aged", "an entry has waited for so long that it is raised by one tier"},
	{"oona/breaker-open", "the bus's log has failed three times in a row, and nothing is published for a while"},
	{"oona/conservative", "the bus takes only what is critical or an emergency"},
	{"oona/no-space", "the bus's disk is full"},
	{"oona/normal-again", "the bus leaves its conservative mode"},
	{"oona/queue-full", "a publication finds its queue full, and nothing lower in it"},
	{"oona/refused", "the bus's log is damaged, and takes nothing any more"},
	{"oona/reopen", "the bus opens its log anew after a failed write"},
	{"oona/shed", "a publication made room for a more urgent one"},
	{"oona/snapshot", "the bus has saved its state, and let go of the log before"},
	{"oona/too-new", "a publication is newer than a reader of its topic knows"},
	{"outbox/as-older", "a publication is repeated in the version of its readers"},
	{"outbox/held", "a publication waits for its readers to be upgraded"},
	{"outbox/yields", "a publication that can wait does, for the bus is under pressure"},
	{"policy/wrong-digest", "the weights of a policy are not those that were announced"},
	{"publisher/heeds", "a publisher slows down, for the bus is under pressure"},
	{"simic/library-kernel", "a report on a kernel of the asset library becomes an experience"},
	{"simic/reopen", "Simic closes its log after a failed write, and opens it anew"},
	{"simic/snapshot", "Simic has saved what its log says, and let go of the log before"},
	{"simic/tests-anew", "a rollback begins the test of a policy anew"},
	{"tamiyo/capacity", "a seed is not germinated, for little is left of the innovation pipeline"},
	{"tamiyo/learned", "a policy that was learnt has chosen a kernel"},
	{"tamiyo/learned-before-a-restart", "a policy chooses whose announcement an earlier life has logged"},
	{"tamiyo/library-silent", "the library does not say in time which kernels there are"},
	{"tamiyo/reopen", "Tamiyo opens its log anew after a failed write"},
	{"tamiyo/stale-telemetry", "a report was measured before the rollback that has ended"},
	{"tamiyo/undone-result", "the result of a germination came after the rollback that took it back"},
	{"tezzeret/before-artifact", "a kernel is compiled, and not in the log yet"},
	{"tezzeret/found-pending", "a blueprint whose event was missed is found in the library"},
	{"tezzeret/full", "the queue of compilations has no place"},
	{"tezzeret/lower", "a compilation is tried again one pipeline lower"},
	{"tezzeret/older-toolchain", "what an older compiler has compiled is compiled again"},
	{"tezzeret/preempted", "a compilation makes room for an emergency"},
	{"tezzeret/shares", "a pass of a compilation waits, for it has had its share of the device"},
	{"tezzeret/shed", "a compilation is dropped for a more urgent one"},
	{"tolaria/auxiliaries", "auxiliaries take part in a rollback"},
	{"tolaria/before-commit", "a rollback is about to be decided"},
	{"tolaria/checkpoint-incomplete", "a part of a checkpoint did not come, or its disk was full"},
	{"tolaria/config-decided", "Tolaria has decided from when on a revision is in force"},
	{"tolaria/emergency-checkpoint", "a checkpoint is taken early, for a seed breaks its isolation"},
	{"tolaria/foreign-rate", "the optimizer had a rate that the learning-rate controller has not set"},
	{"tolaria/late-mask", "a mask comes after one of a later version"},
	{"tolaria/mask-undone", "a rollback has undone a mask"},
	{"tolaria/masked", "a mask comes into force with the epoch after a checkpoint"},
	{"tolaria/warm-up", "a learning rate is led to the ordered one, epoch by epoch"},
	{"tolaria/warm-up-restored", "a rollback brings back a learning rate in the middle of its warm-up"},
	{"tolaria/without-auxiliaries", "a rollback is decided without the auxiliaries, of which too few say yes"},
	{"urabrask/before-verdict", "a verdict is reached, and not in the log yet"},
	{"urabrask/comprehensive", "a verdict on a kernel that is to serve for long is reached"},
	{"urabrask/emergency", "a verdict is reached without a device"},
	{"urabrask/full", "the queue of validations has no place"},
	{"urabrask/late", "a stage of a validation takes longer than it may"},
	{"urabrask/pruning", "a verdict on a mask is given"},
	{"urza/fallback", "a query is answered with the identity kernel"},
	{"urza/metadata-without-commit", "metadata stands, and the log has no COMMIT for it yet"},
	{"urza/no-space", "the library's disk is full, and a change is given up"},
	{"urza/object-without-metadata", "an object is written, and its metadata is not"},
	{"urza/reconciled", "a change that stood without a COMMIT gets one"},
	{"urza/reopen", "the library opens its files anew after one failed"},
	{"vault/reopen", "the vault opens its log anew after a failed write"},
	{"wal/before-commit", "a transaction is written, and its COMMIT is not"},
	{"wal/commit-unsynced", "a COMMIT is in the buffer"},
	{"wal/poison", "a write or sync failed, and the log takes nothing any more"},
	{"wal/rotate", "a log turns to a new segment"},
	{"wal/torn-tail", "recovery cuts the torn end of a log"},
}

// ProbeNames lists the names of the probes, sorted.
func ProbeNames() []string {
	list := make([]string, len(probes))
	for i, p := range probes {
		list[i] = p.Name
	}
	return list
}
