// Package prerequisite lets a test that needs what Go does not bring along
// (protoc, Python's protobuf, Debian's package index) be left out where that
// is missing, and only there.
package prerequisite

import (
	"os"
	"os/exec"
	"testing"
)

// Python is Debian's Python: the one that python3-protobuf is for, whatever
// else the search path has.
const Python = "/usr/bin/python3"

// Skip ends the test: with a failure where the environment has CI=true, since a
// check that nobody runs is none, otherwise as skipped. missing says what is
// not there, get how to get it.
func Skip(t testing.TB, missing, get string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s; CI=true allows no skipping. %s", missing, get)
	}
	t.Skipf("skipped: %s. %s", missing, get)
}

// Protoc is the path of protoc.
func Protoc(t testing.TB) string {
	t.Helper()
	p, err := exec.LookPath("protoc")
	if err != nil {
		Skip(t, "there is no protoc", "apt-get install protobuf-compiler, or contracts/build/install-toolchain.sh")
	}
	return p
}

// PythonProtobuf makes sure that Debian's Python has Debian's protobuf.
func PythonProtobuf(t testing.TB) {
	t.Helper()
	if err := exec.Command(Python, "-c", "import google.protobuf.pyext._message").Run(); err != nil {
		Skip(t, Python+" has no google.protobuf with the C++ backend", "apt-get install python3-protobuf")
	}
}
