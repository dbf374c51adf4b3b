package prerequisite

import (
	"strings"
	"testing"
)

// recorder notes how a test would have ended.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Skipf(format string, _ ...any)  { r.skipped = format }
func (r *recorder) Fatalf(format string, _ ...any) { r.failed = format }

// What is missing fails a test only where nothing may be skipped.
func TestSkip(t *testing.T) {
	t.Setenv("CI", "")
	var r recorder
	Skip(&r, "there is no x", "get x")
	if r.failed != "" || !strings.Contains(r.skipped, "skipped") {
		t.Errorf("%+v", r)
	}
	t.Setenv("CI", "true")
	r = recorder{}
	Skip(&r, "there is no x", "get x")
	if !strings.Contains(r.failed, "CI=true") {
		t.Errorf("%+v", r)
	}
}

func TestProtocIsLookedFor(t *testing.T) {
	t.Setenv("CI", "")
	t.Setenv("PATH", t.TempDir())
	var r recorder
	if Protoc(&r); r.skipped == "" {
		t.Errorf("%+v", r)
	}
}
