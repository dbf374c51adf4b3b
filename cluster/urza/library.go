package urza

import (
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/sqlite"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
)

// tables are the library's metadata. Rows are added and their status changes;
// no statement of this package deletes one, but from the list of what is still
// to be announced.
const tables = `
CREATE TABLE IF NOT EXISTS store.blueprints (
	seq      INTEGER PRIMARY KEY,
	id       TEXT NOT NULL UNIQUE,
	status   INTEGER NOT NULL,
	risk     REAL NOT NULL,
	interest REAL NOT NULL DEFAULT 0,
	ir_bytes INTEGER NOT NULL,
	since_ms INTEGER NOT NULL,
	body     BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS store.parents (
	child  TEXT NOT NULL REFERENCES blueprints(id),
	parent TEXT NOT NULL REFERENCES blueprints(id),
	PRIMARY KEY (child, parent)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS store.kernels (
	seq       INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	blueprint TEXT NOT NULL REFERENCES blueprints(id),
	status    INTEGER NOT NULL,
	ir        TEXT NOT NULL,
	pipeline  TEXT NOT NULL,
	hardware  TEXT NOT NULL,
	toolchain TEXT NOT NULL,
	object    TEXT NOT NULL,
	size      INTEGER NOT NULL,
	crc       INTEGER NOT NULL,
	latency   REAL,
	memory    REAL,
	since_ms  INTEGER NOT NULL,
	body      BLOB NOT NULL,
	UNIQUE (ir, pipeline, hardware, toolchain)
) STRICT;
CREATE TABLE IF NOT EXISTS store.tags (
	kernel TEXT NOT NULL REFERENCES kernels(id),
	tag    TEXT NOT NULL,
	PRIMARY KEY (kernel, tag)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS store.moves (
	seq    INTEGER PRIMARY KEY,
	asset  TEXT NOT NULL,
	before INTEGER NOT NULL,
	after  INTEGER NOT NULL,
	at_ms  INTEGER NOT NULL,
	reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS store.changes (
	txn    INTEGER PRIMARY KEY,
	asset  TEXT NOT NULL,
	action TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS store.announcements (
	seq   INTEGER PRIMARY KEY,
	event TEXT NOT NULL UNIQUE,
	topic TEXT NOT NULL,
	body  BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS store.kernels_of ON kernels (blueprint, status);
CREATE INDEX IF NOT EXISTS store.kernels_by_status ON kernels (status, seq);
CREATE INDEX IF NOT EXISTS store.tagged ON tags (tag, kernel);
`

// library is the database.
type library struct{ db *sqlite.DB }

// blueprintRow is a row of blueprints.
type blueprintRow struct {
	id       string
	status   blueprintv2.BlueprintStatus
	risk     float64
	interest float64
	irBytes  int
	since    int64
	body     []byte
}

// kernelRow is a row of kernels.
type kernelRow struct {
	id, blueprint                     string
	status                            blueprintv2.KernelStatus
	ir, pipeline, hardware, toolchain string
	object                            string
	size                              int
	crc                               uint32
	since                             int64
	body                              []byte
}

func openLibrary(env actor.Env, name string, o sqlite.Options) (library, error) {
	db, err := sqlite.Open(env, name, o)
	if err != nil {
		return library{}, err
	}
	l := library{db}
	if err := db.Exec(tables); err != nil {
		_ = db.Close() // the first error says it
		return library{}, err
	}
	return l, nil
}

func (l library) blueprint(id string) (r *blueprintRow, err error) {
	err = l.db.Each(`SELECT id, status, risk, interest, ir_bytes, since_ms, body FROM store.blueprints WHERE id = ?`, []any{id}, func(s *sqlite3.Stmt) error {
		r = &blueprintRow{id: s.ColumnText(0), status: blueprintv2.BlueprintStatus(s.ColumnInt(1)), risk: s.ColumnFloat(2),
			interest: s.ColumnFloat(3), irBytes: s.ColumnInt(4), since: s.ColumnInt64(5), body: s.ColumnBlob(6, nil)}
		return nil
	})
	return r, err
}

const kernelColumns = `id, blueprint, status, ir, pipeline, hardware, toolchain, object, size, crc, since_ms, body`

func kernelOf(s *sqlite3.Stmt) *kernelRow {
	return &kernelRow{id: s.ColumnText(0), blueprint: s.ColumnText(1), status: blueprintv2.KernelStatus(s.ColumnInt(2)),
		ir: s.ColumnText(3), pipeline: s.ColumnText(4), hardware: s.ColumnText(5), toolchain: s.ColumnText(6), object: s.ColumnText(7),
		size: s.ColumnInt(8), crc: uint32(s.ColumnInt64(9)), since: s.ColumnInt64(10), body: s.ColumnBlob(11, nil)}
}

func (l library) kernels(where string, args ...any) (list []*kernelRow, err error) {
	err = l.db.Each(`SELECT `+kernelColumns+` FROM store.kernels WHERE `+where, args, func(s *sqlite3.Stmt) error {
		list = append(list, kernelOf(s))
		return nil
	})
	return list, err
}

