package disk

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/actor"
)

// What a random crash leaves is among the outcomes that are listed, whatever
// was pending; and listing them changes nothing.
func TestOutcomesHoldEveryRandomCrash(t *testing.T) {
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		d, err := New(Config{Profile: rapid.SampledFrom([]Profile{PosixWeak, Ext4}).Draw(t, "profile"), Keyed: Seed(rapid.Uint64().Draw(t, "seed"))})
		if err != nil {
			t.Fatal(err)
		}
		fs := NewFS(d, nil)
		_ = fill(fs, "old", 0, 700, 'o', actor.Create, true)
		_ = fs.SyncDir("")
		for i := range rapid.IntRange(1, 4).Draw(t, "steps") {
			name := rapid.SampledFrom([]string{"old", "a", "b"}).Draw(t, "name")
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0, 1:
				_ = fill(fs, name, int64(100*i), 300, byte('p'+i), actor.Create, false)
			case 2:
				_ = fs.Rename(name, "b")
			case 3:
				_ = fs.Remove(name)
			case 4:
				_ = fs.SyncDir("")
			}
		}
		before := d.Fingerprint()
		list := d.Undecided()
		if len(list) > 7 {
			return
		}
		states := map[uint64]bool{}
		for _, o := range Outcomes(list, Bound{Units: 7}) {
			c := d.After(o)
			if n := len(c.Pending()); n > 0 {
				t.Fatalf("%d operations are pending after a crash", n)
			}
			states[c.Hash()] = true
		}
		if d.Fingerprint() != before {
			t.Fatal("listing the outcomes changed the disk")
		}
		for event := range uint64(60) {
			c := d.Clone()
			c.Crash(c.Random(event))
			compared++
			if !states[c.Hash()] {
				t.Fatalf("event %d leaves a state that is none of %d\n%v", event, len(states), d.Pending())
			}
		}
	})
	if compared < 1000 {
		t.Errorf("only %d crashes were compared", compared)
	}
}

// Up to the limit the combinations are complete; beyond it each prefix and each
// pair is there, once, and number 0 loses nothing.
func TestOutcomes(t *testing.T) {
	d, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	fs := NewFS(d, nil)
	if err := fill(fs, "a", 0, 3*512, 'x', actor.Create, false); err != nil {
		t.Fatal(err)
	}
	list := d.Undecided() // SetEntry, three units, SetSize
	if len(list) != 5 || Admissible(list) != 2*5*5*5*2 {
		t.Fatalf("%d undecided, %d outcomes", len(list), Admissible(list))
	}
	count := func(bound Bound) (n int, all [][]byte) {
		for i, o := range Outcomes(list, bound) {
			if i != n {
				t.Fatalf("outcome %d has number %d", n, i)
			}
			if i == 0 && o.Lost() != 0 {
				t.Errorf("number 0 loses %d", o.Lost())
			}
			var key []byte
			for _, f := range o {
				key = append(key, byte(f))
			}
			if slices.ContainsFunc(all, func(k []byte) bool { return bytes.Equal(k, key) }) {
				t.Errorf("%v twice", o)
			}
			n, all = n+1, append(all, key)
		}
		return n, all
	}
	if n, _ := count(Bound{Units: 5}); n != 500 {
		t.Errorf("%d combinations; want 500", n)
	}
	n, all := count(Bound{Units: 4})
	if n >= 500 || n < 100 {
		t.Errorf("%d prefixes and pairs", n)
	}
	// Coarse is less of the same: each fate of each thing alone, and pairs that
	// happened or did not.
	fewer, coarse := count(Bound{Units: 4, Coarse: true})
	if fewer >= n {
		t.Errorf("%d coarse outcomes of %d", fewer, n)
	}
	in := func(all [][]byte, o Outcome) bool {
		return slices.ContainsFunc(all, func(k []byte) bool {
			return slices.EqualFunc(k, o, func(a byte, b Fate) bool { return a == byte(b) })
		})
	}
	for _, k := range coarse {
		if !slices.ContainsFunc(all, func(a []byte) bool { return bytes.Equal(a, k) }) {
			t.Errorf("%v is coarse, and is not among all", k)
		}
	}
	for _, want := range []Outcome{
		{FateNew, FateStale, FateNew, FateNew, FateNew},
		{FateOld, FateOld, FateGarbage, FateOld, FateOld},
		{FateOld, FateNew, FateOld, FateOld, FateNew},
		{FateNew, FateNew, FateZero, FateOld, FateOld},
	} {
		if !in(coarse, want) {
			t.Errorf("%v is missing of the coarse ones", want)
		}
	}
	for _, want := range []Outcome{
		{FateOld, FateOld, FateOld, FateOld, FateOld}, // everything lost
		{FateNew, FateNew, FateZero, FateOld, FateOld},
		{FateNew, FateStale, FateGarbage, FateNew, FateNew},
		{FateOld, FateNew, FateOld, FateOld, FateNew}, // a pair alone survives
	} {
		var key []byte
		for _, f := range want {
			key = append(key, byte(f))
		}
		if len(want) != len(list) {
			t.Fatal("the table is of another list")
		}
		if !slices.ContainsFunc(all, func(k []byte) bool { return bytes.Equal(k, key) }) {
			t.Errorf("%v is missing", want)
		}
	}
	if Admissible(make([]Undecided, 0)) != 1 {
		t.Error("nothing undecided is one outcome")
	}
	huge := slices.Repeat(list[:1], 40)
	for i := range huge {
		huge[i].Fates = unitFates
	}
	if Admissible(huge) != 1<<64-1 {
		t.Error("an overflow is not noticed")
	}
}
