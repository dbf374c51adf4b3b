// Command generate writes the Go code of the contracts: for every .proto file
// below contracts/ the message types, as protoc-gen-go writes them, and the
// canonical codec beside them; and the registry of package wire. It compiles
// the files in-process: there is no tool to install.
//
// Run it from the root of the module:
//
//	go run ./contracts/build/generate
//
// The same input gives the same output, and files of messages that are gone
// are removed.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
)

const (
	module    = "github.com/esper-sim/espersim"
	root      = "contracts"
	settings  = root + "/build/protobuf.yaml"
	generated = root + "/generated/go"
	registry  = root + "/wire/registry.gen.go"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run() error {
	volatile, err := readSettings()
	if err != nil {
		return err
	}
	request, err := compile(root)
	if err != nil {
		return err
	}
	plugin, err := protogen.Options{}.New(request)
	if err != nil {
		return err
	}
	plugin.SupportedFeatures = internal_gengo.SupportedFeatures
	var all []*protogen.Message
	for _, file := range plugin.Files {
		if !file.Generate {
			continue
		}
		test := strings.HasPrefix(file.Desc.Path(), "internal/")
		if !test && !strings.HasPrefix(string(file.GoImportPath), module+"/"+generated+"/") {
			return fmt.Errorf("%s: go_package is not below %s/%s", file.Desc.Path(), module, generated)
		}
		messages := flatten(file.Messages)
		for _, m := range messages {
			if err := check(m, nil); err != nil {
				return err
			}
		}
		internal_gengo.GenerateFile(plugin, file)
		generateCodec(plugin, file, messages, volatile)
		if !test {
			all = append(all, messages...)
		}
	}
	if name := volatile.unused(); name != "" {
		return fmt.Errorf("%s: there is no field %s", settings, name)
	}
	generateRegistry(plugin, all)
	return write(plugin)
}

// write stores the generated files below the module's root and removes those
// that an earlier run left.
func write(plugin *protogen.Plugin) error {
	response := plugin.Response()
	if response.Error != nil {
		return errors.New(*response.Error)
	}
	keep := map[string]bool{}
	for _, f := range response.File {
		name, ok := strings.CutPrefix(f.GetName(), module+"/")
		if !ok {
			return fmt.Errorf("%s is outside of the module", f.GetName())
		}
		keep[name] = true
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if old, err := os.ReadFile(name); err == nil && string(old) == f.GetContent() {
			continue
		}
		if err := os.WriteFile(name, []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(generated, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || keep[filepath.ToSlash(name)] || !strings.HasSuffix(name, ".go") {
			return err
		}
		return os.Remove(name)
	})
}

// volatileFields are the fields that an identity leaves out.
type volatileFields struct {
	Names  []string `yaml:"names"`
	Fields []string `yaml:"fields"`

	names, fields map[string]bool // to whether a field was met
}

func readSettings() (*volatileFields, error) {
	text, err := os.ReadFile(settings)
	if err != nil {
		return nil, fmt.Errorf("run this from the root of the module: %w", err)
	}
	var s struct {
		Exclude  []string       `yaml:"exclude"` // read by package schema
		Volatile volatileFields `yaml:"volatile"`

		// Read by the governance checks.
		Serialisation any `yaml:"serialisation"`
		Planes        any `yaml:"planes"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", settings, err)
	}
	v := &s.Volatile
	v.names, v.fields = map[string]bool{}, map[string]bool{}
	for _, n := range v.Names {
		v.names[n] = false
	}
	for _, n := range v.Fields {
		v.fields[n] = false
	}
	return v, nil
}

func (v *volatileFields) has(f *protogen.Field) bool {
	full, name := string(f.Desc.FullName()), string(f.Desc.Name())
	_, byFull := v.fields[full]
	if byFull {
		v.fields[full] = true
	}
	_, byName := v.names[name]
	if byName {
		v.names[name] = true
	}
	return byFull || byName
}

// unused is a setting that no field answers to, so that a typo is no silence.
func (v *volatileFields) unused() string {
	for _, n := range v.Names {
		if !v.names[n] {
			return n
		}
	}
	for _, n := range v.Fields {
		if !v.fields[n] {
			return n
		}
	}
	return ""
}
