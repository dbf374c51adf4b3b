package contractstest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// recorder is a testing.TB that keeps what a test would say.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func one(body string) map[string]string {
	return map[string]string{"x.proto": "syntax = \"proto3\";\npackage x.v1;\n" + body}
}

func TestEvolve(t *testing.T) {
	const (
		wide   = "message A { int64 n = 1; }"
		narrow = "message A { int32 n = 1; }"
	)
	for _, c := range []struct {
		name     string
		old, new string
		opts     []Option
		want     []string // parts of what is said, in one failure; empty: nothing is
	}{
		{"a field added", wide, "message A { int64 n = 1; bool b = 2; }", nil, nil},
		{"nothing changed", wide, wide, nil, nil},
		{"narrowed", wide, narrow, nil, []string{"x.proto:3:13", "int32, was int64", "major"}},
		{"with the message", wide, narrow, nil, []string{"value-lossy", "{n: 2147483648}", "088080808008", "{n: -2147483648}"}},
		{"allowed", wide, narrow, []Option{AllowLossy("x.v1.A.n")}, nil},
		{"allowed elsewhere", wide, narrow, []Option{AllowLossy("x.v1.A.m")}, []string{"x.v1.A.m", "nothing is lost or forbidden"}},
		{"policy only", wide, narrow, []Option{PolicyOnly()}, []string{"major"}},
		{"evidence only", wide, narrow, []Option{EvidenceOnly()}, []string{"value-lossy"}},
		{"a rename loses nothing", wide, "message A { int64 m = 1; }", []Option{EvidenceOnly()}, nil},
		{"a rename is major", wide, "message A { int64 m = 1; }", nil, []string{"major", "renamed"}},
		{"frozen", wide, "message A { int64 n = 1; bool b = 2; }", []Option{Frozen("x.v1")}, []string{"x.v1 is frozen"}},
		{"bad schema", wide, "message A { int64 n = 1 }", nil, []string{"the new schema", "x.proto:3:25"}},
		{"bad old schema", "message A { in64 n = 1; }", wide, nil, []string{"the old schema", "x.proto:3:13"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() { // Fatalf ends it
				defer close(done)
				Evolve(r, one(c.old), one(c.new), c.opts...)
			}()
			<-done
			if len(c.want) == 0 {
				if len(r.said) > 0 {
					t.Errorf("it fails: %s", strings.Join(r.said, "\n"))
				}
				return
			}
			for _, said := range r.said {
				all := true
				for _, part := range c.want {
					all = all && strings.Contains(said, part)
				}
				if all {
					return
				}
			}
			t.Errorf("nothing has all of %q:\n%s", c.want, strings.Join(r.said, "\n"))
		})
	}
}
