package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

// rotten is a disk with five checkpoints, of which the given ones have rotted.
func rotten(t testing.TB, seed uint64, which ...byte) *disk.Disk {
	t.Helper()
	d := newDisk(t, seed)
	s := open(t, disk.NewFS(d, nil))
	for n := range int64(5) {
		if _, err := s.Save(sample(n, 3000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range which {
		rot(t, d, n)
	}
	return d
}

// rot flips a bit in the bytes of a checkpoint.
func rot(t testing.TB, d *disk.Disk, n byte) {
	t.Helper()
	done := false
	for _, f := range d.Files() {
		content, err := d.Durable(f.Path)
		if err != nil {
			continue
		}
		if at := bytes.LastIndex(content, bytes.Repeat([]byte{n}, 1000)); at >= 0 {
			if err := d.FlipBit(f.Path, int64(at), 3); err != nil {
				t.Fatal(err)
			}
			done = true
		}
	}
	if !done {
		t.Fatalf("no file holds c%d", n)
	}
}

// salvaging opens a store that goes on after damage, and notes who is refused.
func salvaging(fs actor.FS, refused *[]string) (*checkpoint.Store, error) {
	o := options
	o.Refused = func(m checkpoint.Meta, err error) {
		if m.ID != "" {
			var r *checkpoint.RefusedError
			if !errors.As(err, &r) || r.ID != m.ID {
				panic(fmt.Sprint("the reason for ", m.ID, " is ", err))
			}
		}
		*refused = append(*refused, m.ID)
	}
	return checkpoint.Open(fs, "ckpt", o)
}

func ids(s *checkpoint.Store) (list []string) {
	for _, m := range s.List() {
		list = append(list, m.ID)
	}
	return list
}

// whole loads all of a store's checkpoints and compares their bytes.
func whole(t testing.TB, s *checkpoint.Store) {
	t.Helper()
	for _, m := range append([]checkpoint.Meta(nil), s.List()...) {
		c, err := s.Load(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if want := sample(m.Epoch, 3000); !bytes.Equal(c.Part("host"), want.Part("host")) || c.Epoch != want.Epoch {
			t.Fatalf("%s has other bytes", m.ID)
		}
	}
}

// Whichever checkpoints rot, the others are there, those that rotted are
// named, and the store goes on.
func TestRotCostsNoMoreThanWhatRotted(t *testing.T) {
	for mask := 1; mask < 31; mask++ {
		var which []byte
		want, lost := []string{}, []string{""}
		for n := range byte(5) {
			if mask>>n&1 == 1 {
				which = append(which, n)
			} else {
				want = append(want, fmt.Sprint("c", n))
			}
		}
		for n := 4; n >= 0; n-- {
			if mask>>n&1 == 1 {
				lost = append(lost, fmt.Sprint("c", n))
			}
		}
		d := rotten(t, uint64(mask), which...)
		if _, err := checkpoint.Open(disk.NewFS(d, nil), "ckpt", options); err == nil {
			t.Fatalf("%b: a store that nobody lets go on does", mask)
		}
		var refused []string
		s, err := salvaging(disk.NewFS(d, nil), &refused)
		if err != nil {
			t.Fatalf("%b: %v", mask, err)
		}
		if fmt.Sprint(ids(s)) != fmt.Sprint(want) || fmt.Sprint(refused) != fmt.Sprint(lost) {
			t.Fatalf("%b: %v are there and %v refused; want %v and %v", mask, ids(s), refused, want, lost)
		}
		whole(t, s)
		if _, err := s.Save(sample(5, 3000)); err != nil {
			t.Fatal(err)
		}
		// What was refused once is not there again, nor told again.
		refused = nil
		d.Crash(d.Random(uint64(mask)))
		if s, err = salvaging(disk.NewFS(d, nil), &refused); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(ids(s)) != fmt.Sprint(append(want, "c5")) || refused != nil {
			t.Fatalf("%b: after a restart %v are there and %v refused", mask, ids(s), refused)
		}
		whole(t, s)
	}
}

// With nothing whole left the damage is the error, and stays for whoever looks
// into it.
func TestNothingWholeIsDamage(t *testing.T) {
	d := rotten(t, 1, 0, 1, 2, 3, 4)
	for range 2 {
		var refused []string
		var damage *wal.CorruptionError
		if _, err := salvaging(disk.NewFS(d, nil), &refused); !errors.As(err, &damage) {
			t.Fatal(err)
		}
		if len(refused) != 6 {
			t.Fatal(refused)
		}
	}
}

// A salvage of a salvage: generations follow each other, and leave nothing
// behind.
func TestGenerations(t *testing.T) {
	d := rotten(t, 1, 4)
	for n := int64(5); n < 12; n++ {
		var refused []string
		s, err := salvaging(disk.NewFS(d, nil), &refused)
		if err != nil {
			t.Fatal(err)
		}
		if len(refused) != 2 || refused[1] != fmt.Sprint("c", n-1) {
			t.Fatalf("c%d rotted, and %q are refused", n-1, refused)
		}
		if _, err := s.Save(sample(n, 3000)); err != nil {
			t.Fatal(err)
		}
		if n == 11 {
			whole(t, s)
			break
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		rot(t, d, byte(n))
	}
	if n := len(d.Files()); n > 12 {
		t.Errorf("%d files and folders are left", n)
	}
}

// A crash at every operation of a salvage, of the process alone or with the
// power: the next opening has the same checkpoints, and the refused one was
// told of.
func TestCrashAtEveryOperationOfASalvage(t *testing.T) {
	type stop struct{}
	for _, power := range []int{0, 1, 2} { // never, at once, after the next opening's first operations
		for k := 1; ; k++ {
			finished := false
			for seed := range uint64(6) {
				d := rotten(t, seed, 3)
				var refused []string
				crashing := func(at int) (err error) {
					ops := 0
					defer func() {
						if r := recover(); r != nil && r != (stop{}) {
							panic(r)
						}
					}()
					_, err = salvaging(disk.NewFS(d, func(*disk.Op) error {
						if ops++; ops == at {
							panic(stop{})
						}
						return nil
					}), &refused)
					finished = err == nil && at == k
					return err
				}
				if err := crashing(k); err != nil {
					t.Fatal(err)
				}
				if finished {
					break
				}
				switch power {
				case 0: // the process alone has died
				case 1:
					d.Crash(d.Random(uint64(k)))
				case 2:
					if err := crashing(k/2 + 3); err != nil {
						t.Fatal(err)
					}
					d.Crash(d.Random(uint64(k)))
				}
				s, err := salvaging(disk.NewFS(d, nil), &refused)
				if err != nil {
					t.Fatalf("crash at operation %d, power %d, seed %d: %v", k, power, seed, err)
				}
				if fmt.Sprint(ids(s)) != "[c0 c1 c2 c4]" {
					t.Fatalf("crash at operation %d, power %d, seed %d: %v are there", k, power, seed, ids(s))
				}
				if len(refused) < 2 || refused[1] != "c3" {
					t.Fatalf("crash at operation %d, power %d, seed %d: %q are refused", k, power, seed, refused)
				}
				whole(t, s)
			}
			if finished {
				if k < 30 {
					t.Fatalf("a salvage takes %d operations only: the test sees nothing", k)
				}
				break
			}
		}
	}
}

// Damage anywhere, not in payloads only: no byte that is flipped leads to a
// checkpoint with other bytes, or to the loss of more than one.
func TestAnyFlippedBit(t *testing.T) {
	for i := range 400 {
		d := rotten(t, 1)
		var files []string
		for _, f := range d.Files() {
			if !f.Dir {
				files = append(files, f.Path)
			}
		}
		name := files[i%len(files)]
		content, err := d.Durable(name)
		if err != nil || len(content) == 0 {
			continue
		}
		at := int64(i) * 7919 % int64(len(content))
		if err := d.FlipBit(name, at, uint(i%8)); err != nil {
			t.Fatal(err)
		}
		var refused []string
		s, err := salvaging(disk.NewFS(d, nil), &refused)
		if err != nil {
			t.Fatalf("%s at %d: %v", name, at, err)
		}
		if len(s.List()) < 4 {
			t.Fatalf("%s at %d: %v are left, %q refused", name, at, ids(s), refused)
		}
		whole(t, s)
	}
}
