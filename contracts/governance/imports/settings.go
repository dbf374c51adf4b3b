package imports

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// SettingsFile is where a folder of schemas keeps its settings.
const SettingsFile = "build/protobuf.yaml"

// ReadSettings reads what the settings of a folder of schemas say about
// serialisation. Without the file nothing is allowed.
func ReadSettings(dir string) (Settings, error) {
	name := filepath.Join(dir, filepath.FromSlash(SettingsFile))
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, err
	}
	return ParseSettings(name, b)
}

// ParseSettings reads the text of a settings file. name is for errors, which
// say the line.
func ParseSettings(name string, text []byte) (Settings, error) {
	var file struct {
		Exclude  []string `yaml:"exclude"` // read by package schema
		Volatile struct {
			Names  []string `yaml:"names"`
			Fields []string `yaml:"fields"`
		} `yaml:"volatile"` // read by contracts/build/generate
		Serialisation struct {
			Allowed []string `yaml:"allowed"`
			Tests   bool     `yaml:"tests"`
		} `yaml:"serialisation"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return Settings{}, yamlError(name, err)
	}
	return Settings{Allowed: file.Serialisation.Allowed, Tests: file.Serialisation.Tests}, nil
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
		text = fmt.Sprintf("there is no setting %q; want exclude, volatile (names, fields) or serialisation (allowed, tests)", m[1])
	}
	return fmt.Errorf("%s%s: %s", name, line, text)
}
