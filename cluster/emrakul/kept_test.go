package emrakul

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/contracts/canon"
	pruningv2 "github.com/esper-sim/espersim/contracts/generated/go/pruning/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
	"github.com/esper-sim/espersim/sim/disk"
)

// quiet hears facts and probes, and says nothing.
type quiet struct{}

func (quiet) Record(canon.Message)  {}
func (quiet) Reached(string)        {}
func (quiet) Sometimes(string) bool { return false }

// However many cycles there were, the log has the files of a few.
func TestTheLogStaysSmall(t *testing.T) {
	d, err := disk.New(disk.Config{Keyed: disk.Seed(1)})
	if err != nil {
		t.Fatal(err)
	}
	m := &emrakul{env: actor.Env{FS: disk.NewFS(d, nil), Facts: quiet{}, Probe: quiet{}}}
	if m.log, err = wal.Open(m.env.FS, Subsystem, wal.Options{Firm: true, SegmentSize: 2048}); err != nil {
		t.Fatal(err)
	}
	for n := range 100 {
		for _, state := range []string{collecting, analysing, applying, monitoring, applied} {
			p := &statev2.PruningRecord{IdempotencyKey: fmt.Sprint(n), State: state}
			if state == applying {
				p.Mask = &pruningv2.PruningMask{Ratio: float64(n)}
			}
			if !m.write(p) {
				t.Fatalf("cycle %d: %s is not written", n, state)
			}
		}
	}
	names, err := m.env.FS.ReadDir(Subsystem)
	if err != nil || len(names) == 0 || len(names) > 12 {
		t.Errorf("after 100 cycles the log has %d files, %v", len(names), err)
	}
}

// Whatever cycles there were, the records that are kept say what all of them
// said.
func TestKeptRecordsSayAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []*statev2.PruningRecord
		whole := new(emrakul)
		states := rapid.SliceOfN(rapid.SampledFrom([]string{collecting, analysing, applying, monitoring, rollingBack, skipped}), 1, 40).Draw(t, "states")
		for i, s := range states {
			r := &statev2.PruningRecord{State: s, Epoch: int64(i)}
			if s == applying || s == rollingBack {
				r.Mask = &pruningv2.PruningMask{Ratio: float64(i)}
			}
			all = append(all, r)
			whole.enter(r, wal.LSN(i+1))
			from := int(whole.kept.from())
			again := new(emrakul)
			for j := from - 1; j < len(all); j++ {
				again.enter(all[j], wal.LSN(j+1))
			}
			if again.now != whole.now || again.applied != whole.applied || again.before != whole.before && putOut(all) {
				t.Fatalf("after %v from record %d on: mask %v before %v, want %v and %v", states[:i+1], from, again.applied, again.before, whole.applied, whole.before)
			}
		}
	})
}

// putOut says whether a record puts a mask out.
func putOut(list []*statev2.PruningRecord) bool {
	for _, r := range list {
		if r.State == applying {
			return true
		}
	}
	return false
}

// Without masks nothing but the newest is needed.
func TestCyclesWithoutMasksAreForgotten(t *testing.T) {
	var k kept
	for i, s := range []string{collecting, skipped, collecting, analysing, skipped} {
		if k.enter(s, wal.LSN(i+1)); k.from() != wal.LSN(i+1) {
			t.Errorf("after record %d it keeps from %d on", i+1, k.from())
		}
	}
}
