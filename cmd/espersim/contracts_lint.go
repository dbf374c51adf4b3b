package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/contracts/governance/finding"
	"github.com/esper-sim/espersim/contracts/governance/imports"
	"github.com/esper-sim/espersim/contracts/governance/lint"
	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/governance/schema"
	"github.com/esper-sim/espersim/contracts/governance/settings"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/scenarios/runner"
)

type lintFlags struct {
	code         []string
	json, github bool
}

func newContractsLint() *cobra.Command {
	f := &lintFlags{}
	c := &cobra.Command{
		Use:   "lint [DIR]",
		Short: "Find what must not be in schemas, and hand-made serialisation in code",
		Long: `lint checks every .proto file below a folder (contracts, unless another is
named): no maps, no float counters, no oneof that spans planes, no enum whose
zero means something unsaid, no time without a unit, packages with versions.
Then it looks for code that encodes or decodes messages by hand: Go and Python
below the Go module around the folder, or below the folders of --code. The
folder's build/protobuf.yaml says where that is allowed; its
build/versions.yaml says what was released.

It exits with 1 where something is found, and with 2 on bad input.`,
		Args: counted(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := contractsDir(args)
			if err != nil {
				return err
			}
			return lintContracts(c.OutOrStdout(), c.ErrOrStderr(), dir, f)
		},
	}
	c.Flags().StringArrayVar(&f.code, "code", nil, "a folder of code to look through; may be repeated")
	c.Flags().BoolVar(&f.json, "json", false, "print the findings as one JSON object")
	c.Flags().BoolVar(&f.github, "github", false, "print the findings as annotations of GitHub Actions")
	return c
}

func lintContracts(out, progress io.Writer, dir string, f *lintFlags) error {
	if f.json && f.github {
		return errors.New("--json and --github are two formats; want one")
	}
	s, err := schema.LoadDir(dir)
	if err != nil {
		return err
	}
	rules := lint.Settings{Topics: wire.Topics, Consumers: wire.Consumers}
	if rules.Versions, err = releases(dir); err != nil {
		return err
	}
	own, err := settings.Read(dir)
	if err != nil {
		return err
	}
	exempt := imports.Settings{Allowed: own.Serialisation.Allowed, Tests: own.Serialisation.Tests}
	if rules.Planes, err = own.PlaneOf(); err != nil {
		return err
	}
	found := lint.Check(s, rules)
	module, err := moduleAround(dir)
	if err != nil {
		return err
	}
	code := f.code
	if len(code) == 0 && module != "" {
		code = []string{module}
	}
	if len(code) == 0 {
		fmt.Fprintf(progress, "no code is checked: there is no go.mod around %s; --code names a folder\n", dir)
	}
	for _, root := range code {
		inside := exempt
		if module != "" {
			rel, err := relative(module, root)
			if err != nil {
				return err
			}
			inside = exempt.Within(rel)
		}
		list, err := imports.Check(root, inside)
		if err != nil {
			return err
		}
		found = append(found, list...)
	}
	if err := printFindings(out, found, f); err != nil {
		return err
	}
	if len(found) > 0 {
		return exit{runner.ExitViolated}
	}
	if !f.json && !f.github {
		fmt.Fprintf(out, "%s: %d files, %d messages: clean\n", dir, len(s.Files), len(s.Messages()))
	}
	return nil
}

func printFindings(out io.Writer, found []finding.Finding, f *lintFlags) error {
	if f.json {
		if found == nil {
			found = []finding.Finding{}
		}
		return json.NewEncoder(out).Encode(map[string]any{"findings": found})
	}
	for _, one := range found {
		line := one.String()
		if f.github {
			line = one.GitHub()
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

// releases is what the manifest of a folder says was released. A folder
// without a manifest has released nothing.
func releases(dir string) (map[string]lint.Version, error) {
	m, err := manifest.Load(dir)
	if errors.Is(err, manifest.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := map[string]lint.Version{}
	for _, v := range m.Versions {
		one := lint.Version{Frozen: v.Status == manifest.Frozen}
		for minor := range v.Minor + 1 {
			s, err := m.Set(v.Name, minor)
			if errors.Is(err, fs.ErrNotExist) {
				continue // `contracts versions` reports it
			}
			if err != nil {
				return nil, err
			}
			one.Released = append(one.Released, lint.Release{Minor: minor, Schema: s})
		}
		all[v.Name] = one
	}
	return all, nil
}

// moduleAround is the nearest folder around dir with a go.mod, or empty.
func moduleAround(dir string) (string, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for rel := filepath.Clean(dir); ; rel = filepath.Join(rel, "..") {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return rel, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return "", nil
		}
		at = up
	}
}

// relative is the path of one folder seen from another.
func relative(from, to string) (string, error) {
	a, err := filepath.Abs(from)
	if err != nil {
		return "", err
	}
	b, err := filepath.Abs(to)
	if err != nil {
		return "", err
	}
	return filepath.Rel(a, b)
}
