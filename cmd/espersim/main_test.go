package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/cluster/live"
	"github.com/esper-sim/espersim/cluster/wal"
)

var update = flag.Bool("update", false, "write the golden files anew")

// volatile is what differs from one run to the next, and what stands for it.
var volatile = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9.]+ s, [0-9]+ simulated seconds a second\n`), "WALL s, SPEED simulated seconds a second\n"},
	{regexp.MustCompile(`"wall_ms":[0-9]+`), `"wall_ms":WALL`},
	{regexp.MustCompile(`(hash )[0-9a-f]{32}`), "${1}HASH"},
	{regexp.MustCompile(`[0-9]+ events`), "N events"},
	{regexp.MustCompile(`"(events|event|messages|at_ns)":[0-9]+`), `"$1":N`},
	{regexp.MustCompile(`"(judged|probes)":\{[^}]*\}`), `"$1":{}`},
	{regexp.MustCompile(`("trace_hash":")[0-9a-f]{32}`), "${1}HASH"},
}

// command runs the command line and returns its exit code and what it printed,
// with the volatile parts masked and dir called DIR.
func command(dir string, args ...string) (code int, text string) {
	var stdout, stderr bytes.Buffer
	code = run(args, &stdout, &stderr)
	text = stdout.String()
	if stderr.Len() > 0 {
		text += "--- stderr\n" + stderr.String()
	}
	for _, v := range volatile {
		text = v.re.ReplaceAllString(text, v.with)
	}
	if dir != "" {
		text = strings.ReplaceAll(text, dir, "DIR")
	}
	return code, text
}

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test -update writes it anew\ngot\n%s\nwant\n%s", file, got, want)
	}
}

const (
	clean    = "testdata/clean.yaml"
	expected = "testdata/expected.yaml"
	violated = "testdata/violated.yaml"
)

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"run-clean", 0, []string{"run", clean, "--jobs", "1"}},
		{"run-expected", 0, []string{"run", expected, "--show", "--jobs", "1"}},
		{"run-violated", 1, []string{"run", violated, "--jobs", "1"}},
		{"run-twice", 0, []string{"run", clean, "--twice"}},
		{"run-whole", 1, []string{"run", clean, "--whole", "--jobs", "1"}},
		{"run-whole-no-judge", 2, []string{"run", clean, "--whole", "--no-judge", "--json"}},
		{"run-json", 1, []string{"run", clean, violated, "--json", "--jobs", "1", "--seed", "1"}},
		{"run-no-judge", 2, []string{"run", clean, "--no-judge"}},
		{"run-no-file", 2, []string{"run", "testdata/none.yaml"}},
		{"run-no-argument", 2, []string{"run"}},
		{"run-empty-folder", 2, []string{"run", "testdata/empty"}},
		{"run-bad-seed", 2, []string{"run", clean, "--seed", "x"}},
		{"run-negative", 2, []string{"run", clean, "--seeds", "-1"}},
		{"run-n-without-enumeration", 2, []string{"run", clean, "--n", "3"}},
		{"unknown-command", 2, []string{"rum"}},
		{"unknown-subcommand", 2, []string{"trace", "shwo"}},
		{"unknown-flag", 2, []string{"run", clean, "--sede", "1"}},
		{"replay-scenario", 0, []string{"replay", clean, "--seed", "1"}},
		{"replay-violated", 1, []string{"replay", violated, "--seed", "1"}},
		{"replay-without-seed", 2, []string{"replay", clean}},
		{"replay-no-trace", 2, []string{"replay", "testdata/empty/nothing"}},
		{"lint-good", 0, []string{"scenario", "lint", clean, expected}},
		{"lint-bad", 2, []string{"scenario", "lint", "testdata/bad.yaml", clean}},
		{"faults-list", 0, []string{"faults", "list"}},
		{"roles", 0, []string{"roles"}},
		{"invariants", 0, []string{"invariants"}},
		{"invariants-long", 0, []string{"invariants", "--long"}},
		{"invariants-json", 0, []string{"invariants", "--json"}},
		{"help", 0, []string{"--help"}},
		{"check-timeout", 0, []string{"check", "--model", "register", "--history", "testdata/histories/timeout.edn"}},
		{"check-stale", 1, []string{"check", "--model", "cas-register", "--history", "testdata/histories/stale.log"}},
		{"check-stale-json", 1, []string{"check", "--model", "cas-register", "--history", "testdata/histories/stale.log", "--json"}},
		{"check-broken", 2, []string{"check", "--model", "register", "--history", "testdata/histories/broken.edn"}},
		{"check-model", 2, []string{"check", "--model", "registr", "--history", "testdata/histories/timeout.edn"}},
		{"check-nothing", 2, []string{"check"}},
		{"wal-no-log", 2, []string{"wal", "dump", "testdata"}},
		{"trace-no-trace", 2, []string{"trace", "show", clean}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "run-empty-folder" {
				_ = os.Mkdir("testdata/empty", 0o755) // git keeps no empty folder
			}
			code, text := command("", c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d\n%s", code, c.code, text)
			}
			if c.code == 2 && strings.Count(strings.TrimPrefix(text, "--- stderr\n"), "\n") != 1 {
				t.Errorf("an error is one line:\n%s", text)
			}
			golden(t, c.name, text)
		})
	}
}

