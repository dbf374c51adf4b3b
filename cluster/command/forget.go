package command

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-sim/espersim/cluster/job"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// A desk that remembered every command for ever would grow with the run. It
// forgets the oldest of those that are over and done with: settled, told, and
// acknowledged by the bus. What keeps them from taking effect again is a
// watermark over their times of creation: from then on every command is refused
// that was created no later than one that is forgotten.
//
// It is the time of creation, not that of signing: an issuer signs each copy
// anew, so a copy of a forgotten command can be fresh by its signature. The
// time of creation is part of what is signed, and the same in all copies.
// Signatures and nonces of forgotten commands need no memory of their own: no
// message holds another command than its own.
//
// The watermark is durable before what it stands for leaves the log. The log
// then holds the watermark and, after it, all commands that are not forgotten;
// what is older is removed.

const (
	// remembered is how many commands are kept whatever their age: commands
	// that overtook each other on the bus are not taken for forgotten ones.
	remembered = 64
	// forgetAtOnce is how many it takes to write the log anew.
	forgetAtOnce = 32
)

// forgotten says whether a command that is not known may be one that was.
func (d *Desk) forgotten(m *adaptationv2.AdaptationCommand) bool {
	return d.floor != 0 && m.CreatedAt.IsValid() && m.CreatedAt.AsTime().UnixNano() <= d.floor
}

// forget lets go of what is over and done with.
func (d *Desk) forget() {
	spare := len(d.order) - remembered
	if d.log == nil || spare < forgetAtOnce {
		return
	}
	old := d.env.Clock.Now().Add(-job.NonceMemory)
	over := func(c *Command) bool {
		return c.told && c.done && c.M.CreatedAt.IsValid() && c.M.CreatedAt.AsTime().Before(old)
	}
	n, floor := 0, d.floor
	for _, c := range d.order[:spare] {
		if over(c) {
			n++
			floor = max(floor, c.M.CreatedAt.AsTime().UnixNano())
		}
	}
	if n < forgetAtOnce {
		return
	}
	mark := &statev2.CommandRecord{SignedAt: timestamppb.New(time.Unix(0, floor))}
	d.buf = mark.AppendCanonical(d.buf[:0])
	first, err := d.log.Append(1, 0, d.buf)
	if err != nil {
		return // it is tried again; a log that is broken says so to whoever needs it
	}
	kept := make([]*Command, 0, len(d.order)-n)
	for i, c := range d.order {
		if i < spare && over(c) {
			delete(d.byID, c.M.CommandId)
			continue
		}
		kept = append(kept, c)
	}
	d.order, d.floor = kept, floor
	for _, c := range kept {
		c.has = struct{ command, result, confirmed, published bool }{}
		d.save(c)
		if !c.has.command {
			return
		}
	}
	for _, c := range kept {
		if !c.has.command || c.result != nil && !c.has.result || !c.waits && c.M.GetConstraints().GetRequireConfirmation() && !c.has.confirmed {
			return
		}
	}
	// It syncs first, and removes nothing if that fails: a log that is opened
	// anew may have lost the watermark. What it leaves, the next one removes.
	_ = d.log.TruncateBefore(first)
	d.env.Probe.Reached("command/forgotten")
}
