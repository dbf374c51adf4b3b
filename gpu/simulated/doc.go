// Package simulated is a GPU that exists in memory only: it keeps account of its
// own memory, computes by the reference, takes the time that a profile says, and
// fails in every way of package gpu's table.
//
// A [Chip] is the device: what it is, what is wrong with it, and what it reported.
// It outlives processes, and a loss of power mends of it what that mends. A
// [Context] is what one process has of it, and implements [gpu.Accelerator]; the
// chip itself is a [gpu.Monitor]. [Fault] is what goes wrong.
//
// The model of time: a pass over memory costs 5 µs, and a million floating-point
// operations 1 µs, on the reference device; a launch waits until the one before
// has ended, whoever launched it.
package simulated
