// Package urabrask validates kernels (card 07): it fetches each from the
// library, runs it on a device, measures it, and gives the one verdict that the
// library lets it be used by.
//
// What it promises:
//
//   - Every pending kernel gets one verdict for its hardware, over crashes: the
//     verdict is logged before the library is told, and is not reached again. A
//     kernel whose event was missed is found in the library.
//   - A kernel is VALIDATED only if it loads, its results are numbers on ordinary
//     and on hostile inputs, its gradients are within 1e-7 and 1e4 and vary little,
//     it gives back what it took of the device, its latency varies by at most 18 %,
//     and its risk is below 0.3. A device that fails is no verdict: the kernel is
//     tried again.
//   - Whatever becomes of a validation, its slice of the device is given back.
//   - A mask of Emrakul's gets a GO only within the structural caps: at most half of
//     all structures, at least 95 % of the accuracy by the structures' redundancy.
//   - A kernel that failed at work is put in quarantine, and whoever said so hears
//     when that is done.
//
// Choices where the card leaves one. One kernel is validated at a time, and the
// process's part of the device is reset after it, as the end of a sandbox process
// would. A validation is a row of steps with a timer in between, so that mail is
// handled. The queue of 25 is in memory, since the library knows what is pending.
// A batch has eight samples. Structural checks of a single kernel are that it
// computes the same twice and that at least 95 % of its parameter layers see a
// gradient; their breaker counts device errors in that step. Confidence is HIGH
// when latency needed no second measurement.
//
// A kernel of the pipeline "emergency" is validated in the mode EMERGENCY: before
// all others, in the process itself, without the structural step, in a third of
// the time, and with the confidence SPECULATIVE. One of the pipeline "aggressive" is
// validated in the mode COMPREHENSIVE: with twice the measurements, under lasting
// load, and by the caps on how much memory, gradients and heat may vary. All
// others are STANDARD. A stage that takes longer than its mode allows is tried once
// more, and then rejects the kernel. Latencies are compared with those of
// the same hardware.
//
// The files: urabrask.go handles mail, run.go takes a kernel through its steps,
// mode.go says which these are and how long they may take, host.go is what an
// emergency runs on, pruning.go judges masks; measure.go and judge.go are pure but
// for the device.
package urabrask
