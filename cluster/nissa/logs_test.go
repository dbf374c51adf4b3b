package nissa

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/job"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// The same events in another order are the same logs.
func TestLogsInDisorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []logLine
		for i := range rapid.IntRange(1, 30).Draw(t, "lines") {
			list = append(list, logLine{at: rapid.Int64Range(0, 5).Draw(t, "at") * logRetention.Milliseconds() / 4, id: fmt.Sprint(i), source: "s", text: fmt.Sprint("m", i)})
		}
		var one, two logs
		for _, n := range list {
			one.add(n)
		}
		for _, i := range rapid.Permutation(indices(len(list))).Draw(t, "order") {
			two.add(list[i])
		}
		if a, b := one.text("", 0, 1<<60), two.text("", 0, 1<<60); a != b {
			t.Fatalf("in order:\n%s\nin disorder:\n%s", a, b)
		}
	})
}

// A line is kept for seven days, and given to who asks for its source and time.
func TestLogRetention(t *testing.T) {
	var l logs
	day := int64(24 * time.Hour / time.Millisecond)
	for i := range int64(10) {
		l.add(logLine{at: i * day, id: fmt.Sprint(i), source: []string{"a", "b"}[i%2], text: fmt.Sprint("day ", i)})
	}
	if n := strings.Count(l.text("", 0, 1<<60), "\n"); n != 7 {
		t.Errorf("%d lines of ten days", n)
	}
	if got := l.text("a", 5*day, 7*day); !strings.Contains(got, "day 6") || strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("x", mostLogBytes/2)
	l.add(logLine{at: 10 * day, id: "x", source: "c", text: long})
	l.add(logLine{at: 10 * day, id: "y", source: "c", text: "newest" + long})
	if got := l.text("", 0, 1<<60); !strings.Contains(got, "newest") || strings.Count(got, "\n") != 1 || len(got) > mostLogBytes {
		t.Errorf("an answer of %d bytes", len(got))
	}
}

// A role is its key's, while the signature is fresh.
func TestRoles(t *testing.T) {
	j, err := job.Default()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1700000000, 0)
	for _, c := range []struct {
		id, key string
		at      time.Time
		want    role
	}{
		{"operator", "operator", now, operator}, {"admin", "admin", now, admin}, {"admin", "operator", now, viewer}, {"operator", "admin", now, viewer},
		{"viewer", "viewer", now, viewer}, {"root", "root", now, viewer}, {"admin", "admin", now.Add(-2 * time.Minute), viewer}, {"admin", "admin", now.Add(2 * time.Minute), viewer},
	} {
		key := j.RoleKey(c.key)
		s, err := wire.NewHMACSigner(c.id, key[:])
		if err != nil {
			t.Fatal(err)
		}
		s.SignedAt = c.at
		e := &envelopev2.EventEnvelope{EventId: "q", CreatedAt: timestamppb.New(now)}
		s.Sign(e, nil)
		if got := roleOf(j, e, now); got != c.want {
			t.Errorf("key %q called %q: %v, want %v", c.key, c.id, got, c.want)
		}
	}
	if got := roleOf(j, &envelopev2.EventEnvelope{}, now); got != viewer {
		t.Errorf("unsigned: %v", got)
	}
}
