package tezzeret

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/gpu"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// active is a job that is worked on. It lives in memory.
type active struct {
	serial  int64
	job     *statev2.CompileJob
	ir      *blueprintv2.BlueprintIR // nil until the library sent it
	passes  int                      // that are done
	began   time.Duration
	slice   gpu.Slice // of the device, for its tables
	era     uint64    // of the device, in which it was taken
	failed  uint64    // calls of the device that had failed when it began
	tickets [3]breaker.Ticket
}

// attempts is how often a job is tried.
const attempts = 3

// admitJob queues a job for a blueprint. pipeline 0: it is chosen. It returns the
// job's id, or "" where there is no place or the log does not take it.
func (t *tezzeret) admitJob(blueprint, hardware string, pipeline kernel.Pipeline, tier uint32, interest float64) string {
	if hardware == "" {
		hardware = t.o.Hardware
	}
	if pipeline == 0 {
		pipeline = choose(interest, t.jobs.load(), t.conservative)
	}
	id := jobID(blueprint, hardware, pipeline, t.toolchain)
	if have := t.jobs.byID[id]; have != nil && have.State != cancelled {
		return id
	}
	victim, ok := t.jobs.admit(tier, t.busy)
	if !ok {
		t.env.Probe.Reached("tezzeret/full")
		return ""
	}
	var records []canon.Message
	if victim != nil {
		t.env.Probe.Reached("tezzeret/shed")
		records = append(records, step(victim, cancelled, "a more urgent job needs its place"))
	}
	j := &statev2.CompileJob{JobId: id, BlueprintId: blueprint, Pipeline: pipeline.String(), Hardware: hardware, Toolchain: t.toolchain,
		Tier: tier, Interest: interest, Emergency: tier == tierEmergency, State: queued, At: timestamppb.New(t.env.Clock.Now()), Order: t.jobs.next}
	if !t.log.Write(append(records, j)...) {
		return ""
	}
	t.tell(j, "QUEUED")
	if tier == tierEmergency {
		t.preempt()
	}
	t.fill()
	return id
}

func jobID(blueprint, hardware string, p kernel.Pipeline, toolchain string) string {
	return fmt.Sprintf("%s-%s-%v-%s", blueprint, hardware, p, toolchain)
}

func (t *tezzeret) busy(j *statev2.CompileJob) bool {
	for _, a := range t.active {
		if a.job.JobId == j.JobId {
			return true
		}
	}
	return false
}

// fill starts jobs, as many as may be active.
func (t *tezzeret) fill() {
	most := 2
	if t.conservative {
		most = 1
	}
	for t.log.Usable() && len(t.active) < most {
		j := t.jobs.first(t.env.Clock.Now(), t.busy)
		if j == nil {
			return
		}
		now := t.env.Clock.Monotonic()
		for _, b := range t.breakers {
			if b.State(now) == breaker.Open {
				t.wake(b.RetryAfter(now))
				return
			}
		}
		var tickets [3]breaker.Ticket
		for i, b := range t.breakers {
			// Two active jobs never use up three probes.
			tickets[i], _ = b.Allow(now)
		}
		t.serial++
		a := &active{serial: t.serial, job: j, began: now, tickets: tickets, failed: t.device.Failures()}
		t.active = append(t.active, a)
		t.tell(j, "VALIDATING")
		t.fetch(a)
	}
}

// preempt makes room for an emergency: the active job of the lowest tier waits
// again, in its old place, and begins anew.
func (t *tezzeret) preempt() {
	most := 2
	if t.conservative {
		most = 1
	}
	var lowest *active
	for _, a := range t.active {
		if a.job.Tier > tierEmergency && (lowest == nil || a.job.Tier >= lowest.job.Tier) {
			lowest = a
		}
	}
	if len(t.active) >= most && lowest != nil {
		t.env.Probe.Reached("tezzeret/preempted")
		t.library.Drop("ir/" + lowest.job.JobId)
		t.release(lowest, breakNone)
	}
}

// wake looks for work again later.
func (t *tezzeret) wake(after time.Duration) {
	t.env.Clock.SetTimer("fill", 0, max(after, 100*time.Millisecond))
}

