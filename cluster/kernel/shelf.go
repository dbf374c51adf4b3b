package kernel

import (
	"fmt"
	"sort"

	"github.com/esper-sim/espersim/cluster/trainer"
)

// Shelf holds binaries by the ids of their kernels.
type Shelf struct{ held map[string][]byte }

// Put takes a binary. It must not change afterwards.
func (s *Shelf) Put(id string, binary []byte) {
	if s.held == nil {
		s.held = map[string][]byte{}
	}
	s.held[id] = binary
}

// Drop forgets one.
func (s *Shelf) Drop(id string) { delete(s.held, id) }

// Binary is a kernel's, or nil.
func (s *Shelf) Binary(id string) []byte { return s.held[id] }

// IDs lists what is there, sorted.
func (s *Shelf) IDs() (list []string) {
	for id := range s.held {
		list = append(list, id)
	}
	sort.Strings(list)
	return list
}

// Kernel makes a kernel of a binary that is there, for a layer of a width.
func (s *Shelf) Kernel(id string, width int) (*trainer.Kernel, error) {
	b := s.held[id]
	if b == nil {
		return nil, fmt.Errorf("there is no binary of the kernel %q", id)
	}
	return Load(id, b, width)
}
