package signing

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	"github.com/esper-sim/espersim/contracts/governance/alert"
	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Places below the folder of contracts.
const (
	StatementFile = "build/contracts.sig"
	PublicFile    = "build/contracts.pub"
	FixtureDir    = "golden"
)

// ErrNoFixtures is the error for contracts without golden fixtures: there is
// nothing to sign that shows what the schemas mean.
var ErrNoFixtures = errors.New("there is no golden fixture (golden/**/*.bin)")

// Entries are what there is to sign below a folder of contracts: each version
// as its files have it, each released descriptor set, each golden fixture.
func Entries(dir string) ([]Entry, error) {
	all, err := schemas(dir)
	if err != nil {
		return nil, err
	}
	fixtures, err := fixtures(dir)
	if err != nil {
		return nil, err
	}
	if len(fixtures) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoFixtures)
	}
	return append(all, fixtures...), nil
}

func schemas(dir string) ([]Entry, error) {
	m, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	s, err := schema.LoadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []Entry
	for _, v := range m.Versions {
		hash, err := manifest.Hash(s, v.Name)
		if err != nil {
			return nil, err
		}
		all = append(all, Entry{Schema, v.Name, hash})
		for minor := range v.Minor + 1 {
			set, err := m.Set(v.Name, minor)
			if errors.Is(err, fs.ErrNotExist) {
				continue // a difference, if it was signed
			}
			if err != nil {
				return nil, err
			}
			if hash, err = manifest.Hash(set, v.Name); err != nil {
				return nil, err
			}
			all = append(all, Entry{Released, fmt.Sprintf("%s.%d", v.Name, minor), hash})
		}
	}
	return all, nil
}

// fixtures are the golden fixtures. A folder that is not there holds none.
func fixtures(dir string) ([]Entry, error) {
	var all []Entry
	root := filepath.Join(dir, FixtureDir)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name == root {
			return nil
		}
		if err != nil || d.IsDir() || path.Ext(name) != ".bin" {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file; want a fixture's bytes", name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		all = append(all, Entry{Fixture, filepath.ToSlash(rel), hex.EncodeToString(sum[:])})
		return nil
	})
	return all, err
}

// A Result is what verifying found.
type Result struct {
	Statement   *Statement // nil: it could not be read
	Differences []string   // each with what differs; none: all is as it was signed

	golden, other bool // what kind of thing differs
}

// OK says whether all is as it was signed.
func (r *Result) OK() bool { return len(r.Differences) == 0 }

// Alert is the alert to raise, or nil if all is as it was signed. What differs
// besides fixtures makes it a tampered schema.
func (r *Result) Alert(at time.Time) *platformv2.AlertEvent {
	switch {
	case r.OK():
		return nil
	case r.golden && !r.other:
		return alert.New(alert.GoldenMismatch, r.Differences, at)
	}
	return alert.New(alert.SchemaTampered, r.Differences, at)
}

func (r *Result) differs(kind, format string, args ...any) {
	r.Differences = append(r.Differences, fmt.Sprintf(format, args...))
	if kind == Fixture {
		r.golden = true
	} else {
		r.other = true
	}
}

// Verify compares a folder of contracts with its statement. Whatever cannot be
// read any more though it was signed differs, too; an error is for contracts
// that were never signed, and for a failing disk.
//
// The key decides what the result is worth: one that comes with the contracts
// shows damage, since who changes them can sign them anew with a key of his
// own and replace it. Tampering is shown by a key from elsewhere.
func Verify(dir string, key ed25519.PublicKey) (*Result, error) {
	name := filepath.Join(dir, filepath.FromSlash(StatementFile))
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s was never signed: there is no %s; `espersim contracts sign` writes it", dir, name)
	}
	if err != nil {
		return nil, err
	}
	r := &Result{}
	s, err := Parse(name, text)
	if err != nil {
		r.differs("", "the statement cannot be read: %v", err)
		return r, nil
	}
	r.Statement = s
	switch {
	case s.Key != KeyID(key):
		r.differs("", "the statement was signed with the key %.16s, and the key to verify with is %.16s", s.Key, KeyID(key))
	case !s.VerifiedBy(key):
		r.differs("", "the signature is not over this statement: the statement or the signature was changed")
	}
	have := map[Entry]string{}
	list, err := schemas(dir)
	if err != nil {
		r.differs(Schema, "the schemas cannot be read: %v", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	readable := err == nil
	golden, err := fixtures(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range append(list, golden...) {
		have[Entry{e.Kind, e.Name, ""}] = e.SHA256
	}
	for _, e := range s.Entries {
		id := Entry{e.Kind, e.Name, ""}
		now, ok := have[id]
		switch {
		case !ok && (e.Kind == Fixture || readable):
			r.differs(e.Kind, "%s %s is gone", e.Kind, e.Name)
		case ok && now != e.SHA256:
			r.differs(e.Kind, "%s %s differs: signed %.16s, now %.16s", e.Kind, e.Name, e.SHA256, now)
		}
		delete(have, id)
	}
	for _, e := range append(list, golden...) {
		if _, extra := have[Entry{e.Kind, e.Name, ""}]; extra {
			r.differs(e.Kind, "%s %s was not signed", e.Kind, e.Name)
		}
	}
	return r, nil
}
