package imported_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu/incident"
	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/imported"
	"github.com/esper-sim/espersim/scenarios/runner"
)

const log = `[ 10.0] NVRM: Xid (PCI:0000:3b:00): 94, pid=1
[ 90.0] NVRM: Xid (PCI:0000:5e:00): 145, pid=1
[ 91.0] NVRM: Xid (PCI:0000:5e:00): 45, pid=1
[ 400.0] NVRM: Xid (PCI:0000:3b:00): 79, pid=1
`

// What is imported is a scenario, reads back, and what is in it happens.
func TestAnIncidentHappensAgain(t *testing.T) {
	list, err := incident.Read(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	s, left, err := imported.Scenario("a log", list)
	if err != nil || len(left) != 1 || left[0].Xid != 45 || left[0].Line != 3 {
		t.Fatalf("%v, left out: %v", err, left)
	}
	text, err := scenarios.Format(s)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = scenarios.Parse("imported.yaml", text, runner.Catalogue()); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	r, err := runner.Run(s, runner.Options{Seed: 1})
	if err != nil || r.Verdict != runner.Clean {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, kind := range []string{"gpu/ecc-contained", "gpu/nvlink", "gpu/off-bus"} {
		if r.Fired[kind] != 1 {
			t.Errorf("%s fired %d times", kind, r.Fired[kind])
		}
	}
	if r.Fleet == nil || r.Fleet.Devices != 2 || r.Fleet.Interruptions < 3 {
		t.Errorf("%v", r.Fleet)
	}
}

func TestNothingKnown(t *testing.T) {
	list, err := incident.Read(strings.NewReader("[ 1.0] NVRM: Xid (PCI:0000:3b:00): 998, x\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, left, err := imported.Scenario("a log", list); err == nil || len(left) != 1 || !slices.Equal(left, list) {
		t.Errorf("%v, left out: %v", err, left)
	}
}

// The hosts of a log are told apart.
func TestHosts(t *testing.T) {
	list, err := incident.Read(strings.NewReader("Nov 24 03:12:55 a kernel: NVRM: Xid (PCI:0000:3b:00): 79\nNov 24 03:12:59 b kernel: NVRM: Xid (PCI:0000:3b:00): 79\nNov 24 03:13:00 a kernel: NVRM: Xid (PCI:0000:3b:00): 64\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := imported.Scenario("a log", list)
	if err != nil {
		t.Fatal(err)
	}
	var faults []string
	for _, x := range s.Plan {
		faults = append(faults, string(x.Fault))
	}
	if want := []string{"gpu/off-bus gpu-1 count=1 device=1", "gpu/off-bus gpu-2 count=1 device=1", "gpu/remap-failed gpu-1 count=1 device=1"}; !slices.Equal(faults, want) {
		t.Errorf("%v", faults)
	}
}
