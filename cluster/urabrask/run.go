package urabrask

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/breaker"
	"github.com/esper-sim/espersim/cluster/device"
	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/durations"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	eventsv2 "github.com/esper-sim/espersim/contracts/generated/go/events/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/gpu"
)

// run is a validation. It lives in memory: a crash begins it anew.
type run struct {
	serial   int64
	kernel   string
	mode     *mode
	pipeline string
	hardware string
	b        *bench
	step     int
	began    time.Duration
	since    [stages]time.Duration // when a stage began
	ticket   breaker.Ticket
	mark     device.Mark // how the device stood when it began
}

// next begins a validation, if there is something to validate and nothing under
// way. What cannot wait is first, and goes on where breakers or the lack of a
// device hold up the others.
func (u *urabrask) next() {
	now := u.env.Clock.Monotonic()
	for u.run == nil && len(u.queue) > 0 && u.log.Usable() {
		at := max(slices.IndexFunc(u.queue, urgent), 0)
		id := u.queue[at]
		if !urgent(id) {
			if !u.device.Usable() {
				return // the timer looks whether it is well again
			}
			if u.general.State(now) == breaker.Open || u.structural.State(now) == breaker.Open {
				u.env.Clock.SetTimer("next", 0, max(u.general.RetryAfter(now), u.structural.RetryAfter(now), 100*time.Millisecond))
				return
			}
		}
		u.queue = slices.Delete(u.queue, at, at+1)
		if u.verdicts[id] != nil {
			continue
		}
		var ticket breaker.Ticket
		if !urgent(id) {
			ticket, _ = u.general.Allow(now) // one at a time: there is always a probe left
		}
		u.serial++
		u.run = &run{serial: u.serial, kernel: id, mode: modeOf(id), began: now, ticket: ticket}
		u.tell(id, "RECEIVED", "")
		u.fetch(u.run)
	}
}

// urgent says whether a kernel is validated as an emergency.
func urgent(id string) bool { return modeOf(id) == emergency }

// fetch gets a kernel's bytes.
func (u *urabrask) fetch(r *run) {
	serial := r.serial
	u.library.Ask("kernel/"+r.kernel, &assetsv2.FetchKernel{KernelArtifactId: r.kernel}, func(m canon.Message) {
		f, ok := m.(*assetsv2.FetchKernelReply)
		if r := u.run; !ok || r == nil || r.serial != serial {
			return
		}
		r := u.run
		status := f.Kernel.GetStatus()
		switch {
		case f.Status == assetsv2.AssetStatus_DAMAGED:
			u.end(r, true)
			u.conclude(r, &measured{wrong: []string{"its bytes are damaged: " + f.Reason}, risk: 1}, 0)
			return
		case f.Status != assetsv2.AssetStatus_EXISTS || status != blueprintv2.KernelStatus_PENDING_BENCHMARKING && status != blueprintv2.KernelStatus_BENCHMARKING:
			// It has its verdict, or is not there.
			u.end(r, true)
			u.next()
			return
		}
		r.pipeline, r.hardware = strings.Clone(f.Kernel.CompilationPipeline), hardwareOf(r.kernel)
		binary := append([]byte(nil), f.Binary...)
		sum := sha256.Sum256(binary)
		r.b = &bench{mode: r.mode, dev: u.device.Steady()}
		if r.mode.onHost {
			r.b.dev = newHost(func(n int) time.Duration { return u.env.GPU.Cost(gpu.Launch, n) })
		}
		if string(sum[:]) != string(f.BinarySha256) || f.Kernel.KernelBinaryRef != "object/"+hex.EncodeToString(sum[:]) {
			r.b.m.reject("its bytes do not have its digest")
		}
		u.library.Ask("benchmarking/"+r.kernel, &assetsv2.MoveAsset{AssetId: r.kernel, Kernel: blueprintv2.KernelStatus_BENCHMARKING, Reason: "a device has it"}, func(canon.Message) {})
		if !r.mode.onHost {
			if u.device.Tend(); !u.device.Usable() {
				u.broken(r, device.ErrNone)
				return
			}
			r.b.dev, r.mark = u.device.Steady(), u.device.Mark()
			s, err := r.b.dev.Alloc(sliceBytes)
			if err != nil {
				u.broken(r, err)
				return
			}
			r.b.slice = s
			u.slice(r, false)
		}
		if err := r.b.setUp(r.kernel, binary); err != nil {
			u.broken(r, err)
			return
		}
		u.env.Clock.Work(gpu.KernelLoad, 1)
		u.env.Clock.SetTimer("step", r.serial, 0)
	})
}

