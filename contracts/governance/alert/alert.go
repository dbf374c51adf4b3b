// Package alert raises the security alerts of the contracts: a golden fixture
// whose bytes differ, or a schema that is not the one that was signed, may be
// tampering (HLD section 10.2).
package alert

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	platformv2 "github.com/esper-sim/espersim/contracts/generated/go/platform/v2"
	telemetryv2 "github.com/esper-sim/espersim/contracts/generated/go/telemetry/v2"
)

// Rules of the alerts.
const (
	GoldenMismatch = "golden-mismatch"
	SchemaTampered = "schema-tampered"
)

// Source is the subsystem that the alerts come from: the contracts' own.
const Source = "leyline"

// New is the alert of a rule over what differs, raised at a time that a
// Timestamp has. Equal differences have one alert_id whenever they are found,
// so that an alert which is raised again is known as the same.
func New(rule string, differences []string, at time.Time) *platformv2.AlertEvent {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d:%s", len(rule), rule)
	for _, d := range differences {
		fmt.Fprintf(sum, "%d:%s", len(d), d)
	}
	return &platformv2.AlertEvent{
		AlertId:  rule + "-" + hex.EncodeToString(sum.Sum(nil)[:8]),
		Rule:     rule,
		Severity: platformv2.AlertSeverity_ALERT_CRITICAL,
		State:    platformv2.AlertState_FIRING,
		Value:    float64(len(differences)),
		Detail:   strings.ToValidUTF8(strings.Join(differences, "; "), "\uFFFD"),
		Labels:   []*telemetryv2.Label{{Key: "source", Value: Source}},
		RaisedAt: timestamppb.New(at),
	}
}

// Line is an alert in one line, whatever its detail holds.
func Line(a *platformv2.AlertEvent) string {
	severity := strings.TrimPrefix(a.GetSeverity().String(), "ALERT_")
	return fmt.Sprintf("ALERT %s %s %s %s: %s", severity, a.GetState(), a.GetRule(), a.GetAlertId(), oneLine(a.GetDetail()))
}

// oneLine takes out what would begin another line, in a terminal or a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, s)
}
