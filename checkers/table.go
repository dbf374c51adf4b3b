package checkers

import "github.com/esper-sim/espersim/sim/trace"

var messages = []trace.Kind{trace.MessageSent, trace.MessageDelivered}

// catalogue is what can be judged, in the order of the digest's part I. E1, H1,
// P1, R1 and R2 are the harness's own.
var catalogue = []Invariant{
	{ID: "C2", Statement: "encoding what a message decodes to gives its bytes", Source: "HLD 8.0.1 I6"},
	{ID: "C9", Statement: "writers emit version 2, and a minor version only when every live consumer has announced it; readers accept every minor version", Source: "HLD 8.4"},
	{ID: "C10", Statement: "every message sits in an envelope whose payload type is declared for its topic or direct link", Source: "HLD 9.1"},
	{ID: "C11", Statement: "a message with a bad checksum or an unsupported version reaches no handler", Source: "HLD 10.1"},
	{ID: "O1", Statement: "a published event never changes, what has an order is published one at a time, and the log replays in the same order each time", Source: "HLD 8.2"},
	{ID: "O2", Statement: "an acknowledged publication is delivered until it is acknowledged, expired or dead-lettered, never after its time to live; trimming spares what a durable group has not acknowledged", Source: "H7 7.3.1"},
	{ID: "O3", Statement: "a second delivery of a command or event leaves every state unchanged", Source: "HLD 8.0.3"},
	{ID: "O4", Statement: "at most one consumer acts on a command", Source: "HLD 8.2"},
	{ID: "O9", Statement: "breakers move only from CLOSED to OPEN to HALF_OPEN to CLOSED or OPEN, when enough calls in a row have failed; OPEN runs no protected work", Source: "H6 6.3.3"},
	{ID: "A1", Statement: "a command takes effect at most once in a training run", Source: "HLD 8.0.3"},
	{ID: "A2", Statement: "a command takes effect only in [target_epoch, target_epoch + ttl_epochs), at a boundary in which those whom it requires took part", Source: "HLD 8.0.3"},
	{ID: "A3", Statement: "a bad signature or hash, a used nonce or a skew over 60 s changes no state, also after restarts; what is genuine is not refused", Source: "02.1"},
	{ID: "A4", Statement: "what requires a confirmation has no effect before it", Source: "HLD 8.0.3"},
	{ID: "A5", Statement: "a pause is granted and begins only with a valid signed token, which serves for one, and ends by its maximum duration", Source: "HLD 8.0.3"},
	{ID: "A6", Statement: "while paused or frozen only resume, rollback and emergency change state; the forward path is the identity, and events name the mode", Source: "02.4"},
	{ID: "K1", Statement: "every stage change is an edge of the lifecycle or part of a rollback; embargo and operator clearance hold", Source: "H9 B"},
	{ID: "K2", Statement: "stages change at an epoch boundary on a command, except CULLED on load failure, quarantine and rollback", Source: "H9 B.1"},
	{ID: "K3", Statement: "a kernel is executed only if the library held it as validated when it was loaded, and its bytes match its hash", Source: "HLD 8.1.1"},
	{ID: "K4", Statement: "before GRAFTING and after the end the host's output equals its input, bit for bit", Source: "H7"},
	{ID: "K5", Statement: "alpha is 0 before GRAFTING, never falls during it, and is 1 after it until the end", Source: "01.1"},
	{ID: "I7", Statement: "an adaptation that has ended gets one terminal field report, which names its blueprint, kernel and seed, and says how it ended", Source: "HLD 8.1.2"},
	{ID: "T1", Statement: "between 1 and 5 good checkpoints exist after the first; the newest is never evicted", Source: "HLD 8.2"},
	{ID: "T2", Statement: "a checkpoint holds host, optimizer, Tamiyo and Kasmina state of one epoch", Source: "H9 13"},
	{ID: "T3", Statement: "at the end of a rollback every core participant stands at the same checkpoint and generation, or none has moved; it ends once, and no step runs across generations", Source: "01.2"},
	{ID: "T4", Statement: "at most one rollback is active, and one that was aborted is not hurried; nobody stays PREPARED beyond its deadline, and the prepared and fenced do no work", Source: "01.2"},
	{ID: "T6", Statement: "epochs start in order, except after a rollback, where the generation rises", Source: "HLD 9.1"},
	{ID: "T7", Statement: "a silent Tamiyo delays an epoch by at most 2 s", Source: "01.1"},
	{ID: "W1", Statement: "an entry that was acknowledged as durable is there after every crash", Source: "HLD 8.3"},
	{ID: "W2", Statement: "recovery returns a prefix of what was appended; a torn tail is cut, never interpreted", Source: "HLD 8.3"},
	{ID: "W3", Statement: "a change of a single bit in a header or payload is detected", Source: "HLD 8.3"},
	{ID: "W4", Statement: "effects without a COMMIT are absent after recovery; one transaction at a time", Source: "01.2"},
	{ID: "W5", Statement: "a checkpoint is accepted only if the root recomputed from its bytes and context is the stored one", Source: "HLD 8.3"},
	{ID: "W6", Statement: "different components or contexts never feed the same bytes to the root hash", Source: "HLD 8.3"},
	{ID: "W7", Statement: "what goes into a log's file is written where name and space are durable, and no sync that failed is tried again", Source: "faults 1"},
	{ID: "W8", Statement: "space is given back: no file stays that holds no record, that others supersede, or that was let go", Source: "faults 1"},
	{ID: "W9", Statement: "what others are told of is in the log before, and durable: commands, their acknowledgements and results, and field reports", Source: "HLD 8.3"},
	{ID: "I4", Statement: "one IR, pipeline, hardware and toolchain yields at most one artifact, across restarts", Source: "06.1"},
	{ID: "I5", Statement: "a kernel is announced only after artifact and COMMIT are durable, a verdict only after its report", Source: "06.1"},
	{ID: "I6", Statement: "BP043 to BP050 never appear in the library, in a query result or in a seed", Source: "05"},
	{ID: "J2", Statement: "a change of the configuration is seen by every subsystem at the same epoch boundary, or by none", Source: "digest 14"},
	{ID: "J3", Statement: "a regional summary is the aggregate of exactly the telemetry that it names; an emergency passes unaltered and unbatched, and Tamiyo and Nissa get the telemetry themselves", Source: "digest 14"},
	{ID: "L1", Statement: "every started rollback ends DONE or ABORTED within 30 s", Source: "01.2", Liveness: true},
	{ID: "L2", Statement: "every command gets one result, and expires only if nobody could carry it out", Source: "02.1", Liveness: true},
	{ID: "L3", Statement: "every submitted blueprint ends with a kernel verdict or INVALID", Source: "HLD 9.1", Liveness: true},
	{ID: "L5", Statement: "once the faults are over, the bus answers what is published within 10 s, and who must publish asks until then", Source: "09", Liveness: true},
	{ID: "L6", Statement: "schemas that are not those of the manifest raise an alert", Source: "HLD 10.2", Liveness: true},
	{ID: "L7", Statement: "training makes progress once the faults are over, and with Kasmina if it lives", Source: "H5 ADR-001", Liveness: true},
	{ID: "H1", Statement: "once the faults have healed, everything is well within the stated time: processes up, pauses, breakers and rollbacks at their end, outboxes and queues empty, epochs going on", Source: "convergence", Liveness: true},
	{ID: "E1", Statement: "replaying the run's lineage in a calm world gives byte-identical weights, optimizer and sample order", Source: "recovery equivalence"},
	{ID: "R1", Statement: "the newest good checkpoint is a linearizable register", Source: "linearizability"},
	{ID: "R2", Statement: "applying a command is linearizable", Source: "linearizability"},
	{ID: "P1", Statement: "no process ends by a panic, nor ends or refuses work by an error where the fault tables say that it goes on", Source: "faults 1"},
	{ID: "I8", Statement: "no policy reaches production without every stage of its validation passed", Source: "04"},
	{ID: "L4", Statement: "every field report that the bus took becomes one experience or one logged rejection of Simic's, and is acknowledged no sooner", Source: "HLD 9.1", Liveness: true},
	{ID: "J1", Statement: "each decision on the curriculum has a strategy and a confidence of 0.3, in every fault; a fallback is SYNCHRONIZED with 0.4", Source: "11.1"},
	{ID: "I9", Statement: "pruning masks: none before epoch 31, only at the load of a checkpoint, only after a GO, within floors, at most 5 % a cycle and 50 % overall", Source: "12"},
}

