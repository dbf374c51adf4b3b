// Package crash explores what a crash may leave on a disk: not some crashes,
// but every one within a bound.
//
// A [Workload] is a program that keeps something on a disk, the operations that
// it has, the disks that it may find when it begins, and a model of what it
// promised. [Explore] makes every sequence of up to so many operations. At
// every disk operation of a sequence, before it and in its midst, the power
// fails, and the disk is left in every state that the model of the disk admits
// ([disk.Outcomes]): each undecided unit new, old, zero, noise or a stale
// record. The program recovers from each, and the model judges what it shows.
// Then the program works on: what it acknowledges after the recovery must
// survive the next crash as well. Every recovery is itself crashed once, at
// each of its disk operations.
//
// The method is that of ACE (OSDI '18, "Finding Crash-Consistency Bugs with
// Bounded Black-Box Crash Testing"): small sequences, all of them; and of ALICE
// (OSDI '14): a model of what the disk may do, rather than one file system.
//
// # What is counted
//
// Points are places of a crash, States what the disk admits there. Both are
// compared by hash: places where the disk and all promises are the same are one
// place, and a state that was judged is not judged again. Nothing else is left
// out, but where more than [Options.Units] things are undecided: there all
// prefixes and all pairs are taken (of a [Workload.Coarse] one fewer pairs), and the
// place is counted as bounded.
//
// # Index
//
//   - [Explore], [Options], [Result]: the search. [Counterexample] is the
//     smallest crash that breaks a promise, [Replay] shows it again.
//   - [Workloads], [Find], [ParseCase], [Case]: what there is to explore.
//   - [Workload], [Start], [Subject], [Violation]: what a new one consists of.
package crash