// fetch asks the library for the graph.
func (t *tezzeret) fetch(a *active) {
	serial := a.serial
	t.library.Ask(fmt.Sprint("ir/", a.job.JobId), &assetsv2.FetchBlueprint{BlueprintId: a.job.BlueprintId, WithIr: true}, func(m canon.Message) {
		r, ok := m.(*assetsv2.FetchBlueprintReply)
		a := t.find(serial)
		if !ok || a == nil {
			return
		}
		switch {
		case r.Status != assetsv2.AssetStatus_EXISTS || r.Ir == nil:
			// Its bytes may be good again when the library has read them anew; what is not
			// there at all cannot become so, since it was announced.
			t.fail(a, fmt.Sprintf("the library says %v: %s", r.Status, r.Reason), r.Status == assetsv2.AssetStatus_NOT_FOUND)
			return
		case r.Blueprint.GetStatus() == blueprintv2.BlueprintStatus_INVALID || r.Blueprint.GetStatus() == blueprintv2.BlueprintStatus_ARCHIVED:
			t.close(a, step(a.job, cancelled, "the blueprint is "+r.Blueprint.Status.String()))
			return
		}
		ir := new(blueprintv2.BlueprintIR)
		if err := ir.ParseCanonical(r.Ir.AppendCanonical(nil)); err != nil || kernel.ID(ir) != a.job.BlueprintId {
			t.fail(a, "the graph is not the one that its id names", false)
			return
		}
		a.ir = ir
		t.reserve(a)
	})
}

// reserve takes the device's memory for a job, and begins its passes.
func (t *tezzeret) reserve(a *active) {
	p, _ := kernel.PipelineOf(a.job.Pipeline)
	err := t.device.Do(func(d gpu.Accelerator) (err error) {
		a.slice, err = d.Alloc(works[p].memory)
		a.era = t.device.Era()
		return err
	})
	switch {
	case errors.Is(err, device.ErrNone):
		if t.device.Present() {
			t.env.Probe.Reached("tezzeret/on-host")
		}
		a.slice = 0 // its tables are in the process's memory
	case err != nil:
		t.deviceError(a, err)
		return
	}
	t.tell(a.job, "COMPILING")
	// The library may know it already; what it says changes nothing here.
	t.library.Ask("compiling/"+a.job.BlueprintId, &assetsv2.MoveAsset{AssetId: a.job.BlueprintId, Blueprint: blueprintv2.BlueprintStatus_COMPILING, Reason: "a compiler has it"}, func(canon.Message) {})
	t.env.Clock.SetTimer("pass", a.serial, 0)
}

// deviceError counts what the device refused.
func (t *tezzeret) deviceError(a *active, err error) {
	var e *gpu.Error
	which := breakGPU
	if errors.As(err, &e) && e.Class == gpu.OutOfMemory {
		which = breakMemory
	}
	a.job.Attempt++
	t.release(a, which)
	t.lower(a, err.Error())
}

// pass does one pass of a job, and the rest after the last.
func (t *tezzeret) pass(a *active) {
	p, _ := kernel.PipelineOf(a.job.Pipeline)
	w := works[p]
	if t.env.Clock.Monotonic()-a.began > w.time(t.conservative) {
		a.job.Attempt++
		t.release(a, breakTimeout)
		t.lower(a, fmt.Sprintf("it took longer than %v", w.time(t.conservative)))
		return
	}
	now := t.env.Clock.Monotonic()
	if wait := t.share.wait(now); wait > 0 && a.job.Tier > tierEmergency {
		// Training shares the device: the next pass is when it has had its part.
		t.env.Probe.Reached("tezzeret/shares")
		t.env.Clock.SetTimer("pass", a.serial, wait)
		return
	}
	t.env.Clock.Work(gpu.Compile, len(a.ir.Nodes))
	most := mostShare
	if t.conservative {
		most = conservativeShare
	}
	end := t.env.Clock.Monotonic()
	t.share.note(now, end, onDevice(end-now, t.env.GPU.Cost(gpu.Compile, len(a.ir.Nodes))), most)
	if a.passes++; a.passes < w.passes {
		t.env.Clock.SetTimer("pass", a.serial, t.o.Pause)
		return
	}
	k, err := kernel.Compile(a.ir, p, a.job.Hardware, a.job.Toolchain)
	if err != nil {
		t.fail(a, err.Error(), true)
		return
	}
	t.tell(a.job, "SIGNING")
	binary := k.Encode()
	if again, err := kernel.Decode(binary); err != nil || !bytes.Equal(again.Encode(), binary) {
		t.fail(a, "its binary does not decode to itself", true)
		return
	}
	took := t.env.Clock.Monotonic() - a.began
	done := step(a.job, compiled, "")
	done.Binary, done.CompileMs, done.Conservative = binary, uint32(min(took.Milliseconds(), 1<<31)), t.conservative
	t.env.Probe.Reached("tezzeret/before-artifact")
	t.close(a, done)
}

// close ends the active part of a job by a record.
func (t *tezzeret) close(a *active, record *statev2.CompileJob) {
	t.release(a, breakNone)
	ok := false
	if record.State == compiled {
		_, ok = t.log.Commit([]byte(record.BlueprintId+" "+record.Toolchain+" "+record.Hardware), record)
	} else {
		ok = t.log.Write(record)
	}
	if ok {
		t.tell(record, record.State)
		t.resume()
	}
}

