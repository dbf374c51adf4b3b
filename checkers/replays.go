package checkers

import (
	"bytes"
	"fmt"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// replays judges E2: the state that a process rebuilds from its log is, at every
// record, the one that it had when it wrote that record.
//
// Digests are all that there is to judge from: no message shows the whole of a
// state.
type replays struct {
	had map[string]map[uint64]hadState // by log, by record
}

type hadState struct {
	sum []byte
	seq uint64
}

func newReplays(Params) Checker { return &replays{had: map[string]map[uint64]hadState{}} }

func (*replays) Invariants() []string { return []string{"E2"} }

func (c *replays) Observe(e *Event, j *Judge) {
	switch f := e.Fact.(type) {
	case *evidencev2.ReplayFact:
		c.digest(e, f, j)
	case *evidencev2.LogFact:
		// A record that did not last says nothing: another takes its number.
		if f.Action == evidencev2.LogAction_LOG_RECOVERED {
			for lsn := range c.had[f.Log] {
				if lsn > f.Lsn {
					delete(c.had[f.Log], lsn)
				}
			}
		}
	}
}

func (c *replays) digest(e *Event, f *evidencev2.ReplayFact, j *Judge) {
	had := c.had[f.Log]
	if had == nil || len(had) > ringSize {
		had = map[uint64]hadState{}
		c.had[f.Log] = had
	}
	before, known := had[f.Lsn]
	if !known || !f.Rebuilt {
		had[f.Lsn] = hadState{append([]byte(nil), f.StateSha256...), e.Seq}
		return
	}
	if !bytes.Equal(before.sum, f.StateSha256) {
		j.Violate("E2", e.Node, fmt.Sprintf("what it rebuilds from record %d of its log %s is not the state that it had there (%x, %x)", f.Lsn, f.Log, f.StateSha256[:min(4, len(f.StateSha256))], before.sum[:min(4, len(before.sum))]), before.seq)
		return
	}
	j.Judged("E2")
}

func (*replays) Finish(*Judge) {}
