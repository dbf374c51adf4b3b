// Package nissa watches: metrics, alerts, error budgets, dead letters and the
// audit trail of the whole system.
//
// She consumes every topic that is declared but her own, in a durable group,
// and nobody waits for her: producers publish to the bus and are never slowed
// down.
//
//   - metrics.go: the registry, and its text in the Prometheus format.
//   - series.go: the time-series store and its roll-ups.
//   - ingest.go: what an event adds to both.
//   - rules.go, alerts.go: conditions, and what becomes of an alert.
//   - budget.go: service-level objectives and their error budgets.
//   - letters.go: dead letters.
//   - audit.go: the log, which holds the audit trail and the alerts.
//   - logs.go: the events that subsystems tell of.
//   - answers.go: queries and the operator's commands; roles.go: whose they may be.
//
// Where card 10 leaves a choice:
//
//   - Metrics are a function of the set of events on the bus, whatever their
//     order and however often each comes: they hold counts, extremes and the
//     newest value, but no sums of floating-point numbers. So they need no disk:
//     a restart reads what the bus still has, and arrives at the same numbers.
//     Stamps are those of the events.
//   - Logs are the events of telemetry, kept for seven days of their own time, and
//     derived as metrics are.
//   - Everybody may see metrics and status. Who signs with an operator's key reads
//     the logs and acknowledges alerts, and who signs with an admin's silences them.
//   - The audit trail is not derived, and is never trimmed. An event that belongs
//     into it is acknowledged when its record is durable. While the log cannot
//     be written Nissa is in EMERGENCY mode and takes nothing from the bus,
//     which keeps it for her; she goes on to answer and to evaluate.
//   - CONSERVATIVE mode (smaller batches, fewer entries in flight) is entered when
//     the breaker of the log opens, when three quarters of an error budget are
//     spent, or when the store is nearly full; it ends after five minutes in
//     health.
//   - A dead letter is tried again by Nissa, 5 times 60 s apart, which helps where
//     she could not read it. She never publishes it anew: it would carry the
//     signature of nobody.
//   - Error budgets are counted from the start of the process. Less than a thousand
//     events say nothing about a share of a thousandth, and spend nothing.
//   - The depth of the bus is asked for, as the number of entries that it keeps.
package nissa
