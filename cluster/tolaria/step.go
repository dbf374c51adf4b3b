package tolaria

import (
	"strconv"

	"github.com/esper-sim/espersim/cluster/actor"
	trainingv2 "github.com/esper-sim/espersim/contracts/generated/go/training/v2"
	"github.com/esper-sim/espersim/gpu"
)

// startEpoch begins to train the present epoch.
func (t *tolaria) startEpoch() error {
	t.host.Begin(t.epoch, t.gen)
	t.step, t.trained = 0, 0
	return t.soon()
}

// soon begins the next step when the mail that came meanwhile is handled: a
// step is the unit in which training can be interrupted.
func (t *tolaria) soon() error {
	t.enter(between)
	t.env.Clock.SetTimer("next", t.serial, 0)
	return nil
}

// nextStep begins a step, unless something else is wanted first.
func (t *tolaria) nextStep() error {
	switch {
	case t.freeze != "":
		return t.frost()
	case t.want != nil:
		return t.roll(between)
	case int(t.step) == t.job.Steps:
		return t.validate()
	}
	t.checkRates()
	t.env.Clock.Work(gpu.TrainStep, t.job.Batch)
	t.validating = false
	t.host.Load(int(t.step))
	return t.ask()
}

// validate measures the loss over the held-out samples.
func (t *tolaria) validate() error {
	t.env.Clock.Work(gpu.Validate, t.host.HeldOut())
	t.validating = true
	t.host.LoadHeldOut()
	return t.ask()
}

// ask goes through the network with Kasmina, or without.
func (t *tolaria) ask() error {
	t.ref = ref{t.epoch, t.step, t.gen}
	t.ref.put(&t.fref)
	t.asking = false
	if t.joined {
		t.ticket, t.asking = t.breaker.Allow(t.env.Clock.Monotonic())
	}
	t.enter(forward)
	if !t.asking {
		return t.without()
	}
	t.env.Clock.SetTimer("step", t.serial, t.patience(t.o.Resend))
	return t.advance()
}

// advance computes up to the next graft layer.
func (t *tolaria) advance() error {
	layer, act := t.host.Pass.Forward()
	if layer < 0 {
		if t.validating {
			t.answered()
			return t.validated()
		}
		t.host.Pass.Backward()
		t.phase, t.attempt = backward, 0
		t.waits = t.waits[:0]
		for _, g := range t.host.Model.Grafts() {
			t.waits = append(t.waits, int32(g.Layer))
		}
		if len(t.waits) == 0 {
			return t.full()
		}
		t.sendBackward()
		return nil
	}
	t.layer, t.attempt = int32(layer), 0
	t.fwd.Activations = act
	t.sendForward()
	return nil
}

func (t *tolaria) sendForward() {
	n := t.job.Batch
	if t.validating {
		n = t.host.HeldOut()
	}
	t.fwd.LayerId, t.fwd.Batch, t.fwd.Width = t.layer, int32(n), int32(len(t.fwd.Activations)/n)
	t.fwd.Training, t.fwd.LearningRate = !t.validating, t.rates.Group
	t.env.Net.Send(t.job.Kasmina, &t.fwd, actor.SendOptions{Key: t.stepKey('f', t.layer), Attempt: t.attempt})
}

func (t *tolaria) sendBackward() {
	for _, l := range t.waits {
		t.bwd.LayerId, t.bwd.Batch = l, int32(t.job.Batch)
		t.bwd.Gradients = t.host.Pass.Gradient(int(l))
		t.bwd.Width, t.bwd.LearningRate = int32(len(t.bwd.Gradients)/t.job.Batch), t.rates.Group
		t.env.Net.Send(t.job.Kasmina, &t.bwd, actor.SendOptions{Key: t.stepKey('b', l), Attempt: t.attempt})
	}
}

func (t *tolaria) stepKey(kind byte, layer int32) string {
	b := append(t.key[:0], kind, '/')
	b = strconv.AppendInt(b, t.ref.epoch, 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(t.ref.step), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(layer), 10)
	t.key = b
	return string(b)
}

// forwarded takes what leaves a graft layer.
func (t *tolaria) forwarded(m *trainingv2.ForwardReply) error {
	if t.phase != forward || !t.asking || refOf(m.Step) != t.ref || m.LayerId != t.layer || m.Training == t.validating {
		return nil
	}
	if m.Status != trainingv2.ReplyStatus_OK {
		return t.declined(m.Status)
	}
	if err := t.host.Pass.Put(m.Activations); err != nil {
		return t.declined(trainingv2.ReplyStatus_STALE)
	}
	return t.advance()
}

