package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/internal/prerequisite"
)

const contracts = "../.."

// What is committed is what protoc makes.
func TestCommittedStubsAreCurrent(t *testing.T) {
	files, err := generate(contracts, prerequisite.Protoc(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("%d files", len(files))
	}
	out := filepath.Join(contracts, "generated", "python")
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what protoc makes: run make generate (%v)", name, err)
		}
		for line := range strings.Lines(string(want)) {
			if importLine.MatchString(line) || strings.Contains(line, "'v2.") {
				t.Errorf("%s: left as it was: %s", name, line)
			}
		}
	}
	found, err := filepath.Glob(filepath.Join(out, "*", "*.py"))
	if err != nil || len(found) != len(files) {
		t.Errorf("%d files are committed, %d are made (%v)", len(found), len(files), err)
	}
}

// fake is a protoc that prints a version and makes nothing.
func fake(t *testing.T, version string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "protoc")
	if err := os.WriteFile(name, []byte("#!/bin/sh\necho libprotoc "+version+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

// Another protoc is refused, none leaves everything as it is.
func TestProtocIsThePinnedOne(t *testing.T) {
	out := t.TempDir()
	kept := filepath.Join(out, "kept.py")
	if err := os.WriteFile(kept, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(contracts, fake(t, "3.21.11"), out)
	if err == nil || !strings.Contains(err.Error(), "is version 3.21.11; want 3.21.12") {
		t.Errorf("version 3.21.11: %v", err)
	}
	if err := run(contracts, "no-such-protoc", out); err != nil {
		t.Errorf("no protoc: %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

// A file that no .proto file stands behind goes; one that is equal is not
// touched.
func TestWrite(t *testing.T) {
	out := t.TempDir()
	files := map[string][]byte{"p/a_pb2.py": []byte("a"), "p/b_pb2.py": []byte("b")}
	if err := write(out, files); err != nil {
		t.Fatal(err)
	}
	delete(files, "p/b_pb2.py")
	if err := write(out, files); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(out, "p", "*"))
	if err != nil || len(found) != 1 || filepath.Base(found[0]) != "a_pb2.py" {
		t.Error(found, err)
	}
}
