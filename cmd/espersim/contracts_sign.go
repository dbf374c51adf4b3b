package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	"github.com/esper-sim/espersim/contracts/governance/alert"
	"github.com/esper-sim/espersim/contracts/governance/signing"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newContractsKeygen() *cobra.Command {
	key := ""
	c := &cobra.Command{
		Use:   "keygen --key FILE",
		Short: "Make a key pair that signs contracts",
		Long: `keygen writes a new Ed25519 key: the private key to FILE (PKCS #8 in PEM,
readable by its owner only), the public key to FILE.pub. It never overwrites.
Keep the private key out of the repository; hand the public key to those who
verify.`,
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if key == "" {
				return errors.New("where is the key to go? want --key FILE")
			}
			public, err := signing.NewKey(rand.Reader, key, key+".pub")
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "private key: %s\npublic key: %s.pub (%.16s)\n", key, key, signing.KeyID(public))
			return nil
		},
	}
	c.Flags().StringVar(&key, "key", "", "the file of the private key, which must not exist")
	return c
}

func newContractsSign() *cobra.Command {
	key, at := "", ""
	c := &cobra.Command{
		Use:   "sign [DIR] --key FILE",
		Short: "Sign the schemas of all versions and the golden fixtures",
		Long: `sign writes build/contracts.sig below a folder of contracts (contracts, unless
another is named): the hashes of the descriptor sets of all versions and the
digests of all golden fixtures, signed with the private key of FILE; and
build/contracts.pub, the key to verify with. It signs only what agrees with
build/versions.yaml, and never under another key than before: to change the
key, remove build/contracts.pub.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if key == "" {
				return errors.New("sign with which key? want --key FILE, which espersim contracts keygen writes")
			}
			when, err := clock(at)
			if err != nil {
				return err
			}
			dir, err := contractsDir(args)
			if err != nil {
				return err
			}
			return signContracts(c.OutOrStdout(), dir, key, when)
		},
	}
	c.Flags().StringVar(&key, "key", "", "the file of the private key")
	c.Flags().StringVar(&at, "at", "", "the time to sign for, such as 2025-01-10T12:00:00Z (default: now)")
	return c
}

// clock is the time of a flag, or the system's.
func clock(at string) (time.Time, error) {
	if at == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("--at is %q; want a time such as 2025-01-10T12:00:00Z", at)
	}
	return t, nil
}

func signContracts(out io.Writer, dir, keyFile string, at time.Time) error {
	key, err := signing.ReadPrivate(keyFile)
	if err != nil {
		return err
	}
	m, s, err := loadVersions(dir)
	if err != nil {
		return err
	}
	found, err := m.Check(s, judge)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		for _, f := range found {
			fmt.Fprintln(out, f)
		}
		fmt.Fprintln(out, "not signed: the contracts do not agree with their manifest")
		return exit{runner.ExitViolated}
	}
	public, err := signing.PublicPEM(key.Public().(ed25519.PublicKey))
	if err != nil {
		return err
	}
	publicFile := filepath.Join(dir, filepath.FromSlash(signing.PublicFile))
	switch old, err := os.ReadFile(publicFile); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case !bytes.Equal(old, public):
		return fmt.Errorf("%s is another key; want the key that signed before, or remove that file to change the key", publicFile)
	}
	entries, err := signing.Entries(dir)
	if err != nil {
		return err
	}
	statement, err := signing.Sign(entries, key, at)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, filepath.FromSlash(signing.StatementFile))
	if err := writeWhole(publicFile, public); err != nil {
		return err
	}
	if err := writeWhole(name, statement.Text()); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: %d schemas, sets and fixtures signed with the key %.16s\n", name, len(entries), statement.Key)
	return nil
}

type verifyFlags struct {
	key, alert, at string
	json           bool
}

func newContractsVerify() *cobra.Command {
	f := &verifyFlags{}
	c := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Say whether schemas and golden fixtures are those that were signed",
		Long: `verify compares a folder of contracts (contracts, unless another is named) with
build/contracts.sig. Where anything differs it says what, raises an alert
(an esper.platform.v2.AlertEvent, on stderr and with --alert in a file), and
exits with 1.

Without --key it uses build/contracts.pub. That shows damage; who tampers with
the contracts can sign them anew and replace that file too. Tampering is shown
by a key that came another way.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := contractsDir(args)
			if err != nil {
				return err
			}
			return verifyContracts(c.OutOrStdout(), c.ErrOrStderr(), dir, f)
		},
	}
	c.Flags().StringVar(&f.key, "key", "", "the file of the public key (default: build/contracts.pub)")
	c.Flags().StringVar(&f.alert, "alert", "", "write the alert to this file, in its canonical encoding")
	c.Flags().StringVar(&f.at, "at", "", "the time of the alert, such as 2025-01-10T12:00:00Z (default: now)")
	c.Flags().BoolVar(&f.json, "json", false, "print the result as one JSON object")
	return c
}

func verifyContracts(out, progress io.Writer, dir string, f *verifyFlags) error {
	at, err := clock(f.at)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, filepath.FromSlash(signing.PublicFile))
	if f.key != "" {
		name = f.key
	}
	key, err := signing.ReadPublic(name)
	if errors.Is(err, fs.ErrNotExist) && f.key == "" {
		return fmt.Errorf("there is no %s: %s was never signed, or want --key FILE", name, dir)
	}
	if err != nil {
		return err
	}
	r, err := signing.Verify(dir, key)
	if err != nil {
		return err
	}
	a := r.Alert(at)
	if f.json {
		err = json.NewEncoder(out).Encode(verifyJSON(r, a))
	} else if r.OK() {
		_, err = fmt.Fprintf(out, "%s: %d schemas, sets and fixtures are as signed on %s with the key %.16s\n",
			dir, len(r.Statement.Entries), r.Statement.Signed.Format(time.RFC3339), r.Statement.Key)
	}
	if err != nil || a == nil {
		return err
	}
	if !f.json {
		for _, d := range r.Differences {
			fmt.Fprintln(out, d)
		}
	}
	fmt.Fprintln(progress, alert.Line(a))
	if f.alert != "" {
		if err := writeWhole(f.alert, a.AppendCanonical(nil)); err != nil {
			return err
		}
	}
	return exit{runner.ExitViolated}
}

func verifyJSON(r *signing.Result, a *platformv2.AlertEvent) any {
	object := map[string]any{"ok": r.OK(), "differences": append([]string{}, r.Differences...), "alert": nil}
	if a != nil {
		object["alert"] = map[string]any{
			"alert_id": a.AlertId, "rule": a.Rule, "severity": a.Severity.String(), "state": a.State.String(),
			"value": a.Value, "detail": a.Detail, "raised_at": time.Unix(a.RaisedAt.Seconds, int64(a.RaisedAt.Nanos)).UTC().Format(time.RFC3339Nano),
		}
	}
	return object
}
