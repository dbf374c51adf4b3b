package kasmina

import (
	"testing"

	"pgregory.net/rapid"
)

// The participant against a plain model of what it may know: it restores what
// was offered to it and committed, once, never goes back in generations, and
// leaves PREPARED only for a reason.
func TestParticipantAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p participant
		p.gen = uint32(rapid.IntRange(0, 2).Draw(t, "generation"))
		ids := []string{"a", "b", "c"}
		gens := map[string]uint32{"a": 2, "b": 3, "c": 3}
		offered := map[string]bool{}
		restored := map[string]int{}
		t.Repeat(map[string]func(*rapid.T){
			"prepare": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				was := p
				switch a := p.prepare(offer{id: id, gen: gens[id]}); a {
				case voteYes:
					if gens[id] <= was.gen || was.standing != active && was.offer.id == id {
						t.Fatalf("yes to %s at generation %d, offered %q", id, was.gen, was.offer.id)
					}
					offered[id] = true
				case voteAgain:
					if was.standing == active || was.offer.id != id {
						t.Fatal("again, and it was not prepared")
					}
				case ackRestored:
					if restored[id] == 0 {
						t.Fatal("acknowledges what it has not restored")
					}
				case voteNo:
					if gens[id] > was.gen {
						t.Fatal("no to a newer generation")
					}
				}
			},
			"expire": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				was := p.standing
				if p.expire(id) != (was == prepared && p.offer.id == id) {
					t.Fatal("the lease")
				}
			},
			"commit": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				was := p
				switch p.commit(id) {
				case restore:
					if was.standing == active || was.offer.id != id || !offered[id] {
						t.Fatal("restores what it was not offered")
					}
					p.restored()
					if restored[id]++; restored[id] > 1 {
						t.Fatal("restores twice")
					}
					if p.gen <= was.gen || p.standing != active {
						t.Fatalf("generation %d follows %d", p.gen, was.gen)
					}
				case ackRestored:
					if p.last.id != id {
						t.Fatal("acknowledges another")
					}
				}
			},
			"abort": func(t *rapid.T) {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				was := p
				p.abort(id)
				if was.standing != active && was.offer.id != id && p.standing != was.standing {
					t.Fatal("another rollback's abort frees it")
				}
				if p.gen != was.gen {
					t.Fatal("an abort changes the generation")
				}
			},
			"": func(t *rapid.T) {
				if (p.standing != active) != (p.offer.id != "") {
					t.Fatalf("stands at %d with the offer %q", p.standing, p.offer.id)
				}
			},
		})
	})
}

// What pauses cost stays within the cap of the window.
func TestPauseQuota(t *testing.T) {
	var p pause
	total := 0
	for range 12 {
		total += p.allow(0, 1000)
	}
	if total != 10_000 {
		t.Errorf("%d identity calls were granted in one window", total)
	}
	if n := p.allow(59e9, 1); n != 0 {
		t.Errorf("%d more within it", n)
	}
	if n := p.allow(60e9, 5000); n != 1000 {
		t.Errorf("%d after it", n)
	}
}
