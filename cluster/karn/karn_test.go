package karn

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/cluster/kernel"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	statev2 "github.com/esper-sim/espersim/contracts/generated/go/state/v2"
)

// The fifty are the card's: 35, 7 and 8, by number and risk. Each compiles in
// every pipeline, and the sandbox passes exactly those that may leave it.
func TestTemplates(t *testing.T) {
	count := map[Tier]int{}
	ids := map[string]string{}
	for i := range Templates {
		tm := &Templates[i]
		if want := fmt.Sprintf("BP%03d", i+1); tm.ID != want {
			t.Errorf("template %d is %s", i+1, tm.ID)
		}
		count[tm.Tier()]++
		tier := Production
		if i >= 35 {
			tier = Experimental
		}
		if i >= 42 {
			tier = Adversarial
		}
		if tm.Tier() != tier || tm.Stage >= Stages {
			t.Errorf("%s: tier %v, stage %d", tm.ID, tm.Tier(), tm.Stage)
		}
		for _, width := range []int{1, 6, 12} {
			ir, err := tm.IR(width)
			if err != nil {
				t.Fatalf("%s: %v", tm.ID, err)
			}
			for p := kernel.Emergency; p <= kernel.Aggressive; p++ {
				if _, err := kernel.Compile(ir, p, "h100", kernel.Toolchain); err != nil {
					t.Errorf("%s: %v", tm.ID, err)
				}
			}
			if width == 12 {
				if dup := ids[kernel.ID(ir)]; dup != "" {
					t.Errorf("%s is %s", tm.ID, dup)
				}
				ids[kernel.ID(ir)] = tm.ID
				if err := sandbox(ir, width); (err != nil) != (tier == Adversarial) {
					t.Errorf("%s: the sandbox says %v", tm.ID, err)
				}
			}
		}
	}
	if count[Production] != 35 || count[Experimental] != 7 || count[Adversarial] != 8 {
		t.Errorf("tiers %v", count)
	}
}

// A mutation is decided by its number, builds, and is at most a little riskier.
func TestMutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tm := &Templates[rapid.IntRange(0, 41).Draw(t, "template")]
		n := uint64(rapid.IntRange(1, 500).Draw(t, "variant"))
		ir, risk, err := variant(tm, n, 12)
		if err != nil {
			t.Skip(err) // such as branches whose widths no longer agree
		}
		if ir == nil {
			return
		}
		again, _, _ := variant(tm, n, 12)
		if kernel.ID(again) != kernel.ID(ir) {
			t.Fatal("the second time it is another")
		}
		if _, err := kernel.Compile(ir, kernel.Standard, "h100", "t"); err != nil {
			t.Fatal(err)
		}
		if risk < tm.Risk || risk > tm.Risk+0.3 {
			t.Fatalf("%s with risk %v becomes %v", tm.ID, tm.Risk, risk)
		}
	})
}

// Whatever the scores and limits, what is chosen is within them, and there is a
// fallback within every risk.
func TestChoice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scores := map[string]score{}
		for i := range Templates {
			if rapid.Bool().Draw(t, "scored") {
				scores[Templates[i].ID] = score{sum: rapid.Float64Range(-3, 3).Draw(t, "sum"), count: rapid.IntRange(0, 4).Draw(t, "count"), used: rapid.IntRange(0, 4).Draw(t, "used")}
			}
		}
		l := limits{stage: uint32(rapid.IntRange(0, 6).Draw(t, "stage")), risk: rapid.Float64Range(0, 0.8).Draw(t, "risk"),
			tiers: map[Tier]bool{Production: true, Experimental: rapid.Bool().Draw(t, "experimental")}}
		got := choose(scores, l)
		if got == nil {
			t.Fatal("there is always BP001")
		}
		if got.Risk > l.risk || got.Stage > l.stage || got.Tier() == Adversarial || got.Tier() == Experimental && !l.tiers[Experimental] {
			t.Fatalf("%+v is not within %+v", got, l)
		}
		if f := fallback(scores, l.risk); f.Risk > l.risk || f.ID > "BP010" {
			t.Fatalf("fallback %+v for a risk of %v", f, l.risk)
		}
	})
}

