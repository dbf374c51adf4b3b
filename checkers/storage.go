package checkers

import (
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/sim/trace"
)

// storage judges W7 and W8 of every log by the operations on its files and the
// bytes that go into them, read by the log's file format (cluster/wal/README.md).
// It asks no process what it thinks of its files.
//
// W7 is about syncs, of which a run without a crash at the right place says
// nothing: what is written through an O_DSYNC descriptor is durable only where
// the file's name and size are, and a sync that works after one that failed
// proves nothing, since the pages that it was about are no longer dirty.
//
// W8 is about space: what a log lets go of, and what recovery finds to be
// nothing, is removed before anything else is written. Where disks lose what they
// have confirmed, it is judged of files that were made since the last power loss.
type storage struct {
	p     Params
	nodes map[string]*stored
}

// stored is what is known of one process's files.
type stored struct {
	host  string
	op    string // issued last; nothing is known of how it ended
	arg   int64
	data  []byte
	seq   uint64
	files map[string]*storedFile
	// Of this life: what a sync or write has failed on, by path, until it is
	// begun anew; and how far records were let go, by directory.
	unsynced  map[string]uint64
	unwritten map[string]uint64
	starts    map[string]*letGo
	renames   map[string]string // an open file's name when it was opened, to the present one
	last      map[string]uint64 // the newest record's LSN, by directory

	// useful is the file whose last write found nothing useless, while nothing has
	// changed since of what that depends on: the files, how they begin, and what
	// was let go. list is memory.
	useful string
	list   []string
}

type storedFile struct {
	unnamed string // the directory to be synced before its name is durable
	unsized bool   // its allocation is not durable
	unknown bool   // what is in it was written before it was seen
	head    []byte // how it begins
	first   uint64 // LSN of its first record; 0: none
}

// letGo is from where on the records of a log are kept.
type letGo struct {
	start  uint64 // as the newest record has it
	raised bool   // by this life
	seq    uint64
}

// mostRecords bounds the logs that are cut so often that they stay small,
// however long a run is: records by directory. What is kept is a little more
// than what is due to be cut, since whole files are removed.
var mostRecords = map[string]uint64{"tolaria/journal": 256}

// mostFiles bounds the logs of which everything but the newest records is let go
// of with each change: files by the last part of the directory. There is the one
// that is written, the one before it that a record of everything may begin in, and
// those that a removal which failed has left. Where files are begun early there are
// more, of a record each: there may be fewRecords, since changes wait for a boundary
// at which everything is written anew.
var mostFiles = map[string]int{"config": 4}

const fewRecords = 16

func newStorage(p Params) Checker { return &storage{p: p, nodes: map[string]*stored{}} }

func (*storage) Invariants() []string { return []string{"W7", "W8"} }

func (c *storage) of(node string) *stored {
	s := c.nodes[node]
	if s == nil {
		s = &stored{files: map[string]*storedFile{}, last: map[string]uint64{}}
		s.begin()
		c.nodes[node] = s
	}
	return s
}

// begin forgets what holds for one life of a process, or one opening of its log.
func (s *stored) begin() {
	s.useful = ""
	s.unsynced, s.unwritten = map[string]uint64{}, map[string]uint64{}
	s.starts, s.renames = map[string]*letGo{}, map[string]string{}
}

func (c *storage) Observe(e *Event, j *Judge) {
	switch e.Kind {
	case trace.NodeStarted:
		s := c.of(e.Node)
		s.host = e.Text
		s.begin()
	case trace.NodeCrashed, trace.NodeExited:
		c.of(e.Node).interrupted()
	case trace.HostCrashed:
		for _, s := range c.nodes {
			if s.host == e.Node {
				s.powerLost(c.p.Damaged)
			}
		}
	case trace.DiskOperation:
		s := c.of(e.Node)
		if op, _, failed := strings.Cut(e.Text, " failed: "); failed {
			s.failed(op, e)
			return
		}
		s.worked(j)
		c.issued(s, e, j)
		s.op, s.arg, s.seq = e.Text, e.Arg, e.Seq
		if s.data = s.data[:0]; e.Arg == 0 || strings.HasPrefix(e.Text, "dsync-write ") {
			s.data = append(s.data, e.Data...)
		}
	}
}

func (*storage) Finish(*Judge) {}

// interrupted: whether the operation under way has happened is open, so that
// nothing is known of what it was about.
func (s *stored) interrupted() {
	s.useful = ""
	for _, name := range strings.Fields(s.op)[min(1, len(strings.Fields(s.op))):] {
		delete(s.files, name)
		for f := range s.files {
			if strings.HasPrefix(f, name+"/") {
				delete(s.files, f)
			}
		}
	}
	s.op = ""
}

