package wal_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"testing"

	"github.com/esper-sim/espersim/cluster/wal"
)

var update = flag.Bool("update", false, "write the golden files")

// The bytes of a log with every operation in it. A change here is a change of
// the format: give it a new version.
func TestGolden(t *testing.T) {
	const name = "testdata/segment.golden"
	seg := sampleSegment(t)
	if *update {
		if err := os.WriteFile(name, []byte(hex.Dump(seg)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v: run go test -update", err)
	}
	if got := hex.Dump(seg); got != string(want) {
		t.Errorf("the format has changed:\n%s", got)
	}
	n := 0
	err = wal.Dump("golden", bytes.NewReader(seg), int64(len(seg)), func(wal.Info) error { n++; return nil })
	if err != nil || n != 9 {
		t.Errorf("%d records, %v", n, err)
	}
}