// hardwareOf reads a kernel's id.
func hardwareOf(id string) string {
	if parts := strings.SplitN(id, "-", 3); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

// advance does the next step of a validation, and what follows from the last.
func (u *urabrask) advance(r *run) {
	now := u.env.Clock.Monotonic()
	if r.step < len(r.mode.steps) && (r.step > 0 || r.b.m.passed()) && !(r.step == 1 && !r.b.m.passed()) {
		s := r.mode.steps[r.step]
		if r.step == 0 || r.mode.steps[r.step-1].stage != s.stage {
			r.since[s.stage] = now
		}
		r.step++
		u.tell(r.kernel, stageNames[s.stage], "")
		if err := s.do(r.b); err != nil {
			if s.stage == structural {
				now := u.env.Clock.Monotonic()
				if t, ok := u.structural.Allow(now); ok {
					u.structural.Done(now, t, false)
				}
			}
			if why := u.culprit(r); why != "" {
				r.b.m.reject("%s", why)
				r.b.m.judge()
				u.end(r, true)
				u.conclude(r, &r.b.m, u.env.Clock.Monotonic()-r.began)
				return
			}
			u.broken(r, err)
			return
		}
		u.env.Clock.Work(gpu.Launch, r.b.units)
		r.b.units = 0
		if took, limit := u.env.Clock.Monotonic()-r.since[s.stage], r.mode.limits[s.stage]; took > limit && u.late(r, s.stage, limit) {
			return
		}
		u.env.Clock.SetTimer("step", r.serial, u.o.Pause)
		return
	}
	// Nothing was run, or the sandbox failed, or all is done.
	m := &r.b.m
	if !r.mode.onHost && !u.device.Undisturbed(r.mark) {
		u.env.Probe.Reached("urabrask/disturbed")
		u.broken(r, errDisturbed)
		return
	}
	m.judge()
	u.end(r, true)
	u.conclude(r, m, u.env.Clock.Monotonic()-r.began)
}

// culprit is why a kernel is rejected on whose launch the device failed; empty: it
// may be the device's fault, and the kernel is tried again. An illegal access costs
// the process, so that no kernel is given a second one; one that hangs is.
func (u *urabrask) culprit(r *run) string {
	switch u.device.Last() {
	case gpu.AppFault:
		if u.device.Exit() != nil {
			return "it does what it may not on the device: " + gpu.AppFault.Trait().Summary
		}
	case gpu.Hung:
		if u.slow == r.kernel {
			return fmt.Sprintf("a launch does not end within %v", 2*longestRun)
		}
		u.slow = r.kernel
	}
	return ""
}

// late is called when a stage has taken longer than it may. The first time that
// may be the machine's fault, and the kernel is tried again; the second time it
// is a reason to reject it. It says whether the validation has ended.
func (u *urabrask) late(r *run, s stage, limit time.Duration) bool {
	u.env.Probe.Reached("urabrask/late")
	why := fmt.Sprintf("%s takes longer than %v", stageNames[s], limit)
	if u.slow != r.kernel {
		u.slow = r.kernel
		u.broken(r, errors.New(why))
		return true
	}
	r.b.m.reject("%s", why)
	return false
}

// errDisturbed says that a device failed while a kernel was measured on it: what
// was measured before and after that may be wrong.
var errDisturbed = errors.New("something happened to the device meanwhile")

// broken ends a validation that the device failed: the kernel is tried again.
func (u *urabrask) broken(r *run, err error) {
	u.env.Log.Warn(r.kernel + ": " + err.Error())
	u.end(r, errors.Is(err, errDisturbed)) // a device that goes on is no reason to stop
	u.tell(r.kernel, "RETRY", err.Error())
	u.enqueue(r.kernel)
	u.env.Clock.SetTimer("next", 0, 100*time.Millisecond)
}

// end gives back what a validation holds.
func (u *urabrask) end(r *run, ok bool) {
	u.run = nil
	if r.b != nil {
		if err := r.b.tearDown(); err != nil {
			u.env.Log.Error(err.Error())
		} else {
			u.slice(r, true)
		}
	}
	if !r.mode.onHost {
		u.general.Done(u.env.Clock.Monotonic(), r.ticket, ok)
	}
}

func (u *urabrask) slice(r *run, freed bool) {
	if r.b.slice == 0 {
		return
	}
	u.env.Facts.Record(&evidencev2.SliceFact{Subsystem: Subsystem, Slice: uint64(r.serial), Freed: freed, Bytes: sliceBytes})
}

// conclude logs a verdict, and has the library take it.
func (u *urabrask) conclude(r *run, m *measured, took time.Duration) {
	id, hardware := r.kernel, hostName
	if !r.mode.onHost {
		hardware = u.device.Name()
	}
	others := u.latencies[hardware]
	report := &blueprintv2.UrabraskValidationReport{PassedValidation: m.passed(), GeneratedTags: m.tags(r.pipeline, others),
		ReportTimestamp: timestamppb.New(u.env.Clock.Now()),
		HardwareContext: []*blueprintv2.HardwareAttribute{{AttributeName: "device", AttributeValue: hardware}, {AttributeName: "compiled-for", AttributeValue: r.hardware}},
		BenchmarkResults: []*blueprintv2.BenchmarkResult{{MetricName: "latency_ms", MetricValue: m.latency}, {MetricName: "latency_cv", MetricValue: m.latencyCV},
			{MetricName: "memory_mb", MetricValue: float64(m.bytes) / (1 << 20)}, {MetricName: "gradient_norm", MetricValue: m.gradient},
			{MetricName: "gradient_cv", MetricValue: m.gradientCV}, {MetricName: "parameters", MetricValue: float64(m.params)}, {MetricName: "risk", MetricValue: m.risk}}}
	if r.mode == comprehensive {
		report.BenchmarkResults = append(report.BenchmarkResults, &blueprintv2.BenchmarkResult{MetricName: "memory_cv", MetricValue: m.memoryCV},
			&blueprintv2.BenchmarkResult{MetricName: "thermal_drift", MetricValue: m.thermal})
		u.env.Probe.Reached("urabrask/comprehensive")
	}
	if len(others) > 0 && m.latency > 0 {
		mean, _ := spread(others)
		report.BaselineComparisons = []*blueprintv2.BaselineComparison{{BaselineName: "mean-latency", ComparisonValue: m.latency / mean}}
	}
	confidence := eventsv2.Confidence_HIGH
	switch {
	case r.mode == emergency:
		u.env.Probe.Reached("urabrask/emergency")
		confidence = eventsv2.Confidence_SPECULATIVE
	case m.measurements > 1:
		confidence = eventsv2.Confidence_MODERATE
	}
	v := &assetsv2.StoreReport{KernelArtifactId: id, Report: report, Status: blueprintv2.KernelStatus_REJECTED,
		Announce: &eventsv2.KernelCharacterizedEvent{RiskScore: m.risk, Confidence: confidence, Mode: r.mode.id,
			RejectionReason: m.reason(), ValidationDuration: durations.From(max(took, 0)), HardwareProfile: hardware}}
	if m.passed() {
		v.Status = blueprintv2.KernelStatus_VALIDATED
	}
	u.env.Probe.Reached("urabrask/before-verdict")
	if !u.log.Write(&statev2.UrabraskRecord{Verdict: v}) {
		return // it is validated again
	}
	u.tell(id, v.Status.String(), m.reason())
	u.deliver(id)
	u.next()
}

// deliver has the library take a verdict that the log has.
func (u *urabrask) deliver(id string) {
	v := u.verdicts[id]
	if v == nil || u.settled[id] {
		return
	}
	u.library.Ask("report/"+id, v, func(m canon.Message) {
		// CONFLICT or REFUSED: it has one already, or is not there any more.
		if _, ok := m.(*assetsv2.StoreReply); ok {
			u.log.Write(&statev2.UrabraskRecord{SettledKernelId: id})
		}
	})
}

func (u *urabrask) tell(id, state, why string) {
	u.env.Facts.Record(&evidencev2.JobFact{JobId: id, Subsystem: Subsystem, State: state, Reason: why})
}
