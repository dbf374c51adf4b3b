package sqlite

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// mostStatements bounds what is kept prepared. An actor's statements are
// constants of its program, so that there are fewer.
const mostStatements = 64

// statement is a prepared one: that of an earlier call, unless a row of it is
// being read at this moment. done gives it back, and says what its last step
// said.
func (d *DB) statement(sql string) (s *sqlite3.Stmt, done func() error, err error) {
	if s = d.kept[sql]; s != nil {
		delete(d.kept, sql)
	} else {
		var rest string
		if s, rest, err = d.Prepare(sql); err != nil {
			return nil, nil, err
		}
		if s == nil || strings.TrimSpace(rest) != "" {
			return nil, nil, errors.Join(fmt.Errorf("%q is not one statement", sql), s.Close())
		}
	}
	return s, func() error {
		// A statement that failed is not used again: what it holds is unknown.
		if err := s.Reset(); err != nil {
			return errors.Join(err, s.Close())
		}
		if d.kept[sql] != nil || len(d.kept) >= mostStatements {
			return s.Close()
		}
		if err := s.ClearBindings(); err != nil {
			return errors.Join(err, s.Close())
		}
		d.kept[sql] = s
		return nil
	}, nil
}

// control runs a statement that begins or ends a transaction.
func (d *DB) control(sql string) error {
	s, done, err := d.statement(sql)
	if err != nil {
		return err
	}
	s.Step()
	return done() // the error of a statement is that of its last step
}

// Close closes the database and what is kept of its statements.
func (d *DB) Close() error {
	if d == nil {
		return nil
	}
	var errs []error
	for _, s := range d.kept {
		errs = append(errs, s.Close())
	}
	clear(d.kept)
	return errors.Join(append(errs, d.Conn.Close())...)
}
