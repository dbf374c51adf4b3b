package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The shards of a sweep, resumed after it was stopped in the middle of a line,
// make the runs of the whole sweep, each once.
func TestSweepShardsAndResumes(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) (runs map[string]string) {
		runs = map[string]string{}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var l logged
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			key := l.Scenario + " " + string(rune('0'+l.RunSeed))
			if runs[key] != "" {
				t.Errorf("%s was made twice", key)
			}
			runs[key] = l.TraceHash
		}
		return runs
	}
	sweep := func(want int, args ...string) string {
		t.Helper()
		code, text := command(dir, append([]string{"sweep", clean, violated, "--seeds", "6"}, args...)...)
		if code != want {
			t.Fatalf("%v: exit code %d\n%s", args, code, text)
		}
		return text
	}
	sweep(1, "--log", filepath.Join(dir, "all"))
	all := read("all")
	if len(all) != 12 {
		t.Fatalf("%d runs", len(all))
	}
	sweep(1, "--log", filepath.Join(dir, "one"), "--shard", "1/2")
	sweep(1, "--log", filepath.Join(dir, "two"), "--shard", "2/2")
	one := read("one")
	for k, v := range read("two") {
		if one[k] != "" {
			t.Errorf("both shards made %s", k)
		}
		one[k] = v
	}
	for k, v := range all {
		if one[k] != v {
			t.Errorf("%s is %s in the shards, %s in the whole", k, one[k], v)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "all"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cut"), b[:len(b)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if text := sweep(1, "--log", filepath.Join(dir, "cut"), "--resume"); !strings.Contains(text, "cut off") || !strings.Contains(text, "failed before") {
		t.Errorf("resumed:\n%s", text)
	}
	if cut := read("cut"); len(cut) != 12 {
		t.Errorf("%d runs after resuming", len(cut))
	}
	// All of them are made: what failed before still counts.
	if text := sweep(1, "--log", filepath.Join(dir, "cut"), "--resume"); !strings.Contains(text, "0 runs, and 12 that were made before") {
		t.Errorf("resumed again:\n%s", text)
	}
	sweep(2, "--log", filepath.Join(dir, "all")) // it is there already
	if err := os.WriteFile(filepath.Join(dir, "bad"), []byte("{\"scenario\":\"x\"}\nnoise\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text := sweep(2, "--log", filepath.Join(dir, "bad"), "--resume"); !strings.Contains(text, "bad:2: it is no line") && !strings.Contains(text, "bad:1: the run was made at commit") {
		t.Errorf("a log that is none:\n%s", text)
	}
}

func TestSweepReports(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "out.xml")
	var stdout, stderr bytes.Buffer
	code := run([]string{"sweep", clean, violated, "--seeds", "3", "--json", "--junit", name}, &stdout, &stderr)
	text := stdout.String()
	var r sweepReport
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || code != 1 || r.Runs != 6 || len(r.Groups) != 1 || r.Groups[0].Again == "" || r.Judged == nil {
		t.Errorf("exit code %d, %v\n%s", code, err, text)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var suite junitSuite
	if err := xml.Unmarshal(b, &suite); err != nil || suite.Tests != 2 || suite.Failures != 1 || len(suite.Cases) != 2 {
		t.Errorf("%v\n%s", err, b)
	}
	if _, text := command(dir, "sweep", violated, "--seeds", "2", "--github"); !strings.Contains(text, "::error file=testdata/violated.yaml,title=") {
		t.Errorf("no annotation\n%s", text)
	}
	code, text = command(dir, "sweep", clean, "--seeds", "30")
	if code != 0 || !strings.Contains(text, "the probability of a failure per run is below 0.095") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if code, text = command(dir, "sweep", violated, "--seeds", "1000", "--stop-first", "--jobs", "1"); code != 1 || !strings.Contains(text, "1 runs") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	for _, bad := range [][]string{{"--shard", "3/2"}, {"--shard", "0/2"}, {"--shard", "x"}, {"--shard", "1/2x"}, {"--seeds", "-1"}, {"--resume"}} {
		if code, text := command(dir, append([]string{"sweep", clean}, bad...)...); code != 2 {
			t.Errorf("%v: exit code %d\n%s", bad, code, text)
		}
	}
}

// A guided sweep writes the plans that fail; each fails again.
func TestGuided(t *testing.T) {
	dir := t.TempDir()
	code, text := command(dir, "sweep", violated, "--guided", "--seeds", "5", "--bundle", dir)
	if code != 1 || !strings.Contains(text, "again: espersim replay DIR/violated-guided-1-1.yaml --seed 1") || !strings.Contains(text, "5 runs, ") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if code, text := command(dir, "replay", filepath.Join(dir, "violated-guided-1-1.yaml"), "--seed", "1"); code != 1 || !strings.Contains(text, "reproduces") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	for _, bad := range [][]string{{"--guided"}, {"--guided", "--bundle", dir, "--shard", "1/2"}, {"--guided", "--bundle", dir, "--log", dir + "/x"}} {
		if code, text := command(dir, append([]string{"sweep", clean, "--seeds", "1"}, bad...)...); code != 2 {
			t.Errorf("%v: exit code %d\n%s", bad, code, text)
		}
	}
}

// A class leaves the scenarios of the other out, and a class that there is not
// is refused.
func TestSweepOfAClass(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		class string
		code  int
		says  string
	}{
		{"short", 0, "1 runs"}, {"long", 2, "no scenario is of class long"}, {"medium", 2, "want short or long"},
	} {
		if code, text := command(dir, "sweep", clean, "--seeds", "1", "--class", c.class); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s: exit code %d\n%s", c.class, code, text)
		}
	}
}
