package mutants

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Mutant is the tree with one change. Its ID is package/function/operator/n,
// where n counts the operator's places in the function: edits anywhere else
// leave it as it is.
type Mutant struct {
	ID       string
	Package  string // below cluster/
	Operator string
	File     string // relative to the root of the tree
	Line     int
	What     string // on one line
	text     []byte // the whole changed file
}

// texts are functions that only make messages for people.
var texts = regexp.MustCompile(`(^|\.)(String|Error|Unwrap|Names|ID)$`)

// candidate is a mutant of which nobody knows yet whether it compiles.
type candidate struct {
	Mutant
	edits []edit
	order uint64
}

// candidates are all places of one operator in a package, in their order of
// choice: by a hash of the id, so that a new one moves no other.
func (s *source) candidates(o Operator) []candidate {
	var list []candidate
	each := func(p *place) {
		o.find(p)
		for i, c := range p.sites {
			pos := s.fset.Position(c.at)
			m := Mutant{ID: fmt.Sprintf("%s/%s/%s/%d", s.pkg, p.name, o.Name, i+1), Package: s.pkg, Operator: o.Name,
				File: p.f.path, Line: pos.Line, What: c.what}
			sum := sha256.Sum256([]byte(m.ID))
			list = append(list, candidate{m, c.edits, binary.BigEndian.Uint64(sum[:])})
		}
	}
	for _, f := range s.files {
		if _, skip := outside[path.Join(s.pkg, path.Base(f.path))]; skip {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				name := functionName(d)
				if _, skip := outside[s.pkg+"/"+name]; !skip && d.Body != nil && !texts.MatchString(name) {
					each(&place{s: s, f: f, name: name, node: d, body: d.Body})
				}
			case *ast.GenDecl:
				if d.Tok == token.CONST && o.Name == "wrong-constant" {
					for _, spec := range d.Specs {
						v := spec.(*ast.ValueSpec)
						each(&place{s: s, f: f, name: "const." + v.Names[0].Name, node: v})
					}
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Compare(a.order, b.order) })
	return list
}

// functionName is the name of a function, with that of its receiver's type.
func functionName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t := d.Recv.List[0].Type
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "." + d.Name.Name
	}
	return d.Name.Name
}

// make changes the file; nil where the package does not compile then.
func (s *source) make(c candidate) *Mutant {
	text, err := apply(s.file(c.File).text, c.edits)
	if err != nil || !s.compiles(c.File, text) {
		return nil
	}
	m := c.Mutant
	m.text = text
	return &m
}

// choose picks n mutants of a package: the operators take turns, beginning with
// the given one so that all of them have theirs in some package, and in its turn
// each gives its next place, one in a function that it has not been to
// before others. No two are the same change.
func (s *source) choose(n, first int) []*Mutant {
	queues := make([][]candidate, len(Operators))
	for i, o := range Operators {
		queues[i] = spread(s.candidates(o))
	}
	var chosen []*Mutant
	made := map[string]bool{}
	for more := true; more && len(chosen) < n; {
		more = false
		for k := range queues {
			i := (first + k) % len(queues)
			for len(queues[i]) > 0 && len(chosen) < n {
				c := queues[i][0]
				queues[i] = queues[i][1:]
				m := s.make(c)
				if m == nil || made[m.File+string(m.text)] {
					continue
				}
				made[m.File+string(m.text)] = true
				chosen = append(chosen, m)
				more = true
				break
			}
		}
	}
	return chosen
}

// spread puts the first candidate of each function before the second of any.
func spread(list []candidate) []candidate {
	rank := make([]int, len(list))
	seen := map[string]int{}
	for i, c := range list {
		f := c.ID[:strings.LastIndex(c.ID, "/")]
		rank[i] = seen[f]
		seen[f]++
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank[a] - rank[b] })
	out := make([]candidate, len(list))
	for i, k := range order {
		out[i] = list[k]
	}
	return out
}

// Choose is the list of mutants of the tree at root: always the same for the
// same tree. Of every package it takes so many times its quota; the list of a
// greater number begins, package by package, with that of a smaller one. An
// error says that the tree does not build.
func Choose(root string, times int) ([]*Mutant, error) {
	l, err := newLoader(root)
	if err != nil {
		return nil, err
	}
	var list []*Mutant
	for i, p := range Packages {
		s, err := l.load(p.Name)
		if err != nil {
			return nil, err
		}
		list = append(list, s.choose(p.Quota*times, 7*i)...)
	}
	return list, nil
}

// Find makes the mutant with an id, whether it is among the chosen or not.
func Find(root, id string) (*Mutant, error) {
	parts := strings.Split(id, "/")
	bad := fmt.Errorf("no mutant %q; an id is package/function/operator/number, such as wal/Log.flush/forget/1", id)
	if len(parts) != 4 {
		return nil, bad
	}
	if n, err := strconv.Atoi(parts[3]); err != nil || n < 1 {
		return nil, bad
	}
	if !slices.ContainsFunc(Operators, func(o Operator) bool { return o.Name == parts[2] }) {
		return nil, fmt.Errorf("no operator %q in %q", parts[2], id)
	}
	l, err := newLoader(root)
	if err != nil {
		return nil, err
	}
	s, err := l.load(parts[0])
	if err != nil {
		return nil, err
	}
	for _, o := range Operators {
		if o.Name != parts[2] {
			continue
		}
		for _, c := range s.candidates(o) {
			if c.ID == id {
				if m := s.make(c); m != nil {
					return m, nil
				}
				return nil, fmt.Errorf("mutant %s does not compile", id)
			}
		}
	}
	return nil, bad
}

// Diff is what a mutant changes, as diff prints it.
func (m *Mutant) Diff(root string) (string, error) {
	cmd := exec.Command("diff", "-u", "--label", m.File, "--label", m.ID, filepath.Join(root, filepath.FromSlash(m.File)), "-")
	cmd.Stdin = bytes.NewReader(m.text)
	out, err := cmd.Output()
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == 1 { // they differ
		err = nil
	}
	return string(out), err
}
