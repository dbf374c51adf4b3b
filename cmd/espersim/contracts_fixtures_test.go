package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFiles writes a tree of files.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const smallSchema = `syntax = "proto3";
package shop.v1;
message Order {
  string id = 1;
  oneof pay { int64 cents = 2; string voucher = 3; }
  repeated Item items = 4;
}
message Item { string name = 1; uint32 count = 2; }
`

// step is a command, its exit code, and what is done to the files before it.
type step struct {
	code   int
	args   string // DIR stands for the folder
	before map[string]string
}

// transcript runs steps in a folder and compares all they print with a golden
// file.
func transcript(t *testing.T, name string, steps []step) {
	t.Helper()
	dir := t.TempDir()
	text := ""
	for _, s := range steps {
		writeFiles(t, dir, s.before)
		code, out := command(dir, strings.Fields(strings.ReplaceAll(s.args, "DIR", dir))...)
		if code != s.code {
			t.Errorf("%s: exit code %d, want %d\n%s", s.args, code, s.code, out)
		}
		text += "$ espersim " + s.args + "\n" + out + "\n"
	}
	golden(t, name, text)
}

func TestContractsGolden(t *testing.T) {
	const schema, table = "s/v1/shop.proto", "s/golden/fixtures.yaml"
	entry := "fixtures:\n  - version: v1\n    file: order.bin\n    message: shop.v1.Order\n    text: |\n      id: \"o1\"\n      cents: CENTS\n"
	with := func(cents string) string { return strings.Replace(entry, "CENTS", cents, 1) }
	transcript(t, "contracts-golden", []step{
		{2, "contracts golden DIR/s", map[string]string{schema: smallSchema}},
		{2, "contracts golden DIR/s", map[string]string{table: with("x")}},
		{1, "contracts golden DIR/s", map[string]string{table: with("150")}},
		{0, "contracts golden DIR/s --fill --update", nil},
		{0, "contracts golden DIR/s", nil},
		{1, "contracts golden DIR/s", map[string]string{"s/golden/v1/order.bin": "\x0a\x02o1\x10\x97\x01", "s/golden/v1/old.bin": "x"}},
		{1, "contracts golden DIR/s --update", nil},
		{2, "contracts golden DIR/s --update --replace v1/odrer.bin", nil},
		{2, "contracts golden DIR/s --replace v1/order.bin", nil},
		{1, "contracts golden DIR/s --update --replace v1/order.bin", nil},
		{2, "contracts golden DIR/none", nil},
		{2, "contracts golden DIR/s DIR/s", nil},
	})
}

func TestContractsReencode(t *testing.T) {
	files := map[string]string{
		"s/v1/shop.proto": smallSchema,
		"good":            "\x0a\x02o1\x10\x96\x01",
		"order":           "\x10\x96\x01\x0a\x02o1",
		"arms":            "\x10\x96\x01\x1a\x01v",
		"nested":          "\x22\x05\x0a\x01a\x10\x00",
		"unknown":         "\x0a\x02o1\x48\x01",
		"cut":             "\x0a\x05o1",
	}
	const of = " --type shop.v1.Order --schema DIR/s"
	transcript(t, "contracts-reencode", []step{
		{0, "contracts reencode DIR/good" + of, files},
		{1, "contracts reencode DIR/order -o DIR/out" + of, nil},
		{0, "contracts reencode DIR/out" + of, nil},
		{1, "contracts reencode DIR/arms" + of, nil},
		{1, "contracts reencode DIR/nested" + of, nil},
		{1, "contracts reencode DIR/unknown" + of, nil},
		{1, "contracts reencode DIR/cut -o DIR/none" + of, nil},
		{2, "contracts reencode DIR/none" + of, nil},
		{2, "contracts reencode DIR/good --schema DIR/s --type shop.v1.Oder", nil},
		{2, "contracts reencode DIR/good --schema DIR/s", nil},
		{2, "contracts reencode --type x", nil},
		{2, "contracts reencode DIR/good --type x --schema DIR/t", nil},
	})
	dir := t.TempDir()
	writeFiles(t, dir, files)
	if code, out := command(dir, "contracts", "reencode", filepath.Join(dir, "cut"), "--type", "shop.v1.Order", "--schema", filepath.Join(dir, "s"), "-o", filepath.Join(dir, "none")); code != 1 {
		t.Error(out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*none*")); err != nil || len(left) > 0 {
		t.Errorf("written: %v (%v)", left, err)
	}
}

// What is installed differs from machine to machine; what the list says does
// not.
func TestContractsToolchain(t *testing.T) {
	text, err := os.ReadFile("../../contracts/build/toolchain.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"same/build/toolchain.yaml":  string(text),
		"wrong/build/toolchain.yaml": strings.Replace(string(text), "sha256:9fdc88", "sha256:9fdc", 1),
		"other/build/toolchain.yaml": strings.Replace(string(text), "version: v1.36.12", "version: v1.36.11", 1),
		"other/go.mod":               "module x\n\nrequire google.golang.org/protobuf v1.36.12\n",
		"other/go.sum":               "",
	})
	code, out := command(dir, "contracts", "toolchain", filepath.Join(dir, "same"))
	if code == 2 || !strings.Contains(out, "/usr/bin/protoc") || !strings.Contains(out, " equal, ") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	code, out = command(dir, "contracts", "toolchain", filepath.Join(dir, "other"))
	if code != 1 || !strings.Contains(out, "DIFFERS") || !strings.Contains(out, "go.mod google.golang.org/protobuf") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// go.sum has none of the modules: not installed, and required.
	if code, out = command(dir, "contracts", "toolchain", "--require", filepath.Join(dir, "other")); code != 1 || !strings.Contains(out, "not installed") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	golden(t, "contracts-toolchain-bad", func() string {
		code, out := command(dir, "contracts", "toolchain", filepath.Join(dir, "wrong"))
		if code != 2 {
			t.Errorf("exit code %d", code)
		}
		return out
	}())
}
