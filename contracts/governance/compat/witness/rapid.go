package witness

import (
	"flag"
	"runtime"
	"sync"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// Drawn is a Source of a rapid test.
type Drawn struct{ T *rapid.T }

// Below draws from 0 to n-1.
func (d Drawn) Below(n int) int { return rapid.IntRange(0, n-1).Draw(d.T, "choice") }

// Bits draws any number.
func (d Drawn) Bits() uint64 { return rapid.Uint64().Draw(d.T, "bits") }

// searchRapid has rapid look for a message that shows something, and shrink
// it; nil if it found none.
func searchRapid(k *maker, w, r protoreflect.MessageDescriptor, shows func(protoreflect.Message) bool) (found protoreflect.Message) {
	rapidly(func(t *rapid.T) {
		if m := k.random(Drawn{t}, w, r, 3); shows(m) {
			// The last one that fails is the one that rapid shrank to.
			found = m
			t.FailNow()
		}
	})
	return found
}

var rapidFlags sync.Mutex

// rapidly runs a property outside of a test: always the same, in silence, and
// leaving no file behind.
func rapidly(property func(*rapid.T)) {
	rapidFlags.Lock()
	defer rapidFlags.Unlock()
	if !flag.Parsed() {
		// rapid asks testing.Short, which asks for flags that were parsed. A
		// program that is no test has none of them.
		testing.Init()
		_ = flag.CommandLine.Parse(nil) // no argument cannot be wrong
	}
	for name, value := range map[string]string{
		"rapid.seed": "1", "rapid.checks": "40", "rapid.nofailfile": "true", "rapid.failfile": "",
		"rapid.log": "false", "rapid.v": "false", "rapid.shrinktime": "2s",
	} {
		f := flag.Lookup(name)
		before := f.Value.String()
		defer func() { _ = flag.Set(name, before) }() // it was valid before
		_ = flag.Set(name, value)
	}
	done := make(chan struct{})
	go func() { // Check ends a failed test by ending its goroutine
		defer close(done)
		rapid.Check(&silent{}, property)
	}()
	<-done
}

// silent is a rapid.TB that belongs to no test.
type silent struct{ failed bool }

func (s *silent) Helper()               {}
func (s *silent) Name() string          { return "witness" }
func (s *silent) Logf(string, ...any)   {}
func (s *silent) Log(...any)            {}
func (s *silent) Skipf(string, ...any)  { runtime.Goexit() }
func (s *silent) Skip(...any)           { runtime.Goexit() }
func (s *silent) SkipNow()              { runtime.Goexit() }
func (s *silent) Errorf(string, ...any) { s.failed = true }
func (s *silent) Error(...any)          { s.failed = true }
func (s *silent) Fatalf(string, ...any) { s.FailNow() }
func (s *silent) Fatal(...any)          { s.FailNow() }
func (s *silent) Fail()                 { s.failed = true }
func (s *silent) Failed() bool          { return s.failed }
func (s *silent) FailNow() {
	s.failed = true
	runtime.Goexit()
}
