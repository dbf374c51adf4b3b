// Package toolchain reads the list of the tools that make the generated code,
// contracts/build/toolchain.yaml, and compares it with what is installed.
//
// Every tool has an exact version and the SHA-256 of what it is.
package toolchain

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Name is where the list stands in a folder of contracts.
const Name = "build/toolchain.yaml"

// Protoc is the package that protoc comes from.
const Protoc = "protobuf-compiler"

// A Toolchain is the list.
type Toolchain struct {
	File     string // it was read from
	Image    Image
	Go       Go
	Packages []Package
	Modules  []Module
}

// Image is the container image that the tools are installed into.
type Image struct {
	Name   string // with its tag
	Digest string // "sha256:" and 64 hex digits
}

// Go is the Go toolchain.
type Go struct {
	Version string // such as 1.26.8
	Module  string // the module of the toolchain, with its version
	SHA256  string // of the module's zip file
}

// Package is a Debian package.
type Package struct {
	Name         string
	Version      string // Debian's, such as 3.21.12-3
	Architecture string // Debian's, such as amd64
	SHA256       string // of the .deb
	Files        []File // of what it unpacks to, in the order of the list
}

// Upstream is the version without Debian's part: what the tool prints itself.
func (p Package) Upstream() string {
	v := p.Version
	if _, rest, ok := strings.Cut(v, ":"); ok {
		v = rest
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		v = v[:i]
	}
	return v
}

// File is an unpacked file.
type File struct{ Path, SHA256 string }

// Module is a Go module.
type Module struct {
	Path    string
	Version string
	SHA256  string // the h1 sum of go.sum, in hex
}

// Package returns the package of that name.
func (t *Toolchain) Package(name string) (Package, bool) {
	for _, p := range t.Packages {
		if p.Name == name {
			return p, true
		}
	}
	return Package{}, false
}

// Load reads the list of a folder of contracts.
func Load(dir string) (*Toolchain, error) {
	name := filepath.Join(dir, filepath.FromSlash(Name))
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, text)
}

// Parse reads the list. Its error has a line for each thing that is wrong, with
// the name, the line and what would be right.
func Parse(name string, text []byte) (*Toolchain, error) {
	p := parser{name: name, out: &Toolchain{File: name}}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the file is empty; want the keys image, go, packages and modules")
		}
		return nil, syntaxError(name, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		p.fail(&doc, "there is more behind the first document; want one document")
	}
	root := p.mapping(doc.Content[0], "image", "go", "packages", "modules")
	p.image(root["image"])
	p.golang(root["go"])
	for _, n := range p.list(root["packages"]) {
		p.pkg(n)
	}
	for _, n := range p.list(root["modules"]) {
		p.module(n)
	}
	if _, ok := p.out.Package(Protoc); !ok && len(p.errs) == 0 {
		p.fail(root["packages"], "there is no package "+Protoc+"; protoc comes from it")
	}
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return p.out, nil
}

type parser struct {
	name string
	out  *Toolchain
	errs []error
}

func (p *parser) fail(n *yaml.Node, text string) {
	line := 1
	if n != nil && n.Line > 0 {
		line = n.Line
	}
	p.errs = append(p.errs, fmt.Errorf("%s:%d: %s", p.name, line, text))
}

// mapping returns the values of a mapping that has exactly these keys. It is
// not nil.
func (p *parser) mapping(n *yaml.Node, keys ...string) map[string]*yaml.Node {
	values := map[string]*yaml.Node{}
	if n == nil {
		return values // the key's absence was reported
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "want a mapping with the keys "+strings.Join(keys, ", "))
		return values
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		known := false
		for _, want := range keys {
			known = known || k.Value == want
		}
		switch {
		case !known:
			p.fail(k, fmt.Sprintf("unknown key %q; want %s", k.Value, strings.Join(keys, ", ")))
		case values[k.Value] != nil:
			p.fail(k, fmt.Sprintf("the key %q is there twice", k.Value))
		default:
			values[k.Value] = n.Content[i+1]
		}
	}
	for _, k := range keys {
		if values[k] == nil {
			p.fail(n, fmt.Sprintf("the key %q is missing", k))
		}
	}
	return values
}

func (p *parser) list(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil:
		return nil
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		p.fail(n, "want a list of at least one")
		return nil
	}
	return n.Content
}