// What a template earned decides: the one that did well is chosen again, when
// all were tried.
func TestRewardsDecide(t *testing.T) {
	m := newMemory()
	at := time.Unix(1_000_000, 0)
	for i := range Templates[:5] {
		id := fmt.Sprint("blueprint-", i)
		m.apply(&statev2.KarnRecord{Design: &statev2.KarnDesign{BlueprintId: id, TemplateId: Templates[i].ID}})
		value := -0.5
		if i == 3 {
			value = 0.9
		}
		for range 2 { // the second is the same report
			m.apply(&statev2.KarnRecord{Reward: &statev2.KarnReward{ReportId: fmt.Sprint("report-", i), BlueprintId: id, TemplateId: Templates[i].ID, Value: value, At: timestamppb.New(at)}})
		}
	}
	if len(m.rewards) != 5 {
		t.Errorf("%d rewards of 5 reports", len(m.rewards))
	}
	within := limits{stage: 0, risk: 0.035, tiers: map[Tier]bool{Production: true}, without: map[string]bool{"BP009": true, "BP010": true}}
	if got := choose(m.scores(at.Add(time.Hour)), within); got.ID != "BP004" {
		t.Errorf("chosen is %s, and BP004 earned most", got.ID)
	}
	if got := m.scores(at.Add(25 * time.Hour))["BP004"]; got.count != 0 || got.used != 1 {
		t.Errorf("a day later its score is %+v", got)
	}
}

func TestRiskBudget(t *testing.T) {
	m := newMemory()
	for i := range 100 {
		risk := 0.1
		if m.mayExperiment() {
			risk = 0.6
		}
		m.apply(&statev2.KarnRecord{Design: &statev2.KarnDesign{BlueprintId: fmt.Sprint(i), RiskScore: risk}})
		n, risky := 0, 0
		for j := len(m.order) - 1; j >= 0 && n < riskWindow; j-- {
			if n++; m.order[j].RiskScore > experimentalRisk {
				risky++
			}
		}
		if float64(risky) > 0.3*float64(max(n, 4)) {
			t.Fatalf("after %d designs %d of %d are experimental", i+1, risky, n)
		}
	}
	m.apply(&statev2.KarnRecord{SettledBlueprintId: "1", Status: assetsv2.AssetStatus_EXISTS})
	if !m.stored("1") || m.stored("2") {
		t.Error("stored is what the library said")
	}
}

func TestStages(t *testing.T) {
	m := newMemory()
	for i := range 2 * promotion {
		id := fmt.Sprint(i)
		m.apply(&statev2.KarnRecord{Design: &statev2.KarnDesign{BlueprintId: id, CurriculumStage: uint32(i / promotion)}})
		m.apply(&statev2.KarnRecord{Reward: &statev2.KarnReward{ReportId: id, BlueprintId: id, Value: validatedReward}})
		if want := uint32((i + 1) / promotion); m.stage() != want {
			t.Errorf("after %d verdicts the stage is %d, want %d", i+1, m.stage(), want)
		}
	}
}

func TestReward(t *testing.T) {
	for _, c := range []struct {
		outcome   string
		pre, post float64
		want      float64
	}{{"FOSSILIZED", 1, 0.8, 0.7}, {"FOSSILIZED", 1, 9, 0}, {"CULLED", 1, 1, -0.25}, {"ROLLED_BACK", 1, 0, -0.5}, {"CANCELLED", 1, 0, 0}, {"FOSSILIZED", 0, 1, 0.5}} {
		if got := reward(c.outcome, c.pre, c.post); got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("%s from %v to %v: %v, want %v", c.outcome, c.pre, c.post, got, c.want)
		}
	}
}

func TestTextsThatAreNoDesigns(t *testing.T) {
	for _, text := range []string{"dense:4", "(relu | dense:4)+", "(relu)+", "(relu | clip)", "relu )", "(relu | clip", "dense:x"} {
		if _, err := Build(text, "", 12); err == nil {
			t.Errorf("%q is a design", text)
		}
	}
}
