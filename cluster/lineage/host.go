package lineage

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/trainer"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// Host is the host network's side of a run: the model, its optimizer, the
// data, and the order of the samples. Tolaria trains with one and a replay
// with another.
type Host struct {
	Model      *trainer.Model
	Pass       *trainer.Pass
	GlobalStep uint64
	FullSteps  uint64
	OrderSum   [32]byte // running hash over the order of every epoch

	mask   *statev2.HostMask // in force; nil: none
	job    *job.Job
	data   *trainer.Data
	held   *trainer.Data
	order  []int32
	x      []float32
	labels []uint8
	buf    []byte
}

// NewHost makes the host of a job before its first epoch.
func NewHost(j *job.Job) (*Host, error) {
	m, err := trainer.NewModel(j.Graph, j.Seed)
	if err != nil {
		return nil, err
	}
	if j.Batch < 1 || j.Steps < 1 || j.Samples < j.Batch || j.HeldOut < 1 {
		return nil, fmt.Errorf("job has %d samples, %d held out, %d steps of %d", j.Samples, j.HeldOut, j.Steps, j.Batch)
	}
	return &Host{
		Model: m, Pass: m.NewPass(max(j.Batch, j.HeldOut)), job: j,
		data: trainer.Rings(j.Samples, j.Seed), held: trainer.Rings(j.HeldOut, j.Seed+1000),
	}, nil
}

// Begin draws the order of an epoch's samples.
func (h *Host) Begin(epoch int64, generation uint32) {
	h.order = trainer.Order(h.order, h.job.Seed, epoch, generation, h.job.Samples)
	le := binary.LittleEndian
	h.buf = append(h.buf[:0], h.OrderSum[:]...)
	h.buf = le.AppendUint64(h.buf, uint64(epoch))
	h.buf = le.AppendUint32(h.buf, generation)
	for _, i := range h.order {
		h.buf = le.AppendUint32(h.buf, uint32(i))
	}
	h.OrderSum = sha256.Sum256(h.buf)
}

// Load starts the pass with a step's samples. An epoch of more steps than
// there are samples for begins anew with the first.
func (h *Host) Load(step int) {
	at := step * h.job.Batch % (len(h.order) - len(h.order)%h.job.Batch)
	h.x, h.labels = h.data.Gather(h.order[at:at+h.job.Batch], h.x, h.labels)
	h.Pass.Start(h.x, h.labels)
}

// LoadHeldOut starts the pass with the held-out samples.
func (h *Host) LoadHeldOut() { h.Pass.Start(h.held.X, h.held.Labels) }

// HeldOut is how many held-out samples there are.
func (h *Host) HeldOut() int { return h.held.Len() }

// Identity trains the step anew with every graft layer passing its input
// through.
func (h *Host) Identity(step int, rate float32) {
	h.Pass.Drop()
	h.Load(step)
	for l, _ := h.Pass.Forward(); l >= 0; l, _ = h.Pass.Forward() {
	}
	h.Pass.Backward()
	h.Pass.Step(rate)
	h.GlobalStep++
}

// Full ends a step whose backward pass the grafts took part in.
func (h *Host) Full(rate float32) {
	h.Pass.Step(rate)
	h.GlobalStep++
	h.FullSteps++
}

// Save writes the state into m, before the given epoch.
func (h *Host) Save(m *statev2.HostState, epoch int64) {
	m.Weights = append(m.Weights[:0], h.Model.Params...)
	m.Momentum = append(m.Momentum[:0], h.Model.Momentum...)
	m.GlobalStep, m.FullSteps, m.Epoch = h.GlobalStep, h.FullSteps, epoch
	m.SampleOrderSha256 = append(m.SampleOrderSha256[:0], h.OrderSum[:]...)
	m.Mask = h.mask
}

// Restore replaces the state. On an error it is as it was.
func (h *Host) Restore(m *statev2.HostState) error {
	if len(m.SampleOrderSha256) != len(h.OrderSum) {
		return fmt.Errorf("host state has an order digest of %d bytes", len(m.SampleOrderSha256))
	}
	if err := h.Model.Load(m.Weights, m.Momentum); err != nil {
		return err
	}
	if err := h.SetMask(m.Mask); err != nil {
		return err
	}
	h.Pass.Drop()
	h.GlobalStep, h.FullSteps = m.GlobalStep, m.FullSteps
	copy(h.OrderSum[:], m.SampleOrderSha256)
	return nil
}

// Mask is what is masked; nil is nothing.
func (h *Host) Mask() *statev2.HostMask { return h.mask }

// SetMask replaces what is masked. The host keeps m. An error means that it does not
// fit the network, and nothing has changed.
func (h *Host) SetMask(m *statev2.HostMask) error {
	by := map[int][]int32{}
	for _, g := range h.Model.Grafts() {
		by[g.Layer] = nil
	}
	for _, c := range m.GetChannels() {
		list, ok := by[int(c.LayerId)]
		if !ok || c.Channel < 0 {
			return fmt.Errorf("a mask has channel %d of graft layer %d, which is not there", c.Channel, c.LayerId)
		}
		by[int(c.LayerId)] = append(list, c.Channel)
	}
	for _, g := range h.Model.Grafts() {
		for _, c := range by[g.Layer] {
			if int(c) >= g.Width {
				return fmt.Errorf("a mask has channel %d of graft layer %d, which has %d", c, g.Layer, g.Width)
			}
		}
	}
	for _, g := range h.Model.Grafts() {
		if err := h.Model.Mask(g.Layer, by[g.Layer]); err != nil {
			return err
		}
	}
	h.mask = m
	return nil
}
