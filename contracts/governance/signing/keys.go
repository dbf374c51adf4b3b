package signing

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

const (
	privateBlock = "PRIVATE KEY" // PKCS #8
	publicBlock  = "PUBLIC KEY"  // PKIX
)

// NewKey makes a key pair from a source of randomness and writes it to two new
// files: the private key as PKCS #8 in PEM, readable by its owner only, and
// the public key as PKIX in PEM. A file that exists is never overwritten.
func NewKey(random io.Reader, private, public string) (ed25519.PublicKey, error) {
	pub, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return nil, err
	}
	b, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	p, err := PublicPEM(pub)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(public); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s exists; want a new name, since a key that is lost cannot be made again", public)
	}
	if err := create(private, pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: b}), 0o600); err != nil {
		return nil, err
	}
	if err := create(public, p, 0o644); err != nil {
		_ = os.Remove(private) // half a pair is none
		return nil, err
	}
	return pub, nil
}

// create writes a file that must not exist.
func create(name string, b []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists; want a new name, since a key that is lost cannot be made again", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(name) // the first error is the one to report
	}
	return err
}

// PublicPEM is a public key as a file has it.
func PublicPEM(key ed25519.PublicKey) ([]byte, error) {
	b, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: b}), nil
}

// ReadPrivate reads a private key that nobody but its owner may read.
func ReadPrivate(name string) (ed25519.PrivateKey, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (its mode is %04o); want 0600, and a new key if it was ever shared", name, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, 1<<16))
	if err != nil {
		return nil, err
	}
	key, err := parsePrivate(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

func parsePrivate(b []byte) (ed25519.PrivateKey, error) {
	block, err := onlyBlock(b, privateBlock)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("it is a key of type %T; want Ed25519", parsed)
	}
	return key, nil
}

// ReadPublic reads a public key.
func ReadPublic(name string) (ed25519.PublicKey, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	key, err := ParsePublic(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return key, nil
}

// ParsePublic reads the text of a public key's file.
func ParsePublic(b []byte) (ed25519.PublicKey, error) {
	block, err := onlyBlock(b, publicBlock)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(block)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("it is a key of type %T; want Ed25519", parsed)
	}
	return key, nil
}

func onlyBlock(b []byte, kind string) ([]byte, error) {
	block, rest := pem.Decode(b)
	switch {
	case block == nil:
		return nil, fmt.Errorf("it is no PEM; want a block %q, which `espersim contracts keygen` writes", kind)
	case block.Type != kind:
		return nil, fmt.Errorf("it holds a %q; want a %q", block.Type, kind)
	case len(rest) > 0:
		return nil, errors.New("something follows the key; want one block")
	}
	return block.Bytes, nil
}
