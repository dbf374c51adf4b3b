package signing

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	"github.com/esper-sim/espersim/contracts/governance/alert"
	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

const proto = "syntax = \"proto3\";\npackage x.a.v2;\nmessage A { int32 a = 1; }\n"

const versions = "versions:\n  v2:\n    status: active\n    released: 2025-01-10\n    packages:\n      - x.a.v2\n"

var noon = time.Date(2025, 1, 10, 12, 0, 0, 0, time.UTC)

// key is the same key at every call.
func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// contracts is a released folder of contracts with two fixtures.
func contracts(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"v2/a.proto": proto, manifest.File: versions, "golden/v2/a.bin": "\x08\x01", "golden/v2/deep/b.bin": "", "golden/readme": "x"})
	m, err := manifest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schema.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Propose(s, manifest.Policy)
	if err == nil {
		err = m.Write(s, p)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func sign(t testing.TB, dir string, k ed25519.PrivateKey) []byte {
	t.Helper()
	list, err := Entries(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Sign(list, k, noon)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{StatementFile: string(s.Text())})
	return s.Text()
}

func TestSignAndVerify(t *testing.T) {
	dir := contracts(t)
	text := sign(t, dir, key(1))
	r, err := Verify(dir, public(key(1)))
	if err != nil || !r.OK() || r.Alert(noon) != nil || len(r.Statement.Entries) != 4 {
		t.Fatalf("%v, %v\n%s", r, err, text)
	}
	if again := sign(t, dir, key(1)); !bytes.Equal(again, text) {
		t.Error("the same contracts and key give another statement")
	}
	for _, want := range []string{header + "\n", "\nschema v2 ", "\nreleased v2.0 ", "\nfixture golden/v2/deep/b.bin e3b0c442", "\nsigned 2025-01-10T12:00:00Z\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// Every kind of tampering is refused, named, and raises the right alert.
func TestTampering(t *testing.T) {
	resign := func(change func([]Entry) []Entry) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			list, err := Entries(dir)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Sign(change(list), key(2), noon) // the attacker's key
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{StatementFile: string(s.Text())})
		}
	}
	edit := func(name, from, to string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || !strings.Contains(string(b), from) {
				t.Fatal(name, err)
			}
			write(t, dir, map[string]string{name: strings.Replace(string(b), from, to, 1)})
		}
	}
	remove := func(name string) func(testing.TB, string) {
		return func(t testing.TB, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name       string
		do         func(testing.TB, string)
		rule, want string // no rule: nothing differs
	}{
		{"schema", edit("v2/a.proto", "int32 a", "int64 a"), alert.SchemaTampered, "schema v2 differs"},
		{"comment", edit("v2/a.proto", "message", "/* x */ message"), "", ""},
		{"released set", remove("build/released/v2.0.binpb"), alert.SchemaTampered, "released v2.0 is gone"},
		{"fixture", edit("golden/v2/a.bin", "\x01", "\x02"), alert.GoldenMismatch, "fixture golden/v2/a.bin differs"},
		{"fixture gone", remove("golden/v2/a.bin"), alert.GoldenMismatch, "fixture golden/v2/a.bin is gone"},
		{"fixture more", func(t testing.TB, dir string) { write(t, dir, map[string]string{"golden/c.bin": "x"}) }, alert.GoldenMismatch, "fixture golden/c.bin was not signed"},
		{"no fixture left", func(t testing.TB, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "golden")); err != nil {
				t.Fatal(err)
			}
		}, alert.GoldenMismatch, "is gone"},
		{"both", func(t testing.TB, dir string) {
			edit("golden/v2/a.bin", "\x01", "\x02")(t, dir)
			edit("v2/a.proto", "int32 a", "int64 a")(t, dir)
		}, alert.SchemaTampered, "fixture golden/v2/a.bin differs"},
		{"schema does not compile", edit("v2/a.proto", "}", ""), alert.SchemaTampered, "the schemas cannot be read"},
		{"manifest gone", remove(manifest.File), alert.SchemaTampered, "the schemas cannot be read"},
		{"date in the statement", edit(StatementFile, "2025-01-10", "2025-01-11"), alert.SchemaTampered, "the signature is not over this statement"},
		{"line taken out", func(t testing.TB, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, StatementFile))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(string(b), "\n")
			write(t, dir, map[string]string{StatementFile: strings.Join(append(lines[:3:3], lines[4:]...), "")})
		}, alert.SchemaTampered, "was not signed"},
		{"signature", func(t testing.TB, dir string) {
			b, err := os.ReadFile(filepath.Join(dir, StatementFile))
			if err != nil {
				t.Fatal(err)
			}
			i := bytes.LastIndex(b, []byte("ed25519 ")) + 8
			if b[i] == 'A' {
				b[i] = 'B'
			} else {
				b[i] = 'A'
			}
			write(t, dir, map[string]string{StatementFile: string(b)})
		}, alert.SchemaTampered, "the signature is not over this statement"},
		{"another key", resign(func(l []Entry) []Entry { return l }), alert.SchemaTampered, "was signed with the key"},
		{"no statement", func(t testing.TB, dir string) { write(t, dir, map[string]string{StatementFile: "x"}) }, alert.SchemaTampered, "the statement cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := contracts(t)
			sign(t, dir, key(1))
			c.do(t, dir)
			r, err := Verify(dir, public(key(1)))
			if err != nil {
				t.Fatal(err)
			}
			a := r.Alert(noon)
			if a.GetRule() != c.rule || !strings.Contains(strings.Join(r.Differences, "\n"), c.want) {
				t.Fatalf("%q %q, want %q %q", a.GetRule(), r.Differences, c.rule, c.want)
			}
			if c.rule == "" {
				return
			}
			again := new(platformv2.AlertEvent)
			if err := again.ParseCanonical(a.AppendCanonical(nil)); err != nil || again.Severity != platformv2.AlertSeverity_ALERT_CRITICAL ||
				again.State != platformv2.AlertState_FIRING || !strings.Contains(again.Detail, c.want) {
				t.Error(again, err)
			}
		})
	}
}

