package crash

import (
	"fmt"
	"slices"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal/hld"
	"github.com/esper-sim/espersim/sim/disk"
)

const hldDefect = "it writes header and data separately, and its next life appends behind whatever it finds"

// hldWorkload is the log as the design writes it down, on a disk where its file
// is durable.
func hldWorkload() *Workload {
	return &Workload{
		Name: "hld", Summary: "the design's log as it is written, after its file has become durable", Most: 2,
		New: newHLD, Operations: []string{"append"}, Defect: hldDefect,
		Starts: []Start{{"used", "a log with one acknowledged entry, and a durable name", func(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
			fs := disk.NewFS(d, nil)
			if err := s.Open(fs); err != nil {
				return nil, nil, err
			}
			if _, err := s.Do(0, fs); err != nil {
				return nil, nil, err
			}
			return d, s, fs.SyncDir("")
		}}},
	}
}

// hldNewWorkload is the same log from its first life on.
func hldNewWorkload() *Workload {
	return &Workload{
		Name: "hld-new", Summary: "the design's log as it is written, on an empty disk", Most: 2,
		New: newHLD, Operations: []string{"append"}, Defect: "it does not sync the directory of its file",
		Starts: []Start{{Name: "new", Summary: "an empty disk"}},
	}
}

func newHLD() Subject { return &hldSubject{} }

// hldSubject is the design's log and its model: the entries, in order.
type hldSubject struct {
	w       *hld.Writer
	entries []string
	acked   int // of them
	count   int
}

// still is a clock that stands: the log stamps its entries with it.
type still struct{ actor.Clock }

func (still) Now() time.Time { return time.UnixMilli(0) }

func (s *hldSubject) Clone() Subject {
	c := *s
	c.w, c.entries = nil, slices.Clone(s.entries)
	return &c
}

func (s *hldSubject) Promise() uint64 {
	return hash(hashText(s.entries...), uint64(s.acked), uint64(s.count))
}

func (s *hldSubject) Open(fs actor.FS) error {
	var got []string
	if _, _, err := hld.Read(fs, "log", 0, 1<<20, func(_ int64, p []byte) { got = append(got, string(p)) }); err != nil {
		return err
	}
	if len(got) < s.acked {
		return violated("W1", "entry %q was acknowledged and is gone; the log reads %q", s.entries[len(got)], got)
	}
	if len(got) > len(s.entries) || !slices.Equal(got, s.entries[:len(got)]) {
		return violated("W2", "the log reads %q, which is no prefix of %q", got, s.entries)
	}
	s.entries = s.entries[:len(got)]
	s.w = hld.NewWriter(fs, "log", still{})
	return s.w.OpenWAL()
}

func (s *hldSubject) Do(int, actor.FS) (bool, error) {
	s.count++
	s.entries = append(s.entries, fmt.Sprint("entry-", s.count))
	if err := s.w.WriteEntry("TEST", []byte(s.entries[len(s.entries)-1])); err != nil {
		return true, err
	}
	s.acked = len(s.entries)
	return true, nil
}

func (s *hldSubject) Continue(fs actor.FS) error {
	_, err := s.Do(0, fs)
	return err
}
