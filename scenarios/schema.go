package scenarios

import (
	"encoding/json"
	"reflect"
	"strings"
)

// Schema is the JSON Schema of scenario files, made from the types of this
// package. It describes the shape; what names and faults there are is checked
// by Parse.
func Schema() ([]byte, error) {
	root := schemaOf(reflect.TypeFor[Scenario]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "espersim scenario"
	b, err := json.MarshalIndent(root, "", "  ")
	return append(b, '\n'), err
}

func schemaOf(t reflect.Type) map[string]any {
	switch t {
	case reflect.TypeFor[Duration]():
		return map[string]any{"type": "string", "pattern": `^([0-9.]+(ns|us|µs|ms|s|m|h))+$`}
	case reflect.TypeFor[Size]():
		return map[string]any{"type": []string{"string", "integer"}, "pattern": `^[0-9]+(KiB|MiB|GiB)?$`}
	case reflect.TypeFor[SchemaVersion]():
		return map[string]any{"type": "string", "pattern": `^[1-9][0-9]*\.(0|[1-9][0-9]*)$`}
	case reflect.TypeFor[Options]():
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"type": []string{"string", "number", "boolean"}}}
	case reflect.TypeFor[Expectation]():
		word := map[string]any{"type": "string"}
		return map[string]any{"oneOf": []any{word, map[string]any{"type": "array", "items": word}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Struct:
		props := map[string]any{}
		var need []string
		for i := range t.NumField() {
			f := t.Field(i)
			name := f.Tag.Get("yaml")
			if name == "" {
				continue
			}
			p := schemaOf(f.Type)
			if d := f.Tag.Get("doc"); d != "" {
				p["description"] = d
			}
			if w := f.Tag.Get("oneof"); w != "" {
				p["enum"] = strings.Split(w, ",")
			}
			if f.Tag.Get("need") == "yes" {
				need = append(need, name)
			}
			props[name] = p
		}
		s := map[string]any{"type": "object", "properties": props, "additionalProperties": false}
		if len(need) > 0 {
			s["required"] = need
		}
		return s
	}
	return map[string]any{"type": "integer"}
}
