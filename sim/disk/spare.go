package disk

// spare is memory that a disk has given up and will want again: a journal is
// written, synced and cut off with every commit, over and over. What it holds is
// never read before it is overwritten, so it is no part of the disk's state.
type spare struct {
	pages   []*page
	buffers [][]byte // each larger than a page
}

// Bounds of what is kept: 1 MiB of pages, and of buffers up to 1 MiB the few
// that are in use at once.
const (
	sparePages   = 256
	spareBuffers = 4
	spareBuffer  = 1 << 20
)

// page is a page of zeros, or of anything where the caller fills all of it.
func (s *spare) page(filled bool) *page {
	last := len(s.pages) - 1
	if last < 0 {
		return new(page)
	}
	p := s.pages[last]
	s.pages = s.pages[:last]
	if !filled {
		*p = page{}
	}
	return p
}

// drop takes a page that nothing refers to any more.
func (s *spare) drop(p *page) {
	if len(s.pages) < sparePages {
		s.pages = append(s.pages, p)
	}
}

// extend appends p to b, into a buffer of its own kind where b is too small.
func (s *spare) extend(b, p []byte) []byte {
	need := len(b) + len(p)
	if need <= cap(b) || need <= pageSize {
		return append(b, p...)
	}
	for i := len(s.buffers) - 1; i >= 0; i-- {
		if had := s.buffers[i]; cap(had) >= need {
			s.buffers[i] = s.buffers[len(s.buffers)-1]
			s.buffers = s.buffers[:len(s.buffers)-1]
			had = append(append(had[:0], b...), p...)
			s.release(b)
			return had
		}
	}
	return append(b, p...)
}

// release takes a buffer that nothing refers to any more. The largest are kept.
func (s *spare) release(b []byte) {
	if cap(b) <= pageSize || cap(b) > spareBuffer {
		return
	}
	if len(s.buffers) < spareBuffers {
		s.buffers = append(s.buffers, b)
		return
	}
	for i, had := range s.buffers {
		if cap(had) < cap(b) {
			s.buffers[i] = b
			return
		}
	}
}
