package sim

import (
	"errors"
	"io"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// NodeID is actor.ID, for tables keyed by it.
type NodeID = actor.ID

// host is a machine: what its nodes share.
type host struct {
	spec  Host
	nodes []*node
	clock hostClock
}

func newHost(h Host) *host {
	if h.Store == (StoreLatency{}) {
		h.Store = DefaultStoreLatency
	}
	return &host{spec: h}
}

// hostClock maps true virtual time to a host's own. Local time is a base plus
// the true time since the base was set, stretched by the drift.
type hostClock struct {
	since int64 // true time at which the fields below were set
	mono  int64 // monotonic time then
	skew  int64 // wall time minus monotonic time
	drift int64 // parts per million that the clock is too fast
}

func (h *host) monotonic(now int64) int64 {
	c := &h.clock
	d := now - c.since
	return c.mono + d + d/1e6*c.drift + d%1e6*c.drift/1e6
}

func (h *host) wall(now int64) int64 { return h.monotonic(now) + h.clock.skew }

// trueDuration is how long the host's clock takes to count d.
func (h *host) trueDuration(d int64) int64 {
	if h.clock.drift == 0 {
		return d
	}
	// Rounded up, and one more for the rounding in monotonic: a timer that
	// fired before its time by the node's own clock would be set again for the
	// rest, which rounds to nothing, for ever.
	rate := 1_000_000 + h.clock.drift
	return d/rate*1e6 + (d%rate*1e6+rate-1)/rate + 1
}

// setDrift changes the rate of the clock from now on.
func (h *host) setDrift(now, ppm int64) {
	m := h.monotonic(now)
	h.clock.since, h.clock.mono, h.clock.drift = now, m, ppm
}

// StoreLatency is how long operations on files take on an undisturbed disk.
type StoreLatency struct {
	Read, Write, Sync, Name time.Duration
	PerMiB                  time.Duration // on top, of reads and writes
}

// DefaultStoreLatency is that of a data-centre NVMe drive.
var DefaultStoreLatency = StoreLatency{
	Read: 80 * time.Microsecond, Write: 15 * time.Microsecond,
	Sync: 400 * time.Microsecond, Name: 20 * time.Microsecond,
	PerMiB: 300 * time.Microsecond,
}

func (l *StoreLatency) of(op *disk.Op) int64 {
	var d time.Duration
	switch op.Kind {
	case disk.OpRead:
		d = l.Read + time.Duration(op.Len)*l.PerMiB>>20
	case disk.OpWrite:
		d = l.Write + time.Duration(op.Len)*l.PerMiB>>20
		if op.Flag&actor.DSync != 0 {
			d += l.Sync
		}
	case disk.OpSync, disk.OpDatasync, disk.OpSyncDir:
		d = l.Sync
	case disk.OpClose, disk.OpSize:
		return 0
	default:
		d = l.Name
	}
	return int64(d)
}

// gate stands between a node and its host's disk: it lets time pass, writes
// the trace, and crashes the node at the operation that a fault named.
type gate struct{ n *node }

// Before implements disk.Gate.
func (g gate) Before(op *disk.Op) error {
	n := g.n
	n.alive()
	n.ops++
	for i := range n.crashAt {
		c := &n.crashAt[i]
		if c.left--; c.left > 0 {
			continue
		}
		crash := *c
		n.crashAt = append(n.crashAt[:i], n.crashAt[i+1:]...)
		n.taint |= crash.taint
		if crash.done != nil {
			crash.done()
		}
		if crash.host {
			for _, o := range n.host.nodes {
				o.taint |= crash.taint
			}
			n.w.crashHost(n.host, crash.restart)
		} else {
			n.w.crashNode(n, crash.restart)
		}
		n.alive()
		break
	}
	return nil
}

// Flight implements disk.Gate: the operation was issued, and time passes until
// it completes.
func (g gate) Flight(op *disk.Op) error {
	n := g.n
	w := n.w
	if op.Kind != disk.OpSize && op.Kind != disk.OpClose {
		e := w.log.Next(w.now, trace.DiskOperation)
		e.Node, e.Incarnation, e.Cause = string(n.spec.ID), n.life, n.cause
		e.Text, e.Arg = opText(op), op.Off
		if op.Kind == disk.OpWrite {
			e.Data = op.Data[:min(op.N, len(op.Data))]
		}
		w.log.Commit()
	}
	took := (n.host.spec.Store.of(op) + int64(op.Delay)) * n.slow / 1000
	limit := n.host.trueDuration(int64(op.Deadline))
	switch {
	case op.Hang && op.Deadline == 0:
		n.await() // nothing will ever resume it but a crash
	case op.Hang:
		n.suspend(limit)
		g.failed(op, actor.ErrDeadline)
		return actor.ErrDeadline
	case op.Deadline > 0 && took > limit:
		d := n.host.spec.Disk
		w.At(time.Duration(w.now+took), trace.String(5, op.Path), func() {
			_ = d.Complete(op) // it lands after its caller gave up: nobody learns how
		})
		n.suspend(limit)
		g.failed(op, actor.ErrDeadline)
		return actor.ErrDeadline
	case took > 0:
		n.suspend(took)
	}
	return nil
}

// After implements disk.Gate.
func (g gate) After(op *disk.Op, err error) error {
	n := g.n
	n.alive()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, actor.ErrNotExist) {
		g.failed(op, err)
	}
	return err
}

