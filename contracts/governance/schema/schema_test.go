package schema

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-sim/espersim/contracts/generated/go/options"
)

const (
	aProto = `syntax = "proto3";
package x.v2;
import "v2/b.proto";
import "options/options.proto";
message A {
  B b = 1;
  oneof arm { int32 left = 2 [(esper.options.owner) = "kasmina"]; }
}
`
	bProto = `syntax = "proto3";
package x.v2;
message B { int64 n = 1; }
`
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A folder, a copy of a part of it under another name, a descriptor set and a
// git revision hold the same schema.
func TestSourcesAgree(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"tree/v2/a.proto": aProto, "tree/v2/b.proto": bProto, "copy/a.proto": aProto, "copy/b.proto": bProto})
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@t"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-q", "-m", "x")
	first, err := Load(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := proto.Marshal(first.DescriptorSet())
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"set.binpb": string(set)})
	want, err := Hash(first.DescriptorSet())
	if err != nil {
		t.Fatal(err)
	}
	load := map[string]func() (*Schema, error){
		"part": func() (*Schema, error) { return Load(filepath.Join(dir, "tree/v2")) },
		"copy": func() (*Schema, error) { return Load(filepath.Join(dir, "copy")) },
		"set":  func() (*Schema, error) { return Load(filepath.Join(dir, "set.binpb")) },
		"file": func() (*Schema, error) { return LoadGit(dir, "HEAD", "tree") },
		"git":  func() (*Schema, error) { return LoadGit(dir, "HEAD", "tree/v2/") },
		"root": func() (*Schema, error) { return LoadGit(filepath.Join(dir, "tree"), "HEAD", "copy") },
		"blob": func() (*Schema, error) { return LoadGit(dir, "HEAD", "set.binpb") },
	}
	write(t, dir, map[string]string{"tree/v2/broken.proto": "no schema"})
	git("add", "tree/v2/broken.proto")
	git("commit", "-q", "-m", "broken")
	if s, err := LoadGit(dir, "HEAD", "tree/v2/a.proto"); err != nil || len(s.Files) != 1 || s.Find("x.v2.B") == nil {
		t.Errorf("one file of a revision: %v", err)
	}
	git("reset", "-q", "--hard", "HEAD~1")
	git("add", ".")
	git("commit", "-q", "-m", "y")
	for name, f := range load {
		s, err := f()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := Hash(s.DescriptorSet()); err != nil || got != want {
			t.Errorf("%s: another hash (%v)", name, err)
		}
		f, ok := s.Find("x.v2.A.left").(protoreflect.FieldDescriptor)
		if !ok || !slices.Equal(proto.GetExtension(f.Options(), options.E_Owner).([]string), []string{"kasmina"}) {
			t.Errorf("%s: the option is lost", name)
		}
		if len(s.Messages()) != 2 {
			t.Errorf("%s: %d messages", name, len(s.Messages()))
		}
	}
	one, err := Load(filepath.Join(dir, "tree/v2/b.proto"))
	if err != nil || len(one.Messages()) != 1 {
		t.Errorf("one file: %v", err)
	}
}

// One file is read with what it imports, wherever that stands around it, and
// nothing else: what lies beside it may be another schema.
func TestOneFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"v2/a.proto": aProto, "v2/b.proto": bProto, "v2/broken.proto": "no schema", "v2/other/b.proto": bProto,
		"flat/a.proto": aProto, "flat/b.proto": bProto, "alone/a.proto": strings.Replace(aProto, "v2/b.proto", "no/c.proto", 1),
	})
	for _, name := range []string{"v2/a.proto", "flat/a.proto"} {
		s, err := Load(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(s.Files) != 1 || s.Find("x.v2.B") == nil || s.Position(s.Find("x.v2.A")).File != filepath.Join(dir, name) {
			t.Errorf("%s: %v", name, s.Files)
		}
	}
	if _, err := Load(filepath.Join(dir, "alone/a.proto")); err == nil || !strings.Contains(err.Error(), "a.proto:3:8") {
		t.Errorf("an import that is not there: %v", err)
	}
}

func TestPosition(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"v2/a.proto": aProto, "v2/b.proto": bProto})
	s, err := Load(filepath.Join(dir, "v2"))
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(dir, "v2", "a.proto") + ":6:3"
	if got := s.Position(s.Find("x.v2.A.b")).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"syntax/a.proto": "syntax = \"proto3\";\nmessage A { int32 a = 1 }\n",
		"import/a.proto": "syntax = \"proto3\";\nimport \"no/b.proto\";\nmessage A {}\n",
		"twice/a.proto":  "syntax = \"proto3\";\nmessage A { int32 a = 1; int32 b = 1; }\n",
		"two/a.proto":    "syntax = \"proto2\";\nmessage A { optional int32 a = 1; }\n",
		"none/readme":    "",
		"noise.binpb":    "\xff\xff",
		"empty.binpb":    "",
	})
	for _, k := range []struct{ name, want string }{
		{"syntax", "a.proto:2:"}, {"import", "a.proto:2:"}, {"twice", "a.proto:2:"},
		{"two", "a.proto: the syntax is proto2"}, {"none", "there is no .proto file"},
		{"noise.binpb", "no descriptor set"}, {"empty.binpb", "no descriptor set"},
		{"nothing", "no such folder"},
	} {
		_, err := Load(filepath.Join(dir, k.name))
		if err == nil || !strings.Contains(err.Error(), k.want) {
			t.Errorf("%s: %v, want %q in it", k.name, err, k.want)
		}
	}
	for _, rev := range []string{"no-such-rev:x", "HEAD:no/such/folder", "--upload-pack=x:y"} {
		if _, err := Load(rev); err == nil {
			t.Errorf("%s: no error", rev)
		}
	}
}

func TestOwnContracts(t *testing.T) {
	s, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if s.Find("esper.adaptation.v2.AdaptationCommand") == nil {
		t.Error("AdaptationCommand is missing")
	}
	if s.Find("esper.evidence.v2.StepFact") != nil {
		t.Error("evidence is no contract")
	}
}