// held takes the word that a layer's gradients are held.
func (t *tolaria) held(m *trainingv2.BackwardReply) error {
	if t.phase != backward || refOf(m.Step) != t.ref {
		return nil
	}
	if m.Status != trainingv2.ReplyStatus_OK {
		return t.declined(m.Status)
	}
	for i, l := range t.waits {
		if l == m.LayerId {
			t.waits = append(t.waits[:i], t.waits[i+1:]...)
			break
		}
	}
	if len(t.waits) == 0 {
		return t.full()
	}
	return nil
}

// impatient asks Kasmina again, or gives the step up.
func (t *tolaria) impatient() error {
	now := t.env.Clock.Monotonic()
	if now-t.began >= t.patience(t.o.Step) {
		t.breaker.Done(now, t.ticket, false)
		t.asking = false
		return t.without()
	}
	t.attempt++
	if t.phase == forward {
		t.sendForward()
	} else {
		t.sendBackward()
	}
	t.env.Clock.SetTimer("step", t.serial, t.patience(t.o.Resend))
	return nil
}

// answered tells the breaker that Kasmina lives.
func (t *tolaria) answered() {
	if t.asking {
		t.breaker.Done(t.env.Clock.Monotonic(), t.ticket, true)
		t.asking = false
	}
}

// declined goes on without Kasmina, which has answered something else than OK.
func (t *tolaria) declined(s trainingv2.ReplyStatus) error {
	t.answered()
	switch s {
	case trainingv2.ReplyStatus_OUT_OF_SYNC:
		t.joined = false
		t.wish(&wish{reason: "kasmina is out of sync", severity: "SEVERE", fast: true, patient: true})
	case trainingv2.ReplyStatus_STALE:
		t.joined = false // it is not in this epoch: do not ask before the boundary
	}
	return t.without()
}

// without does the step, or the validation, on the identity path.
func (t *tolaria) without() error {
	if t.validating {
		t.host.LoadHeldOut()
		for l, _ := t.host.Pass.Forward(); l >= 0; l, _ = t.host.Pass.Forward() {
		}
		return t.validated()
	}
	t.host.Identity(int(t.step), float32(t.rates.Group))
	return t.settle(trainingv2.StepEffect_IDENTITY)
}

// full ends a step that Kasmina took part in, forward and backward.
func (t *tolaria) full() error {
	t.answered()
	t.host.Full(float32(t.rates.Group))
	t.ref.put(&t.lastFull)
	t.settled.LastFull = &t.lastFull
	return t.settle(trainingv2.StepEffect_FULL)
}

// settle declares what became of a step, and goes on.
func (t *tolaria) settle(effect trainingv2.StepEffect) error {
	t.ref.put(t.settled.Step)
	t.settled.Effect, t.settled.FullSteps = effect, t.host.FullSteps
	mean, _ := t.host.Pass.Loss()
	loss := float64(mean)
	f := &t.stepFact
	t.ref.put(f.Step)
	f.Effect, f.LearningRate, f.Loss = effect, t.rates.Group, loss
	f.GlobalStep, f.FullSteps = t.host.GlobalStep, t.host.FullSteps
	t.env.Facts.Record(f)
	t.trained += float64(loss-t.trained) / float64(t.step+1)
	if t.losses.exploded(loss) && t.severe < severeLimit {
		t.severe++
		w := &wish{reason: "the loss exploded", severity: "SEVERE", fast: true}
		if t.newest != nil {
			w.culprits = append(w.culprits, t.newest)
		}
		t.wish(w)
	}
	t.step++
	return t.soon()
}

// severeLimit bounds the rollbacks to one checkpoint for its losses: if the
// checkpoint itself is the reason, more do not help.
const severeLimit = 3

func (t *tolaria) validated() error {
	mean, right := t.host.Pass.Loss()
	t.val = float64(mean)
	t.accuracy = float64(right) / float64(t.host.HeldOut())
	if t.best == 0 || t.val < t.best {
		t.best = t.val
	}
	// Accuracy that was there and is gone, down to chance: MAJOR.
	if t.bestAcc >= 0.9 && t.accuracy < 0.55 && t.severe < severeLimit {
		t.severe++
		t.wish(&wish{reason: "the accuracy collapsed", severity: "MAJOR"})
	}
	t.bestAcc = max(t.bestAcc, t.accuracy)
	t.costOfMask()
	if t.want != nil || t.freeze != "" {
		// The boundary waits: what is wanted comes first, and validation again
		// after it.
		return t.soon()
	}
	return t.assemble()
}
