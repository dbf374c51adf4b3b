package manifest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// A Proposal is what one version's changes ask for.
type Proposal struct {
	Version  string
	Frozen   bool
	Released bool   // something of it was released before
	Minor    uint32 // the newest release; of a first release, the newest that the schema speaks of
	Verdict  Verdict
	Why      []string // one line for each change
	Packages []string // that the manifest lacks
	Hash     string   // of what there is now
}

// Refused says why no minor version will do, or is empty.
func (p Proposal) Refused() string {
	switch {
	case p.Frozen && p.Verdict != None:
		return fmt.Sprintf("%s is frozen and cannot change", p.Version)
	case p.Verdict == Major:
		return fmt.Sprintf("a major change needs a new package, .v%d", number(p.Version)+1)
	}
	return ""
}

// Propose compares the schema with the newest release of each version.
func (m *Manifest) Propose(s *schema.Schema, judge Judge) ([]Proposal, error) {
	var all []Proposal
	for _, v := range m.Versions {
		p := Proposal{Version: v.Name, Frozen: v.Status == Frozen, Released: v.Hash != "", Minor: v.Minor}
		for _, f := range s.Files {
			if name := string(f.Package()); of(v.Name)(f) && !slices.Contains(v.Packages, name) && !slices.Contains(p.Packages, name) {
				p.Packages = append(p.Packages, name)
			}
		}
		slices.Sort(p.Packages)
		var err error
		if p.Hash, err = Hash(s, v.Name); err != nil {
			return nil, err
		}
		if p.Released {
			if err := m.compare(s, &p, judge); err != nil {
				return nil, err
			}
		} else {
			p.Verdict, p.Why, p.Minor = Minor, []string{"nothing was released before"}, newest(s, v.Name)
			p.Frozen = false // a frozen version enters the manifest once
		}
		all = append(all, p)
	}
	for _, f := range s.Files {
		name := string(f.Package())
		if m.Version(name[strings.LastIndexByte(name, '.')+1:]) == nil {
			return nil, fmt.Errorf("%v: the package %s is of no version of %s; add the version there first", s.Position(f), name, m.Path)
		}
	}
	return all, nil
}

func (m *Manifest) compare(s *schema.Schema, p *Proposal, judge Judge) error {
	old, err := m.Set(p.Version, p.Minor)
	if err != nil {
		return err
	}
	hash, err := Hash(old, p.Version)
	if err != nil {
		return err
	}
	if want := m.Version(p.Version).Hash; hash != want {
		return fmt.Errorf("%s:%d: %s has the hash %s, and the manifest %s: one of them was changed by hand",
			m.Path, m.Version(p.Version).hashLine, m.SetFile(p.Version, p.Minor), hash, want)
	}
	if old, err = part(old, p.Version); err != nil {
		return err
	}
	now, err := part(s, p.Version)
	if err != nil {
		return err
	}
	if p.Verdict, p.Why, err = judge(old, now); err != nil {
		return err
	}
	if p.Verdict == None && p.Hash != hash {
		p.Verdict, p.Why = Minor, []string{"the descriptor set differs in what no message shows"}
	}
	return nil
}

// Write releases what the proposals say: it writes the new descriptor sets and
// then the manifest, which names them. A crash between the two leaves a set
// that no manifest names; writing again completes the release. Nothing is
// written if a proposal is refused.
func (m *Manifest) Write(s *schema.Schema, proposals []Proposal) error {
	lines := strings.Split(string(m.text), "\n")
	var edits []edit
	sets := map[string][]byte{}
	var err error
	for _, p := range proposals {
		if why := p.Refused(); why != "" {
			return fmt.Errorf("%s: %s", p.Version, why)
		}
	}
	for _, p := range proposals {
		if p.Verdict == None {
			continue
		}
		v := m.Version(p.Version)
		minor := p.Minor
		if p.Released {
			minor++
		}
		var earlier []string
		if p.Released {
			earlier = append(earlier, v.Hash)
		} else if earlier, err = m.history(s, p, sets); err != nil {
			return err
		}
		if sets[m.SetFile(p.Version, minor)], err = encode(setOf(s, p.Version)); err != nil {
			return err
		}
		edits = append(edits, m.edits(v, minor, p, earlier, lines)...)
	}
	if len(edits) == 0 {
		return nil
	}
	text := apply(lines, edits)
	if _, err := Parse(m.Path, []byte(text)); err != nil {
		return fmt.Errorf("the manifest cannot be edited line by line (%w); write one key a line", err)
	}
	for name, b := range sets {
		if err := writeFile(name, b); err != nil {
			return err
		}
	}
	return writeFile(m.Path, []byte(text))
}

// An edit replaces a line, or inserts text behind it.
type edit struct {
	line   int // from 1
	insert bool
	text   string
}

// edits change a version's entry and leave every comment where it is.
func (m *Manifest) edits(v *Version, minor uint32, p Proposal, earlier, lines []string) []edit {
	var all []edit
	set := func(line int, key, value string) {
		if line > 0 && line <= len(lines) {
			text := lines[line-1]
			i := strings.Index(text, key+":")
			comment := ""
			if c := strings.Index(text, " #"); c >= 0 {
				comment = text[c:]
			}
			if i >= 0 {
				all = append(all, edit{line, false, text[:i] + key + ": " + value + comment})
				return
			}
		}
		all = append(all, edit{v.packagesLine - 1, true, indent(lines, v.packagesLine) + key + ": " + value})
	}
	set(v.minorLine, "minor", fmt.Sprint(minor))
	set(v.hashLine, "descriptor_set_sha256", p.Hash)
	at, in := v.hashLine, ""
	switch n := len(v.earlierLines); {
	case len(earlier) == 0:
	case n > 0:
		at, in = v.earlierLines[n-1], indent(lines, v.earlierLines[n-1])
	default:
		if at == 0 { // the hash goes there, too
			at = v.packagesLine - 1
		}
		in = indent(lines, v.packagesLine) + "  "
		all = append(all, edit{at, true, indent(lines, v.packagesLine) + "earlier_sha256:"})
	}
	for _, hash := range earlier {
		all = append(all, edit{at, true, in + "- " + hash})
	}
	last := v.packageLines[len(v.packageLines)-1]
	for _, name := range p.Packages {
		all = append(all, edit{last, true, indent(lines, last) + "- " + name})
	}
	return all
}

func indent(lines []string, line int) string {
	if line < 1 || line > len(lines) {
		return ""
	}
	text := lines[line-1]
	return text[:len(text)-len(strings.TrimLeft(text, " "))]
}

func apply(lines []string, edits []edit) string {
	var out []string
	put := func(line int) {
		for _, e := range edits {
			if e.insert && e.line == line {
				out = append(out, e.text)
			}
		}
	}
	put(0)
	for i, text := range lines {
		for _, e := range edits {
			if !e.insert && e.line == i+1 {
				text = e.text
			}
		}
		out = append(out, text)
		put(i + 1)
	}
	return strings.Join(out, "\n")
}

// writeFile replaces a file in one step.
func writeFile(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to report
	}
	return err
}
