package compat

import (
	"fmt"
	"strings"
)

// single is one change: the declarations of a file before and after. The type
// that it is about is M.
type single struct {
	family, name string
	old, new     string
	want         string // kinds of changes, with commas; empty: not looked at
}

var scalarKinds = []string{"bool", "int32", "int64", "uint32", "uint64", "sint32", "sint64",
	"fixed32", "fixed64", "sfixed32", "sfixed64", "float", "double", "string", "bytes"}

const (
	enumE   = "enum E { E_ZERO = 0; E_ONE = 1; E_TWO = 2; }\n"
	enumG   = "enum G { G_ZERO = 0; G_ONE = 1; G_TWO = 2; }\n"
	msgN    = "message N { int32 n = 1; string s = 2; }\n"
	msgO    = "message O { int32 n = 1; string s = 2; }\n"
	context = enumE + enumG + msgN + msgO
)

func in(fields string) string { return context + "message M {\n" + fields + "\n}\n" }

func packable(kind string) bool { return kind != "string" && kind != "bytes" && kind != "N" }

// grid is every single change that the checker must judge.
func grid() []single {
	var all []single
	add := func(family, name, old, new, want string) {
		all = append(all, single{family, name, in(old), in(new), want})
	}
	raw := func(family, name, old, new, want string) {
		all = append(all, single{family, name, old, new, want})
	}
	kinds := append(append([]string{}, scalarKinds...), "E", "N")
	for _, a := range kinds {
		for _, b := range kinds {
			if a != b {
				add("kind to kind", a+" to "+b, a+" a = 1;", b+" a = 1;", "field-type")
			}
		}
	}
	for _, a := range kinds {
		if a != "N" {
			add("presence", a+" to optional", a+" a = 1;", "optional "+a+" a = 1;", "field-presence")
			add("presence", a+" to implicit", "optional "+a+" a = 1;", a+" a = 1;", "field-presence")
		} else {
			add("presence", a+" to optional", a+" a = 1;", "optional "+a+" a = 1;", "")
		}
		add("cardinality", a+" to repeated", a+" a = 1;", "repeated "+a+" a = 1;", "field-cardinality")
		add("cardinality", "repeated "+a+" to singular", "repeated "+a+" a = 1;", a+" a = 1;", "field-cardinality")
		add("cardinality", "optional "+a+" to repeated", "optional "+a+" a = 1;", "repeated "+a+" a = 1;", "field-cardinality")
		if packable(a) {
			add("packed", a+" unpacked", "repeated "+a+" a = 1;", "repeated "+a+" a = 1 [packed = false];", "field-packed")
			add("packed", a+" packed", "repeated "+a+" a = 1 [packed = false];", "repeated "+a+" a = 1;", "field-packed")
			add("cardinality", a+" to unpacked", a+" a = 1;", "repeated "+a+" a = 1 [packed = false];", "field-cardinality")
			add("cardinality", "unpacked "+a+" to singular", "repeated "+a+" a = 1 [packed = false];", a+" a = 1;", "field-cardinality")
			add("cardinality", "packed "+a+" to bytes", "repeated "+a+" a = 1;", "bytes a = 1;", "")
			add("cardinality", "packed "+a+" to string", "repeated "+a+" a = 1;", "string a = 1;", "")
			add("cardinality", "packed "+a+" to N", "repeated "+a+" a = 1;", "N a = 1;", "")
			add("cardinality", "bytes to packed "+a, "bytes a = 1;", "repeated "+a+" a = 1;", "")
			add("cardinality", "string to packed "+a, "string a = 1;", "repeated "+a+" a = 1;", "")
			add("cardinality", "N to packed "+a, "N a = 1;", "repeated "+a+" a = 1;", "")
		}
		add("oneof", a+" into a lone oneof", a+" a = 1;", "oneof o { "+a+" a = 1; }", "")
		add("oneof", a+" out of a lone oneof", "oneof o { "+a+" a = 1; }", a+" a = 1;", "")
		add("oneof", a+" into a shared oneof", a+" a = 1; oneof o { int32 b = 2; }", "oneof o { "+a+" a = 1; int32 b = 2; }", "field-oneof")
		add("oneof", a+" out of a shared oneof", "oneof o { "+a+" a = 1; int32 b = 2; }", a+" a = 1; oneof o { int32 b = 2; }", "field-oneof")
		add("field", a+" added", "", a+" a = 1;", "field-added")
		add("field", a+" removed", a+" a = 1; int32 z = 9;", "int32 z = 9;", "field-removed")
		add("field", a+" removed and reserved", a+" a = 1; int32 z = 9;", `reserved 1; reserved "a"; int32 z = 9;`, "field-removed")
		add("field", a+" renamed", a+" a = 1;", a+" b = 1;", "field-renamed")
		add("field", a+" renumbered", a+" a = 1;", a+" a = 2;", "field-renumbered")
		add("field", a+" swapped with its like", a+" a = 1; "+a+" b = 2;", a+" a = 2; "+a+" b = 1;", "field-renumbered,field-renumbered")
		add("field", a+" swapped with a string", a+" a = 1; string b = 2;", a+" a = 2; string b = 1;", "field-renumbered,field-renumbered")
		add("field", a+" takes a reserved number", "reserved 1; int32 z = 9;", a+" a = 1; int32 z = 9;", "field-added,reserved-number-reused")
		add("field", a+" takes a reserved name", `reserved "a"; int32 z = 9;`, a+" a = 1; int32 z = 9;", "field-added,reserved-name-reused")
		if a != "float" && a != "double" && a != "bytes" && a != "E" && a != "N" {
			add("map", "map key "+a+" to "+other(a), "map<"+a+", int32> a = 1;", "map<"+other(a)+", int32> a = 1;", "field-type")
			add("map", "map value of key "+a, "map<"+a+", int64> a = 1;", "map<"+a+", int32> a = 1;", "field-type")
		}
		add("map", a+" as map value added", "", "map<string, "+a+"> a = 1;", "map-field-added")
		add("map", "map value "+a+" to int32", "map<string, "+a+"> a = 1;", "map<string, int32> a = 1;", "")
		add("map", "map value int64 to "+a, "map<string, int64> a = 1;", "map<string, "+a+"> a = 1;", "")
		raw("map", "map of "+a+" to entries", in("map<int32, "+a+"> a = 1;"),
			in("message T { int32 key = 1; "+a+" value = 2; } repeated T a = 1;"), "")
		raw("map", "entries to map of "+a, in("message T { int32 key = 1; "+a+" value = 2; } repeated T a = 1;"),
			in("map<int32, "+a+"> a = 1;"), "")
		raw("map", "map of "+a+" to entries with presence", in("map<int32, "+a+"> a = 1;"),
			in("message T { optional int32 key = 1; optional "+a+" value = 2; } repeated T a = 1;"), "")
	}

	add("field", "number taken over", "int32 a = 1; int32 b = 2;", "int32 b = 1;", "field-removed,field-renumbered")
	add("field", "number left to a new one", "int32 a = 1;", "int32 a = 2; int32 b = 1;", "field-added,field-renumbered")

	add("oneof", "moved", "oneof o { int32 a = 1; int32 b = 2; } oneof p { int32 c = 3; }", "oneof o { int32 b = 2; } oneof p { int32 a = 1; int32 c = 3; }", "field-oneof")
	add("oneof", "merged", "oneof o { int32 a = 1; } oneof p { int32 b = 2; }", "oneof o { int32 a = 1; int32 b = 2; }", "")
	add("oneof", "split", "oneof o { int32 a = 1; int32 b = 2; }", "oneof o { int32 a = 1; } oneof p { int32 b = 2; }", "field-oneof")
	add("oneof", "two optional into one", "optional int32 a = 1; optional string b = 2;", "oneof o { int32 a = 1; string b = 2; }", "")
	add("oneof", "one into two optional", "oneof o { int32 a = 1; string b = 2; }", "optional int32 a = 1; optional string b = 2;", "")
	add("oneof", "two messages into one", "N a = 1; N b = 2;", "oneof o { N a = 1; N b = 2; }", "")
	add("oneof", "two empty messages into one", "message Z {} Z a = 1; Z b = 2;", "message Z {} oneof o { Z a = 1; Z b = 2; }", "")
	add("oneof", "renamed", "oneof o { int32 a = 1; string b = 2; }", "oneof p { int32 a = 1; string b = 2; }", "oneof-renamed")
	add("oneof", "member added", "oneof o { int32 a = 1; }", "oneof o { int32 a = 1; string b = 2; }", "field-added")
	add("oneof", "member removed", "oneof o { int32 a = 1; string b = 2; }", "oneof o { int32 a = 1; }", "field-removed")

	enum := func(name, old, new, want string) {
		for _, use := range []string{"K k = 1;", "optional K k = 1;", "repeated K k = 1;", "map<string, K> k = 1;"} {
			raw("enum", name+" in "+use, "enum K { "+old+" }\nmessage M { "+use+" }\n", "enum K { "+new+" }\nmessage M { "+use+" }\n", want)
		}
	}
	enum("value added", "A = 0; B = 1;", "A = 0; B = 1; C = 2;", "enum-value-added")
	enum("value inserted", "A = 0; C = 2;", "A = 0; B = 1; C = 2;", "enum-value-inserted")
	enum("value removed", "A = 0; B = 1; C = 2;", "A = 0; C = 2;", "enum-value-removed")
	enum("value removed and reserved", "A = 0; B = 1; C = 2;", `reserved 1; reserved "B"; A = 0; C = 2;`, "enum-value-removed")
	enum("value renamed", "A = 0; B = 1;", "A = 0; X = 1;", "enum-value-renamed")
	enum("value renumbered", "A = 0; B = 1;", "A = 0; B = 2;", "enum-value-renumbered")
	enum("values swapped", "A = 0; B = 1; C = 2;", "A = 0; B = 2; C = 1;", "enum-value-renumbered,enum-value-renumbered")
	enum("zero swapped", "A = 0; B = 1;", "B = 0; A = 1;", "enum-value-renumbered,enum-value-renumbered")
	enum("values reordered", "A = 0; B = 1; C = 2;", "A = 0; C = 2; B = 1;", "enum-values-reordered")
	enum("zero's name taken by another", "A = 0; B = 5;", "Z = 0; A = 5;", "")

	add("same shape", "enum E to G", "E a = 1;", "G a = 1;", "field-type")
	add("same shape", "repeated E to G", "repeated E a = 1;", "repeated G a = 1;", "field-type")
	add("same shape", "message N to O", "N a = 1;", "O a = 1;", "field-type")
	add("same shape", "repeated N to O", "repeated N a = 1;", "repeated O a = 1;", "field-type")
	add("same shape", "map of N to O", "map<string, N> a = 1;", "map<string, O> a = 1;", "field-type")
	add("same shape", "oneof N to O", "oneof o { N a = 1; }", "oneof o { O a = 1; }", "field-type")
	add("same shape", "recursive types", "message P { P p = 1; int32 n = 2; } P a = 1;", "message Q { Q p = 1; int32 n = 2; } Q a = 1;", "")

	nest := func(family, old, new string) {
		inner := func(use, body string) string {
			return "message I { " + body + " }\nmessage J { I i = 1; }\nmessage M { " + use + " }\n"
		}
		for _, u := range []struct{ name, use string }{
			{"once", "I a = 1;"}, {"twice", "J a = 1;"}, {"repeated", "repeated I a = 1;"}, {"twice, repeated", "repeated J a = 1;"},
			{"in a oneof", "oneof o { I a = 1; string b = 2; }"}, {"in a map", "map<string, I> a = 1;"}, {"twice in a map", "map<int32, J> a = 1;"},
		} {
			raw("nested", family+", "+u.name, inner(u.use, old), inner(u.use, new), "")
		}
	}
	nest("int64 to int32", "int64 n = 1;", "int32 n = 1;")
	nest("bytes to string", "bytes n = 1;", "string n = 1;")
	nest("optional to implicit", "optional int32 n = 1;", "int32 n = 1;")
	nest("packed to unpacked", "repeated int32 n = 1;", "repeated int32 n = 1 [packed = false];")
	nest("renumbered", "int32 n = 1;", "int32 n = 2;")
	nest("added", "", "int32 n = 1;")
	nest("merged into a oneof", "int32 n = 1; int32 o = 2;", "oneof one { int32 n = 1; int32 o = 2; }")
	nest("field removed", "int32 n = 1; string s = 2;", "int32 n = 1;")

	add("message and bytes", "N to optional bytes", "N a = 1;", "optional bytes a = 1;", "")
	add("message and bytes", "optional bytes to N", "optional bytes a = 1;", "N a = 1;", "")
	add("message and bytes", "repeated N to bytes", "repeated N a = 1;", "repeated bytes a = 1;", "")
	add("message and bytes", "map to repeated bytes", "map<string, int32> a = 1;", "repeated bytes a = 1;", "")
	add("message and bytes", "repeated bytes to map", "repeated bytes a = 1;", "map<string, int32> a = 1;", "")
	add("message and bytes", "bool message to string", "message B { bool b = 1; } B a = 1;", "message B { bool b = 1; } optional string a = 1;", "")
	add("message and bytes", "varints to packed", "message B { int64 b = 1; } B a = 1;", "message B { int64 b = 1; } repeated int64 a = 1;", "")
	add("message and bytes", "empty to int32", "message Z {} Z a = 1;", "message Z {} int32 a = 1;", "")
	add("message and bytes", "empty to bytes", "message Z {} Z a = 1;", "message Z {} bytes a = 1;", "")
	add("message and bytes", "empty to packed", "message Z {} Z a = 1;", "message Z {} repeated int32 a = 1;", "")
	add("map", "map to bytes", "map<string, int32> a = 1;", "bytes a = 1;", "")
	add("map", "message to map", "message T { string key = 1; int32 value = 2; } T a = 1;", "map<string, int32> a = 1;", "")
	add("map", "optional parts to map", "message T { optional string key = 1; optional int32 value = 2; } T a = 1;", "map<string, int32> a = 1;", "")
	add("map", "message with more to map", "message T { string key = 1; int32 value = 2; bool more = 3; } T a = 1;", "map<string, int32> a = 1;", "")
	add("map", "message with less to map", "message T { string key = 1; } T a = 1;", "map<string, int32> a = 1;", "")
	add("map", "bool to bool, to packed", "map<bool, bool> a = 1;", "repeated fixed32 a = 1;", "")
	add("map", "empty message to map", "message Z {} Z a = 1;", "message Z {} map<string, int32> a = 1;", "")
	add("map", "map to entries, renumbered", "map<string, int32> a = 1;", "message T { string key = 2; int32 value = 1; } repeated T a = 1;", "")

	for _, p := range []string{"repeated fixed64 a = 1;|repeated fixed32 a = 1;", "repeated fixed32 a = 1;|repeated fixed64 a = 1;",
		"repeated int32 a = 1;|repeated fixed32 a = 1;", "repeated double a = 1;|repeated bool a = 1;", "repeated int64 a = 1;|repeated int32 a = 1;",
		"repeated sint32 a = 1;|repeated int32 a = 1;", "repeated bool a = 1;|repeated int32 a = 1;", "repeated int32 a = 1;|repeated bool a = 1;",
		"repeated float a = 1;|repeated fixed32 a = 1;", "repeated string a = 1;|repeated bytes a = 1;", "repeated E a = 1;|repeated int32 a = 1;",
		"repeated int32 a = 1 [packed = false];|repeated fixed32 a = 1;", "repeated int32 a = 1 [packed = false];|repeated int64 a = 1;"} {
		old, new, _ := strings.Cut(p, "|")
		add("list to list", p, old, new, "")
	}

	add("reservation", "of an unused number", "int32 a = 1;", "int32 a = 1; reserved 7;", "reservation-added")
	add("reservation", "of an unused name", "int32 a = 1;", `int32 a = 1; reserved "old";`, "reservation-added")
	add("reservation", "taken back", "int32 a = 1; reserved 7 to 9;", "int32 a = 1; reserved 7, 9;", "reservation-removed")
	add("reservation", "name taken back", `int32 a = 1; reserved "old";`, "int32 a = 1;", "reservation-removed")
	raw("reservation", "of an enum's number", "enum K { A = 0; }\nmessage M { K k = 1; }", "enum K { reserved 7; A = 0; }\nmessage M { K k = 1; }", "reservation-added")
	raw("reservation", "of an enum's number taken back", "enum K { reserved 7; A = 0; }\nmessage M { K k = 1; }", "enum K { A = 0; }\nmessage M { K k = 1; }", "reservation-removed")
	raw("reservation", "of an enum's number reused", "enum K { reserved 7; A = 0; }\nmessage M { K k = 1; }", "enum K { A = 0; B = 7; }\nmessage M { K k = 1; }",
		"enum-value-added,reserved-number-reused")
	raw("reservation", "of an enum's name reused", "enum K { reserved \"B\"; A = 0; }\nmessage M { K k = 1; }", "enum K { A = 0; B = 7; }\nmessage M { K k = 1; }",
		"enum-value-added,reserved-name-reused")
	add("options", "json_name", "int32 a = 1;", `int32 a = 1 [json_name = "x"];`, "option-changed")
	add("options", "deprecated", "int32 a = 1;", "int32 a = 1 [deprecated = true];", "option-changed")
	add("options", "comment", "int32 a = 1;", "// a is the first.\nint32 a = 1;", "none")
	raw("rpc", "added", in("int32 a = 1;"), in("int32 a = 1;")+"service S { rpc Do(M) returns (N); }\n", "service-added")
	raw("rpc", "method added", in("int32 a = 1;")+"service S { rpc Do(M) returns (N); }\n",
		in("int32 a = 1;")+"service S { rpc Do(M) returns (N); rpc More(M) returns (N); }\n", "method-added")
	raw("rpc", "method removed", in("int32 a = 1;")+"service S { rpc Do(M) returns (N); rpc More(M) returns (N); }\n",
		in("int32 a = 1;")+"service S { rpc Do(M) returns (N); }\n", "method-removed")
	raw("rpc", "request changed", in("int32 a = 1;")+"service S { rpc Do(M) returns (N); }\n",
		in("int32 a = 1;")+"service S { rpc Do(N) returns (N); }\n", "method-request")
	raw("rpc", "response changed", in("int32 a = 1;")+"service S { rpc Do(M) returns (N); }\n",
		in("int32 a = 1;")+"service S { rpc Do(M) returns (O); }\n", "method-response")
	raw("rpc", "streaming", in("int32 a = 1;")+"service S { rpc Do(M) returns (N); }\n",
		in("int32 a = 1;")+"service S { rpc Do(M) returns (stream N); }\n", "method-streaming")
	raw("types", "message added", in(""), in("")+"message New { int32 a = 1; }\n", "message-added")
	raw("types", "message removed", in("")+"message Old { int32 a = 1; bool b = 2; }\n", in(""), "message-removed")
	raw("types", "message renamed", in("")+"message Old { int32 a = 1; bool b = 2; }\n", in("")+"message New { int32 a = 1; bool b = 2; }\n", "message-renamed")
	raw("types", "enum added", in(""), in("")+"enum New { X = 0; }\n", "enum-added")
	raw("types", "enum removed", in("")+"enum Old { X = 0; }\n", in(""), "enum-removed")
	for i := range all {
		if strings.TrimSpace(all[i].old) == "" {
			panic(fmt.Sprintf("%s: nothing to compare", all[i].name))
		}
	}
	return all
}

// other is a kind that is near to this one.
func other(kind string) string {
	near := map[string]string{"bool": "int32", "int32": "int64", "int64": "int32", "uint32": "int64", "uint64": "uint32",
		"sint32": "int32", "sint64": "sint32", "fixed32": "sfixed32", "fixed64": "fixed32", "sfixed32": "fixed32", "sfixed64": "fixed64", "string": "int32"}
	return near[kind]
}
