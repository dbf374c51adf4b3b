package disk

import "slices"

// pageSize is the unit of storage of the model, in bytes. It has no meaning
// to whoever uses the disk.
const pageSize = 4096

type page [pageSize]byte

// A store is the sparse content of a file. A missing page reads as zeros, so
// a preallocated file costs nothing.
type store struct {
	pages map[int64]*page
	top   int64 // one past the highest page ever present

	// The page used last: a log appends to the same page several times.
	lastIndex int64
	last      *page
}

// page returns the page with the given index, nil for a hole.
func (s *store) page(i int64) *page {
	if s.last != nil && s.lastIndex == i {
		return s.last
	}
	p := s.pages[i]
	if p != nil {
		s.last, s.lastIndex = p, i
	}
	return p
}

// make returns the page with the given index and creates it if it is a hole:
// filled says that the caller overwrites all of it.
func (s *store) make(sp *spare, i int64, filled bool) *page {
	if p := s.page(i); p != nil {
		return p
	}
	if s.pages == nil {
		s.pages = make(map[int64]*page)
	}
	p := sp.page(filled)
	s.pages[i] = p
	s.last, s.lastIndex = p, i
	s.top = max(s.top, i+1)
	return p
}

func (s *store) write(sp *spare, p []byte, off int64) {
	for len(p) > 0 {
		in := off % pageSize
		n := copy(s.make(sp, off/pageSize, in == 0 && len(p) >= pageSize)[in:], p)
		p, off = p[n:], off+int64(n)
	}
}

func (s *store) read(p []byte, off int64) {
	for len(p) > 0 {
		in := off % pageSize
		n := min(len(p), int(pageSize-in))
		if from := s.page(off / pageSize); from != nil {
			copy(p[:n], from[in:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}

// zeroFrom makes every byte from off on zero.
func (s *store) zeroFrom(sp *spare, off int64) {
	if off >= s.top*pageSize {
		return
	}
	first := (off + pageSize - 1) / pageSize
	for i, p := range s.pages {
		if i >= first {
			delete(s.pages, i)
			sp.drop(p)
		}
	}
	s.last = nil
	s.top = first
	if in := off % pageSize; in != 0 {
		if p := s.page(off / pageSize); p != nil {
			clear(p[in:])
		}
	}
}

// indices lists the pages that are present, in order.
func (s *store) indices() []int64 {
	list := make([]int64, 0, len(s.pages))
	for i := range s.pages {
		list = append(list, i)
	}
	slices.Sort(list)
	return list
}

func (s *store) clone() store {
	c := store{top: s.top}
	if len(s.pages) > 0 {
		c.pages = make(map[int64]*page, len(s.pages))
		for i, p := range s.pages {
			q := *p
			c.pages[i] = &q
		}
	}
	return c
}