func TestNothingToSign(t *testing.T) {
	dir := contracts(t)
	for _, name := range []string{"golden/v2/a.bin", "golden/v2/deep/b.bin"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Entries(dir); !errors.Is(err, ErrNoFixtures) {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "golden")); err != nil {
		t.Fatal(err)
	}
	if _, err := Entries(dir); !errors.Is(err, ErrNoFixtures) {
		t.Error(err)
	}
	if _, err := Verify(dir, public(key(1))); err == nil || !strings.Contains(err.Error(), "was never signed") {
		t.Error(err)
	}
	write(t, dir, map[string]string{"golden/a b.bin": "x"})
	list, err := Entries(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(list, key(1), noon); err == nil {
		t.Error("a name with a space is signed, and could not be read back")
	}
}

func TestParse(t *testing.T) {
	dir := contracts(t)
	good := string(sign(t, dir, key(1)))
	lines := strings.SplitAfter(good, "\n")
	for _, c := range []struct{ text, want string }{
		{good, ""},
		{"", "f:1:"}, {"x\n", "f:1:"}, {header, "cut off"}, {header + "\n", "cut off"},
		{strings.TrimSuffix(good, "\n"), "cut off"},
		{good + "\n", "f:"}, {good + "x", "cut off"},
		{strings.Replace(good, "statement 1", "statement 2", 1), "f:1:"},
		{strings.Replace(good, "key ", "kee ", 1), "f:2:"},
		{strings.Replace(good, "12:00:00Z", "12:00:00+00:00", 1), "f:3:"},
		{strings.Replace(good, "schema v2", "scheme v2", 1), "f:4:"},
		{strings.Replace(good, "\n", "\r\n", 1), "f:1:"},
		{strings.Join([]string{lines[0], lines[1], lines[2], lines[4], lines[3], lines[5], lines[6], lines[7]}, ""), "f:5: the lines are not sorted"},
		{strings.Replace(good, "ed25519 ", "rsa ", 1), "f:8:"},
		{strings.Replace(good, lines[7], "signature ed25519 "+strings.Repeat("=", 88)+"\n", 1), "f:8:"},
	} {
		_, err := Parse("f", []byte(c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestKeys(t *testing.T) {
	dir := t.TempDir()
	private, pub := filepath.Join(dir, "key"), filepath.Join(dir, "key.pub")
	made, err := NewKey(rand.Reader, private, pub)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ReadPrivate(private)
	if err != nil || !made.Equal(k.Public()) {
		t.Fatal(err)
	}
	if p, err := ReadPublic(pub); err != nil || !made.Equal(p) {
		t.Error(err)
	}
	if info, err := os.Stat(private); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	before, _ := os.ReadFile(private) // compared below
	for _, names := range [][2]string{{private, pub}, {private, pub + "2"}, {private + "2", pub}} {
		if _, err := NewKey(rand.Reader, names[0], names[1]); err == nil || !strings.Contains(err.Error(), "exists") {
			t.Errorf("%v: %v", names, err)
		}
	}
	if after, err := os.ReadFile(private); err != nil || !bytes.Equal(before, after) {
		t.Error("the key was overwritten", err)
	}
	if err := os.Chmod(private, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPrivate(private); err == nil || !strings.Contains(err.Error(), "0600") {
		t.Error(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"":     "no PEM",
		"junk": "no PEM",
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})):          "want Ed25519",
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})):       `want a "PRIVATE KEY"`,
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1, 2}})): "",
		string(before) + string(before):                                                  "one block",
	} {
		if _, err := parsePrivate([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadPublic(private); err == nil {
		t.Error("a private key is read as a public one")
	}
}

// A statement that is read is the one that is written.
func FuzzParse(f *testing.F) {
	s, err := Sign([]Entry{{Schema, "v2", strings.Repeat("0", 64)}, {Fixture, "golden/a.bin", strings.Repeat("f", 64)}}, key(1), noon)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.Text())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse("f", b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Error(err)
			}
			return
		}
		if !bytes.Equal(s.Text(), b) {
			t.Errorf("%q is written as %q", b, s.Text())
		}
		s.VerifiedBy(public(key(1)))
	})
}

func FuzzKeys(f *testing.F) {
	p, err := PublicPEM(public(key(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := ParsePublic(b); err == nil && len(k) != ed25519.PublicKeySize {
			t.Error(len(k))
		}
		if k, err := parsePrivate(b); err == nil && len(k) != ed25519.PrivateKeySize {
			t.Error(len(k))
		}
	})
}

func ExampleSign() {
	secret := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // of an example: a real one is random
	s, err := Sign([]Entry{{Schema, "v2", strings.Repeat("ab", 32)}}, secret, noon)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(strings.SplitN(string(s.Text()), "\n", 2)[0])
	fmt.Println(s.VerifiedBy(secret.Public().(ed25519.PublicKey)))
	s.Entries[0].Name = "v3"
	fmt.Println(s.VerifiedBy(secret.Public().(ed25519.PublicKey)))
	// Output:
	// espersim contracts statement 1
	// true
	// false
}
