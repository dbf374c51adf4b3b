// Package manifest reads and enforces the version manifest of a folder of
// schemas, build/versions.yaml (HLD section 8.4): which versions there are,
// which packages belong to each, what was released last, and that nothing
// changed without a new version.
package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// File is the manifest's place below the folder of schemas.
const File = "build/versions.yaml"

// Released is where the released descriptor sets are, below the folder.
const Released = "build/released"

// ErrNone is the error for a folder without a manifest.
var ErrNone = errors.New("there is no " + File)

// Status of a version.
const (
	Frozen = "frozen" // read and never written; never changed
	Active = "active" // what writers emit; grows by minor versions
)

// A Manifest is the content of a manifest file.
type Manifest struct {
	Path      string // of the file
	Dir       string // of the schemas
	Versions  []Version
	Migration []Migration

	text []byte
}

// A Version is one major version.
type Version struct {
	Name       string // v1, v2, ...
	Status     string
	Released   string // date, YYYY-MM-DD
	Deprecated string // the same, or empty
	Minor      uint32 // the newest released minor version
	// Hash is the SHA-256 of the version's descriptor set as of the newest
	// minor version, in hex. Empty: nothing was released.
	Hash string
	// Earlier are the hashes of the minor versions before, from 0 on.
	Earlier  []string
	Packages []string

	line, minorLine, hashLine, packagesLine int // of the key, and of the values
	packageLines, earlierLines              []int
}

// A Migration says how one version is turned into another.
type Migration struct {
	From, To      string
	Tool          string // command line
	Compatibility string
}

// Load reads the manifest of a folder of schemas. Errors carry file and line.
func Load(dir string) (*Manifest, error) {
	name := filepath.Join(dir, filepath.FromSlash(File))
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	if err != nil {
		return nil, err
	}
	m, err := Parse(name, b)
	if err != nil {
		return nil, err
	}
	m.Dir = dir
	return m, nil
}

// Version returns the version of that name, or nil.
func (m *Manifest) Version(name string) *Version {
	for i := range m.Versions {
		if m.Versions[i].Name == name {
			return &m.Versions[i]
		}
	}
	return nil
}

// Parse reads the text of a manifest. name is for errors, which say the line.
func Parse(name string, text []byte) (*Manifest, error) {
	p := &parser{name: name}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, p.syntax(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, fmt.Errorf("%s is empty; want versions: and migration:", name)
	}
	m := &Manifest{Path: name, text: text}
	p.mapping(doc.Content[0], "the manifest", map[string]func(key, value *yaml.Node){
		"versions":  func(_, v *yaml.Node) { p.versions(m, v) },
		"migration": func(_, v *yaml.Node) { p.migrations(m, v) },
	})
	if p.err == nil {
		p.whole(m, doc.Content[0])
	}
	if p.err != nil {
		return nil, p.err
	}
	return m, nil
}

// parser keeps the first error.
type parser struct {
	name string
	err  error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%s:%d: %s", p.name, n.Line, fmt.Sprintf(format, args...))
	}
}

var yamlLine = regexp.MustCompile(`^yaml: line ([0-9]+): (?s:(.*))$`)

func (p *parser) syntax(err error) error {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: %s", p.name, m[1], m[2])
	}
	// Without a line it is about the first.
	return fmt.Errorf("%s:1: %s", p.name, strings.TrimPrefix(err.Error(), "yaml: "))
}

// mapping hands each value to the function of its key, or of "*" if that is
// there. Other keys, and keys that are there twice, are errors.
func (p *parser) mapping(n *yaml.Node, what string, keys map[string]func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s is no mapping; want %s", what, expected(keys))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content) && p.err == nil; i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		do := keys[k.Value]
		each := keys["*"]
		switch {
		case seen[k.Value]:
			p.fail(k, "%q is there twice", k.Value)
		case do != nil && k.Value != "*":
			do(k, v)
		case each != nil:
			each(k, v)
		default:
			p.fail(k, "%s has no %q; want %s", what, k.Value, expected(keys))
		}
		seen[k.Value] = true
	}
}

func expected(keys map[string]func(key, value *yaml.Node)) string {
	if keys["*"] != nil {
		return "a name and what belongs to it"
	}
	return strings.Join(slices.Sorted(maps.Keys(keys)), ", ")
}

func (p *parser) scalar(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.fail(n, "%s is no single value", what)
		return ""
	}
	return n.Value
}

