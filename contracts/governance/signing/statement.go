// Package signing signs and verifies the contracts: an Ed25519 signature over
// the descriptor sets of all versions and the digests of all golden fixtures.
// A checksum shows damage; only a signature shows tampering, since whoever
// changes a file can compute its checksum again (HLD section 10.2).
//
// What is signed is a statement, a text of one line for each thing:
//
//	espersim contracts statement 1
//	key KEY
//	signed TIME
//	schema v2 SHA256
//	released v2.0 SHA256
//	fixture golden/v2/pause.bin SHA256
//	signature ed25519 BASE64
//
// KEY is the SHA-256 of the public key. The signature is over all lines before
// it. One statement has one text: its lines are sorted, and whatever differs
// from what Statement.Text writes is refused.
package signing

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// header is the first line. The number is the format's version, and keeps a
// signature over this text from being one over anything else.
const header = "espersim contracts statement 1"

// Kinds of what a statement is about, in the order of its lines.
const (
	Schema   = "schema"   // the files of a version: v2
	Released = "released" // a released descriptor set: v2.0
	Fixture  = "fixture"  // a golden fixture, by its path below the contracts
)

var kinds = []string{Schema, Released, Fixture}

// An Entry is one thing and its digest.
type Entry struct {
	Kind   string
	Name   string
	SHA256 string // in hex
}

func (e Entry) compare(o Entry) int {
	return cmp.Or(cmp.Compare(slices.Index(kinds, e.Kind), slices.Index(kinds, o.Kind)), cmp.Compare(e.Name, o.Name))
}

// A Statement is what a signature is over.
type Statement struct {
	Key     string // SHA-256 of the public key, in hex
	Signed  time.Time
	Entries []Entry // sorted by kind and name

	signature []byte // nil: none yet
}

// KeyID is the name of a public key: its SHA-256, in hex.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:])
}

// body is the text under the signature.
func (s *Statement) body() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\nkey %s\nsigned %s\n", header, s.Key, s.Signed.UTC().Format(time.RFC3339))
	for _, e := range s.Entries {
		fmt.Fprintf(&b, "%s %s %s\n", e.Kind, e.Name, e.SHA256)
	}
	return b.Bytes()
}

// Text is the statement with its signature, as a file has it.
func (s *Statement) Text() []byte {
	return fmt.Appendf(s.body(), "signature ed25519 %s\n", base64.StdEncoding.EncodeToString(s.signature))
}

var (
	entryLine     = regexp.MustCompile(`^(schema|released|fixture) (\S+) ([0-9a-f]{64})$`)
	signatureLine = regexp.MustCompile(`^signature ed25519 ([A-Za-z0-9+/=]{88})$`)
	keyLine       = regexp.MustCompile(`^key ([0-9a-f]{64})$`)
)

// Parse reads a statement. It does not verify the signature. name is for
// errors, which say the line.
func Parse(name string, text []byte) (*Statement, error) {
	lines := strings.Split(string(text), "\n")
	fail := func(i int, format string, args ...any) (*Statement, error) {
		return nil, fmt.Errorf("%s:%d: %s", name, i+1, fmt.Sprintf(format, args...))
	}
	if lines[0] != header {
		return fail(0, "want %q; the file is no statement of this version", header)
	}
	if len(lines) < 5 || lines[len(lines)-1] != "" {
		return fail(len(lines)-1, "the file is cut off; want the signature as its last line")
	}
	s := &Statement{}
	key := keyLine.FindStringSubmatch(lines[1])
	if key == nil {
		return fail(1, "want key and 64 hexadecimal digits")
	}
	s.Key = key[1]
	signed, ok := strings.CutPrefix(lines[2], "signed ")
	at, err := time.Parse(time.RFC3339, signed)
	if !ok || err != nil || at.UTC().Format(time.RFC3339) != signed {
		return fail(2, "want signed and a time in UTC such as 2025-01-10T12:00:00Z")
	}
	s.Signed = at.UTC()
	last := len(lines) - 2
	for i := 3; i < last; i++ {
		parts := entryLine.FindStringSubmatch(lines[i])
		if parts == nil {
			return fail(i, "want schema, released or fixture, a name, and 64 hexadecimal digits")
		}
		e := Entry{parts[1], parts[2], parts[3]}
		if n := len(s.Entries); n > 0 && s.Entries[n-1].compare(e) >= 0 {
			return fail(i, "the lines are not sorted, or one is there twice")
		}
		s.Entries = append(s.Entries, e)
	}
	parts := signatureLine.FindStringSubmatch(lines[last])
	if parts == nil {
		return fail(last, "want signature ed25519 and 88 characters of base64")
	}
	if s.signature, err = base64.StdEncoding.Strict().DecodeString(parts[1]); err != nil || len(s.signature) != ed25519.SignatureSize {
		return fail(last, "the signature is no base64 of %d bytes", ed25519.SignatureSize)
	}
	if !bytes.Equal(s.Text(), text) {
		return fail(0, "the file is not as it is written when signing")
	}
	return s, nil
}

// Sign signs a statement about the entries at a time.
func Sign(entries []Entry, key ed25519.PrivateKey, at time.Time) (*Statement, error) {
	s := &Statement{Key: KeyID(key.Public().(ed25519.PublicKey)), Signed: at.UTC().Truncate(time.Second), Entries: slices.Clone(entries)}
	slices.SortFunc(s.Entries, Entry.compare)
	s.signature = ed25519.Sign(key, s.body())
	if _, err := Parse("the statement", s.Text()); err != nil { // a name with a space, a year of five digits
		return nil, err
	}
	return s, nil
}

// VerifiedBy says whether the signature is the key's and over what the
// statement says.
func (s *Statement) VerifiedBy(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && s.Key == KeyID(key) && ed25519.Verify(key, s.body(), s.signature)
}
