package sqlite

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"
	"weak"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/esper-sim/espersim/cluster/actor"
)

// Schema is the name under which the database is attached: its tables are
// "store.x".
const Schema = "store"

// Options of a database.
type Options struct {
	// Journal is SQLite's journal mode: delete, truncate, persist or wal.
	Journal string
	// Synchronous is SQLite's setting: normal, full or extra.
	Synchronous string
	// Deadline is the longest that one operation on a file may take.
	Deadline time.Duration
}

// Defaults are durable: what was committed survives every crash that the disk
// model admits (the tests of this package try all of them).
func Defaults() Options {
	return Options{Journal: "truncate", Synchronous: "full", Deadline: 500 * time.Millisecond}
}

// Durable says whether a commit that was acknowledged survives the loss of
// power. Journal mode delete needs "extra", which syncs the folder after the
// journal was unlinked; a write-ahead log needs "full", which syncs it at each
// commit.
func (o Options) Durable() bool {
	switch o.Journal {
	case "delete":
		return o.Synchronous == "extra"
	case "truncate", "persist", "wal": // persist with normal syncs as much, but that is promised nowhere
		return o.Synchronous == "full" || o.Synchronous == "extra"
	}
	return false
}

// DB is a database that one actor has opened. It is not safe for use by two.
type DB struct {
	*sqlite3.Conn
	files *files                   // what the registered door leads to
	kept  map[string]*sqlite3.Stmt // prepared, by their text
}

// Open opens a database, or makes it. It recovers what an earlier life left
// behind, and commits once before it returns: what that life did not know to be
// durable, such as a journal whose end it could not sync, is so afterwards.
//
// An error wraps one of package actor's where a file was the cause. After an
// error of any kind a database should be opened anew: what SQLite has in memory
// and what is on the disk may differ.
func Open(env actor.Env, name string, o Options) (*DB, error) {
	if strings.ContainsAny(name, "?#%'") {
		return nil, fmt.Errorf("%q is no name of a database: it holds ?, #, %% or '", name)
	}
	fs := env.FS
	if o.Deadline > 0 {
		fs = fs.Within(o.Deadline)
	}
	c, err := seeded(env.Rand, env.Incarnation)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	d := &DB{Conn: c, files: &files{fs: fs}, kept: map[string]*sqlite3.Stmt{}}
	door := door{to: weak.Make(d.files)}
	vfsName := fmt.Sprint("actor-", serial.Add(1))
	vfs.Register(vfsName, door)
	// An actor that crashed closes nothing.
	runtime.AddCleanup(d.files, vfs.Unregister, vfsName)
	runtime.AddCleanup(d, release, abandoned{c, d.files})
	collect()
	if err := d.attach(vfsName, name, o); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path.Base(name), err), d.Close())
	}
	return d, nil
}

func (d *DB) attach(vfsName, name string, o Options) error {
	// Nobody else opens the file, so nothing need be looked up again before each
	// transaction. Without shared memory a log even needs it, from the first read on,
	// which is in ATTACH. In mode delete it would change how a commit ends: the
	// journal's header would be zeroed, and the file not unlinked.
	locking := "exclusive"
	if o.Journal == "delete" {
		locking = "normal"
	}
	for _, sql := range []string{
		"PRAGMA temp_store = memory",
		"PRAGMA locking_mode = " + locking,
		fmt.Sprintf("ATTACH 'file:%s?vfs=%s' AS %s", name, vfsName, Schema),
		fmt.Sprintf("PRAGMA %s.synchronous = %s", Schema, o.Synchronous),
		fmt.Sprintf("PRAGMA %s.journal_mode = %s", Schema, o.Journal),
		"PRAGMA foreign_keys = on",
	} {
		if err := d.Exec(sql); err != nil {
			return err
		}
	}
	return d.Transact(func() error {
		version, err := d.Int(fmt.Sprintf("PRAGMA %s.user_version", Schema))
		if err != nil {
			return err
		}
		// Each life counts, so that this is never a transaction without a write.
		return d.Exec(fmt.Sprintf("PRAGMA %s.user_version = %d", Schema, (version+1)&0x3fffffff))
	})
}

// Transact runs do in a transaction: all of it is durable when Transact returns
// nil. After an error the transaction was rolled back, unless the disk failed:
// then its outcome is unknown until the database was opened anew.
func (d *DB) Transact(do func() error) error {
	if err := d.control("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := do(); err != nil {
		return errors.Join(err, d.rollback())
	}
	if err := d.control("COMMIT"); err != nil {
		return errors.Join(err, d.rollback())
	}
	return nil
}

// rollback ends a transaction that SQLite has not ended by itself.
func (d *DB) rollback() error {
	if d.GetAutocommit() {
		return nil
	}
	return d.Exec("ROLLBACK")
}

// Int is the integer that a query has in its first column and row; 0 without
// one.
func (d *DB) Int(sql string, args ...any) (n int64, err error) {
	err = d.Each(sql, args, func(s *sqlite3.Stmt) error { n = s.ColumnInt64(0); return nil })
	return n, err
}

// Do runs a statement that has no rows.
func (d *DB) Do(sql string, args ...any) error {
	return d.Each(sql, args, func(*sqlite3.Stmt) error { return nil })
}

// Each runs a statement and calls row for each of its rows. Arguments are
// strings, integers, floats, booleans and byte slices, for its question marks.
func (d *DB) Each(sql string, args []any, row func(*sqlite3.Stmt) error) (err error) {
	s, done, err := d.statement(sql)
	if err != nil {
		return err
	}
	// The error of a statement is that of its last step again.
	defer func() { err = errors.Join(err, done()) }()
	for i, a := range args {
		if err := bind(s, i+1, a); err != nil {
			return err
		}
	}
	for s.Step() {
		if err := row(s); err != nil {
			return err
		}
	}
	return s.Err()
}

func bind(s *sqlite3.Stmt, at int, a any) error {
	switch a := a.(type) {
	case nil:
		return s.BindNull(at)
	case string:
		return s.BindText(at, a)
	case []byte:
		return s.BindBlob(at, a)
	case bool:
		return s.BindBool(at, a)
	case int:
		return s.BindInt64(at, int64(a))
	case int32:
		return s.BindInt64(at, int64(a))
	case int64:
		return s.BindInt64(at, a)
	case uint32:
		return s.BindInt64(at, int64(a))
	case float64:
		return s.BindFloat(at, a)
	}
	return fmt.Errorf("argument %d is a %T; want a string, an integer, a float, a boolean or bytes", at, a)
}
