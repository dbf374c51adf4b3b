package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// copyTree copies the files of a folder with one of the endings.
func copyTree(t *testing.T, from, to string, endings ...string) {
	t.Helper()
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !slices.Contains(endings, filepath.Ext(name)) {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		file := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		return os.WriteFile(file, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plant changes a file below dir, or makes one.
func plant(t *testing.T, dir, name, from, to string) {
	t.Helper()
	file := filepath.Join(dir, name)
	b, err := os.ReadFile(file)
	if from != "" && (err != nil || !strings.Contains(string(b), from)) {
		t.Fatalf("%s has no %q (%v)", name, from, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if from != "" {
		to = strings.Replace(string(b), from, to, 1)
	}
	if err := os.WriteFile(file, []byte(to), 0o644); err != nil {
		t.Fatal(err)
	}
}

// contractsCopy is a copy of the project's contracts.
func contractsCopy(t *testing.T) (dir string) {
	dir = filepath.Join(t.TempDir(), "contracts")
	copyTree(t, "../../contracts", dir, ".proto", ".yaml", ".binpb")
	return dir
}

// What is planted in copies of the project's own files is found where it is.
func TestContractsLintFindsPlanted(t *testing.T) {
	if code, text := command("", "contracts", "lint", "../../contracts"); code != 0 || !strings.HasSuffix(text, ": clean\n") {
		t.Errorf("the project's own: exit code %d\n%s", code, text)
	}
	const lr = `LearningRateUpdate lr_update = 10 [(esper.options.owner) = "`
	for _, c := range []struct {
		name, file, from, to string
		rule, at             string // what is found, and the text at its place
		args                 []string
	}{
		{"map", "contracts/v2/ledger.proto", "message Component {\n", "message Component {\n  map <string,int32> more = 90;\n", "map-field", "map <string,int32>", nil},
		{"float counter", "contracts/v2/ledger.proto", "message Component {\n", "message Component {\n  double step_count = 90;\n", "float-counter", "double step_count", nil},
		{"undeclared minor", "contracts/v2/ledger.proto", "message Component {\n", "message Component {\n  string more = 90;\n", "since", "string more", nil},
		{"oneof that spans planes", "contracts/v2/adaptation.proto", lr + "tolaria", lr + "karn", "oneof-planes", "SeedActivation seed_activation", nil},
		{"arm without a consumer", "contracts/v2/adaptation.proto", lr + "tolaria", lr + "karn", "oneof-route", lr + "karn", nil},
		{"enum zero", "contracts/v2/pause.proto", "SCOPE_UNSPECIFIED = 0", "NOWHERE = 0", "enum-zero", "NOWHERE = 0", nil},
		{"unit", "contracts/v2/adaptation.proto", "int32 max_latency_ms", "int32 max_latency_sec", "time-unit", "int32 max_latency_sec", nil},
		{"map in version 1", "contracts/v1/telemetry.proto", "message MetricPoint {\n", "message MetricPoint {\n  map<string, string> labels = 3;\n", "map-field", "map<string, string>", nil},
		{"proto.Marshal", "code/cluster/kasmina/fast.go", "", "package kasmina\n\nimport pb \"google.golang.org/protobuf/proto\"\n\n// proto.Marshal in a comment is none.\nvar fast = pb.Marshal\n", "manual-serialisation", "pb.Marshal", []string{"--code", "DIR/code"}},
		{"pickle", "code/tezzeret/cache.py", "", "\"\"\"Kept with import pickle.\"\"\"\nimport os, pickle\n", "manual-serialisation", "pickle", []string{"--code", "DIR/code"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Dir(contractsCopy(t))
			copyTree(t, "../../cluster/kasmina", filepath.Join(dir, "code/cluster/kasmina"), ".go")
			plant(t, dir, c.file, c.from, c.to)
			args := []string{"contracts", "lint", filepath.Join(dir, "contracts"), "--json"}
			for _, a := range c.args {
				args = append(args, strings.Replace(a, "DIR", dir, 1))
			}
			code, text := command("", args...)
			text, _, _ = strings.Cut(text, "--- stderr\n")
			var o struct {
				Findings []struct {
					Rule, File, What, Want string
					Line, Column           int
				}
			}
			if err := json.Unmarshal([]byte(text), &o); err != nil || code != 1 {
				t.Fatalf("exit code %d, %v\n%s", code, err, text)
			}
			for _, f := range o.Findings {
				if f.Rule != c.rule || f.File != filepath.Join(dir, c.file) {
					continue
				}
				b, err := os.ReadFile(f.File)
				if err != nil {
					t.Fatal(err)
				}
				lines := strings.Split(string(b), "\n")
				if f.Line < 1 || f.Line > len(lines) || !strings.HasPrefix(lines[f.Line-1][f.Column-1:], c.at) {
					t.Errorf("%d:%d is not the place of %q", f.Line, f.Column, c.at)
				}
				return
			}
			t.Errorf("not found: %s", text)
		})
	}
}

func TestContractsLint(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		do   func(t *testing.T, dir string)
		args []string
	}{
		{"contracts-lint", 1, func(t *testing.T, dir string) {
			plant(t, dir, "code/go.mod", "", "module example.com/m\n")
			plant(t, dir, "code/wrap/wrap.go", "", "package wrap\n\nimport \"google.golang.org/protobuf/proto\"\n\nvar Encode = proto.Marshal\n")
			plant(t, dir, "code/kasmina/kasmina.go", "", "package kasmina\n\nimport \"example.com/m/wrap\"\n\nvar _ = wrap.Encode\n")
			plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int32 a = 1;\n  map<string, A> m = 2;")
		}, []string{"--code", "DIR/code"}},
		{"contracts-lint-clean", 0, func(*testing.T, string) {}, nil},
		{"contracts-lint-github", 1, func(t *testing.T, dir string) {
			plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int32 a = 1;\n  map<string, A> m = 2;")
		}, []string{"--github"}},
		{"contracts-lint-json", 0, func(*testing.T, string) {}, []string{"--json"}},
		{"contracts-lint-two-formats", 2, func(*testing.T, string) {}, []string{"--github", "--json"}},
		{"contracts-lint-broken", 2, func(t *testing.T, dir string) {
			plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int32 a = 1")
		}, nil},
		{"contracts-lint-settings", 2, func(t *testing.T, dir string) {
			plant(t, dir, "build/protobuf.yaml", "", "exclude: []\nserialization:\n  allowed: []\n")
		}, nil},
		{"contracts-lint-bad-go", 2, func(t *testing.T, dir string) {
			plant(t, dir, "code/a.go", "", "package a\n\nfunc {\n")
		}, []string{"--code", "DIR/code"}},
		{"contracts-lint-no-code", 2, func(*testing.T, string) {}, []string{"--code", "DIR/none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := released(t)
			c.do(t, dir)
			args := []string{"contracts", "lint", dir}
			for _, a := range c.args {
				args = append(args, strings.Replace(a, "DIR", dir, 1))
			}
			code, text := command(dir, args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, text)
		})
	}
}
