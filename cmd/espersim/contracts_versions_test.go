package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/wire"
)

func TestContractsVersions(t *testing.T) {
	if code, text := command("", "contracts", "versions", "../../contracts"); code != 0 {
		t.Errorf("the project's own: exit code %d\n%s", code, text)
	}
	add := func(t *testing.T, dir string) {
		plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int32 a = 1;\n  int32 b = 2;")
	}
	for _, c := range []struct {
		name string
		code int
		do   func(t *testing.T, dir string)
		args []string
	}{
		{"contracts-versions", 0, func(*testing.T, string) {}, []string{"versions"}},
		{"contracts-versions-changed", 1, add, []string{"versions"}},
		{"contracts-versions-frozen", 1, func(t *testing.T, dir string) {
			plant(t, dir, "a/v1/a.proto", "int32 a = 1;", "int64 a = 1;")
		}, []string{"versions"}},
		{"contracts-versions-bad", 2, func(t *testing.T, dir string) {
			plant(t, dir, "build/versions.yaml", "status: frozen", "status: forzen")
		}, []string{"versions"}},
		{"contracts-bump-none", 0, func(*testing.T, string) {}, []string{"bump"}},
		{"contracts-bump-minor", 1, add, []string{"bump"}},
		{"contracts-bump-write", 0, add, []string{"bump", "--write"}},
		{"contracts-bump-major", 1, func(t *testing.T, dir string) {
			plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int64 a = 1;")
		}, []string{"bump", "--write"}},
		{"contracts-bump-frozen", 1, func(t *testing.T, dir string) {
			plant(t, dir, "a/v1/a.proto", "int32 a = 1;", "int32 a = 1; int32 b = 2;")
		}, []string{"bump", "--write"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := released(t)
			c.do(t, dir)
			code, text := command(dir, "contracts", c.args[0], dir)
			if len(c.args) > 1 {
				code, text = command(dir, append([]string{"contracts", c.args[0], dir}, c.args[1:]...)...)
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, text)
			if c.name == "contracts-bump-write" {
				if code, text := command(dir, "contracts", "versions", dir); code != 0 || !strings.Contains(text, "\nv2.1 ") {
					t.Errorf("exit code %d\n%s", code, text)
				}
			}
		})
	}
	if code, text := command("", "contracts", "versions", t.TempDir()); code != 2 || !strings.Contains(text, "there is no build/versions.yaml") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}

// The manifest's tools are commands.
func TestMigrationToolExists(t *testing.T) {
	m, err := manifest.Load("../../contracts")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range m.Migration {
		words := strings.Fields(g.Tool)
		if c, _, err := newRoot().Find(words[1:]); err != nil || words[0] != "espersim" || c.CommandPath() != g.Tool {
			t.Errorf("there is no command %q (%v)", g.Tool, err)
		}
	}
	if len(m.Migration) == 0 {
		t.Error("version 1 has no migration")
	}
}

// What this program writes is the newest release of the active version (C9).
func TestProgramWritesTheActiveVersion(t *testing.T) {
	m, err := manifest.Load("../../contracts")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range m.Versions {
		if name := fmt.Sprintf("v%d", wire.Newest.Major); (v.Status == manifest.Active) != (v.Name == name) {
			t.Errorf("%s is %s, and the program writes %v", v.Name, v.Status, wire.Newest)
		}
		if v.Status == manifest.Active && v.Minor != wire.Newest.Minor {
			t.Errorf("the newest release is %s.%d, and the program writes %v", v.Name, v.Minor, wire.Newest)
		}
	}
}

// released is a small folder of contracts whose versions are released.
func released(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"a/v1/a.proto": "syntax = \"proto3\";\npackage x.a.v1;\noption go_package = \"example.com/a/v1;av1\";\nmessage A {\n  int32 a = 1;\n}\n",
		"a/v2/a.proto": "syntax = \"proto3\";\npackage x.a.v2;\noption go_package = \"example.com/a/v2;av2\";\nmessage A {\n  int32 a = 1;\n}\n",
		"build/versions.yaml": `versions:
  v1:
    status: frozen
    released: 2025-01-01
    packages:
      - x.a.v1
  v2:
    status: active
    released: 2025-01-10
    packages:
      - x.a.v2
`,
		"golden/v2/a.bin": "\x08\x01",
	} {
		plant(t, dir, name, "", text)
	}
	if code, text := command("", "contracts", "bump", dir, "--write"); code != 0 {
		t.Fatal(text)
	}
	if _, err := os.Stat(filepath.Join(dir, "build/released/v2.0.binpb")); err != nil {
		t.Fatal(err)
	}
	return dir
}
