package disk

import (
	"cmp"
	"slices"

	"github.com/esper-sim/espersim/cluster/actor"
)

// FileInfo is one file as the cache and the medium have it.
type FileInfo struct {
	Path        string
	Dir         bool
	Cached      bool  // the name exists
	Durable     bool  // the name would exist if everything pending were lost
	CachedSize  int64 // bytes, of the node that the cached name has
	DurableSize int64 // bytes, of the node that the durable name has
}

// Files lists every cached and durable name, sorted by path.
func (d *Disk) Files() []FileInfo {
	at := map[string]int{}
	var list []FileInfo
	for _, durable := range []bool{false, true} {
		walk(d.root, "", durable, func(path string, n *inode) {
			i, ok := at[path]
			if !ok {
				i = len(list)
				at[path] = i
				list = append(list, FileInfo{Path: path, Dir: n.dir})
			}
			if durable {
				list[i].Durable, list[i].DurableSize = true, n.durableSize
			} else {
				list[i].Cached, list[i].CachedSize = true, n.cachedSize
			}
		})
	}
	slices.SortFunc(list, func(a, b FileInfo) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// walk visits all names below n, sorted within a directory.
func walk(n *inode, at string, durable bool, visit func(path string, n *inode)) {
	m := n.cachedEntries
	if durable {
		m = n.durableEntries
	}
	for _, name := range sortedNames(m) {
		p := name
		if at != "" {
			p = at + "/" + name
		}
		visit(p, m[name])
		if m[name].dir {
			walk(m[name], p, durable, visit)
		}
	}
}

// Cached is a copy of a file's content as reads see it.
func (d *Disk) Cached(name string) ([]byte, error) {
	n, err := d.file(name)
	if err != nil {
		return nil, err
	}
	return n.content(true), nil
}

// Durable is a copy of the content that a file surely has after a crash: that
// of the durable name, with all pending operations undone.
func (d *Disk) Durable(name string) ([]byte, error) {
	p, err := clean(name)
	if err != nil {
		return nil, err
	}
	var found *inode
	walk(d.root, "", true, func(path string, n *inode) {
		if path == p {
			found = n
		}
	})
	switch {
	case found == nil:
		return nil, actor.ErrNotExist
	case found.dir:
		return nil, ErrIsDir
	}
	return found.content(false), nil
}

// Pending lists what is not durable, in issue order.
func (d *Disk) Pending() []Pending {
	var list []Pending
	for _, n := range d.nodes() {
		list = append(list, n.describeWrites()...)
		list = append(list, n.describeEntries()...)
	}
	slices.SortFunc(list, func(a, b Pending) int { return compare(a.Seq, b.Seq) })
	return list
}

// Clone is an independent copy of the disk, its faults included. Descriptors
// and operations under way stay with the original.
func (d *Disk) Clone() *Disk {
	c := *d
	twin := map[*inode]*inode{}
	nodes := d.nodes()
	for _, n := range nodes {
		m := *n
		m.durable, m.cached = n.durable.clone(), n.cached.clone()
		m.writes, m.data = slices.Clone(n.writes), slices.Clone(n.data)
		m.bad = slices.Clone(n.bad)
		m.entries = slices.Clone(n.entries)
		m.before = clonePages(n.before)
		m.open = 0
		twin[n] = &m
	}
	for _, n := range nodes {
		m := twin[n]
		if !n.dir {
			continue
		}
		m.durableEntries, m.cachedEntries = map[string]*inode{}, map[string]*inode{}
		for name, to := range n.durableEntries {
			m.durableEntries[name] = twin[to]
		}
		for name, to := range n.cachedEntries {
			m.cachedEntries[name] = twin[to]
		}
		for i := range m.entries {
			m.entries[i].node = twin[m.entries[i].node] // nil stays nil
		}
	}
	c.root = twin[d.root]
	c.rules = cloneRules(d.rules)
	c.spare = spare{}
	c.recycled = clonePages(d.recycled)
	return &c
}

func clonePages(m map[int64]*page) map[int64]*page {
	s := store{pages: m}
	return s.clone().pages
}

// Hash is a hash of the whole state: names and contents, durable, cached and
// pending. Disks that differ only in how they came about hash the same.
func (d *Disk) Hash() uint64 {
	h := uint64(1)
	for _, durable := range []bool{false, true} {
		walk(d.root, "", durable, func(path string, n *inode) {
			h = hashString(h, path)
			if durable {
				h = hashStore(mix(h, uint64(n.durableSize)), &n.durable)
			} else {
				h = hashStore(mix(h, uint64(n.cachedSize)), &n.cached)
			}
		})
	}
	for _, p := range d.Pending() {
		h = mix(h, p.Key)
		if p.Failed {
			h = mix(h, 3)
		}
	}
	return h
}

// hashStore skips pages of zeros, which are the same as holes.
func hashStore(h uint64, s *store) uint64 {
	for _, i := range s.indices() {
		if p := s.pages[i]; *p != (page{}) {
			h = hashBytes(mix(h, uint64(i)), p[:])
		}
	}
	return h
}
