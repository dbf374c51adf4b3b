package compat

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// versionsFile is the manifest of versions (HLD 8.4) beside the schemas.
const versionsFile = "build/versions.yaml"

// FrozenPackages reads which packages a manifest of versions calls frozen.
// The name is for the error.
func FrozenPackages(name string, text []byte) ([]string, error) {
	var manifest struct {
		Versions map[string]struct {
			Status   string   `yaml:"status"`
			Packages []string `yaml:"packages"`
		} `yaml:"versions"`
	}
	if err := yaml.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var frozen []string
	for version, v := range manifest.Versions {
		switch v.Status {
		case "frozen":
			frozen = append(frozen, v.Packages...)
		case "active", "deprecated", "experimental":
		default:
			return nil, fmt.Errorf("%s: versions.%s.status is %q; want frozen, active, deprecated or experimental", name, version, v.Status)
		}
	}
	slices.Sort(frozen)
	return slices.Compact(frozen), nil
}

// FrozenBeside returns the frozen packages of the manifest next to a schema,
// named as for schema.Load: build/versions.yaml in its folder or in the folder
// above that. There are none if there is no manifest.
func FrozenBeside(source string) ([]string, error) {
	info, err := os.Stat(source)
	if err != nil {
		if rev, dir, ok := strings.Cut(source, ":"); ok && rev != "" && !strings.HasPrefix(rev, "-") {
			return frozenInGit(rev, strings.TrimSuffix(dir, "/"))
		}
		return nil, nil // schema.Load says what is wrong with it
	}
	dir := source
	if !info.IsDir() {
		dir = filepath.Dir(source)
	}
	for _, d := range []string{dir, filepath.Join(dir, "..")} {
		name := filepath.Join(d, filepath.FromSlash(versionsFile))
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return FrozenPackages(name, b)
	}
	return nil, nil
}

func frozenInGit(rev, dir string) ([]string, error) {
	if strings.HasSuffix(dir, ".proto") || strings.Contains(path.Base(dir), ".") {
		dir = path.Dir(dir)
	}
	for _, d := range []string{dir, path.Dir(dir)} {
		name := rev + ":" + path.Join(d, versionsFile)
		b, err := exec.Command("git", "show", name).Output()
		if err != nil {
			continue // no such file there
		}
		return FrozenPackages(name, b)
	}
	return nil, nil
}