// powerLost: what was not durable may be gone, and what is there is durable. Of a
// disk that may have lost what it has confirmed, nobody knows what is there: a file
// whose name was synced is gone where the sync was a lie.
func (s *stored) powerLost(damaged bool) {
	s.useful = ""
	s.interrupted()
	if damaged {
		clear(s.files)
	}
	for name, f := range s.files {
		if f.unnamed != "" {
			delete(s.files, name)
		}
		f.unsized = false
	}
}

// split is an operation and the present name of the file it is about.
func (s *stored) split(op string) (verb, name string) {
	verb, name, _ = strings.Cut(op, " ")
	if verb == "sync" || verb == "datasync" || verb == "dsync-write" || verb == "truncate" {
		if now, ok := s.renames[name]; ok {
			name = now
		}
	}
	return verb, name
}

// failed takes an operation that the disk refused, or whose outcome is unknown.
func (s *stored) failed(op string, e *Event) {
	s.useful = ""
	verb, name := s.split(op)
	full := strings.HasSuffix(e.Text, "no space left on device")
	switch verb {
	case "sync", "datasync", "syncdir":
		if !full { // which is an answer: nothing was begun
			s.unsynced[name] = e.Seq
		}
	case "dsync-write":
		if !full && !strings.HasSuffix(e.Text, "interrupted system call") {
			s.unwritten[name] = e.Seq
		}
	case "remove", "rename":
		s.op = op
		s.interrupted()
	}
	s.op = ""
	if !full {
		clear(s.starts) // the log is opened anew, and what it lets go of with it
	}
}

// worked does what the operation before has done: it was followed by another.
func (s *stored) worked(j *Judge) {
	verb, name := s.split(s.op)
	switch verb {
	case "allocate":
		s.useful = ""
		delete(s.renames, name)
		s.files[name] = &storedFile{unnamed: path.Dir(name), unsized: true}
	case "sync", "datasync":
		if f := s.files[name]; f != nil {
			f.unsized = false
		}
	case "syncdir":
		for _, f := range s.files {
			if f.unnamed == name {
				f.unnamed = ""
			}
		}
	case "remove":
		if strings.HasSuffix(name, ".wal") {
			j.Judged("W8")
		}
		s.useful = ""
		delete(s.files, name)
	case "rename":
		s.renamed(name)
	case "dsync-write":
		s.written(name)
	}
	s.op = ""
}

// renamed takes two names, of files or directories.
func (s *stored) renamed(names string) {
	from, to, _ := strings.Cut(names, " ")
	s.useful = ""
	s.renames[from] = to
	moved := map[string]*storedFile{}
	for name, f := range s.files {
		if rest, ok := strings.CutPrefix(name, from); ok && (rest == "" || rest[0] == '/') {
			f.unnamed = path.Dir(to)
			moved[to+rest] = f
			delete(s.files, name)
		}
	}
	for name, f := range moved {
		s.files[name] = f
	}
}

// written reads what was written.
func (s *stored) written(name string) {
	f := s.files[name]
	if f == nil {
		f = &storedFile{unknown: true}
		s.files[name] = f
		s.useful = ""
	}
	dir, le := path.Dir(name), binary.LittleEndian
	if s.arg == int64(len(f.head)) && len(f.head) < 256 { // a short write goes on where it stopped
		f.head = append(f.head, s.data[:min(len(s.data), 256-len(f.head))]...)
		if len(f.head) == 256 && string(f.head[:4]) == "ESPR" {
			f.first, f.unknown = le.Uint64(f.head[100:]), false
			s.useful = ""
		}
	}
	for b := s.data; len(b) >= 256 && string(b[:4]) == "ESPR"; {
		unit := uint64(max(le.Uint32(b[160:]), 1))
		long := (256 + le.Uint64(b[52:]) + unit - 1) / unit * unit
		if long < 256 || long > uint64(len(b)) {
			break // the rest is still to come: it holds nothing yet
		}
		s.last[dir] = le.Uint64(b[100:])
		start := le.Uint64(b[152:])
		switch g := s.starts[dir]; {
		case g == nil:
			s.starts[dir] = &letGo{start: start}
			s.useful = ""
		case start > g.start:
			*g = letGo{start, true, s.seq}
			s.useful = ""
		}
		b = b[long:]
	}
}

