package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A bundle holds all that is needed to run the failure again, says so where
// something is not what it was, and leaves nothing behind of runs under way.
func TestBundle(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "found")
	code, text := command(dir, "sweep", violated, "--seeds", "3", "--bundle", to, "--shrink", "20s")
	if code != 1 || !strings.Contains(text, "bundle: ") {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	entries, err := os.ReadDir(to)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	one := filepath.Join(to, entries[0].Name())
	for _, name := range []string{"report.json", "scenario.yaml", "plan.yaml", "README.txt", "run.trace", "run.perfetto.json", "shrunk.yaml"} {
		b, err := os.ReadFile(filepath.Join(one, name))
		if err != nil || len(b) == 0 {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
		if strings.HasSuffix(name, ".json") && !json.Valid(b) {
			t.Errorf("%s is no JSON", name)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"replay", one}, 1, "reproduces"},
		{[]string{"replay", one, "--seed", "999"}, 2, "the bundle has run seed"},
		{[]string{"trace", "show", filepath.Join(one, "run.trace")}, 0, "trace hash"},
		{[]string{"replay", filepath.Join(one, "plan.yaml"), "--seed", "1"}, 1, "reproduces"},
		{[]string{"run", filepath.Join(one, "shrunk.yaml"), "--seed", "1"}, 0, "ok"},
		{[]string{"sweep", violated, "--seeds", "3", "--bundle", to}, 2, "is there already"},
		{[]string{"replay", to}, 2, "report.json"},
	} {
		if code, text := command(dir, c.args...); code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%v: exit code %d, want %d and %q\n%s", c.args, code, c.code, c.want, text)
		}
	}
	name := filepath.Join(one, "scenario.yaml")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, append(b, "# edited\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, text := command(dir, "replay", one); code != 1 || !strings.Contains(text, "is not the one that the bundle was made of") {
		t.Errorf("an edited scenario: exit code %d\n%s", code, text)
	}
	if err := os.WriteFile(filepath.Join(one, "report.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, text := command(dir, "replay", one); code != 2 || !strings.Contains(text, "no report of a run") {
		t.Errorf("a broken report: exit code %d\n%s", code, text)
	}
}