// One object a run, with the same keys whatever happened in it.
func TestJSON(t *testing.T) {
	var stdout, stderr bytes.Buffer
	run([]string{"run", clean, violated, "--json", "--seeds", "2"}, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines\n%s", len(lines), stdout.String())
	}
	for _, line := range lines {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"scenario", "run_seed", "verdict", "trace_hash", "events", "sim_ms", "wall_ms", "faults_fired", "violations"} {
			if o[k] == nil {
				t.Errorf("no %q in %s", k, line)
			}
		}
		if _, ok := o["violations"].([]any); !ok {
			t.Errorf("violations are no list: %s", line)
		}
		if _, ok := o["faults_fired"].(map[string]any); !ok {
			t.Errorf("faults_fired is no object: %s", line)
		}
	}
}

// A kept trace replays, shows, and is equal to itself alone.
func TestTrace(t *testing.T) {
	dir := t.TempDir()
	for _, seed := range []string{"1", "2"} {
		if code, text := command(dir, "run", clean, "--seed", seed, "--keep-trace", dir); code != 0 {
			t.Fatal(text)
		}
	}
	if code, text := command(dir, "run", violated, "--seed", "1", "--keep-trace", dir); code != 1 {
		t.Fatal(text)
	}
	one, two, bad := filepath.Join(dir, "clean-seed-1.trace"), filepath.Join(dir, "clean-seed-2.trace"), filepath.Join(dir, "violated-seed-1.trace")
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"trace-replay", 0, []string{"replay", one}},
		{"trace-replay-violated", 1, []string{"replay", bad}},
		{"trace-replay-other-seed", 2, []string{"replay", one, "--seed", "5"}},
		{"trace-equal", 0, []string{"trace", "diff", one, one}},
		{"trace-differs", 3, []string{"trace", "diff", one, two}},
		{"trace-show", 0, []string{"trace", "show", one, "--to", "16"}},
		{"trace-show-node", 0, []string{"trace", "show", one, "--node", "ledger", "--kind", "sent", "--to", "60"}},
		{"trace-unknown-kind", 2, []string{"trace", "show", one, "--kind", "snet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := command(dir, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, text)
		})
	}
	b, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(dir, "short.trace")
	if err := os.WriteFile(short, b[:len(b)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if code, text := command(dir, "trace", "show", short, "--to", "1"); code != 2 || !strings.Contains(text, "DIR/short.trace: ") {
		t.Errorf("half a trace: exit code %d\n%s", code, text)
	}
}

// newLog writes a log of ten records in two segments on the real file system.
func newLog(t *testing.T, closed bool) (dir string, segments []string) {
	t.Helper()
	dir = t.TempDir()
	fs, err := live.NewFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := wal.Open(fs, "log", wal.Options{SegmentSize: 7 * 4096})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := l.Append(1, 7, make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if closed {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	segments, err = filepath.Glob(filepath.Join(dir, "log", "*.wal"))
	if err != nil || len(segments) != 2 {
		t.Fatal(segments, err)
	}
	return dir, segments
}

func TestWAL(t *testing.T) {
	flip := func(at int64) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[at] ^= 4
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		closed bool
		seg    int
		do     func(*testing.T, string)
		code   int // of verify of the folder
	}{
		{"wal-whole", true, 0, func(*testing.T, string) {}, 0},
		{"wal-torn", false, 1, func(t *testing.T, name string) {
			// In the midst of the fourth record, the log's last.
			if err := os.Truncate(name, 3*4096+300); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"wal-flipped", true, 0, flip(2*4096 + 300), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, segs := newLog(t, c.closed)
			c.do(t, segs[c.seg])
			text := ""
			for _, args := range [][]string{{"wal", "verify", filepath.Join(dir, "log")}, {"wal", "verify", segs[c.seg]}, {"wal", "dump", segs[c.seg]}} {
				code, out := command(dir, args...)
				text += "$ espersim " + strings.ReplaceAll(strings.Join(args, " "), dir, "DIR") + "\n" + out + "\n"
				if args[1] == "verify" && strings.HasSuffix(args[2], "/log") && code != c.code {
					t.Errorf("verify: exit code %d, want %d\n%s", code, c.code, out)
				}
			}
			golden(t, c.name, text)
		})
	}
}

// schema.json is what the command prints.
func TestSchema(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run([]string{"scenario", "schema"}, &stdout, &stderr); code != 0 || !json.Valid(stdout.Bytes()) {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
}

// Nothing that a test makes may reach a golden file.
func TestNoPathsInGoldenFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) < 30 {
		t.Fatal(len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{os.TempDir() + "/", "/home/", "/work/"} {
			if bytes.Contains(b, []byte(part)) {
				t.Errorf("%s contains %s", f, part)
			}
		}
	}
}
