// Package tape records what a device did, and plays it again where there is none.
//
// A [Recorder] stands before an accelerator and its monitor and writes down every
// operation: hashes of what went in and came out, how long it took, how it failed,
// what the monitor said. A [Player] has the same interfaces. It computes by the
// reference, compares with the recorded hashes, and gives the recorded times, errors,
// samples and events at the operations at which they were recorded: a run that does
// what was recorded sees the device, and one that does anything else is told where it
// left the tape.
//
// # Format
//
// Version 1 is text, one record a line: the CRC-32C of the record in 8 hexadecimal
// digits, a space, the record as a JSON object. The first record is the head, the
// last the end, which says how many there are; so a tape that was cut is not a short
// one. Unknown fields are refused.
//
//	head    version, backend, workload, identity, name
//	memory  used, limit: whenever they differ from the last
//	alloc   bytes → slice       free    slice
//	load    program, batch, footprint → module
//	unload  module
//	run     module, launch, in → out, tensors, timing
//	limit   limit_ns            rebuild, reset
//	sample  sample              events  next, events: only new ones
//	end     records
//
// An operation that failed has error. Times of failures are took_ns.
package tape

import (
	"time"

	"github.com/esper-sim/espersim/gpu"
)

// Version of the format.
const Version = 1

// Head is what a tape is of.
type Head struct {
	Version  int          `json:"version"`
	Backend  string       `json:"backend"`  // what drove the device, such as cuda
	Workload string       `json:"workload"` // what was run on it, in its own words
	Name     string       `json:"name"`     // the accelerator's
	Identity gpu.Identity `json:"identity"`
}

// Named is a program that says what it is called on tapes.
type Named interface{ ProgramName() string }

// record is a line. Which fields it has depends on the operation.
type record struct {
	Op      string      `json:"op"`
	Head    *Head       `json:"head,omitempty"`
	Used    int64       `json:"used,omitempty"`
	Limit   int64       `json:"limit,omitempty"`
	Bytes   int64       `json:"bytes,omitempty"`
	Slice   uint64      `json:"slice,omitempty"`
	Module  uint64      `json:"module,omitempty"`
	Program string      `json:"program,omitempty"`
	Batch   int         `json:"batch,omitempty"`
	Takes   *footprint  `json:"footprint,omitempty"`
	Launch  int         `json:"launch,omitempty"` // from 1
	In      string      `json:"in,omitempty"`
	Out     string      `json:"out,omitempty"`
	Tensors string      `json:"tensors,omitempty"`
	Timing  *timing     `json:"timing,omitempty"`
	LimitNS int64       `json:"limit_ns,omitempty"`
	Sample  *gpu.Sample `json:"sample,omitempty"`
	Events  []gpu.Event `json:"events,omitempty"`
	Next    uint64      `json:"next,omitempty"`
	TookNS  int64       `json:"took_ns,omitempty"`
	Error   *failure    `json:"error,omitempty"`
	Records int         `json:"records,omitempty"`

	line int
}

// footprint, timing and failure are package gpu's, with the names that tapes have.
type footprint struct {
	Passes   int   `json:"passes"`
	Flops    int64 `json:"flops"`
	Bytes    int64 `json:"bytes"`
	Retained int64 `json:"retained,omitempty"`
}

type timing struct {
	Queued time.Duration `json:"queued_ns,omitempty"`
	Ran    time.Duration `json:"ran_ns"`
	Units  int           `json:"units"`
}

type failure struct {
	Op    string    `json:"op"`
	Class gpu.Class `json:"class"`
	Xid   int       `json:"xid,omitempty"`
	Code  int       `json:"code,omitempty"`
	Why   string    `json:"why,omitempty"`
}
