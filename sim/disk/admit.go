package disk

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// State is what can be seen of a file system: the content of every file by
// path. A directory is a path that ends in a slash, without content.
type State map[string][]byte

// State returns what reads see now.
func (d *Disk) State() State {
	s := State{}
	walk(d.root, "", false, func(path string, n *inode) {
		if n.dir {
			s[path+"/"] = nil
		} else {
			s[path] = n.content(true)
		}
	})
	return s
}

// Admits says whether a crash now may leave the observed state; the error says
// why not. Garbage is not enumerated: a unit that a pending write touches may
// hold anything within that write.
func (d *Disk) Admits(observed State) error { return d.admits(observed, true) }

// AdmitsSane is Admits without garbage: each unit is old, new or zero. A file
// system that never shows stale blocks, on a device that writes sectors whole,
// leaves no other.
func (d *Disk) AdmitsSane(observed State) error { return d.admits(observed, false) }

func (d *Disk) admits(observed State, garbage bool) error {
	a := &admission{d: d, garbage: garbage, files: observed, under: map[string][]string{}, dirs: map[string]bool{}, content: map[*inode][]byte{}}
	for p := range observed {
		a.place(p)
	}
	for _, names := range a.under {
		slices.Sort(names)
	}
	if d.profile == PosixWeak {
		a.entries = func(n *inode, name string) []*inode { return n.mayBe(name) }
		if a.solve(a.tasks(d.root, "", nil)) {
			return nil
		}
		return a.refusal()
	}
	// One journal: the names are those after some prefix of their changes.
	all := d.nameChanges()
	for cut := 0; cut <= len(all); cut++ {
		if cut < len(all) && all[cut].p.Kind == DelEntry && all[cut].p.Pair != 0 {
			continue // renames are not cut in two
		}
		kept := all[:cut]
		a.entries = func(n *inode, name string) []*inode {
			is := n.durableEntries[name]
			for _, ch := range kept {
				if ch.dir == n && ch.p.Name == name {
					is = ch.node
				}
			}
			return []*inode{is}
		}
		a.content = map[*inode][]byte{}
		if a.solve(a.tasks(d.root, "", nil)) {
			return nil
		}
	}
	return a.refusal()
}

// admission is one question of Admits while it is being answered.
type admission struct {
	d       *Disk
	garbage bool
	files   State
	dirs    map[string]bool     // observed directories
	under   map[string][]string // observed names by directory
	entries func(n *inode, name string) []*inode
	content map[*inode][]byte // what a node must hold, as chosen so far
	why     string            // the last refusal
}

// place enters an observed path and the directories that it implies.
func (a *admission) place(p string) {
	dir := strings.HasSuffix(p, "/")
	p = strings.TrimSuffix(p, "/")
	for p != "" {
		if dir {
			if a.dirs[p] {
				return
			}
			a.dirs[p] = true
		}
		parent, name := "", p
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			parent, name = p[:i], p[i+1:]
		}
		a.under[parent] = append(a.under[parent], name)
		p, dir = parent, true
	}
}

func (a *admission) refusal() error {
	return fmt.Errorf("disk: %s does not admit the state: %s", a.d.profile, a.why)
}

// task is one name whose outcome has to be explained.
type task struct {
	dir  *inode
	name string
	path string
}

// tasks lists all names that the directory may have or is observed to have.
func (a *admission) tasks(n *inode, at string, list []task) []task {
	names := sortedNames(n.durableEntries)
	for _, e := range n.entries {
		names = append(names, e.name)
	}
	names = append(names, a.under[at]...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		p := name
		if at != "" {
			p = at + "/" + name
		}
		list = append(list, task{n, name, p})
	}
	return list
}

// mayBe lists what a name may refer to after a crash: any pending change of it
// may be the last that survives.
func (n *inode) mayBe(name string) []*inode {
	list := []*inode{n.durableEntries[name]}
	for _, e := range n.entries {
		if e.name == name && !slices.Contains(list, e.node) {
			list = append(list, e.node)
		}
	}
	return list
}

