package wal

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The tables of README.md are the specification; here the code is held to
// them: every field, in order, without a gap, at the offset of its constant.
func TestReadmeTablesAreTheCode(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := []struct {
		name string
		at   int
	}{
		{"magic", offMagic}, {"version", offVersion}, {"time", offTime}, {"type length", offTypeSize},
		{"kind", offKind}, {"rest of the type", offKindRest}, {"payload length", offLength},
		{"payload checksum", offPayloadSum}, {"header checksum", offHeaderSum}, {"previous checksum", offPrevious},
		{"rest of the checksum area", offSumRest}, {"endian marker", offMarker}, {"LSN", offLSN},
		{"transaction", offTxn}, {"operation", offOp}, {"segment", offSegment}, {"own offset", offOffset},
		{"synced up to", offSynced}, {"epoch", offEpoch}, {"start", offStart}, {"unit", offUnit}, {"reserved", offRest},
	}
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (\d+) \| ([^|]+) \|`).FindAllStringSubmatch(string(text), -1)
	if len(rows) != len(fields) {
		t.Fatalf("README.md has %d fields, the code %d", len(rows), len(fields))
	}
	end := 0
	for i, row := range rows {
		at, _ := strconv.Atoi(row[1])
		size, _ := strconv.Atoi(row[2])
		if row[3] != fields[i].name || at != fields[i].at || at != end {
			t.Errorf("row %d: README.md has %q at %d, the code %q at %d; the row before ends at %d", i, row[3], at, fields[i].name, fields[i].at, end)
		}
		end = at + size
	}
	if end != HeaderSize {
		t.Errorf("the fields end at %d", end)
	}
	ops := regexp.MustCompile(`(?m)^\| ([A-Z]+) \| (\d) \|`).FindAllStringSubmatch(string(text), -1)
	if len(ops) != len(opNames) {
		t.Fatalf("README.md has %d operations, the code %d", len(ops), len(opNames))
	}
	for i, row := range ops {
		if row[2] != strconv.Itoa(i) || row[1] != Op(i).String() {
			t.Errorf("operation %d is %s %s in README.md", i, row[1], row[2])
		}
	}
}

// Sizes, too: a header with one field set differs from one without only in
// the bytes that README.md gives to the field, and in the checksum.
func TestReadmeSizesAreTheCode(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := ^uint64(0)
	set := map[string]Header{
		"time": {Time: -1}, "kind": {Kind: 0xffff}, "payload length": {Length: all}, "payload checksum": {PayloadSum: 0xffffffff},
		"previous checksum": {Previous: 0xffffffff}, "LSN": {LSN: LSN(all)}, "transaction": {Txn: all}, "operation": {Op: 0xffffffff},
		"segment": {Segment: all}, "own offset": {Offset: all}, "synced up to": {SyncedUpTo: LSN(all)}, "epoch": {Epoch: -1},
		"start": {Start: LSN(all)}, "unit": {Unit: 0xffffffff},
	}
	zero := make([]byte, HeaderSize)
	(&Header{}).put(zero)
	for name, h := range set {
		row := regexp.MustCompile(`(?m)^\| (\d+) \| (\d+) \| ` + name + ` \|`).FindStringSubmatch(string(text))
		if row == nil {
			t.Errorf("README.md lacks %q", name)
			continue
		}
		at, _ := strconv.Atoi(row[1])
		size, _ := strconv.Atoi(row[2])
		b := make([]byte, HeaderSize)
		h.put(b)
		var diff []string
		for i := range b {
			if i/4 != offHeaderSum/4 && b[i] != zero[i] {
				diff = append(diff, strconv.Itoa(i))
			}
		}
		var want []string
		for i := at; i < at+size; i++ {
			want = append(want, strconv.Itoa(i))
		}
		if strings.Join(diff, " ") != strings.Join(want, " ") {
			t.Errorf("%s is in bytes %v, README.md says %v", name, diff, want)
		}
	}
}
