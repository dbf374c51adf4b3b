// Package gputest builds stubs of NVIDIA's libraries, so that the code that loads
// the real ones is tested where there is neither device nor driver. A stub has the
// symbols that the project calls, and answers what a script says: a text file that
// it reads again at every call. script.h describes its lines.
package gputest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// built are the stubs that this process has compiled: a second one is a copy of the
// first, and has a state of its own all the same.
var built = struct {
	sync.Mutex
	bytes map[string][]byte
}{bytes: map[string][]byte{}}

// ScriptVariable names the environment variable with the script's path.
const ScriptVariable = "ESPERSIM_STUB_SCRIPT"

// Build compiles a stub from a C source into a shared library of a folder, without
// the symbols that are named, and returns its path. The sources of this repository
// are found from the caller's folder; headers in that of this package are, too.
func Build(t testing.TB, folder, source string, without ...string) string {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(source), ".c")
	out := filepath.Join(folder, strings.Join(append([]string{name}, without...), "-")+".so")
	built.Lock()
	defer built.Unlock()
	key := source + " " + filepath.Base(out)
	if b, ok := built.bytes[key]; ok {
		if err := os.WriteFile(out, b, 0o700); err != nil {
			t.Fatal(err)
		}
		return out
	}
	hide := filepath.Join(folder, filepath.Base(out)+".map")
	// A local symbol is in the library, and no dlsym finds it.
	script := "{ global: *; local: stub_*; };\n"
	if len(without) > 0 {
		script = "{ local: stub_*; " + strings.Join(without, "; ") + "; };\n"
	}
	if err := os.WriteFile(hide, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Fatal("the stub libraries are built by gcc, which is not there: install the package gcc")
	}
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the folder of package gputest is not known")
	}
	// No contraction: the stub computes what the kernels compute.
	cmd := exec.Command("gcc", "-shared", "-fPIC", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
		"-I", filepath.Dir(here), "-Wl,--version-script="+hide, "-o", out, source, "-lm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", source, err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	built.bytes[key] = b
	return out
}

// A Script is what a stub answers.
type Script struct {
	t    testing.TB
	path string
}

// NewScript makes an empty script in a folder, and has the stubs of this process
// read it.
func NewScript(t testing.TB) *Script {
	t.Helper()
	s := &Script{t, filepath.Join(t.TempDir(), "script")}
	s.Write()
	t.Setenv(ScriptVariable, s.path)
	return s
}

// Write replaces the script's lines.
func (s *Script) Write(lines ...string) {
	s.t.Helper()
	if err := os.WriteFile(s.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