// solve explains all tasks, or says that it cannot.
func (a *admission) solve(tasks []task) bool {
	if len(tasks) == 0 {
		return true
	}
	t, rest := tasks[0], tasks[1:]
	data, isFile := a.files[t.path]
	for _, n := range a.entries(t.dir, t.name) {
		switch {
		case n == nil:
			if isFile || a.dirs[t.path] {
				a.why = t.path + " cannot exist"
				continue
			}
			if a.solve(rest) {
				return true
			}
		case n.dir:
			if !a.dirs[t.path] {
				a.why = t.path + " is a directory and cannot be missing"
				continue
			}
			if a.solve(a.tasks(n, t.path, slices.Clone(rest))) {
				return true
			}
		default:
			if !isFile {
				a.why = t.path + " cannot be missing"
				continue
			}
			if had, ok := a.content[n]; ok { // another name of the same file
				if !bytes.Equal(had, data) {
					a.why = t.path + " differs from another name of the same file"
					continue
				}
				if a.solve(rest) {
					return true
				}
				continue
			}
			if err := n.admits(data, a.d.sector, a.garbage); err != nil {
				a.why = fmt.Sprintf("%s: %v", t.path, err)
				continue
			}
			a.content[n] = data
			if a.solve(rest) {
				return true
			}
			delete(a.content, n)
		}
	}
	return false
}

// maxCuts bounds how many surviving size changes are combined.
const maxCuts = 10

// admits says whether a crash may leave the file with this content.
//
// The size is that of the last size change that survives, so each candidate
// for the last is tried. Of those before it only some have an effect: those
// that cut off something. All combinations of these are tried, and each unit
// of the file is then a question of its own.
func (n *inode) admits(obs []byte, sector int64, garbage bool) error {
	size := int64(len(obs))
	err := fmt.Errorf("size %d is none of those that it has had", size)
	if n.durableSize == size {
		if err = n.admitsData(obs, nil, sector, garbage); err == nil {
			return nil
		}
	}
	for last := range n.writes {
		if w := &n.writes[last]; w.n > 0 || w.off != size {
			continue
		}
		cuts := n.cutsBefore(last, size)
		combinations := 1 << min(len(cuts), maxCuts)
		for c := range combinations {
			var kept []int
			for i, cut := range cuts {
				if i < maxCuts && c>>i&1 == 1 {
					kept = append(kept, cut)
				}
			}
			if err = n.admitsData(obs, kept, sector, garbage); err == nil {
				return nil
			}
		}
	}
	return err
}

// cutsBefore lists the size changes before the given one that, if they
// survive, take something away from what is below size.
func (n *inode) cutsBefore(last int, size int64) []int {
	var cuts []int
	high := n.durableSize
	for i := range n.writes[:last] {
		w := &n.writes[i]
		if w.n > 0 {
			high = max(high, w.end()+w.stray)
		} else if w.off < size && w.off < high {
			cuts = append(cuts, i)
		}
	}
	return cuts
}

// maxWritesPerUnit bounds the search in one unit; with more pending writes in
// it, everything within them is admitted.
const maxWritesPerUnit = 7

// admitsData says whether the data below the observed size can be, with the
// given size changes surviving.
func (n *inode) admitsData(obs []byte, cuts []int, sector int64, garbage bool) error {
	unit := make([]byte, sector)
	for from := int64(0); from < int64(len(obs)); from += sector {
		to := min(from+sector, int64(len(obs)))
		want, base := obs[from:to], unit[:to-from]
		n.durable.read(base, from)
		if max(from, n.durableSize) < to {
			clear(base[max(n.durableSize-from, 0):])
		}
		var ops []int
		count := 0
		for i := range n.writes {
			w := &n.writes[i]
			if w.n == 0 {
				if w.off < to && slices.Contains(cuts, i) {
					ops = append(ops, i)
				}
				continue
			}
			if w.device != 0 && w.stray == 0 {
				continue
			}
			if w.off+w.stray < to && from < w.end()+w.stray {
				ops = append(ops, i)
				count++
			}
		}
		if len(ops) == 0 {
			if !bytes.Equal(base, want) {
				return differ(base, want, from, "nothing pending touches it")
			}
			continue
		}
		if garbage || count > maxWritesPerUnit {
			if err := n.explainGarbage(base, want, ops, from); err != nil {
				return err
			}
			continue
		}
		if !n.explain(base, want, ops, from) {
			return fmt.Errorf("bytes %d to %d: no choice of old, new and zero gives them", from, to)
		}
	}
	return nil
}

