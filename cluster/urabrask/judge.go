package urabrask

import (
	"fmt"
	"sort"
	"strings"
)

// risk adds up what is unusual about a kernel, from 0 to 1.
func (m *measured) judge() {
	r := 0.0
	at := func(value, some, much, weight float64) {
		switch {
		case value > much:
			r += weight
		case value > some:
			r += weight / 2
		}
	}
	at(m.gradient, 200, 2000, 0.2)
	at(m.gradientCV, 0.25, 0.4, 0.1)
	at(m.amplifies, 20, 200, 0.25)
	at(m.hostile, 1e3, 1e7, 0.15)
	at(m.latencyCV, 0.1, 0.15, 0.1)
	at(float64(m.bytes), 1<<24, 1<<28, 0.2)
	if len(m.wrong) > 0 {
		r = max(r, maxRisk) + 0.4
	}
	if m.risk = min(r, 1); m.risk >= maxRisk && len(m.wrong) == 0 {
		m.reject("its risk is %.2f; want below %.2f", m.risk, maxRisk)
	}
}

// passed says whether nothing is wrong.
func (m *measured) passed() bool { return len(m.wrong) == 0 }

// reason is why a kernel was rejected.
func (m *measured) reason() string { return strings.Join(m.wrong, "; ") }

// enough is how many kernels must have been measured for tags by percentile.
const enough = 20

// tags describes a kernel: by rule, and by its place among the others once there
// are enough of them.
func (m *measured) tags(pipeline string, others []float64) []string {
	tags := []string{fmt.Sprint("width-", m.width), "pipeline-" + pipeline}
	size := "large"
	switch {
	case m.params < 100:
		size = "small"
	case m.params < 300:
		size = "medium"
	}
	tags = append(tags, "size-"+size)
	if m.passed() && m.risk < 0.1 {
		tags = append(tags, "stable")
	}
	fast := m.passes <= 4
	if len(others) >= enough {
		sorted := append([]float64(nil), others...)
		sort.Float64s(sorted)
		fast = m.latency <= sorted[len(sorted)/4]
	}
	if fast {
		tags = append(tags, "fast")
	}
	sort.Strings(tags)
	return tags
}
