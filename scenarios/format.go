package scenarios

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format writes a scenario as a file that Parse reads back to the same
// scenario: keys in the order of the types, what has its default left out,
// hosts, nodes and steps one a line.
func Format(s *Scenario) ([]byte, error) {
	root := objectNode(reflect.ValueOf(s).Elem(), 0)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	return b.Bytes(), nil
}

func scalarNode(text string, style yaml.Style) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Value: text, Style: style}
}

// textNode is a text in the style in which it reads back as one.
func textNode(s string) *yaml.Node {
	if strings.Contains(s, "\n") {
		return scalarNode(s, yaml.LiteralStyle)
	}
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// objectNode is a struct's fields that are not zero; below the top level
// structs are written on one line.
func objectNode(v reflect.Value, depth int) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if depth > 1 {
		n.Style = yaml.FlowStyle
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" || v.Field(i).IsZero() && f.Tag.Get("need") != "yes" || name == "class" && v.Field(i).String() == "short" {
			continue
		}
		n.Content = append(n.Content, scalarNode(name, 0), valueNode(v.Field(i), depth+1))
	}
	return n
}

func valueNode(v reflect.Value, depth int) *yaml.Node {
	switch x := v.Interface().(type) {
	case Duration:
		return scalarNode(x.String(), 0)
	case Size:
		return scalarNode(strconv.FormatInt(int64(x), 10), 0)
	case Options:
		n := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		for _, o := range x.Values {
			n.Content = append(n.Content, scalarNode(o.Key, 0), textNode(o.Value))
		}
		return n
	case Expectation:
		if x.Clean() {
			return scalarNode("clean", 0)
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		return valueNode(v.Elem(), depth)
	case reflect.Struct:
		return objectNode(v, depth)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if k := v.Type().Elem().Kind(); k != reflect.Struct {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, valueNode(v.Index(i), 2))
		}
		return n
	case reflect.Bool:
		return scalarNode(strconv.FormatBool(v.Bool()), 0)
	case reflect.Int, reflect.Int64:
		return scalarNode(strconv.FormatInt(v.Int(), 10), 0)
	case reflect.Float64:
		return scalarNode(strconv.FormatFloat(v.Float(), 'g', -1, 64), 0)
	}
	return textNode(v.String())
}
