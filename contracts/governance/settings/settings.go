// Package settings reads what a folder of schemas says about itself to the
// governance checks and the generator: build/protobuf.yaml.
package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is the settings' place below the folder of schemas.
const File = "build/protobuf.yaml"

// Settings is the content of a settings file. All of it may be missing.
type Settings struct {
	// Exclude are paths below the folder that hold no contracts. Package schema
	// reads it, too.
	Exclude []string `yaml:"exclude"`
	// Volatile fields are left out of identities. contracts/build/generate
	// reads it, too.
	Volatile struct {
		Names  []string `yaml:"names"`
		Fields []string `yaml:"fields"`
	} `yaml:"volatile"`
	// Serialisation says which folders of the code may encode messages, and
	// whether files of tests are checked.
	Serialisation struct {
		Allowed []string `yaml:"allowed"`
		Tests   bool     `yaml:"tests"`
	} `yaml:"serialisation"`
	// Planes lists the subsystems of each plane, for systems other than Esper.
	Planes map[string][]string `yaml:"planes"`
}

// Read reads the settings of a folder of schemas. Without the file they are
// empty.
func Read(dir string) (Settings, error) {
	name := filepath.Join(dir, filepath.FromSlash(File))
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, err
	}
	return Parse(name, b)
}

// Parse reads the text of a settings file. name is for errors, which say the
// line.
func Parse(name string, text []byte) (Settings, error) {
	var s Settings
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, yamlError(name, err)
	}
	if _, err := s.PlaneOf(); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// PlaneOf is the plane of every subsystem, or nil if no plane is listed.
func (s Settings) PlaneOf() (map[string]string, error) {
	if len(s.Planes) == 0 {
		return nil, nil
	}
	all := map[string]string{}
	for _, plane := range slices.Sorted(maps.Keys(s.Planes)) {
		for _, name := range s.Planes[plane] {
			if other, twice := all[name]; twice {
				return nil, fmt.Errorf("%s is on the planes %s and %s; want one", name, other, plane)
			}
			all[name] = plane
		}
	}
	return all, nil
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?line ([0-9]+): (?s:(.*))$`)

// yamlError puts the line behind the file's name. Keys that are not known come
// with Go's type, which a reader of the file has never seen.
func yamlError(name string, err error) error {
	text := err.Error()
	var t *yaml.TypeError
	if errors.As(err, &t) && len(t.Errors) > 0 {
		text = t.Errors[0]
	}
	line := ":1" // an error without a line is about the first
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, text = ":"+m[1], m[2]
	}
	text = strings.TrimPrefix(text, "yaml: ")
	if m := regexp.MustCompile(`^field (\S+) not found in type `).FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("there is no setting %q; want exclude, volatile (names, fields), serialisation (allowed, tests) or planes", m[1])
	}
	return fmt.Errorf("%s%s: %s", name, line, text)
}
