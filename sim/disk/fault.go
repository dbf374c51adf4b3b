package disk

import "time"

// struck is what the faults decided about one operation.
type struck struct {
	err   error         // it fails at once, without effect
	fail  error         // it fails at completion
	short int           // bytes a write is cut to; 0 leaves it whole
	lie   bool          // a sync says yes and does nothing
	lost  bool          // a write is acknowledged and forgotten
	stale bool          // a read sees the past
	stray int64         // a write goes astray by this many bytes
	delay time.Duration // added
}

type rule struct{}

func (d *Disk) strike(op *Op) {}

func (n *inode) remember(off, length int64) {}

func (n *inode) overlayStale(p []byte, off int64) {}

type bender struct{ unit int64 }

func (d *Disk) crashRules() *bender { return &bender{} }

func (b *bender) start(ops []Pending)                            {}
func (b *bender) fate(i int, p Pending, unit int64, f Fate) Fate { return f }
func (b *bender) end()                                           {}
func (b *bender) entry(p Pending, node *inode, f Fate) Fate      { return f }

func cloneRules(rs []*rule) []*rule { return rs }