// failed writes an operation's failure into the trace.
func (g gate) failed(op *disk.Op, err error) {
	n := g.n
	e := n.w.log.Next(n.w.now, trace.DiskOperation)
	e.Node, e.Incarnation, e.Cause = string(n.spec.ID), n.life, n.cause
	e.Text, e.Arg = opText(op)+" failed: "+err.Error(), op.Off
	n.w.log.Commit()
}

// opText is an operation and its path; constant strings for the common ones,
// since it is made for every operation.
func opText(op *disk.Op) string {
	switch op.Kind {
	case disk.OpRename:
		return "rename " + op.Path + " " + op.To
	case disk.OpWrite:
		if op.Flag&actor.DSync != 0 {
			return "dsync-write " + op.Path
		}
		return "write " + op.Path
	}
	return op.Kind.String() + " " + op.Path
}

// files is the node's own directory on its host's disk.
func (n *node) files() actor.FS {
	return rooted{disk.NewGatedFS(n.host.spec.Disk, gate{n}), string(n.spec.ID)}
}

// makeRoot makes the node's own directory, durable before the run begins.
func (h *host) makeRoot(n Node) error {
	if h.spec.Disk == nil || n.Callback {
		return nil
	}
	fs := disk.NewFS(h.spec.Disk, nil)
	if err := fs.Mkdir(string(n.ID)); err != nil {
		return err
	}
	return fs.SyncDir("")
}

// rooted is a file system below a directory, so that the processes of one host
// share its disk and its faults, but not their names.
type rooted struct {
	actor.FS
	root string
}

func (r rooted) name(s string) string { return r.root + "/" + s }

func (r rooted) Open(name string, f actor.Flag) (actor.File, error) {
	return r.FS.Open(r.name(name), f)
}
func (r rooted) Mkdir(name string) error              { return r.FS.Mkdir(r.name(name)) }
func (r rooted) Remove(name string) error             { return r.FS.Remove(r.name(name)) }
func (r rooted) Rename(a, b string) error             { return r.FS.Rename(r.name(a), r.name(b)) }
func (r rooted) ReadDir(dir string) ([]string, error) { return r.FS.ReadDir(r.name(dir)) }
func (r rooted) SyncDir(dir string) error             { return r.FS.SyncDir(r.name(dir)) }
func (r rooted) Within(d time.Duration) actor.FS      { return rooted{r.FS.Within(d), r.root} }
