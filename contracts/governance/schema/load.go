package schema

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Load reads the schema that name stands for:
//
//   - a folder: every .proto file below it, except those that the folder's
//     build/protobuf.yaml excludes;
//   - one .proto file, with what it imports from the folders around it;
//   - any other file: a descriptor set, as protoc -o or buf build write it;
//   - REV:PATH: a folder or file of a git revision, such as
//     origin/main:contracts/v2.
//
// An error names the place: file, line and column where there is one.
func Load(name string) (*Schema, error) {
	info, err := os.Stat(name)
	switch {
	case err == nil && info.IsDir():
		return LoadDir(name)
	case err == nil && strings.HasSuffix(name, ".proto"):
		return loadFile(name)
	case err == nil:
		return LoadSet(name)
	}
	if rev, dir, ok := strings.Cut(name, ":"); ok && rev != "" {
		return LoadGit(".", rev, dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such folder or file, and it is no git revision either (those are written REV:PATH)", name)
	}
	return nil, err
}

// LoadDir reads the .proto files below a folder.
//
// What they import is looked for below the folder. A folder that is a part of
// a larger tree is understood, too: where /tmp/copy/v2/a.proto imports
// "v2/b.proto", /tmp/copy/v2 stands for "v2", and so does any other folder
// that holds a b.proto.
func LoadDir(dir string) (*Schema, error) {
	sources, err := readTree(os.DirFS(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return fromTree(dir, sources, func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) })
}

// loadFile reads one file and what it imports. An import is looked for beside
// the file, in the folders above it, and, as for a folder that is a part of a
// tree, without the folders that it names first.
func loadFile(name string) (*Schema, error) {
	sources, places := map[string]string{}, map[string]string{}
	read := func(as, file string) error {
		b, err := os.ReadFile(file)
		sources[as], places[as] = string(b), file
		return err
	}
	base := filepath.Base(name)
	if err := read(base, name); err != nil {
		return nil, err
	}
	for todo := []string{base}; len(todo) > 0; todo = todo[1:] {
		for _, imp := range imports(todo[0], sources[todo[0]]) {
			if _, have := sources[imp]; have || foreign(imp) {
				continue
			}
			if file, ok := findImport(filepath.Dir(places[todo[0]]), imp); ok {
				if err := read(imp, file); err != nil {
					return nil, err
				}
				todo = append(todo, imp)
			}
		}
	}
	set, err := compile(context.Background(), sources, places)
	if err != nil {
		return nil, err
	}
	s, err := FromSet(name, set)
	if err != nil {
		return nil, err
	}
	s.places = places
	for _, f := range s.Files {
		if f.Path() == base {
			return s.only(name, f)
		}
	}
	return nil, fmt.Errorf("%s is one of the files that every schema may import", name)
}

// findImport looks for an imported file around a folder.
func findImport(dir, imp string) (string, bool) {
	is := func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && info.Mode().IsRegular()
	}
	for up := dir; ; {
		if name := filepath.Join(up, filepath.FromSlash(imp)); is(name) {
			return name, true
		}
		next := filepath.Join(up, "..")
		if abs, err := filepath.Abs(up); err != nil || abs == filepath.Dir(abs) {
			break
		}
		up = next
	}
	for rest := imp; ; {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return "", false
		}
		rest = rest[i+1:]
		if name := filepath.Join(dir, filepath.FromSlash(rest)); is(name) {
			return name, true
		}
	}
}

// LoadSet reads a descriptor set from a file.
func LoadSet(file string) (*Schema, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(b, set); err != nil || len(set.File) == 0 {
		return nil, fmt.Errorf("%s is no descriptor set; protoc --include_imports -o FILE writes one", file)
	}
	return FromSet(file, set)
}

