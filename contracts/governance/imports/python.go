package imports

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/finding"
)

// pyMethods of messages, and of the modules that print and read them.
var pyMethods = map[string]bool{
	"SerializeToString": true, "SerializePartialToString": true, "ParseFromString": true,
	"MergeFromString": true, "FromString": true,
	"ParseDict": true, "MessageToDict": true, "MessageToJson": true, "MessageToString": true,
}

// pyModules may not be imported, nor what is in them.
var pyModules = []string{
	"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "struct", "_struct",
	"google.protobuf",
}

// generatedPython says whether a module was written by protoc.
func generatedPython(module string) bool {
	return strings.HasSuffix(module, "_pb2") || strings.HasSuffix(module, "_pb2_grpc")
}

// forbiddenModule says whether a module, or a name in one, may not be
// imported. google.protobuf.timestamp_pb2 is generated code.
func forbiddenModule(module string) bool {
	for _, m := range pyModules {
		if module == m || strings.HasPrefix(module, m+".") && !generatedPython(module) {
			return true
		}
	}
	return false
}

func pythonTest(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, "test_") || strings.HasSuffix(base, "_test.py") || base == "conftest.py" ||
		strings.Contains("/"+name, "/tests/")
}

// pythonFindings checks the Python files.
func (t *tree) pythonFindings() []finding.Finding {
	modules := map[string]string{} // file by module
	for _, name := range t.names {
		if path.Ext(name) == ".py" {
			modules[pyModule(name)] = name
		}
	}
	byFile := map[string][]finding.Finding{}
	imported := map[string]map[string]bool{}
	for _, name := range t.names {
		if path.Ext(name) != ".py" || pythonTest(name) && !t.Tests {
			continue
		}
		p := &pyFile{tree: t, name: name, tokens: pyTokens(t.files[name])}
		p.check()
		for _, m := range p.imports {
			for _, file := range resolve(m, modules) {
				if file != name {
					if imported[file] == nil {
						imported[file] = map[string]bool{}
					}
					imported[file][name] = true
				}
			}
		}
		if !t.allowed(name) && !generatedPython(strings.TrimSuffix(name, ".py")) {
			byFile[name] = p.found
		}
	}
	importers := map[string][]string{}
	for file, by := range imported {
		importers[file] = slices.Sorted(maps.Keys(by))
	}
	var all []finding.Finding
	for name, list := range byFile {
		by := reached(name, importers)
		for i := range list {
			list[i].ReachedBy = by
		}
		all = append(all, list...)
	}
	return all
}

// pyModule is the module that a file is, seen from the root.
func pyModule(name string) string {
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".py"), "/__init__")
	return strings.ReplaceAll(name, "/", ".")
}

// resolve finds the files that an import may mean. The root of the modules is
// not known, it may be src/ or any other folder: every file whose module ends
// in the name counts. A from-import may name a module or something in one.
func resolve(module string, modules map[string]string) []string {
	var files []string
	for m, file := range modules {
		if m == module || strings.HasSuffix(m, "."+module) {
			files = append(files, file)
		}
	}
	slices.Sort(files)
	return files
}

type pyFile struct {
	*tree
	name    string
	tokens  []pyToken
	imports []string
	found   []finding.Finding
}

func (p *pyFile) report(at pyToken, what string) {
	p.found = append(p.found, finding.Finding{Rule: Rule, Position: p.position(p.name, at.line, at.column), What: what, Want: want})
}

// at is the i-th token, or an end of line beyond the last.
func (p *pyFile) at(i int) pyToken {
	if i >= 0 && i < len(p.tokens) {
		return p.tokens[i]
	}
	return pyToken{kind: ';'}
}

func (p *pyFile) is(i int, text string) bool {
	t := p.at(i)
	return t.kind != 's' && t.text == text
}

