package tolaria_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/sim/disk"
)

// rotIn flips a bit in a checkpoint on Tolaria's disk.
func rotIn(t *testing.T, d *disk.Disk, id string) {
	t.Helper()
	for _, f := range d.Files() {
		content, err := d.Durable(f.Path)
		if err != nil || !strings.Contains(f.Path, "checkpoints/") {
			continue
		}
		if at := strings.Index(string(content), id); at >= 0 {
			if err := d.FlipBit(f.Path, int64(at)+1500, 1); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no file holds %s", id)
}

// The newest checkpoint rots, and Tolaria dies: it refuses that one by name,
// goes back to the one before, and trains on to the same bytes as the replay.
func TestRottenNewestCheckpointOverARestart(t *testing.T) {
	for _, host := range []bool{false, true} {
		w, wit := triad(t, setup{orders: busy()})
		d := wit.disks[0]
		w.At(11*time.Second, 1, func() {
			id := ""
			for _, c := range wit.ckpts {
				if strings.HasPrefix(c, "CHECKPOINT_SAVED") {
					var epoch int
					_, _ = fmt.Sscanf(c, "CHECKPOINT_SAVED %d", &epoch)
					id = fmt.Sprintf("ckpt-%d-1", epoch)
				}
			}
			rotIn(t, d, id)
			if host {
				_, _ = w.CrashHost("h1", 300*time.Millisecond, 0)
			} else {
				_, _ = w.CrashNode("tolaria", 300*time.Millisecond, 0)
			}
		})
		w.At(22*time.Second, 2, func() { _, _ = w.CrashHost("h1", 300*time.Millisecond, 0) })
		run(t, w, 35*time.Second)
		wit.sound(15)
		// Once more, since the second restart finds the end of the first
		// rollback in its log.
		if wit.rolled("RB_DONE 8 gen 2 tolaria has restarted") != 1 || wit.rolled("RB_DONE 8 gen 2 found in the log") != 1 || wit.rolled("tolaria RB_DONE") != 3 {
			t.Errorf("%s", strings.Join(wit.rolls, "\n"))
		}
		if !wit.has(wit.ckpts, "CHECKPOINT_REFUSED 12 ") {
			t.Errorf("%s", strings.Join(wit.ckpts, "\n"))
		}
		if wit.has(wit.modes, "STOPPED") {
			t.Error(wit.modes)
		}
	}
}
