package wal_test

import (
	"errors"
	"testing"

	"github.com/esper-sim/espersim/cluster/wal"
)

func poisoned(t testing.TB, err error) {
	t.Helper()
	var p *wal.PoisonedError
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a PoisonedError", err)
	}
}
