package policy

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the commands in the documentation print into it")

// volatile is what differs from run to run in a command's output.
var volatile = regexp.MustCompile(`"wall_ms":[0-9]+`)

// took is how long a test took.
var took = regexp.MustCompile(`([(\t])[0-9.]+s`)

// Every console block of the README and of docs/ is run, and must print what
// stands there; every make target that is named must exist. With -update the
// output is written into the files.
func TestDocumentationPrintsWhatItSays(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "espersim")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/espersim").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, name := range append(files, "README.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)").FindAllSubmatch(text, -1) {
			if !regexp.MustCompile(`(?m)^` + string(m[1]) + `:`).Match(makefile) {
				t.Errorf("%s: there is no target %q in the Makefile", name, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), string(m[1]))); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		block := regexp.MustCompile("(?s)```console\n\\$ espersim ([^\n]*)\n(.*?)```")
		out := block.ReplaceAllFunc(text, func(b []byte) []byte {
			parts := block.FindSubmatch(b)
			commands++
			cmd := exec.Command(bin, strings.Fields(string(parts[1]))...)
			printed, _ := cmd.Output() // a violation is an exit code, too
			printed = volatile.ReplaceAll(printed, []byte(`"wall_ms":0`))
			if !bytes.Equal(printed, parts[2]) && !*update {
				t.Errorf("%s: espersim %s prints\n%s\nand the text says\n%s", name, parts[1], printed, parts[2])
			}
			return []byte("```console\n$ espersim " + string(parts[1]) + "\n" + string(printed) + "```")
		})
		tests := regexp.MustCompile("(?s)```console\n\\$ (go test [^\n]*)\n(.*?)```")
		out = tests.ReplaceAllFunc(out, func(b []byte) []byte {
			parts := tests.FindSubmatch(b)
			commands++
			cmd := exec.Command("go", strings.Fields(string(parts[1]))[1:]...)
			cmd.Env = append(os.Environ(), "GOFLAGS=-count=1")
			printed, _ := cmd.Output()
			printed = took.ReplaceAll(printed, []byte("${1}0.00s"))
			if !bytes.Equal(printed, parts[2]) && !*update {
				t.Errorf("%s: %s prints\n%s\nand the text says\n%s", name, parts[1], printed, parts[2])
			}
			return []byte("```console\n$ " + string(parts[1]) + "\n" + string(printed) + "```")
		})
		if *update && !bytes.Equal(out, text) {
			if err := os.WriteFile(name, out, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if commands == 0 {
		t.Error("no command was run")
	}
}
