package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/compat"
)

const (
	oldShop = "testdata/breaking/old"
	newShop = "testdata/breaking/new"
)

func TestBreakingGolden(t *testing.T) {
	read := func(kind, hex string) []string {
		return []string{"contracts", "read", "--writer", oldShop, "--reader", newShop, "--type", kind, hex}
	}
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"breaking-major", 1, []string{"contracts", "breaking", oldShop, newShop}},
		{"breaking-json", 1, []string{"contracts", "breaking", oldShop, newShop, "--json"}},
		{"breaking-github", 1, []string{"contracts", "breaking", oldShop, newShop, "--github"}},
		{"breaking-minor", 0, []string{"contracts", "breaking", oldShop, "testdata/breaking/minor"}},
		{"breaking-comment", 0, []string{"contracts", "breaking", oldShop, "testdata/breaking/same"}},
		{"breaking-frozen", 1, []string{"contracts", "breaking", "testdata/breaking/frozen", "testdata/breaking/thawed"}},
		{"breaking-frozen-part", 1, []string{"contracts", "breaking", "testdata/breaking/frozen/v1", "testdata/breaking/thawed/v1"}},
		{"breaking-frozen-flag", 1, []string{"contracts", "breaking", oldShop, "testdata/breaking/minor", "--frozen", "shop.v1"}},
		{"breaking-frozen-unknown", 2, []string{"contracts", "breaking", oldShop, newShop, "--frozen", "shop.v2"}},
		{"breaking-no-argument", 2, []string{"contracts", "breaking"}},
		{"breaking-bad-schema", 2, []string{"contracts", "breaking", oldShop, "testdata/breaking/broken"}},
		{"breaking-no-schema", 2, []string{"contracts", "breaking", oldShop, "testdata/breaking/none"}},
		{"breaking-two-forms", 2, []string{"contracts", "breaking", oldShop, newShop, "--json", "--github"}},
		{"breaking-help", 0, []string{"contracts", "breaking", "--help"}},
		{"read-clean", 0, read("shop.v1.Item", "0805")},
		{"read-value-lossy", 1, read("shop.v1.Item", "088080808008")},
		{"read-parse-failure", 1, read("shop.v1.Item", "120180")},
		{"read-not-canonical", 0, read("shop.v1.Item", "088500")},
		{"read-no-message", 2, read("shop.v1.Item", "08")},
		{"read-no-hex", 2, read("shop.v1.Item", "xy")},
		{"read-no-type", 2, read("shop.v1.Itme", "0805")},
		{"read-no-flag", 2, []string{"contracts", "read", "0805"}},
		{"read-help", 0, []string{"contracts", "read", "--help"}},
	} {
		t.Run(c.name, func(t *testing.T) {
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

// Every witness of the report is shown again by the command that stands
// beside it, with the class that the report gives it; and also where the
// schemas have names that a shell would take apart.
func TestWitnessesReplay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's a folder")
	for _, side := range []string{"old", "new"} {
		b, err := os.ReadFile(filepath.Join("testdata/breaking", side, "orders.proto"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, side), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, side, "orders.proto"), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, text := command("", "contracts", "breaking", filepath.Join(dir, "old"), filepath.Join(dir, "new"), "--json")
	if code != 1 {
		t.Fatal(text)
	}
	var r compat.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range r.Changes {
		for _, e := range []compat.Evidence{c.OldToNew, c.NewToOld} {
			if e.Witness == nil {
				continue
			}
			n++
			args := words(e.Witness.Reproduce)[1:]
			code, text := command("", args...)
			if code != 1 || !strings.HasSuffix(text, "\n"+e.Class.String()+"\n") {
				t.Errorf("%s\nexit code %d, want 1 and %s\n%s", e.Witness.Reproduce, code, e.Class, text)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d witnesses", n)
	}
}

// words takes a command line apart as a shell does, as far as quotes go.
func words(s string) (out []string) {
	word, quoted := "", false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case c == '\\' && !quoted:
			i++
			word += s[i : i+1]
		case c == ' ' && !quoted:
			out, word = append(out, word), ""
		default:
			word += s[i : i+1]
		}
	}
	return append(out, word)
}
