package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A failure that a sweep finds under a swarm which the command line turned on
// is reproduced by the command that it prints, by its bundle, and by shrink.
func TestSwarmReproduces(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "found")
	code, text := command(dir, "sweep", violated, "--swarm", "--seeds", "12", "--jobs", "1", "--bundle", to)
	if code != 1 {
		t.Fatalf("exit code %d\n%s", code, text)
	}
	_, again, ok := strings.Cut(text, "again: espersim ")
	if !ok || !strings.Contains(text, "   drew ") {
		t.Fatalf("no draw, or no command\n%s", text)
	}
	again, _, _ = strings.Cut(again, "\n")
	if !strings.HasSuffix(again, " --swarm=survivable") {
		t.Errorf("the command is %q", again)
	}
	_, failure, _ := strings.Cut(text, "events:\n   ")
	failure, _, _ = strings.Cut(failure, "\n")
	code, replayed := command(dir, strings.Fields(again)...)
	if code != 1 || !strings.Contains(replayed, failure) || !strings.Contains(replayed, "drew ") {
		t.Errorf("espersim %s: exit code %d, want %q in\n%s", again, code, failure, replayed)
	}
	found, err := filepath.Glob(filepath.Join(to, "*"))
	if err != nil || len(found) == 0 {
		t.Fatal(found, err)
	}
	if code, text := command(dir, "replay", found[0]); code != 1 {
		t.Errorf("the bundle: exit code %d\n%s", code, text)
	}
	shrunk := append([]string{"shrink"}, strings.Fields(again)[1:]...)
	if code, text := command(dir, append(shrunk, "--budget", "20s", "--others", "2")...); code != 0 || !strings.Contains(text, "version: 1") || strings.Contains(text, "swarm:") {
		t.Errorf("%v: exit code %d\n%s", shrunk, code, text)
	}
}

func TestSwarmFlag(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"swarm-run-show", 1, []string{"run", violated, "--swarm", "--seed", "3", "--show"}},
		{"swarm-unknown", 2, []string{"sweep", clean, "--swarm=all"}},
		{"swarm-nothing-listed", 2, []string{"sweep", clean, "--swarm=listed"}},
		{"sites", 0, []string{"faults", "sites"}},
		{"run-stuck", 4, []string{"run", "testdata/stuck.yaml", "--seed", "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := command("", c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, text)
			}
			golden(t, c.name, text)
		})
	}
}

// A sweep says which probes it never reached, and fails where a scenario demands
// one of them.
func TestSweepProbes(t *testing.T) {
	dir := t.TempDir()
	code, text := command(dir, "sweep", clean, "--seeds", "2")
	if code != 0 || !strings.Contains(text, "probes reached: ") || !strings.Contains(text, "  vault/reopen                        never\n") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	b, err := os.ReadFile(clean)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "demands.yaml")
	if err := os.WriteFile(name, append(b, "must-reach: [vault/reopen]\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, text := command(dir, "sweep", name, "--seeds", "2"); code != 1 || !strings.Contains(text, "never reached: vault/reopen") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
