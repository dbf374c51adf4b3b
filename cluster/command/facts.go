package command

import (
	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// LogFacts turns what happens to a log into facts under the given name.
func LogFacts(facts actor.Recorder, name string) func(wal.Event) {
	if facts == nil {
		return nil
	}
	f := &evidencev2.LogFact{Log: name}
	return func(e wal.Event) {
		f.Lsn, f.Reason = uint64(e.LSN), ""
		switch e.What {
		case wal.Opened:
			f.Action, f.Lsn = evidencev2.LogAction_LOG_OPENED, uint64(e.First)
		case wal.Appended:
			if e.Op == wal.Mark {
				return // it says what is durable, and nothing waits for it to be
			}
			f.Action = evidencev2.LogAction_LOG_APPENDED
		case wal.Durable:
			f.Action = evidencev2.LogAction_LOG_DURABLE
		case wal.Recovered:
			f.Action = evidencev2.LogAction_LOG_RECOVERED
		case wal.Cut:
			f.Action = evidencev2.LogAction_LOG_CUT
		case wal.Refused:
			f.Action = evidencev2.LogAction_LOG_REFUSED
		default:
			return
		}
		if e.Err != nil {
			f.Reason = e.Err.Error()
		}
		facts.Record(f)
	}
}
