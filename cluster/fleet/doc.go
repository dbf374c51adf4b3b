// Package fleet trains on many accelerators at once: the smallest program that
// fails as large ones do. Hosts with several devices each go through a model
// together, step by step; every step ends with a sum over all devices, and none
// begins before all have it. One device that fails stops them all.
//
//   - [NewLead]: who says what is done next. It takes members from the hosts that
//     are well, starts them at the newest checkpoint, has them do step after step,
//     and begins again when one of them fails or is silent for too long.
//   - [NewWorker]: a host. It computes its part of each step on all its devices,
//     each under a guard of package device, and tells the lead what came of it.
//   - shard.go: what is computed: whole numbers small enough for their sums to be
//     exact, so that who looks on knows the state after every step.
//
// What it promises: a step is done only if every member computed its part in the
// present generation; no step, start or collective is waited for longer than its
// limit; the state after each step is that of a run in which nothing failed; and a
// host whose devices fail again and again is left out while another is there.
//
// What a run reports is how much of the time was spent on steps that count
// (goodput), and how long it took from an interruption to the next step.
package fleet
