package tamiyo

import "math"

// Vitals is what the risk of going on is judged by (card 03).
type Vitals struct {
	Gradient  float64 // norm
	Memory    float64 // share that is used
	LatencyMs float64 // of an epoch boundary
	Stability float64 // relative rise of the loss against its recent mean
	NotFinite bool    // the loss or the gradient is no number
}

// Risk is the judgement: a level from 0 to 4, and a score from 0 to 1.
type Risk struct {
	Level int
	Score float64
}

// Critical says that nothing may be commanded but a rollback or a pause.
func (r Risk) Critical() bool { return r.Level >= 4 }

// scale puts a value between a base (0) and an emergency (1).
func scale(v, base, emergency float64) float64 {
	return min(max((v-base)/(emergency-base), 0), 1)
}

// Judge is card 03's table: gradient, memory, latency and stability with their
// weights. Three dimensions above 0.8, memory above 85 %, or a number that is
// none are an emergency whatever the sum says.
func Judge(v Vitals) Risk {
	if v.NotFinite || math.IsNaN(v.Gradient) || math.IsInf(v.Gradient, 0) {
		return Risk{4, 1}
	}
	dims := [4]float64{
		scale(v.Gradient, 5, 20), scale(v.Memory, 0.80, 0.95),
		scale(v.LatencyMs, 100, 500), scale(v.Stability, 0.10, 0.50),
	}
	score := 0.30*dims[0] + 0.25*dims[1] + 0.25*dims[2] + 0.20*dims[3]
	high := 0
	for _, d := range dims {
		if d > 0.8 {
			high++
		}
	}
	if high >= 3 || v.Memory > 0.85 || score >= 0.8 {
		return Risk{4, score}
	}
	return Risk{int(score / 0.2), score}
}