// kernel is the kernel with an id, or nil.
func (l library) kernel(id string) (*kernelRow, error) {
	list, err := l.kernels("id = ?", id)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

func (l library) addBlueprint(r *blueprintRow, parents []string) error {
	if err := l.db.Do(`INSERT INTO store.blueprints (id, status, risk, interest, ir_bytes, since_ms, body) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		r.id, int32(r.status), r.risk, r.interest, r.irBytes, r.since, r.body); err != nil {
		return err
	}
	for _, p := range parents {
		if err := l.db.Do(`INSERT INTO store.parents VALUES (?, ?)`, r.id, p); err != nil {
			return err
		}
	}
	return nil
}

func (l library) parents(id string) (list []string, err error) {
	err = l.db.Each(`SELECT parent FROM store.parents WHERE child = ? ORDER BY parent`, []any{id}, func(s *sqlite3.Stmt) error {
		list = append(list, s.ColumnText(0))
		return nil
	})
	return list, err
}

func (l library) addKernel(r *kernelRow) error {
	return l.db.Do(`INSERT INTO store.kernels (`+kernelColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.id, r.blueprint, int32(r.status), r.ir, r.pipeline, r.hardware, r.toolchain, r.object, r.size, r.crc, r.since, r.body)
}

// judge writes a verdict and what was measured.
func (l library) judge(r *kernelRow, tags []string, latency, memory any) error {
	if err := l.db.Do(`UPDATE store.kernels SET status = ?, body = ?, latency = ?, memory = ? WHERE id = ?`,
		int32(r.status), r.body, latency, memory, r.id); err != nil {
		return err
	}
	for _, t := range tags {
		if err := l.db.Do(`INSERT OR IGNORE INTO store.tags VALUES (?, ?)`, r.id, t); err != nil {
			return err
		}
	}
	return nil
}

// move changes a status and keeps account of it. table is blueprints or
// kernels.
func (l library) move(table, id string, from, to int32, at time.Time, reason string) error {
	if err := l.db.Do(`UPDATE store.`+table+` SET status = ? WHERE id = ?`, to, id); err != nil {
		return err
	}
	return l.db.Do(`INSERT INTO store.moves (asset, before, after, at_ms, reason) VALUES (?, ?, ?, ?, ?)`, id, from, to, at.UnixMilli(), reason)
}

// change keeps account of a change with the transaction that it is part of.
func (l library) change(txn uint64, asset, action string) error {
	return l.db.Do(`INSERT INTO store.changes VALUES (?, ?, ?)`, int64(txn), asset, action)
}

// newest is the newest change, or 0.
func (l library) newest() (txn uint64, asset string, err error) {
	err = l.db.Each(`SELECT txn, asset FROM store.changes ORDER BY txn DESC LIMIT 1`, nil, func(s *sqlite3.Stmt) error {
		txn, asset = uint64(s.ColumnInt64(0)), s.ColumnText(1)
		return nil
	})
	return txn, asset, err
}

// announcement is an event that the bus does not have yet.
type announcement struct {
	event, topic string
	body         []byte
}

func (l library) announce(a announcement) error {
	return l.db.Do(`INSERT INTO store.announcements (event, topic, body) VALUES (?, ?, ?)`, a.event, a.topic, a.body)
}

func (l library) announcements() (list []announcement, err error) {
	err = l.db.Each(`SELECT event, topic, body FROM store.announcements ORDER BY seq`, nil, func(s *sqlite3.Stmt) error {
		list = append(list, announcement{s.ColumnText(0), s.ColumnText(1), s.ColumnBlob(2, nil)})
		return nil
	})
	return list, err
}

// announced forgets an event that the bus has.
func (l library) announced(event string) error {
	return l.db.Do(`DELETE FROM store.announcements WHERE event = ?`, event)
}

// pending lists the assets that wait, oldest first.
func (l library) pending(kernels bool, limit int) (list []waiting, err error) {
	sql := fmt.Sprintf(`SELECT id, id, since_ms, interest FROM store.blueprints WHERE status IN (%d, %d) ORDER BY seq LIMIT ?`,
		blueprintv2.BlueprintStatus_UNVALIDATED, blueprintv2.BlueprintStatus_COMPILING)
	if kernels {
		sql = fmt.Sprintf(`SELECT k.id, k.blueprint, k.since_ms, b.interest FROM store.kernels k JOIN store.blueprints b ON b.id = k.blueprint
			WHERE k.status IN (%d, %d) ORDER BY k.seq LIMIT ?`,
			blueprintv2.KernelStatus_PENDING_BENCHMARKING, blueprintv2.KernelStatus_BENCHMARKING)
	}
	err = l.db.Each(sql, []any{limit}, func(s *sqlite3.Stmt) error {
		list = append(list, waiting{s.ColumnText(0), s.ColumnText(1), s.ColumnInt64(2), s.ColumnFloat(3)})
		return nil
	})
	return list, err
}

// waiting is an asset that waits for a compiler or a verdict.
type waiting struct {
	id, blueprint string
	since         int64
	interest      float64
}