func (p *pyFile) check() {
	for i := range p.tokens {
		t := p.tokens[i]
		if t.kind != 'n' {
			continue
		}
		begins := p.at(i-1).kind == ';' || p.is(i-1, ":")
		switch {
		case begins && t.text == "import":
			p.plainImport(i + 1)
		case begins && t.text == "from":
			p.fromImport(i + 1)
		case pyMethods[t.text] && p.is(i-1, "."):
			p.report(t, "uses the method "+t.text)
		case (t.text == "__import__" || t.text == "import_module") && p.is(i+1, "(") && p.at(i+2).kind == 's':
			p.oneImport(t, p.at(i+2).text)
		case t.text == "getattr" && p.is(i+1, "("):
			p.attribute(i)
		}
	}
}

// attribute finds getattr(m, "SerializeToString").
func (p *pyFile) attribute(i int) {
	for j, depth := i+1, 0; j < len(p.tokens); j++ {
		switch t := p.tokens[j]; {
		case t.kind == ';':
			return
		case p.is(j, "("):
			depth++
		case p.is(j, ")"):
			if depth--; depth <= 0 {
				return
			}
		case t.kind == 's' && depth == 1 && p.is(j-1, ",") && pyMethods[t.text]:
			p.report(t, "uses the method "+t.text+" by its name")
			return
		}
	}
}

// dotted reads a name with dots and returns it and what follows.
func (p *pyFile) dotted(i int) (string, int) {
	name := ""
	for ; p.at(i).kind == 'n' && p.at(i).text != "import" || p.is(i, "."); i++ {
		if p.at(i).kind == 'n' && name != "" && !strings.HasSuffix(name, ".") {
			break
		}
		name += p.at(i).text
	}
	return name, i
}

func (p *pyFile) oneImport(at pyToken, module string) {
	p.imports = append(p.imports, strings.TrimLeft(module, "."))
	if forbiddenModule(module) {
		p.report(at, "imports "+module)
	}
}

// plainImport reads "import a.b as c, d".
func (p *pyFile) plainImport(i int) {
	for {
		at := p.at(i)
		module, next := p.dotted(i)
		if module == "" {
			return
		}
		p.oneImport(at, module)
		if p.is(next, "as") {
			next += 2
		}
		if !p.is(next, ",") {
			return
		}
		i = next + 1
	}
}

// fromImport reads "from a.b import c as d, e", with or without parentheses.
func (p *pyFile) fromImport(i int) {
	at := p.at(i)
	module, i := p.dotted(i)
	if module == "" || !p.is(i, "import") {
		return
	}
	p.imports = append(p.imports, p.absolute(module))
	// google.protobuf itself holds generated modules beside its runtime: what
	// counts is what is taken from it.
	container := module == "google" || module == "google.protobuf"
	if !container && forbiddenModule(module) {
		p.report(at, "imports from "+module)
	}
	for i++; ; i++ {
		t := p.at(i)
		switch {
		case t.kind == ';':
			return
		case p.is(i, "as"):
			i++
		case t.kind == 'n' || p.is(i, "*"):
			full := strings.TrimSuffix(module, ".") + "." + t.text
			if strings.Trim(module, ".") == "" { // from .. import x
				full = module + t.text
			}
			p.imports = append(p.imports, p.absolute(full))
			switch {
			case container && forbiddenModule(full) && !generatedPython(full):
				p.report(t, "imports "+full)
			case !container && pyMethods[t.text] && !forbiddenModule(module):
				p.report(t, "imports "+full)
			}
		}
	}
}

// absolute is a relative module as seen from the root: "..codec" in
// a/b/c.py is a.codec.
func (p *pyFile) absolute(module string) string {
	up := len(module) - len(strings.TrimLeft(module, "."))
	if up == 0 {
		return module
	}
	dir := path.Dir(p.name)
	for range up - 1 {
		dir = path.Dir(dir)
	}
	name := strings.ReplaceAll(dir, "/", ".")
	rest := module[up:]
	switch {
	case dir == "." || dir == "/":
		return rest
	case rest == "":
		return name
	}
	return name + "." + rest
}