var facts = []trace.Kind{trace.FactDeclared}

func kinds(lists ...[]trace.Kind) []trace.Kind {
	var all []trace.Kind
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// groups are the checkers.
var groups = []group{
	{[]string{"P1"}, kinds(messages, facts, []trace.Kind{trace.NodeExited, trace.NodeReady, trace.NodeStarted, trace.DiskOperation}), newProcesses},
	{[]string{"C2", "C10", "C11"}, kinds(messages, []trace.Kind{trace.MessageRefused, trace.NodeStarted}), newContract},
	{[]string{"C9"}, kinds(messages, []trace.Kind{trace.MessageRefused, trace.NodeStarted}), newVersions},
	{[]string{"O1", "O2"}, kinds(messages, facts, []trace.Kind{trace.NodeStarted, trace.NodeCrashed, trace.NodeExited}), newBus},
	{[]string{"O1", "O2", "L5"}, kinds(messages, facts, []trace.Kind{trace.NodeCrashed, trace.NodeExited}), newDuties},
	{[]string{"O1", "O2"}, kinds(messages, facts, lifeEvents), newHanding},
	{[]string{"A1", "A2", "A3", "A4", "O3", "O4", "L2"}, kinds(messages, facts), newCommands},
	{[]string{"A5", "A6"}, kinds(messages, facts, lifeEvents), newPauses},
	{[]string{"K1", "K2", "K4", "K5"}, kinds(messages, facts, []trace.Kind{trace.NodeStarted}), newSeeds},
	{[]string{"I7"}, kinds([]trace.Kind{trace.MessageSent}, facts), newReports},
	{[]string{"T1", "T2", "W5", "W6"}, kinds([]trace.Kind{trace.MessageSent}, facts), newCheckpoints},
	{[]string{"T3", "T4", "L1"}, kinds(messages, facts, lifeEvents), newRollbacks},
	{[]string{"T6", "T7", "L7"}, kinds(messages, facts, lifeEvents, []trace.Kind{trace.TimerFired}), newEpochs},
	{[]string{"H1"}, kinds(messages, facts, lifeEvents, []trace.Kind{trace.TimerFired}), newConvergence},
	{[]string{"J2"}, kinds([]trace.Kind{trace.MessageSent}, facts), newConfiguration},
	{[]string{"J3"}, kinds(messages, lifeEvents), newRegions},
	{[]string{"L6"}, messages, newMismatch},
	{[]string{"O9"}, kinds([]trace.Kind{trace.MessageSent, trace.NodeStarted}, facts), newBreakers},
	{[]string{"W1", "W2", "W3"}, messages, newLedger},
	{[]string{"W1", "W4"}, facts, newLogs},
	{[]string{"W7", "W8"}, kinds([]trace.Kind{trace.DiskOperation, trace.HostCrashed}, lifeEvents), newStorage},
	{[]string{"W9"}, kinds(messages, facts, []trace.Kind{trace.NodeStarted}), newAhead},
	{[]string{"W4", "W5", "W6"}, []trace.Kind{trace.MessageSent}, newVaults},
	{[]string{"I4", "I5", "I6", "K3", "L3"}, kinds(messages, facts), newInnovation},
	{[]string{"E1"}, kinds([]trace.Kind{trace.MessageSent}, facts), newEquivalence},
	{[]string{"R1"}, kinds(messages, facts, []trace.Kind{trace.NodeCrashed, trace.NodeExited, trace.NodeReady}), newRegister},
	{[]string{"R2"}, kinds(messages, facts), newApplication},
	{[]string{"I8"}, kinds(messages, facts), newPolicies},
	{[]string{"L4"}, kinds(messages, facts), newLessons},
	{[]string{"I9"}, kinds(messages, facts), newPruning},
	{[]string{"J1"}, []trace.Kind{trace.MessageSent}, newCurriculum},
}