// LoadGit reads a folder, a .proto file or a descriptor set of a git revision
// of the repository that repo is in. As with git, dir counts from the root of
// the repository, and is empty for the root.
func LoadGit(repo, rev, dir string) (*Schema, error) {
	source := rev + ":" + dir
	git := func(args ...string) ([]byte, error) {
		var stderr bytes.Buffer
		cmd := exec.Command("git", append([]string{"-C", repo}, args...)...)
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			first, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
			if first == "" {
				first = err.Error()
			}
			return nil, fmt.Errorf("%s: git: %s", source, strings.TrimPrefix(first, "fatal: "))
		}
		return out, nil
	}
	if strings.HasPrefix(rev, "-") {
		return nil, fmt.Errorf("%s: %q is no git revision", source, rev)
	}
	dir = strings.TrimSuffix(dir, "/")
	kind, err := git("cat-file", "-t", rev+":"+dir)
	if err != nil {
		return nil, err
	}
	one := ""
	if strings.TrimSpace(string(kind)) == "blob" {
		if !strings.HasSuffix(dir, ".proto") {
			b, err := git("show", rev+":"+dir)
			if err != nil {
				return nil, err
			}
			set := new(descriptorpb.FileDescriptorSet)
			if err := proto.Unmarshal(b, set); err != nil || len(set.File) == 0 {
				return nil, fmt.Errorf("%s is no descriptor set", source)
			}
			return FromSet(source, set)
		}
		if dir, one = path.Split(dir); dir != "" {
			dir = strings.TrimSuffix(dir, "/")
		}
	}
	list, err := git("ls-tree", "-r", "-z", "--full-tree", "--name-only", rev+":"+dir)
	if err != nil {
		return nil, err
	}
	sources := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if !strings.HasSuffix(name, ".proto") && name != settingsFile {
			continue
		}
		b, err := git("show", rev+":"+path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		sources[name] = string(b)
	}
	if sources, err = exclude(sources); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	if one != "" {
		sources = reachable(sources, one)
	}
	s, err := fromTree(source, sources, func(name string) string { return rev + ":" + path.Join(dir, name) })
	if err != nil || one == "" {
		return s, err
	}
	for _, f := range s.Files {
		if path.Base(f.Path()) == one {
			return s.only(source, f)
		}
	}
	return nil, fmt.Errorf("%s is excluded by build/protobuf.yaml", source)
}

const settingsFile = "build/protobuf.yaml"

// readTree reads the .proto files of a tree, without those that its settings
// exclude.
func readTree(tree fs.FS) (map[string]string, error) {
	sources := map[string]string{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".proto") && name != settingsFile {
			return nil
		}
		b, err := fs.ReadFile(tree, name)
		sources[name] = string(b)
		return err
	})
	if err != nil {
		return nil, err
	}
	return exclude(sources)
}

// exclude takes the settings and what they exclude out of sources.
func exclude(sources map[string]string) (map[string]string, error) {
	text, ok := sources[settingsFile]
	delete(sources, settingsFile)
	if !ok {
		return sources, nil
	}
	var settings struct {
		Exclude []string `yaml:"exclude"`
	}
	if err := yaml.Unmarshal([]byte(text), &settings); err != nil {
		return nil, fmt.Errorf("%s: %w", settingsFile, err)
	}
	for name := range sources {
		for _, e := range settings.Exclude {
			if name == e || strings.HasPrefix(name, strings.TrimSuffix(e, "/")+"/") {
				delete(sources, name)
			}
		}
	}
	return sources, nil
}

// FromSources compiles files that are given by their import paths.
func FromSources(source string, sources map[string]string) (*Schema, error) {
	return fromTree(source, sources, func(name string) string { return name })
}

// fromTree compiles a tree of files. seen gives the path that a person knows
// a file of the tree by.
func fromTree(source string, sources map[string]string, seen func(string) string) (*Schema, error) {
	if len(sources) == 0 {
		return nil, fmt.Errorf("%s: there is no .proto file", source)
	}
	prefix := treePrefix(sources)
	files, places := map[string]string{}, map[string]string{}
	for name, text := range sources {
		at := path.Join(prefix, name)
		files[at], places[at] = text, seen(name)
	}
	set, err := compile(context.Background(), files, places)
	if err != nil {
		return nil, err
	}
	s, err := FromSet(source, set)
	if err != nil {
		return nil, err
	}
	s.places = places
	return s, nil
}

// treePrefix is the import path that the tree's root stands for: "v2" if its
// files import "v2/b.proto" and there is a b.proto, empty if they import
// "b.proto".
func treePrefix(sources map[string]string) string {
	names := make([]string, 0, len(sources))
	for name := range sources {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, imp := range imports(name, sources[name]) {
			if _, ok := sources[imp]; ok || foreign(imp) {
				continue
			}
			for rest, at := imp, 0; ; {
				i := strings.IndexByte(rest, '/')
				if i < 0 {
					break
				}
				at += i + 1
				rest = imp[at:]
				if _, ok := sources[rest]; ok {
					return imp[:at-1]
				}
			}
		}
	}
	return ""
}

// reachable are a file of a tree and what it imports of it.
func reachable(sources map[string]string, name string) map[string]string {
	prefix, keep := treePrefix(sources), map[string]string{}
	for todo := []string{name}; len(todo) > 0; todo = todo[1:] {
		text, ok := sources[todo[0]]
		if _, done := keep[todo[0]]; done || !ok {
			continue
		}
		keep[todo[0]] = text
		for _, imp := range imports(todo[0], text) {
			if rest, ok := strings.CutPrefix(imp, prefix+"/"); ok && prefix != "" {
				imp = rest
			}
			todo = append(todo, imp)
		}
	}
	return keep
}

// only is the schema reduced to one file and what that imports.
func (s *Schema) only(source string, keep interface{ Path() string }) (*Schema, error) {
	one := *s
	one.Source, one.Files = source, nil
	for _, f := range s.Files {
		if f.Path() == keep.Path() {
			one.Files = append(one.Files, f)
		}
	}
	return &one, nil
}
