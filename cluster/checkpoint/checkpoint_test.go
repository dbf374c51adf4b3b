package checkpoint_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/checkpoint"
	"github.com/esper-sim/espersim/cluster/merkle"
	"github.com/esper-sim/espersim/sim/disk"
)

func newDisk(t testing.TB, seed uint64) *disk.Disk {
	d, err := disk.New(disk.Config{Keyed: disk.Seed(seed)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sample(n int64, size int) *checkpoint.Checkpoint {
	return &checkpoint.Checkpoint{
		ID: fmt.Sprintf("c%d", n), Epoch: n, Generation: 1,
		Parts: []checkpoint.Part{
			{Name: "host", Epoch: n, Data: bytes.Repeat([]byte{byte(n)}, size)},
			{Name: "kasmina", Epoch: n, Data: []byte{}},
			{Name: "tamiyo", Epoch: n, Data: []byte("policy")},
		},
		Context: merkle.Context{{Name: "run", Value: merkle.Text("r")}, {Name: "epoch", Value: merkle.Int(n)}},
	}
}

var options = checkpoint.Options{SegmentSize: 16 << 10}

func open(t testing.TB, fs actor.FS) *checkpoint.Store {
	t.Helper()
	s, err := checkpoint.Open(fs, "ckpt", options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The five newest are kept, also over a restart, and read back as they were
// saved.
func TestKeepsTheFiveNewest(t *testing.T) {
	d := newDisk(t, 1)
	s := open(t, disk.NewFS(d, nil))
	for n := range int64(12) {
		evicted, err := s.Save(sample(n, 3000))
		if err != nil {
			t.Fatal(err)
		}
		if n >= 5 && (len(evicted) != 1 || evicted[0].ID != fmt.Sprintf("c%d", n-5)) {
			t.Errorf("saving c%d evicts %v", n, evicted)
		}
	}
	s = open(t, disk.NewFS(d, nil))
	if l := s.List(); len(l) != 5 || l[0].ID != "c7" || l[4].ID != "c11" {
		t.Fatalf("after a restart: %v", l)
	}
	for n := int64(7); n < 12; n++ {
		c, err := s.Load(fmt.Sprintf("c%d", n))
		if err != nil {
			t.Fatal(err)
		}
		want := sample(n, 3000)
		for i, p := range want.Parts {
			if got := c.Parts[i]; got.Name != p.Name || !bytes.Equal(got.Data, p.Data) || got.Epoch != p.Epoch {
				t.Errorf("c%d: part %s differs", n, p.Name)
			}
		}
	}
	if _, err := s.Load("c6"); !errors.Is(err, checkpoint.ErrUnknown) {
		t.Errorf("an evicted one: %v", err)
	}
}

// A crash at every I/O operation of a Save, with the host's power lost: the
// checkpoint is there as a whole or not at all, and those before it are intact.
func TestCrashAtEveryOperationOfASave(t *testing.T) {
	type stop struct{}
	for k := 1; ; k++ {
		finished := false
		for seed := range uint64(8) {
			d := newDisk(t, seed)
			s := open(t, disk.NewFS(d, nil))
			for n := range int64(3) {
				if _, err := s.Save(sample(n, 2000)); err != nil {
					t.Fatal(err)
				}
			}
			ops := 0
			func() {
				defer func() {
					if r := recover(); r != nil && r != (stop{}) {
						panic(r)
					}
				}()
				counted, err := checkpoint.Open(disk.NewFS(d, func(*disk.Op) error {
					if ops++; ops == k {
						panic(stop{})
					}
					return nil
				}), "ckpt", options)
				if err == nil {
					_, err = counted.Save(sample(3, 2000))
				}
				if err != nil {
					t.Fatal(err)
				}
				finished = true
			}()
			if finished {
				break
			}
			d.Crash(d.Random(uint64(k)))
			again := open(t, disk.NewFS(d, nil))
			list := again.List()
			if len(list) < 3 || len(list) > 4 {
				t.Fatalf("crash at operation %d, seed %d: %d checkpoints", k, seed, len(list))
			}
			for _, m := range append([]checkpoint.Meta(nil), list...) {
				c, err := again.Load(m.ID)
				if err != nil {
					t.Fatalf("crash at operation %d, seed %d: %v", k, seed, err)
				}
				if want := sample(m.Epoch, 2000); !bytes.Equal(c.Part("host"), want.Part("host")) {
					t.Fatalf("crash at operation %d, seed %d: %s has other bytes", k, seed, m.ID)
				}
			}
		}
		if finished {
			if k < 5 {
				t.Fatalf("a save takes %d operations only: the test sees nothing", k)
			}
			return
		}
	}
}

// A checkpoint whose bytes have rotted is refused by name, and the next older
// one is the newest good one.
func TestRottenCheckpointIsRefused(t *testing.T) {
	d := newDisk(t, 1)
	s := open(t, disk.NewFS(d, nil))
	for n := range int64(3) {
		if _, err := s.Save(sample(n, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	rotten := 0
	for _, f := range d.Files() {
		content, err := d.Durable(f.Path)
		if err != nil {
			continue
		}
		at := bytes.LastIndex(content, bytes.Repeat([]byte{2}, 1000))
		if at >= 0 {
			if err := d.FlipBit(f.Path, int64(at), 3); err != nil {
				t.Fatal(err)
			}
			rotten++
		}
	}
	if rotten == 0 {
		t.Fatal("no file holds the newest checkpoint")
	}
	var refused *checkpoint.RefusedError
	if _, err := s.Load("c2"); !errors.As(err, &refused) || refused.ID != "c2" {
		t.Fatalf("the rotten one: %v", err)
	}
	m, ok := s.Newest()
	if !ok || m.ID != "c1" {
		t.Fatalf("the newest good one is %v", m)
	}
	if _, err := s.Load(m.ID); err != nil {
		t.Fatal(err)
	}
}

// Any sequence of saves, restarts and power losses: what Save returned for is
// there, up to the limit.
func TestStoreAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDisk(t, rapid.Uint64().Draw(rt, "seed"))
		s := open(t, disk.NewFS(d, nil))
		var model []string
		next := int64(0)
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				c := sample(next, rapid.IntRange(0, 9000).Draw(rt, "size"))
				if _, err := s.Save(c); err != nil {
					rt.Fatal(err)
				}
				model = append(model, c.ID)
				next++
			case 2:
				d.Crash(d.Random(uint64(next)))
				s = open(t, disk.NewFS(d, nil))
			case 3:
				s = open(t, disk.NewFS(d, nil))
			}
			want := model[max(0, len(model)-checkpoint.Keep):]
			list := s.List()
			if len(list) != len(want) {
				rt.Fatalf("%d checkpoints, want %d", len(list), len(want))
			}
			for i, m := range append([]checkpoint.Meta(nil), list...) {
				if m.ID != want[i] {
					rt.Fatalf("checkpoint %d is %s, want %s", i, m.ID, want[i])
				}
				if _, err := s.Load(m.ID); err != nil {
					rt.Fatal(err)
				}
			}
		}
	})
}

func Example() {
	d, _ := disk.New(disk.Config{})
	s, err := checkpoint.Open(disk.NewFS(d, nil), "checkpoints", checkpoint.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	c := &checkpoint.Checkpoint{ID: "epoch-10", Epoch: 10, Parts: []checkpoint.Part{{Name: "host", Epoch: 10, Data: []byte("weights")}}}
	if _, err := s.Save(c); err != nil {
		fmt.Println(err)
		return
	}
	newest, _ := s.Newest()
	back, err := s.Load(newest.ID)
	fmt.Println(newest.ID, string(back.Part("host")), err)
	// Output: epoch-10 weights <nil>
}
