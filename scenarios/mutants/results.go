package mutants

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Results are the hunts that were made, in a file with one JSON object a line:
// a measurement that was interrupted goes on where it was.
type Results struct {
	mu   sync.Mutex
	f    *os.File
	last map[string]Result // the latest of each mutant
}

// OpenResults reads a file of results, making it if there is none. A last line
// that is cut off is left out.
func OpenResults(name string) (*Results, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	r := &Results{f: f, last: map[string]Result{}}
	lines := bufio.NewReader(f)
	var whole int64
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // the rest has no end
		}
		var one Result
		if err := json.Unmarshal(line, &one); err != nil {
			return nil, errors.Join(fmt.Errorf("%s:%d: it is no result; remove the file: %w", name, n, err), f.Close())
		}
		r.last[one.ID] = one
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
func (r *Results) Get(id string) (Result, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.last[id]
	return one, ok
}

// Put adds a result.
func (r *Results) Put(one Result) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := json.Marshal(one)
	if err != nil {
		return err
	}
	r.last[one.ID] = one
	_, err = r.f.Write(append(b, '\n'))
	return err
}

// Close closes the file.
func (r *Results) Close() error { return r.f.Close() }
