package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/debugger"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// Each command, by scripts; a bad one is answered with one line that says what
// would be right, and the session goes on.
func TestDebug(t *testing.T) {
	scripts, err := filepath.Glob("testdata/debug/*.txt")
	if err != nil || len(scripts) < 5 {
		t.Fatal(scripts, err)
	}
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".txt")
		t.Run(name, func(t *testing.T) {
			want, file := 0, violated
			switch name {
			case "bad":
				want = 2
			case "look":
				file = clean // its log has segments
			}
			code, text := command("", "debug", file, "--seed", "1", "--commands", script)
			if code != want {
				t.Errorf("exit code %d, want %d\n%s", code, want, text)
			}
			golden(t, "debug-"+name, text)
		})
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"debug-no-seed", []string{"debug", clean}},
		{"debug-no-script", []string{"debug", clean, "--seed", "1", "--commands", "testdata/none.txt"}},
		{"debug-two", []string{"debug", "testdata", "--seed", "1"}},
	} {
		code, text := command("", c.args...)
		if code != 2 {
			t.Errorf("%s: exit code %d\n%s", c.name, code, text)
		}
	}
}

// Every command that there is stands in one of the scripts.
func TestDebugScriptsCoverEveryCommand(t *testing.T) {
	var help bytes.Buffer
	s, err := scenarios.Load(clean, runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	if err := debugger.Run(s, debugger.Options{Run: runner.Options{Seed: 1}, In: strings.NewReader("help\n"), Out: &help, Prompt: "? "}); err != nil {
		t.Fatal(err)
	}
	all := ""
	scripts, _ := filepath.Glob("testdata/debug/*.txt") // the pattern is right
	for _, f := range scripts {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all += "\n" + string(b)
	}
	lines := 0
	for l := range strings.Lines(help.String()) {
		if strings.HasPrefix(l, "?") || strings.Contains(l, "run seed") {
			continue
		}
		if lines++; !strings.Contains(all, "\n"+strings.Fields(l)[0]) {
			t.Errorf("no script has %s", l)
		}
	}
	if lines < 15 {
		t.Errorf("%d commands\n%s", lines, help.String())
	}
}

// Looking changes nothing: at its end a run that was walked through, back and
// forth, has the events and the hash of the run by itself.
func TestDebugChangesNothing(t *testing.T) {
	s, err := scenarios.Load(clean, runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	alone, err := runner.Run(s, runner.Options{Seed: 2, All: true})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	script := "run 1s\nnodes\nfiles ledger\nflight\nwaits\nback 30\nstep 5\nfaults\nrun 2500ms\nback 1s\nnode ledger\nrun end\n"
	var hash string
	o := runner.Options{Seed: 2}
	err = debugger.Run(s, debugger.Options{Run: o, In: strings.NewReader(script), Out: &out, Done: func(r *runner.Result) { hash = r.TraceHash }})
	if err != nil {
		t.Fatal(err)
	}
	if hash != alone.TraceHash {
		t.Errorf("%s, and alone %s\n%s", hash, alone.TraceHash, out.String())
	}
}
