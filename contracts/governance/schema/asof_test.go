package schema

import (
	"testing"
)

// What is declared as newer is all that an older version lacks.
func TestAsOf(t *testing.T) {
	text := func(marked bool) string {
		s := `syntax = "proto3";
package x.v2;
%import "options/options.proto";%
%enum Newer { NEWER_UNSPECIFIED = 0 [(esper.options.value_since) = 1]; }%
enum E { E_UNSPECIFIED = 0; A = 1; %B = 2 [(esper.options.value_since) = 1];% }
%message New { option (esper.options.message_since) = 1; int32 a = 1; }%
message M {
  int32 a = 1;
  %int32 b = 2 [(esper.options.since) = 1];%
  %oneof gone { int32 x = 3 [(esper.options.since) = 1]; }%
  oneof stays { int32 y = 4; %int32 z = 5 [(esper.options.since) = 1];% }
  optional int32 o = 6;
  %optional int32 p = 7 [(esper.options.since) = 1];%
  message Inner { int32 a = 1; %int32 b = 2 [(esper.options.since) = 1];% enum F { F_UNSPECIFIED = 0; %G = 1 [(esper.options.value_since) = 1];% } }
  %New n = 8 [(esper.options.since) = 1];%
}
`
		out, in := "", true
		for _, r := range s {
			if r == '%' {
				in = !in
			} else if in || marked {
				out += string(r)
			}
		}
		return out
	}
	load := func(marked bool) *Schema {
		s, err := FromSources("test", map[string]string{"a.proto": text(marked)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	newer, older := load(true), load(false)
	want, err := Hash(older.DescriptorSet())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Hash(AsOf(newer.DescriptorSet(), 0)); err != nil || got != want {
		t.Errorf("%v\nwant\n%v (%v)", AsOf(newer.DescriptorSet(), 0), older.DescriptorSet(), err)
	}
	all, err := Hash(newer.DescriptorSet())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Hash(AsOf(newer.DescriptorSet(), 1)); err != nil || got != all {
		t.Errorf("something is missing in the version that added it (%v)", err)
	}
}
