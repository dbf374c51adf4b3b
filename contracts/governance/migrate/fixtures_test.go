package migrate

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every golden fixture of version 1 whose type can be migrated becomes a message
// that a receiver accepts. A fixture is there for its bytes, and may mean
// nothing, as a command for seed -1: then the refusal names the field.
func TestGoldenFixturesMigrate(t *testing.T) {
	dir := filepath.Join("..", "..", "golden")
	b, err := os.ReadFile(filepath.Join(dir, "fixtures.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there are no golden fixtures")
	}
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Fixtures []struct{ Version, File, Message string }
	}
	if err := yaml.Unmarshal(b, &table); err != nil {
		t.Fatal(err)
	}
	migrated := map[string]bool{}
	for _, f := range table.Fixtures {
		if f.Version != "v1" || !slices.Contains(Types(), f.Message) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Version, f.File))
		if err != nil {
			t.Fatal(err)
		}
		_, out, err := Bytes(f.Message, b)
		var refused *Refusal
		if errors.As(err, &refused) && refused.Field != "" {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", f.File, err)
			continue
		}
		accepted(t, out)
		migrated[f.Message] = true
	}
	if len(migrated) != len(Types()) {
		t.Errorf("of %d types, %d have a fixture that migrates", len(Types()), len(migrated))
	}
}
