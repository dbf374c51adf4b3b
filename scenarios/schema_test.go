package scenarios_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/esper-sim/espersim/scenarios"
)

// The committed schema is the one that the types give.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := scenarios.Schema()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("schema.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("schema.json is not the schema of the types: run make generate (%v)", err)
	}
}

// Every key of every scenario stands in the schema, and everything that the
// schema requires is there.
func TestScenariosFollowTheSchema(t *testing.T) {
	b, err := scenarios.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	for _, f := range files(t) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if err := follows(schema, v, f); err != nil {
			t.Error(err)
		}
	}
}

// follows checks the shape of v: objects, lists and keys.
func follows(schema map[string]any, v any, path string) error {
	switch v := v.(type) {
	case map[string]any:
		props, _ := schema["properties"].(map[string]any)
		for k, x := range v {
			p, ok := props[k].(map[string]any)
			if !ok {
				if p, ok = schema["additionalProperties"].(map[string]any); !ok {
					return fmt.Errorf("%s: the key %q is not in the schema", path, k)
				}
			}
			if err := follows(p, x, path+"."+k); err != nil {
				return err
			}
		}
		need, _ := schema["required"].([]any)
		for _, k := range need {
			if _, ok := v[k.(string)]; !ok {
				return fmt.Errorf("%s: the schema requires %q", path, k)
			}
		}
	case []any:
		items, ok := schema["items"].(map[string]any)
		if one, _ := schema["oneOf"].([]any); len(one) == 2 {
			items, ok = one[1].(map[string]any)["items"].(map[string]any)
		}
		if !ok {
			return fmt.Errorf("%s: a list is not what the schema says", path)
		}
		for i, x := range v {
			if err := follows(items, x, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case string:
		if words, ok := schema["enum"].([]any); ok {
			for _, w := range words {
				if w == v {
					return nil
				}
			}
			return fmt.Errorf("%s: %q is none of %v", path, v, words)
		}
	}
	return nil
}