var errDiffer = errors.New("content differs")

func differ(have, want []byte, from int64, why string) error {
	for i := range want {
		if have[i] != want[i] {
			return fmt.Errorf("%w at byte %d: %#x, want %#x: %s", errDiffer, from+int64(i), want[i], have[i], why)
		}
	}
	return nil
}

// explain tries every combination of fates of the pending writes in a unit.
func (n *inode) explain(base, want []byte, ops []int, from int64) bool {
	if len(ops) == 0 {
		return bytes.Equal(base, want)
	}
	w := &n.writes[ops[0]]
	if w.n == 0 {
		after := bytes.Clone(base)
		clear(after[max(w.off-from, 0):])
		return n.explain(after, want, ops[1:], from)
	}
	if n.explain(base, want, ops[1:], from) {
		return true
	}
	lo, hi := part(w, base, from)
	after := bytes.Clone(base)
	copy(after[lo:hi], n.bytes(w)[from+lo-w.off-w.stray:])
	if n.explain(after, want, ops[1:], from) {
		return true
	}
	clear(after[lo:hi])
	return n.explain(after, want, ops[1:], from)
}

// part is the range of a unit that a write covers.
func part(w *write, unit []byte, from int64) (lo, hi int64) {
	return max(w.off+w.stray-from, 0), min(w.end()+w.stray-from, int64(len(unit)))
}

// explainGarbage checks the bytes of a unit that no surviving garbage can
// explain.
func (n *inode) explainGarbage(base, want []byte, ops []int, from int64) error {
	free := make([]bool, len(base))
	have := bytes.Clone(base)
	for _, i := range ops {
		w := &n.writes[i]
		if w.n == 0 {
			at := max(w.off-from, 0)
			clear(have[at:])
			clear(free[at:])
			continue
		}
		lo, hi := part(w, base, from)
		for k := lo; k < hi; k++ {
			free[k] = true
		}
	}
	for k := range want {
		if !free[k] && have[k] != want[k] {
			return fmt.Errorf("%w at byte %d: %#x, want %#x", errDiffer, from+int64(k), want[k], have[k])
		}
	}
	return nil
}

// CrashStates yields the disks that a crash now may leave, each state once,
// up to limit of them; 0 is no limit. The garbage of a unit is one example.
// The number of states is exponential in what is pending: a handful of
// one-sector writes is what this is for.
func (d *Disk) CrashStates(limit int) iter.Seq[*Disk] {
	return d.crashStates(limit, FateGarbage)
}

// crashStates tries the fates of a written unit up to the given one.
func (d *Disk) crashStates(limit int, most Fate) iter.Seq[*Disk] {
	return func(yield func(*Disk) bool) {
		var digits, bases []int
		probe := d.bare()
		probe.Crash(func(p Pending, _ int64) Fate {
			base := 2
			if p.Kind == Write {
				base = int(most) + 1
			}
			bases = append(bases, base)
			return FateOld
		})
		digits = make([]int, len(bases))
		seen := map[uint64]bool{}
		for {
			c, at := d.bare(), 0
			c.Crash(func(Pending, int64) Fate { at++; return Fate(digits[at-1]) })
			if h := c.Hash(); !seen[h] {
				seen[h] = true
				if !yield(c) || len(seen) == limit {
					return
				}
			}
			i := 0
			for ; i < len(digits); i++ {
				if digits[i]++; digits[i] < bases[i] {
					break
				}
				digits[i] = 0
			}
			if i == len(digits) {
				return
			}
		}
	}
}

// bare is a clone without faults in force.
func (d *Disk) bare() *Disk {
	c := d.Clone()
	for _, r := range c.rules {
		r.lifted = true
	}
	c.countRules()
	return c
}
