package tolaria

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// masks is the pruning of the host network. A mask of Emrakul's waits until a
// checkpoint has been saved, and comes into force with the epoch that goes on from
// it: the checkpoint is from before, so a rollback to it undoes the mask. It waits in
// memory only, since Emrakul repeats it until she hears of it; what was applied is
// in the journal before it is in force, so that no life takes one back by a late copy.
type masks struct {
	waiting *pruningv2.PruningMask
	newest  *statev2.HostMask // that was applied last, in whatever life
	before  float64           // the accuracy without it
	watched int               // epochs for which the accuracy is told
}

// Pruning begins with firstMasked (card 12), and for watchMask epochs a mask's
// effect on the accuracy is told.
const (
	firstMasked = 31
	watchMask   = 10
)

// ordered takes a mask of Emrakul's.
func (t *tolaria) ordered(from actor.ID, m *pruningv2.PruningMask) {
	if from != t.job.Emrakul || m.IdempotencyKey == "" {
		return
	}
	switch {
	case m.IdempotencyKey == t.host.Mask().GetIdempotencyKey():
		t.tellMask(m.IdempotencyKey, true, 0, "")
	case m.Version > 0 && m.Version < t.masks.newest.GetVersion(), m.Version > 0 && m.Version < t.masks.waiting.GetVersion():
		// A late copy: it was taken back since, or another has taken its place.
		t.env.Probe.Reached("tolaria/late-mask")
	default:
		if _, err := t.channels(m); err != nil {
			t.tellMask(m.IdempotencyKey, false, 0, err.Error())
			return
		}
		w := new(pruningv2.PruningMask)
		if err := w.ParseCanonical(m.AppendCanonical(nil)); err == nil {
			t.masks.waiting = w
		}
	}
}

// channels are those of the host that a mask names, in their order.
func (t *tolaria) channels(m *pruningv2.PruningMask) (list []*statev2.MaskedChannel, err error) {
	groups := t.host.Model.Channels()
	for _, x := range m.Targets {
		i := -1
		for k := range groups {
			if groups[k].ID == x.ParameterId {
				i = k
			}
		}
		if i < 0 || x.Structure != "channel" || x.Index < 0 || int(x.Index) >= groups[i].Width {
			return nil, fmt.Errorf("there is no %s %d of %s", x.Structure, x.Index, x.ParameterId)
		}
		list = append(list, &statev2.MaskedChannel{LayerId: int32(groups[i].Layer), Channel: x.Index})
	}
	slices.SortFunc(list, func(a, b *statev2.MaskedChannel) int {
		return cmp.Or(cmp.Compare(a.LayerId, b.LayerId), cmp.Compare(a.Channel, b.Channel))
	})
	return slices.CompactFunc(list, func(a, b *statev2.MaskedChannel) bool { return a.LayerId == b.LayerId && a.Channel == b.Channel }), nil
}

// applyMask brings the mask that waits into force, at a boundary where a checkpoint
// was saved and no pause begins. If the journal is full it waits for the next.
func (t *tolaria) applyMask(checkpoint string) error {
	w := t.masks.waiting
	if w == nil || t.pause.wanted != nil || t.freeze != "" || t.next < firstMasked {
		return nil
	}
	list, err := t.channels(w)
	if err != nil {
		return fmt.Errorf("tolaria: %w", err) // it was looked at when it came
	}
	m := &statev2.HostMask{IdempotencyKey: w.IdempotencyKey, Version: w.Version, Channels: list}
	if err := t.log.step(&statev2.CoordinatorRecord{Step: stepMask, Epoch: t.next, Generation: t.gen, Mask: m}); err != nil {
		if err == errFull {
			return nil
		}
		return err
	}
	t.masks.waiting = nil
	if !strings.HasSuffix(w.IdempotencyKey, ":back") {
		t.masks.before, t.masks.watched = t.accuracy, watchMask
	} else {
		t.masks.watched = 0
	}
	if err := t.host.SetMask(m); err != nil {
		return fmt.Errorf("tolaria: %w", err)
	}
	t.env.Probe.Reached("tolaria/masked")
	f := &evidencev2.PruningFact{IdempotencyKey: w.IdempotencyKey, Subsystem: Subsystem, State: "MASKED", CheckpointId: checkpoint,
		Epoch: t.next, Ratio: w.Ratio, Version: w.Version}
	for _, c := range list {
		f.Units = append(f.Units, &evidencev2.MaskedUnit{LayerId: c.LayerId, Channel: c.Channel})
	}
	t.env.Facts.Record(f)
	t.tellMask(w.IdempotencyKey, true, 0, "")
	return nil
}

// costOfMask tells what the newest mask costs, after a validation.
func (t *tolaria) costOfMask() {
	if t.masks.watched == 0 {
		return
	}
	t.masks.watched--
	drop := max(t.masks.before-t.accuracy, 0)
	if t.env.Probe.Sometimes("tolaria/costly-mask") {
		drop = max(drop, 0.05)
	}
	if drop > 0 {
		t.tellMask(t.host.Mask().GetIdempotencyKey(), true, drop, "")
	}
}

// unmasked follows a restore: the mask in force is the checkpoint's. One that is
// undone is told of, and what waits was decided on what is undone as well.
func (t *tolaria) unmasked() {
	t.masks.waiting, t.masks.watched = nil, 0
	if n := t.masks.newest; n != nil && n.IdempotencyKey != t.host.Mask().GetIdempotencyKey() {
		t.env.Probe.Reached("tolaria/mask-undone")
		t.tellMask(n.IdempotencyKey, false, 0, "it was undone by a rollback")
	}
}

func (t *tolaria) tellMask(key string, applied bool, drop float64, why string) {
	t.env.Net.Send(t.job.Emrakul, &pruningv2.PruningOutcome{IdempotencyKey: key, Subsystem: Subsystem, Applied: applied, Epoch: t.epoch,
		AccuracyDrop: drop, Reason: why}, actor.SendOptions{Key: fmt.Sprint("outcome/", key, "/", applied, "/", t.epoch)})
}
