package runner_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	busv2 "github.com/esper-sim/espersim/contracts/generated/go/bus/v2"
	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
	"github.com/esper-sim/espersim/sim/trace"
)

// traced runs a scenario and calls see for every event of its trace.
func traced(t *testing.T, file string, seed uint64, see func(*trace.Event)) {
	t.Helper()
	s, err := scenarios.Load(filepath.Join("..", file), runner.Catalogue())
	if err != nil {
		t.Fatal(err)
	}
	var stored bytes.Buffer
	r, err := runner.Run(s, runner.Options{Seed: seed, Trace: &stored})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict != runner.Clean {
		t.Fatalf("%s %v %s", r.Verdict, r.Violations, r.Error)
	}
	in, err := trace.NewReader(&stored)
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		see(e)
	}
}

// Between two major versions nothing reaches a handler, each refusal is in the
// trace with its reason, and what was published meanwhile is consumed once
// there is a common version again.
func TestNoCommonVersion(t *testing.T) {
	codec := wire.NewCodec()
	var both [2]int // refusals by "two" and of "two"
	waiting, consumed := map[int64]bool{}, map[int64]bool{}
	traced(t, "contracts/no-common-version.yaml", 1, func(e *trace.Event) {
		apart := e.At > int64(4300*time.Millisecond) && e.At < int64(14*time.Second)
		switch e.Kind {
		case trace.MessageRefused:
			if !strings.Contains(e.Text, "unsupported version") {
				return
			}
			if e.Peer == "two" {
				both[0]++
			} else if e.Node == "two" {
				both[1]++
			}
		case trace.MessageDelivered:
			if apart && (e.Peer == "two" || e.Node == "two") {
				t.Errorf("at %s a handler ran across major versions: %s", trace.Stamp(e.At), e)
			}
		case trace.MessageSent:
			_, m, err := codec.Open(e.Data)
			if a, ok := m.(*busv2.PublishAck); err == nil && ok && apart && a.Status == busv2.PublishStatus_ACCEPTED {
				waiting[a.Offset] = true
			}
		case trace.FactDeclared:
			m, err := codec.Parse(e.Text, e.Data)
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := m.(*evidencev2.BusFact); ok && f.Action == evidencev2.BusAction_BUS_CONSUMED && f.Consumer == "two" && e.At > int64(14*time.Second) {
				consumed[f.Offset] = true
			}
		}
	})
	if both[0] == 0 || both[1] == 0 || len(waiting) < 100 {
		t.Errorf("refused by the new version %d, by the old %d, published meanwhile %d", both[0], both[1], len(waiting))
	}
	for offset := range waiting {
		if !consumed[offset] {
			t.Errorf("what was published at offset %d did not wait", offset)
		}
	}
}

// An order that only 2.1 knows is refused by a reader of 2.0, with a result
// that says so; the reader's state does not change.
func TestOldReaderRefusesANewOrder(t *testing.T) {
	newer, refused := map[string]bool{}, 0
	for seed := uint64(1); seed <= 10 && refused == 0; seed++ {
		codec := wire.NewCodec()
		traced(t, "contracts/downgrade.yaml", seed, func(e *trace.Event) {
			switch e.Kind {
			case trace.MessageSent:
				if env, _, err := codec.Open(e.Data); err == nil && env.Topic == "control.kasmina.commands" && env.SchemaMinor == 1 {
					newer[strings.TrimPrefix(env.EventId, "command/")] = true
				}
			case trace.FactDeclared:
				m, err := codec.Parse(e.Text, e.Data)
				if err != nil {
					t.Fatal(err)
				}
				f, ok := m.(*evidencev2.CommandFact)
				if ok && newer[f.CommandId] && f.Status == "REJECTED" && strings.Contains(f.Reason, "operation") {
					refused++
				}
			}
		})
	}
	if refused == 0 {
		t.Errorf("of %d orders that 2.0 does not know none was refused for it", len(newer))
	}
}
