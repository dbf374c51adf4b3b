package checkers

import (
	"fmt"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// logs judges W1 and W4 of the subsystems' own logs by what these declare. A
// log that lies here is caught by what it lies about: see ledger, bus,
// checkpoints and commands, which look at bytes and answers.
type logs struct {
	rows map[[2]string]*logRow
}

type logRow struct {
	durable uint64
	seq     uint64
	txn     uint64 // the transaction that is open; 0: none
}

func newLogs(Params) Checker { return &logs{rows: map[[2]string]*logRow{}} }

func (*logs) Invariants() []string { return []string{"W1", "W4"} }

func (c *logs) Observe(e *Event, j *Judge) {
	f, ok := e.Fact.(*evidencev2.LogFact)
	if !ok {
		return
	}
	key := [2]string{e.Node, f.Log}
	r := c.rows[key]
	if r == nil {
		r = &logRow{}
		c.rows[key] = r
	}
	switch f.Action {
	case evidencev2.LogAction_LOG_DURABLE:
		if f.Lsn > r.durable {
			r.durable, r.seq = f.Lsn, e.Seq
		}
	case evidencev2.LogAction_LOG_RECOVERED:
		r.txn = 0
		if f.Lsn < r.durable {
			j.Violate("W1", e.Node, fmt.Sprintf("the log %s recovers up to LSN %d; it was durable up to %d", f.Log, f.Lsn, r.durable), r.seq)
			r.durable = f.Lsn
			return
		}
		j.Judged("W1")
	case evidencev2.LogAction_LOG_CUT:
		if f.Lsn > 0 && f.Lsn <= r.durable {
			j.Violate("W1", e.Node, fmt.Sprintf("the log %s is cut at LSN %d; it was durable up to %d", f.Log, f.Lsn, r.durable), r.seq)
		}
	case evidencev2.LogAction_LOG_BEGAN:
		if r.txn != 0 {
			j.Violate("W4", e.Node, fmt.Sprintf("the log %s begins a transaction while transaction %d is open", f.Log, r.txn))
		}
		r.txn = f.Transaction
	case evidencev2.LogAction_LOG_COMMITTED, evidencev2.LogAction_LOG_ABORTED:
		if r.txn != f.Transaction {
			j.Violate("W4", e.Node, fmt.Sprintf("the log %s ends transaction %d; open is %d", f.Log, f.Transaction, r.txn))
		} else {
			j.Judged("W4")
		}
		r.txn = 0
	}
}

func (*logs) Finish(*Judge) {}
