package tape

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/esper-sim/espersim/gpu"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// hash is of the bits of the numbers.
func hash(lists ...[]float32) string {
	h := sha256.New()
	var b []byte
	for _, list := range lists {
		b = binary.LittleEndian.AppendUint64(b[:0], uint64(len(list)))
		for _, v := range list {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// tensors is the hash of what a program has on the device, and empty if that is
// nothing.
func tensors(p gpu.Program) string {
	if r, ok := p.(gpu.Resident); ok {
		return hash(r.Tensors()...)
	}
	return ""
}

// Recorder writes down what an accelerator does. It is itself one, and a monitor if
// there is one behind it.
type Recorder struct {
	x        gpu.Accelerator
	m        gpu.Monitor
	now      func() time.Duration
	w        *bufio.Writer
	failed   error // of writing
	records  int
	launches int
	told     uint64 // events so far
	programs map[gpu.Module]gpu.Program
	used     int64
	limit    int64
}

var (
	_ gpu.Accelerator = (*Recorder)(nil)
	_ gpu.Monitor     = (*Recorder)(nil)
)

// Record begins a tape. m may be nil: nothing is watched then. now is monotonic. What
// goes wrong in writing is said by Close.
func Record(w io.Writer, head Head, x gpu.Accelerator, m gpu.Monitor, now func() time.Duration) *Recorder {
	r := &Recorder{x: x, m: m, now: now, w: bufio.NewWriter(w), programs: map[gpu.Module]gpu.Program{}}
	head.Version, head.Name = Version, x.Name()
	r.put(&record{Op: "head", Head: &head})
	r.remember()
	return r
}

func (r *Recorder) put(c *record) {
	b, err := json.Marshal(c)
	if err != nil {
		// A float that is no number, in a sample: JSON has none.
		r.fail(fmt.Errorf("tape, record %d, %s: %w", r.records+1, c.Op, err))
		return
	}
	r.records++
	if _, err := fmt.Fprintf(r.w, "%08x %s\n", crc32.Checksum(b, castagnoli), b); err != nil {
		r.fail(err)
	}
}

func (r *Recorder) fail(err error) {
	if r.failed == nil {
		r.failed = err
	}
}

// done writes an operation's outcome down.
func (r *Recorder) done(c *record, began time.Duration, err error) {
	if err != nil {
		var e *gpu.Error
		if !errors.As(err, &e) {
			e = &gpu.Error{Op: c.Op, Class: gpu.NotInitialized, Why: err.Error()}
		}
		f := failure(*e)
		c.Error, c.TookNS = &f, int64(r.now()-began)
	}
	r.put(c)
	r.remember()
}

// remember writes down how much memory is taken, if that has changed.
func (r *Recorder) remember() {
	used, limit := r.x.Memory()
	if used != r.used || limit != r.limit {
		r.used, r.limit = used, limit
		r.put(&record{Op: "memory", Used: used, Limit: limit})
	}
}

// Close ends the tape. It says what went wrong in writing it.
func (r *Recorder) Close() error {
	r.put(&record{Op: "end", Records: r.records + 1})
	if err := r.w.Flush(); err != nil {
		r.fail(err)
	}
	return r.failed
}

// Name implements gpu.Accelerator.
func (r *Recorder) Name() string { return r.x.Name() }

// Memory implements gpu.Accelerator: it is as after the last operation.
func (r *Recorder) Memory() (used, limit int64) { return r.used, r.limit }

// Alloc implements gpu.Accelerator.
func (r *Recorder) Alloc(bytes int64) (gpu.Slice, error) {
	began := r.now()
	s, err := r.x.Alloc(bytes)
	r.done(&record{Op: "alloc", Bytes: bytes, Slice: uint64(s)}, began, err)
	return s, err
}

// Free implements gpu.Accelerator.
func (r *Recorder) Free(s gpu.Slice) error {
	began := r.now()
	err := r.x.Free(s)
	r.done(&record{Op: "free", Slice: uint64(s)}, began, err)
	return err
}

// Load implements gpu.Accelerator.
func (r *Recorder) Load(p gpu.Program, batch int) (gpu.Module, error) {
	began := r.now()
	m, err := r.x.Load(p, batch)
	f := footprint(p.Footprint(batch))
	if err == nil {
		r.programs[m] = p
	}
	r.done(&record{Op: "load", Program: nameOf(p), Batch: batch, Takes: &f, Module: uint64(m)}, began, err)
	return m, err
}

func nameOf(p gpu.Program) string {
	if n, ok := p.(Named); ok {
		return n.ProgramName()
	}
	return "program"
}

// Unload implements gpu.Accelerator.
func (r *Recorder) Unload(m gpu.Module) error {
	began := r.now()
	err := r.x.Unload(m)
	delete(r.programs, m)
	r.done(&record{Op: "unload", Module: uint64(m)}, began, err)
	return err
}

// Run implements gpu.Accelerator.
func (r *Recorder) Run(m gpu.Module, out, in []float32) (gpu.Timing, error) {
	r.launches++
	c := &record{Op: "run", Module: uint64(m), Launch: r.launches, In: hash(in)}
	began := r.now()
	t, err := r.x.Run(m, out, in)
	if err == nil {
		took := timing(t)
		c.Out, c.Timing = hash(out), &took
		if p := r.programs[m]; p != nil {
			c.Tensors = tensors(p)
		}
	}
	r.done(c, began, err)
	return t, err
}

// Limit implements gpu.Accelerator.
func (r *Recorder) Limit(d time.Duration) {
	r.x.Limit(d)
	r.put(&record{Op: "limit", LimitNS: int64(d)})
}

// Rebuild implements gpu.Accelerator.
func (r *Recorder) Rebuild() error {
	began := r.now()
	err := r.x.Rebuild()
	r.done(&record{Op: "rebuild"}, began, err)
	return err
}

// Reset implements gpu.Accelerator.
func (r *Recorder) Reset() error {
	began := r.now()
	err := r.x.Reset()
	r.done(&record{Op: "reset"}, began, err)
	return err
}

// unwatched is what there is no monitor for.
func unwatched(op string) error {
	return &gpu.Error{Op: op, Class: gpu.NotInitialized, Why: "the device is not watched"}
}

// Identity implements gpu.Monitor.
func (r *Recorder) Identity() (gpu.Identity, error) {
	if r.m == nil {
		return gpu.Identity{}, unwatched("identity")
	}
	return r.m.Identity()
}

// Sample implements gpu.Monitor.
func (r *Recorder) Sample() (gpu.Sample, error) {
	if r.m == nil {
		return gpu.Sample{}, unwatched("sample")
	}
	began := r.now()
	s, err := r.m.Sample()
	c := &record{Op: "sample"}
	if err == nil {
		c.Sample = &s
	}
	r.done(c, began, err)
	return s, err
}

// Events implements gpu.Monitor.
func (r *Recorder) Events(after uint64) ([]gpu.Event, uint64, error) {
	if r.m == nil {
		return nil, after, unwatched("events")
	}
	began := r.now()
	events, next, err := r.m.Events(after)
	c := &record{Op: "events", Next: next}
	for _, e := range events {
		if e.Number > r.told {
			c.Events = append(c.Events, e)
			r.told = e.Number
		}
	}
	if len(c.Events) > 0 || err != nil {
		r.done(c, began, err)
	}
	return events, next, err
}