// issued judges an operation that begins.
func (c *storage) issued(s *stored, e *Event, j *Judge) {
	verb, name := s.split(e.Text)
	switch verb {
	case "sync", "datasync", "syncdir":
		if seq, again := s.unsynced[name]; again {
			j.Violate("W7", e.Node, fmt.Sprintf("the sync of %s has failed, and is tried again: what it says now proves nothing", name), seq)
			return
		}
	case "dsync-write":
		if seq, again := s.unwritten[name]; again {
			j.Violate("W7", e.Node, fmt.Sprintf("a write to %s had an unknown outcome, and it is written to again before it is opened anew", name), seq)
			return
		}
		c.write(s, e, name, j)
	}
	for _, failed := range []map[string]uint64{s.unsynced, s.unwritten} {
		for p := range failed {
			// Whoever opens it, lists it, or changes what is in it begins anew.
			if verb != "read" && (name == p || path.Dir(name) == p || strings.HasPrefix(name, p+" ")) {
				delete(failed, p)
			}
		}
	}
}

// write judges a write to a log: its file, and what else lies beside it.
func (c *storage) write(s *stored, e *Event, name string, j *Judge) {
	f := s.files[name]
	switch {
	case f == nil:
	case f.unnamed != "":
		j.Violate("W7", e.Node, fmt.Sprintf("%s is written to, and its name is not durable: %s was not synced", name, f.unnamed))
		return
	case f.unsized:
		j.Violate("W7", e.Node, fmt.Sprintf("%s is written to, and its space is not durable: it was not synced", name))
		return
	case e.Arg == 0:
		j.Judged("W7")
	}
	if !strings.HasSuffix(name, ".wal") {
		return
	}
	dir := path.Dir(name)
	if s.useful != name {
		if why, seq := s.useless(name, dir); why != "" {
			j.Violate("W8", e.Node, why, seq)
			return
		}
		s.useful = name
	}
	if most := mostFiles[path.Base(dir)]; most > 0 && e.Arg == 0 {
		n := 0
		for p := range s.files {
			if path.Dir(p) == dir && strings.HasSuffix(p, ".wal") {
				n++
			}
		}
		if n > most && s.records(dir) > fewRecords {
			j.Violate("W8", e.Node, fmt.Sprintf("the log %s has %d files; what is in the older of them was written anew, and is to be let go", dir, n))
			return
		}
		j.Judged("W8")
	}
	if most := mostRecords[dir]; most > 0 && f != nil && e.Arg == 0 {
		if n := s.records(dir); n > most {
			j.Violate("W8", e.Node, fmt.Sprintf("the log %s has grown to %d records; it is to be cut long before it has %d", dir, n, most))
			return
		}
		j.Judged("W8")
	}
}

// records is how many records a log has before its newest.
func (s *stored) records(dir string) uint64 {
	first := s.last[dir]
	for p, f := range s.files {
		if path.Dir(p) == dir && f.first > 0 {
			first = min(first, f.first)
		}
	}
	return s.last[dir] - first
}

// useless finds a file that nothing needs any more while its log, or a newer
// generation of it, is written to.
func (s *stored) useless(name, dir string) (why string, seq uint64) {
	list := s.list[:0]
	old := ""
	store, generation := store(dir)
	for p := range s.files {
		if path.Dir(p) == dir {
			list = append(list, p)
		} else if generation && strings.HasPrefix(p, store+"/") && older(p[len(store)+1:]) && (old == "" || p < old) {
			old = p
		}
	}
	if old != "" {
		return fmt.Sprintf("%s is of an older generation than %s, which is in use", old, dir), 0
	}
	s.list = list
	slices.Sort(list)
	for i, p := range list {
		f := s.files[p]
		switch {
		case p == name || f.unknown:
		case strings.HasSuffix(p, ".tmp"), f.first == 0:
			return fmt.Sprintf("%s holds no record, and its space is not given back before %s is written to", p, name), 0
		}
		if i+1 == len(list) {
			break
		}
		next := s.files[list[i+1]]
		switch g := s.starts[dir]; {
		case next.unknown || f.unknown || next.first == 0:
		case next.first <= f.first:
			return fmt.Sprintf("all of %s is superseded by %s, and it is still there", p, list[i+1]), 0
		case g != nil && g.raised && next.first <= g.start:
			return fmt.Sprintf("the log keeps what begins at %d, and %s, which ends before, is still there", g.start, p), g.seq
		}
	}
	return "", 0
}

// store is the directory of a store whose generation g<n> a directory is.
func store(dir string) (string, bool) {
	base := path.Base(dir)
	digits := strings.TrimPrefix(base, "g")
	return path.Dir(dir), digits != base && digits != "" && strings.Trim(digits, "0123456789") == ""
}

// older says whether a path within a store is of a generation's files.
func older(p string) bool {
	dir, file := path.Split(p)
	if !strings.HasSuffix(file, ".wal") {
		return false
	}
	_, generation := store(strings.TrimSuffix(strings.TrimSuffix(dir, "/"), ".new"))
	return dir == "" || generation
}
