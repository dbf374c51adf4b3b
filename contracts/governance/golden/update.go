package golden

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Change is what Update does, or will not do, to one file.
type Change struct {
	File   string // below golden/
	Before string // SHA-256; empty: there was none
	After  string
}

// Refused is the error of an update that would change fixtures. Nothing was
// written.
type Refused struct{ Changes []Change }

func (r *Refused) Error() string {
	var b strings.Builder
	b.WriteString("nothing was written, since fixtures would change. Where that is meant, name each:")
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "\n  --replace %s  (sha256 %s -> %s)", c.File, c.Before, c.After)
	}
	return b.String()
}

// Update writes the files that the table has and the folder has not, and those
// named in replace. It changes no other file: if one would have to change, it
// returns a *Refused and writes nothing. Each file is written whole or not at
// all.
func (s *Set) Update(replace []string) ([]Change, error) {
	var changes, refused []Change
	named := map[string]bool{} // to whether it is used
	for _, r := range replace {
		named[clean(r)] = false
	}
	bytesOf := map[string][]byte{}
	for i, f := range s.Table.Fixtures {
		have, err := os.ReadFile(s.file(f))
		absent := errors.Is(err, fs.ErrNotExist)
		if err != nil && !absent {
			return nil, err
		}
		_, may := named[f.Path()]
		if may {
			named[f.Path()] = true
		}
		if !absent && bytes.Equal(have, s.bytes[i]) {
			continue
		}
		c := Change{File: f.Path(), After: digest(s.bytes[i])}
		if !absent {
			c.Before = digest(have)
		}
		bytesOf[f.Path()] = s.bytes[i]
		if absent || may {
			changes = append(changes, c)
		} else {
			refused = append(refused, c)
		}
	}
	var unused []string
	for name, used := range named {
		if !used {
			unused = append(unused, name)
		}
	}
	if slices.Sort(unused); len(unused) > 0 {
		return nil, fmt.Errorf("--replace %s: %s has no such fixture; want a path such as v2/system_state.bin", unused[0], s.Table.File)
	}
	if len(refused) > 0 {
		return nil, &Refused{refused}
	}
	for _, c := range changes {
		if err := writeWhole(filepath.Join(s.Dir, Folder, filepath.FromSlash(c.File)), bytesOf[c.File]); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// writeWhole writes a file under another name first, so that no half of it is
// ever there.
func writeWhole(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
	}
	return err
}