// text returns a scalar that has a form.
func (p *parser) text(n *yaml.Node, form *regexp.Regexp, want string) string {
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode || !form.MatchString(n.Value) {
		p.fail(n, fmt.Sprintf("%q; want %s", n.Value, want))
		return ""
	}
	return n.Value
}

var (
	hexForm     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	digestForm  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	imageForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9./_-]*:[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	debForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	debVersion  = regexp.MustCompile(`^[0-9][A-Za-z0-9.+:~-]*$`)
	archForm    = regexp.MustCompile(`^(amd64|arm64|all)$`)
	goVersion   = regexp.MustCompile(`^[0-9]+\.[0-9]+(\.[0-9]+)?$`)
	moduleForm  = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._~/-]*$`)
	modVersion  = regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*$`)
	wantHex     = "a SHA-256: 64 lower-case hex digits"
	wantVersion = "an exact version"
)

// digest returns a SHA-256 and refuses the obvious placeholders.
func (p *parser) digest(n *yaml.Node, form *regexp.Regexp, want string) string {
	v := p.text(n, form, want)
	if hex := strings.TrimPrefix(v, "sha256:"); v != "" && strings.Count(hex, hex[:1]) == len(hex) {
		p.fail(n, fmt.Sprintf("%q is a placeholder; want %s", v, want))
	}
	return v
}

func (p *parser) image(n *yaml.Node) {
	m := p.mapping(n, "name", "digest")
	p.out.Image = Image{
		Name:   p.text(m["name"], imageForm, "an image with its tag, such as debian:bookworm-slim"),
		Digest: p.digest(m["digest"], digestForm, `"sha256:" and 64 lower-case hex digits`),
	}
}

func (p *parser) golang(n *yaml.Node) {
	m := p.mapping(n, "version", "module", "zip_sha256")
	g := Go{
		Version: p.text(m["version"], goVersion, "a Go version, such as 1.26.8"),
		SHA256:  p.digest(m["zip_sha256"], hexForm, wantHex),
	}
	prefix := "golang.org/toolchain@v0.0.1-go" + g.Version + "."
	if v := m["module"]; v != nil && g.Version != "" {
		if !strings.HasPrefix(v.Value, prefix) {
			p.fail(v, fmt.Sprintf("%q; want %slinux-amd64 or that of another platform", v.Value, prefix))
		}
		g.Module = v.Value
	}
	p.out.Go = g
}

func (p *parser) pkg(n *yaml.Node) {
	m := p.mapping(n, "name", "version", "architecture", "deb_sha256", "files")
	pkg := Package{
		Name:         p.text(m["name"], debForm, "the name of a Debian package"),
		Version:      p.text(m["version"], debVersion, wantVersion+", such as 3.21.12-3"),
		Architecture: p.text(m["architecture"], archForm, "amd64, arm64 or all"),
		SHA256:       p.digest(m["deb_sha256"], hexForm, wantHex),
	}
	if _, twice := p.out.Package(pkg.Name); twice && pkg.Name != "" {
		p.fail(n, fmt.Sprintf("the package %s is there twice", pkg.Name))
	}
	if f := m["files"]; f != nil {
		if f.Kind != yaml.MappingNode || len(f.Content) == 0 {
			p.fail(f, "want a mapping of paths to SHA-256s, with at least one")
		} else {
			for i := 0; i+1 < len(f.Content); i += 2 {
				name := f.Content[i].Value
				if !path.IsAbs(name) || path.Clean(name) != name {
					p.fail(f.Content[i], fmt.Sprintf("%q; want an absolute path", name))
				}
				pkg.Files = append(pkg.Files, File{name, p.digest(f.Content[i+1], hexForm, wantHex)})
			}
		}
	}
	p.out.Packages = append(p.out.Packages, pkg)
}

func (p *parser) module(n *yaml.Node) {
	m := p.mapping(n, "path", "version", "sum_sha256")
	p.out.Modules = append(p.out.Modules, Module{
		Path:    p.text(m["path"], moduleForm, "the path of a Go module"),
		Version: p.text(m["version"], modVersion, wantVersion+", such as v1.36.12"),
		SHA256:  p.digest(m["sum_sha256"], hexForm, wantHex),
	})
}

var syntaxLine = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line ([0-9]+): )?(.*)$`)

// syntaxError puts the line of an error of the YAML library to the name.
func syntaxError(name string, err error) error {
	m := syntaxLine.FindStringSubmatch(err.Error())
	line := m[1]
	if line == "" {
		line = "1"
	}
	return fmt.Errorf("%s:%s: %s", name, line, m[2])
}