// release takes a job off the active ones; its slice is given back whatever
// became of it, and its breakers are told.
func (t *tezzeret) release(a *active, failure int) {
	for i, b := range t.active {
		if b == a {
			t.active = append(t.active[:i], t.active[i+1:]...)
			break
		}
	}
	if failure == breakNone && t.device.Failures() > a.failed {
		failure = breakGPU // it was overcome, and counts
	}
	if a.slice != 0 && a.era == t.device.Era() {
		if err := t.device.Do(func(d gpu.Accelerator) error {
			if a.era != t.device.Era() {
				return nil // it went with the context
			}
			return d.Free(a.slice)
		}); err != nil {
			t.env.Log.Error(err.Error())
		}
	}
	a.slice = 0
	now := t.env.Clock.Monotonic()
	for i, b := range t.breakers {
		b.Done(now, a.tickets[i], i != failure)
	}
	t.mode()
	t.wake(0)
}

// fail ends a job for good, or has it tried again.
func (t *tezzeret) fail(a *active, why string, permanent bool) {
	a.job.Attempt++
	if !permanent && a.job.Attempt < attempts {
		t.release(a, breakNone)
		t.log.Write(step(a.job, queued, why))
		return
	}
	t.close(a, step(a.job, failed, why))
}

// lower queues a job's work again one pipeline lower; at the lowest it is tried
// again, and fails for good after some attempts.
func (t *tezzeret) lower(a *active, why string) {
	p, _ := kernel.PipelineOf(a.job.Pipeline)
	if p <= kernel.Fast {
		if a.job.Attempt < attempts {
			t.log.Write(step(a.job, queued, why))
		} else if t.log.Write(step(a.job, failed, why)) {
			t.resume()
		}
		return
	}
	if !t.log.Write(step(a.job, cancelled, why)) {
		return
	}
	t.env.Probe.Reached("tezzeret/lower")
	t.admitJob(a.job.BlueprintId, a.job.Hardware, p-1, a.job.Tier, a.job.Interest)
}

// resume hands everything to the library that is to be handed to it: also what
// an earlier life compiled, or found impossible.
func (t *tezzeret) resume() {
	for _, j := range t.jobs.in(compiled) {
		t.storeKernel(j)
	}
	for _, j := range t.jobs.in(failed) {
		t.markInvalid(j)
	}
}

// storeKernel stores what was compiled. The library announces it.
func (t *tezzeret) storeKernel(j *statev2.CompileJob) {
	sum := sha(j.Binary)
	p, _ := kernel.PipelineOf(j.Pipeline)
	m := &assetsv2.StoreKernel{BlueprintId: j.BlueprintId, Hardware: j.Hardware, Toolchain: j.Toolchain, Binary: j.Binary, BinarySha256: sum,
		BinaryCrc32C: crc32.Checksum(j.Binary, castagnoli), WalTransactionId: fmt.Sprint(t.jobs.txn[j.JobId]),
		Kernel: &blueprintv2.CompiledKernelArtifact{Id: j.JobId, CompilationPipeline: j.Pipeline,
			CompilationMetadata: &blueprintv2.CompilationRecord{Pipeline: j.Pipeline, CompilationDurationMs: int32(min(j.CompileMs, 1<<31-1)),
				PeakMemoryGb: float64(works[p].memory) / (1 << 30), ToolchainVersion: j.Toolchain}},
		Announce: &eventsv2.KernelReadyEvent{Conservative: j.Conservative}}
	t.library.Ask("store/"+j.JobId, m, func(reply canon.Message) {
		r, ok := reply.(*assetsv2.StoreReply)
		if !ok {
			return
		}
		state, why := ready, ""
		if r.Status != assetsv2.AssetStatus_STORED && r.Status != assetsv2.AssetStatus_EXISTS {
			state, why = cancelled, r.Status.String()+": "+r.Reason
		}
		t.finish(j, state, why)
	})
}

// markInvalid has the library mark a blueprint that does not compile.
func (t *tezzeret) markInvalid(j *statev2.CompileJob) {
	t.library.Ask("invalid/"+j.JobId, &assetsv2.MoveAsset{AssetId: j.BlueprintId, Blueprint: blueprintv2.BlueprintStatus_INVALID, Reason: j.Reason}, func(canon.Message) {
		// A refusal means that it has a kernel of another pipeline, or is archived.
		t.finish(j, invalid, j.Reason)
	})
}

// finish logs the end of a job. If the log does not take it, the library is
// asked again after the log was opened anew, and says the same.
func (t *tezzeret) finish(j *statev2.CompileJob, state, why string) {
	if have := t.jobs.byID[j.JobId]; have == nil || have.State != compiled && have.State != failed {
		return
	}
	r := step(j, state, why)
	if t.log.Write(r) {
		t.tell(r, state)
	}
}
