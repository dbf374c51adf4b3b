package urza

import (
	"errors"

	"github.com/esper-sim/espersim/cluster/command"
	"github.com/esper-sim/espersim/cluster/sqlite"
	"github.com/esper-sim/espersim/cluster/wal"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// recordKind marks Urza's records in the log.
const recordKind = 1

// keep is how many records of finished changes the log keeps at least.
const keep = 256

// open opens log and database, and settles what a crash left in between. If
// that fails, it is tried again later.
func (u *urza) open() {
	u.log, u.lib, u.committed = nil, library{}, 0
	if u.refused != nil {
		return
	}
	log, err := wal.Open(u.env.FS, "urza", wal.Options{
		Firm: true, SegmentSize: int64(u.o.Segment), Deadline: u.o.Timeout, Clock: u.env.Clock, Probe: u.env.Probe,
		Facts: command.LogFacts(u.env.Facts, string(u.env.Self)),
		Replay: func(r wal.Record) error {
			if r.Op == wal.Commit {
				u.committed = r.Txn
			}
			if r.Op != wal.Data {
				return nil
			}
			m := new(statev2.AssetRecord)
			if err := m.ParseCanonical(append([]byte(nil), r.Payload...)); err != nil {
				return &wal.CorruptionError{LSN: r.LSN, Reason: "it is no record of Urza's", Err: err}
			}
			return nil
		},
	})
	var damage *wal.CorruptionError
	if errors.As(err, &damage) {
		u.refused = err
		return
	}
	if err == nil {
		u.log = log
		u.lib, err = openLibrary(u.env, "urza.db", sqlite.Options{Journal: u.o.Journal, Synchronous: u.o.Synchronous, Deadline: u.o.Timeout})
	}
	if err == nil {
		err = u.reconcile()
	}
	if err != nil {
		u.failed(err)
		return
	}
	u.post()
}

// reconcile gives a COMMIT to a change whose metadata stands and whose
// transaction has none: the process died between the two. It can only be the
// last one, since there is one transaction at a time. A transaction whose
// metadata does not stand is absent, as the log already says.
func (u *urza) reconcile() error {
	id, asset, err := u.lib.newest()
	if err != nil || id <= u.committed {
		return err
	}
	u.env.Probe.Reached("urza/reconciled")
	if err := u.intend(&statev2.AssetRecord{AssetId: asset, Action: "reconcile"}); err != nil {
		return err
	}
	if _, err := u.log.Commit(nil); err != nil {
		return err
	}
	u.env.Facts.Record(&evidencev2.AssetFact{AssetId: asset, Action: "RECONCILED"})
	return nil
}

// failed closes the files after an error that leaves it unknown what they hold.
// They are opened anew, and what they hold then is what counts.
func (u *urza) failed(err error) answer {
	u.env.Probe.Reached("urza/reopen")
	u.log, u.lib = nil, library{}
	u.env.Clock.SetTimer("reopen", 0, u.o.Reopen)
	return answer{assetsv2.AssetStatus_UNAVAILABLE, err.Error()}
}

// trim lets go of the log before the newest changes: everything in it is in the
// database.
func (u *urza) trim() {
	if last := u.log.Last(); last > 2*keep && u.log.First()+2*keep < last {
		if err := u.log.TruncateBefore(last - keep); err != nil {
			u.failed(err)
		}
	}
}