var (
	versionName = regexp.MustCompile(`^v[1-9][0-9]{0,5}$`)
	dateFormat  = regexp.MustCompile(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$`)
	hashFormat  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	packageName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
)

func (p *parser) date(n *yaml.Node, what string) string {
	s := p.scalar(n, what)
	if p.err == nil && !dateFormat.MatchString(s) {
		p.fail(n, "%s is %q; want a date such as 2025-01-10", what, s)
	}
	return s
}

func (p *parser) versions(m *Manifest, n *yaml.Node) {
	p.mapping(n, "versions", map[string]func(k, v *yaml.Node){"*": func(k, n *yaml.Node) {
		if !versionName.MatchString(k.Value) {
			p.fail(k, "%q is no version; want v1, v2, ...", k.Value)
			return
		}
		v := Version{Name: k.Value, line: k.Line}
		p.mapping(n, k.Value, map[string]func(k, v *yaml.Node){
			"status": func(_, n *yaml.Node) {
				if v.Status = p.scalar(n, "status"); v.Status != Frozen && v.Status != Active {
					p.fail(n, "the status is %q; want %s or %s", v.Status, Active, Frozen)
				}
			},
			"released":   func(_, n *yaml.Node) { v.Released = p.date(n, "released") },
			"deprecated": func(_, n *yaml.Node) { v.Deprecated = p.date(n, "deprecated") },
			"minor": func(_, n *yaml.Node) {
				s := p.scalar(n, "minor")
				minor, err := strconv.ParseUint(s, 10, 16)
				if err != nil || strconv.FormatUint(minor, 10) != s {
					p.fail(n, "minor is %q; want a whole number from 0 to 65535", s)
				}
				v.Minor, v.minorLine = uint32(minor), n.Line
			},
			"descriptor_set_sha256": func(_, n *yaml.Node) {
				v.Hash, v.hashLine = p.scalar(n, "descriptor_set_sha256"), n.Line
				if v.Hash != "" && !hashFormat.MatchString(v.Hash) {
					p.fail(n, "descriptor_set_sha256 is %q; want 64 hexadecimal digits, which `espersim contracts bump --write` fills in", v.Hash)
				}
			},
			"earlier_sha256": func(_, n *yaml.Node) { p.earlier(&v, n) },
			"packages":       func(k, n *yaml.Node) { p.packages(&v, k, n) },
		})
		for what, missing := range map[string]bool{"status": v.Status == "", "released": v.Released == "",
			"packages": len(v.Packages) == 0} {
			if missing {
				p.fail(k, "%s has no %s", v.Name, what)
			}
		}
		if p.err == nil && len(v.Earlier) != int(v.Minor) {
			p.fail(k, "%s.%d has %d hashes in earlier_sha256; want one for each minor version before it", v.Name, v.Minor, len(v.Earlier))
		}
		if p.err == nil && v.Deprecated != "" && v.Deprecated < v.Released {
			p.fail(k, "%s was deprecated on %s, before its release on %s", v.Name, v.Deprecated, v.Released)
		}
		m.Versions = append(m.Versions, v)
	}})
}

func (p *parser) earlier(v *Version, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || n.Style&yaml.FlowStyle != 0 {
		p.fail(n, "earlier_sha256 is no list with one hash a line")
		return
	}
	for _, e := range n.Content {
		hash := p.scalar(e, "the hash")
		if p.err == nil && !hashFormat.MatchString(hash) {
			p.fail(e, "%q is no hash; want 64 hexadecimal digits", hash)
		}
		v.Earlier, v.earlierLines = append(v.Earlier, hash), append(v.earlierLines, e.Line)
	}
}

func (p *parser) packages(v *Version, k, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || n.Style&yaml.FlowStyle != 0 {
		p.fail(n, "packages is no list with one package a line")
		return
	}
	v.packagesLine = k.Line
	for _, e := range n.Content {
		name := p.scalar(e, "the package")
		switch {
		case p.err != nil:
			return
		case !packageName.MatchString(name) || !strings.HasSuffix(name, "."+v.Name):
			p.fail(e, "the package %q is none of %s; want a name that ends in .%s", name, v.Name, v.Name)
		case slices.Contains(v.Packages, name):
			p.fail(e, "%s is there twice", name)
		}
		v.Packages, v.packageLines = append(v.Packages, name), append(v.packageLines, e.Line)
	}
}

var migrationName = regexp.MustCompile(`^(v[1-9][0-9]*)_to_(v[1-9][0-9]*)$`)

func (p *parser) migrations(m *Manifest, n *yaml.Node) {
	p.mapping(n, "migration", map[string]func(k, v *yaml.Node){"*": func(k, n *yaml.Node) {
		parts := migrationName.FindStringSubmatch(k.Value)
		if parts == nil {
			p.fail(k, "%q is no migration; want v1_to_v2", k.Value)
			return
		}
		g := Migration{From: parts[1], To: parts[2]}
		p.mapping(n, k.Value, map[string]func(k, v *yaml.Node){
			"tool": func(_, n *yaml.Node) { g.Tool = p.scalar(n, "tool") },
			"compatibility": func(_, n *yaml.Node) {
				g.Compatibility = p.scalar(n, "compatibility")
				if want := fmt.Sprintf("read_%s_write_%s", g.From, g.To); p.err == nil && g.Compatibility != want {
					p.fail(n, "compatibility is %q; want %s", g.Compatibility, want)
				}
			},
		})
		if g.Tool == "" || g.Compatibility == "" {
			p.fail(k, "%s lacks its tool or its compatibility", k.Value)
		}
		m.Migration = append(m.Migration, g)
	}})
}

// whole checks what concerns more than one entry.
func (p *parser) whole(m *Manifest, n *yaml.Node) {
	if len(m.Versions) == 0 {
		p.fail(n, "there is no version; want versions: with at least one")
		return
	}
	active := ""
	for _, v := range m.Versions {
		if v.Status != Active {
			continue
		}
		if active != "" {
			p.fail(&yaml.Node{Line: v.line}, "%s and %s are both active; want one version that writers emit", active, v.Name)
		}
		active = v.Name
	}
	if active == "" {
		p.fail(n, "no version is active; want one version that writers emit")
	}
	for _, g := range m.Migration {
		for _, name := range []string{g.From, g.To} {
			if m.Version(name) == nil {
				p.fail(n, "%s_to_%s: there is no version %s", g.From, g.To, name)
			}
		}
	}
	slices.SortFunc(m.Versions, func(a, b Version) int { return number(a.Name) - number(b.Name) })
}

func number(name string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(name, "v")) // the parser has checked it
	return n
}
