package karn

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// score is what speaks for a template.
type score struct {
	sum   float64 // of its rewards
	count int     // of them
	used  int     // designs of it

	expected float64 // of it, by its patterns
}

// prior is the reward that a pattern without any is believed to earn.
const prior = 0.3

// mean is the mean reward, with what is expected counted once.
func (s score) mean() float64 { return (s.sum + s.expected) / float64(s.count+1) }

// value is the mean, and a bonus that is greatest for what was never tried.
func (s score) value() float64 { return s.mean() + 1/float64(s.used+1) }

// limits are what a design must keep to.
type limits struct {
	stage   uint32
	risk    float64
	tiers   map[Tier]bool
	without map[string]bool // templates that were tried just now
}

// choose is the template with the highest value of those within the limits; of
// equals the first. nil: there is none.
func choose(scores map[string]score, l limits) *Template {
	var best *Template
	value := 0.0
	for i := range Templates {
		t := &Templates[i]
		if t.Stage > l.stage || t.Risk > l.risk || !l.tiers[t.Tier()] || l.without[t.ID] {
			continue
		}
		if v := scores[t.ID].value(); best == nil || v > value {
			best, value = t, v
		}
	}
	return best
}

// fallback is the one of the first templates with the highest value within a
// risk. There is always one: the first has none.
func fallback(scores map[string]score, risk float64) *Template {
	best := &Templates[0]
	for i := range Templates[:fallbacks] {
		if t := &Templates[i]; t.Risk <= risk && scores[t.ID].value() > scores[best.ID].value() {
			best = t
		}
	}
	return best
}

// activations are what mutation exchanges.
var activations = []string{"relu", "leaky", "softsign", "clip"}

// mutate is the n-th variant of a template's text, n from 1: it changes the
// widths of layers and which activations there are. Variant and template decide
// it. It returns how many words it changed.
func mutate(t *Template, n uint64) (string, int) {
	words := strings.Fields(t.Text)
	changed := 0
	for i, w := range words {
		core := strings.Trim(w, "()+*|")
		if core == "" {
			continue
		}
		draw := keyed(t.ID, n, uint64(i))
		to := core
		if width, ok := strings.CutPrefix(core, "dense:"); ok {
			if have, err := strconv.Atoi(width); err == nil {
				to = fmt.Sprint("dense:", min(max(have+int(draw%7)-3, 2), 32))
			}
		} else {
			for _, a := range activations {
				if core == a && draw%2 == 0 {
					to = activations[(draw>>8)%uint64(len(activations))]
				}
			}
		}
		if g, ok := strings.CutPrefix(core, "scale:"); ok {
			if have, err := strconv.ParseFloat(g, 64); err == nil {
				to = "scale:" + strconv.FormatFloat(have*[]float64{0.5, 1, 2}[draw%3], 'g', -1, 64)
			}
		}
		if to != core {
			changed++
			words[i] = strings.Replace(w, core, to, 1)
		}
	}
	return strings.Join(words, " "), changed
}

// keyed is a hash of a template, a variant and a place.
func keyed(id string, n, place uint64) uint64 {
	b := binary.LittleEndian.AppendUint64([]byte(id), n)
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(b, place))
	return binary.LittleEndian.Uint64(sum[:])
}

// mutationRisk is what each changed word adds to a template's risk.
const mutationRisk = 0.02

// reward is what the end of an adaptation is worth, from −1 to 1: that it was
// kept, and how much the loss fell.
func reward(outcome string, pre, post float64) float64 {
	gain := 0.0
	if pre > 0 && post >= 0 {
		gain = min(max((pre-post)/pre, -0.5), 0.5)
	}
	switch outcome {
	case "FOSSILIZED":
		return 0.5 + gain
	case "CULLED":
		return -0.25 + gain/2
	case "ROLLED_BACK":
		return -0.5
	}
	return 0 // CANCELLED says nothing of the kernel
}
