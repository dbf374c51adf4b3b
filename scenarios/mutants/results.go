package mutants

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Records are the measurements that were made, in a file with one JSON object a
// line: what was interrupted goes on where it was.
type Records[T record] struct {
	mu   sync.Mutex
	f    *os.File
	last map[string]T // the latest of each mutant
}

// record is a measurement of one mutant.
type record interface{ mutant() string }

// Results are the hunts that were made, and Races the races.
type (
	Results = Records[Result]
	Races   = Records[Race]
)

func (r Result) mutant() string { return r.ID }
func (r Race) mutant() string   { return r.ID }

// OpenResults reads a file of results, making it if there is none. A last line
// that is cut off is left out.
func OpenResults(name string) (*Results, error) { return open[Result](name) }

// OpenRaces does so with races.
func OpenRaces(name string) (*Races, error) { return open[Race](name) }

func open[T record](name string) (*Records[T], error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	r := &Records[T]{f: f, last: map[string]T{}}
	lines := bufio.NewReader(f)
	var whole int64
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // the rest has no end
		}
		var one T
		if err := json.Unmarshal(line, &one); err != nil {
			return nil, errors.Join(fmt.Errorf("%s:%d: it is no result; remove the file: %w", name, n, err), f.Close())
		}
		r.last[one.mutant()] = one
		whole += int64(len(line))
	}
	if err := f.Truncate(whole); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if _, err := f.Seek(whole, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// Get is the latest result of a mutant.
func (r *Records[T]) Get(id string) (T, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.last[id]
	return one, ok
}

// Put adds a result.
func (r *Records[T]) Put(one T) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(one)
	if err != nil {
		return err
	}
	r.last[one.mutant()] = one
	_, err = r.f.Write(append(b, '\n'))
	return err
}

// Close closes the file.
func (r *Records[T]) Close() error { return r.f.Close() }
