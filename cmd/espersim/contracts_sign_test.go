package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
)

const noon = "2025-01-10T12:00:00Z"

// signed is a small folder of contracts, signed with a key of this test.
func signed(t *testing.T) (dir, key string) {
	t.Helper()
	dir = released(t)
	key = filepath.Join(t.TempDir(), "key")
	if code, text := command("", "contracts", "keygen", "--key", key); code != 0 {
		t.Fatal(text)
	}
	if code, text := command("", "contracts", "sign", dir, "--key", key, "--at", noon); code != 0 {
		t.Fatal(text)
	}
	return dir, key
}

// keyed masks what differs with every key.
var keyed = regexp.MustCompile(`(the key |public key: \S+ \()[0-9a-f]{16}`)

func TestContractsSign(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		do   func(t *testing.T, dir string)
		args []string
	}{
		{"contracts-verify", 0, func(*testing.T, string) {}, []string{"verify", "DIR"}},
		{"contracts-verify-schema", 1, func(t *testing.T, dir string) {
			plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int64 a = 1;")
		}, []string{"verify", "DIR"}},
		{"contracts-verify-fixture", 1, func(t *testing.T, dir string) {
			plant(t, dir, "golden/v2/a.bin", "\x01", "\x02")
		}, []string{"verify", "DIR"}},
		{"contracts-verify-statement", 1, func(t *testing.T, dir string) {
			plant(t, dir, "build/contracts.sig", noon, "2025-01-11T12:00:00Z")
		}, []string{"verify", "DIR"}},
		{"contracts-verify-unsigned", 2, func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, "build/contracts.sig")); err != nil {
				t.Fatal(err)
			}
		}, []string{"verify", "DIR"}},
		{"contracts-verify-no-key", 2, func(*testing.T, string) {}, []string{"verify", "DIR", "--key", "DIR/none"}},
		{"contracts-verify-no-folder", 2, func(*testing.T, string) {}, []string{"verify", "DIR/none"}},
		{"contracts-verify-bad-time", 2, func(*testing.T, string) {}, []string{"verify", "DIR", "--at", "noon"}},
		{"contracts-sign-no-key", 2, func(*testing.T, string) {}, []string{"sign", "DIR"}},
		{"contracts-sign-again", 0, func(*testing.T, string) {}, []string{"sign", "DIR", "--key", "KEY", "--at", noon}},
		{"contracts-sign-changed", 1, func(t *testing.T, dir string) {
			plant(t, dir, "a/v2/a.proto", "int32 a = 1;", "int32 a = 1; int32 b = 2;")
		}, []string{"sign", "DIR", "--key", "KEY"}},
		{"contracts-sign-no-fixtures", 2, func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "golden")); err != nil {
				t.Fatal(err)
			}
		}, []string{"sign", "DIR", "--key", "KEY"}},
		{"contracts-keygen-again", 2, func(*testing.T, string) {}, []string{"keygen", "--key", "KEY"}},
		{"contracts-keygen-nowhere", 2, func(*testing.T, string) {}, []string{"keygen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, key := signed(t)
			c.do(t, dir)
			args := []string{"contracts"}
			for _, a := range c.args {
				args = append(args, strings.NewReplacer("DIR", dir, "KEY", key).Replace(a))
			}
			code, text := command(dir, args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, keyed.ReplaceAllString(strings.ReplaceAll(text, key, "KEY"), "${1}ID"))
		})
	}
}

// A tampered fixture writes the alert that a monitor takes in.
func TestContractsVerifyAlert(t *testing.T) {
	dir, key := signed(t)
	plant(t, dir, "golden/v2/a.bin", "\x01", "\x02")
	file := filepath.Join(t.TempDir(), "alert.bin")
	code, text := command("", "contracts", "verify", dir, "--key", key+".pub", "--alert", file, "--at", noon, "--json")
	stdout, _, _ := strings.Cut(text, "--- stderr\n")
	var o struct {
		OK          bool
		Differences []string
		Alert       struct{ Rule, Severity, State, RaisedAt string }
	}
	if err := json.Unmarshal([]byte(stdout), &o); err != nil || code != 1 || o.OK || len(o.Differences) != 1 ||
		o.Alert.Rule != "golden-mismatch" || o.Alert.Severity != "ALERT_CRITICAL" || o.Alert.State != "FIRING" {
		t.Errorf("exit code %d, %v\n%s", code, err, text)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	a := new(platformv2.AlertEvent)
	if err := a.ParseCanonical(b); err != nil || a.Rule != "golden-mismatch" || a.RaisedAt.GetSeconds() != 1736510400 {
		t.Error(a, err)
	}
}

// Another key signs only where the first one was removed.
func TestContractsSignWithAnotherKey(t *testing.T) {
	dir, key := signed(t)
	other := key + "-2"
	if code, text := command("", "contracts", "keygen", "--key", other); code != 0 {
		t.Fatal(text)
	}
	if code, text := command("", "contracts", "sign", dir, "--key", other); code != 2 || !strings.Contains(text, "is another key") {
		t.Errorf("exit code %d\n%s", code, text)
	}
	if code, text := command("", "contracts", "verify", dir); code != 0 {
		t.Error(text)
	}
	if err := os.Remove(filepath.Join(dir, "build/contracts.pub")); err != nil {
		t.Fatal(err)
	}
	if code, text := command("", "contracts", "sign", dir, "--key", other); code != 0 {
		t.Error(text)
	}
	// Who verifies with the old key sees it.
	if code, text := command("", "contracts", "verify", dir, "--key", key+".pub"); code != 1 || !strings.Contains(text, "was signed with the key") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
