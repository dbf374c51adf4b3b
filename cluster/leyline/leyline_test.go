package leyline

import (
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/contract"
	"github.com/esper-sim/espersim/contracts/wire"
)

func TestJudge(t *testing.T) {
	table, err := contract.Load()
	if err != nil {
		t.Fatal(err)
	}
	right := table.Digest(wire.Newest)
	if len(right) != 32 {
		t.Fatalf("the manifest has no digest of %v", wire.Newest)
	}
	first := wire.Version{Major: 2, Minor: 0}
	for name, c := range map[string]struct {
		v      wire.Version
		digest []byte
		ok     bool
	}{
		"the newest":               {wire.Newest, right, true},
		"the first minor":          {first, table.Digest(first), true},
		"the digest of another":    {first, right, false},
		"no digest":                {wire.Newest, nil, false},
		"a version of the future":  {wire.Version{Major: 2, Minor: wire.Newest.Minor + 1}, right, false},
		"what is read, not spoken": {wire.Version{Major: 1}, table.Digest(wire.Version{Major: 1}), false},
	} {
		if bad := judge(table, c.v, c.digest); (bad == "") != c.ok {
			t.Errorf("%s: %q", name, bad)
		}
	}
}

func TestWrites(t *testing.T) {
	p := func(minor uint32, heard time.Duration, bad string) *process {
		return &process{wire.Version{Major: 2, Minor: minor}, heard, bad}
	}
	const now, lease = 100 * time.Second, 6 * time.Second
	for name, c := range map[string]struct {
		all   map[string]*process
		whole bool
		want  uint32
	}{
		"nobody":                          {nil, true, wire.Newest.Minor},
		"all are new":                     {map[string]*process{"a": p(wire.Newest.Minor, now, "")}, true, wire.Newest.Minor},
		"one is old":                      {map[string]*process{"a": p(wire.Newest.Minor, now, ""), "b": p(1, now-lease+1, "")}, true, 1},
		"the old one is gone":             {map[string]*process{"a": p(wire.Newest.Minor, now, ""), "b": p(1, now-lease, "")}, true, wire.Newest.Minor},
		"the old one is not one of us":    {map[string]*process{"b": p(0, now, "other schemas")}, true, wire.Newest.Minor},
		"not everybody was heard by then": {map[string]*process{"a": p(1, now, "")}, false, 0},
	} {
		if got := writes(c.all, now, lease, c.whole); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
