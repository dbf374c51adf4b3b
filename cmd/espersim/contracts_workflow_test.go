package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

// A workflow is what the test reads of a GitHub Actions workflow.
type workflow struct {
	Name        string             `yaml:"name"`
	On          map[string]trigger `yaml:"on"`
	Permissions map[string]string  `yaml:"permissions"`
	Jobs        map[string]struct {
		RunsOn    string            `yaml:"runs-on"`
		Container string            `yaml:"container"`
		Env       map[string]string `yaml:"env"`
		Steps     []workflowStep    `yaml:"steps"`
	} `yaml:"jobs"`
}

type trigger struct {
	Branches []string `yaml:"branches"`
	Paths    []string `yaml:"paths"`
	Ignored  []string `yaml:"paths-ignore"`
}

type workflowStep struct {
	Name string         `yaml:"name"`
	Uses string         `yaml:"uses"`
	With map[string]any `yaml:"with"`
	If   string         `yaml:"if"`
	Run  string         `yaml:"run"`
}

func parseWorkflow(text []byte) (*workflow, error) {
	w := new(workflow)
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true) // continue-on-error would be one of the unknown
	return w, dec.Decode(w)
}

// starts says whether a change of a file starts the workflow.
func (t trigger) starts(file string) bool {
	match := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			p = regexp.QuoteMeta(p)
			p = strings.NewReplacer(`\*\*/`, `(.*/)?`, `\*\*`, `.*`, `\*`, `[^/]*`).Replace(p)
			return regexp.MustCompile("^" + p + "$").MatchString(file)
		})
	}
	return (len(t.Paths) == 0 || match(t.Paths)) && !match(t.Ignored)
}

// governed are files of every kind that decides about the protocols.
var governed = []string{
	"contracts/v1/telemetry.proto", "contracts/v2/pause.proto", "contracts/options/options.proto", "contracts/evidence/evidence.proto",
	"contracts/build/versions.yaml", "contracts/build/protobuf.yaml", "contracts/build/toolchain.yaml", "contracts/build/released/v2.0.binpb",
	"contracts/golden/v2/adaptation_pause.bin", "contracts/generated/go/pause/v2/pause.pb.go",
	"cluster/kasmina/kasmina.go", "cmd/espersim/main.go", "src/tezzeret/cache.py", "go.mod", "Makefile",
	".github/workflows/protocol-governance.yml",
}

// checks are the commands that judge the contracts. Each has a step.
var checks = []string{"breaking", "bump", "golden", "lint", "toolchain", "verify", "versions"}

func TestWorkflow(t *testing.T) {
	text, err := os.ReadFile("../../.github/workflows/protocol-governance.yml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := parseWorkflow(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, event := range []string{"pull_request", "push"} {
		on, ok := w.On[event]
		for _, file := range governed {
			if !ok || !on.starts(file) {
				t.Errorf("%s of %s starts nothing", event, file)
			}
		}
	}
	if len(w.Permissions) != 1 || w.Permissions["contents"] != "read" {
		t.Errorf("permissions: %v", w.Permissions)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	run := map[string]bool{}
	for _, job := range w.Jobs {
		for _, s := range job.Steps {
			if s.Uses != "" {
				if !regexp.MustCompile(`^actions/(checkout|setup-go)@v[0-9]+$`).MatchString(s.Uses) {
					t.Errorf("uses %s", s.Uses)
				}
				continue
			}
			name, err := checkStep(s, string(makefile))
			if err != nil {
				t.Errorf("%s: %v", s.Name, err)
			}
			run[name] = true
		}
	}
	for _, c := range newContracts().Commands() {
		if slices.Contains(checks, c.Name()) && !run["contracts "+c.Name()] {
			t.Errorf("espersim contracts %s has no step", c.Name())
		}
	}
	if !run["make test"] {
		t.Error("make test has no step")
	}
}

// checkStep says what a step runs: one command, which exists.
func checkStep(s workflowStep, makefile string) (string, error) {
	line := strings.TrimSpace(s.Run)
	if strings.ContainsAny(line, "\n;|&!`$") {
		return "", fmt.Errorf("%q is more than one plain command, of which one could fail unseen", line)
	}
	words := strings.Fields(line)
	switch {
	case len(words) == 2 && words[0] == "make":
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(words[1]) + `:`).MatchString(makefile) {
			return "", fmt.Errorf("there is no target %s", words[1])
		}
		return line, nil
	case len(words) > 2 && words[0] == "bin/espersim":
		return parses(words[1:])
	case len(words) > 1 && words[0] == "git":
		return line, nil
	}
	return "", fmt.Errorf("%q is no command of the project", line)
}

// parses says which command a command line means, and whether it takes the
// flags and arguments.
func parses(args []string) (string, error) {
	c, rest, err := newRoot().Find(args)
	if err != nil {
		return "", err
	}
	name := strings.TrimPrefix(c.CommandPath(), "espersim ")
	if c.HasSubCommands() {
		return "", fmt.Errorf("there is no command %s", strings.Join(args, " "))
	}
	if err := c.ParseFlags(rest); err != nil {
		return "", err
	}
	return name, cobra.PositionalArgs(c.Args)(c, c.Flags().Args())
}

// What the test is there to refuse.
func TestWorkflowTestSeesWhatItForbids(t *testing.T) {
	makefile := "test: build\n"
	for run, ok := range map[string]bool{
		"make test": true, "make tests": false, "bin/espersim contracts lint --github": true,
		"bin/espersim contracts lnit": false, "bin/espersim contracts lint --gihtub": false, "bin/espersim contracts bump a b": false,
		"! grep -r 'map<' contracts": false, "make test || true": false, "make test\nmake test": false, "curl example.com": false,
		"git diff --exit-code": true, "bin/espersim contracts": false,
	} {
		if _, err := checkStep(workflowStep{Run: run}, makefile); (err == nil) != ok {
			t.Errorf("%q: %v", run, err)
		}
	}
	// The design's own filter: these edits start nothing.
	design := trigger{Paths: []string{"shared/contracts/**/*.proto", "shared/tests/**"}}
	for file, want := range map[string]bool{
		"shared/contracts/v2/a.proto": true, "shared/contracts/a.proto": true, "shared/tests/golden/x.py": true,
		"src/tezzeret/cache.py": false, "shared/contracts/build/versions.yaml": false, "shared/contracts/golden/v2/a.bin": false,
	} {
		if design.starts(file) != want {
			t.Errorf("%s: %v", file, !want)
		}
	}
	if (trigger{Ignored: []string{"**/*.md"}}).starts("docs/a.md") {
		t.Error("an ignored path starts a run")
	}
	if _, err := parseWorkflow([]byte("on:\n  push:\njobs:\n  a:\n    steps:\n      - run: make test\n        continue-on-error: true\n")); err == nil {
		t.Error("continue-on-error is taken")
	}
}
