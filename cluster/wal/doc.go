// Package wal is the write-ahead log that Tolaria, Tezzeret, Urza, Tamiyo and
// Oona keep their durable state in. README.md is the specification of the
// file format; this comment is the map of the code.
//
// What it promises (rows W1 to W4 of the invariants):
//
//   - W1: a record that [Log.Durable] covers is there after every crash.
//   - W2: recovery returns a prefix of what was appended. A torn tail is cut,
//     never interpreted.
//   - W3: any single-bit change in a header or payload is detected.
//   - W4: the records of a transaction without COMMIT are absent after
//     recovery.
//
// Writing: [Open], [Log.Append], [Log.Sync]; [Log.Begin], [Log.Data],
// [Log.Commit], [Log.Abort]; [Log.TruncateBefore]; [Log.Close].
//
// Append gives a record its number and puts it into a buffer. Sync writes the
// whole buffer with one call on one O_DSYNC descriptor, so one wait makes many
// records durable (group commit): append as requests arrive, sync on a timer,
// then acknowledge everything up to Durable.
//
// Reading: [Options.Replay] at Open, [Log.Read] later; [Verify] and [Dump]
// for a log that nobody writes; [DecodeHeader] for one header.
//
// When a device fails the log does not guess. A write or sync whose outcome
// is unknown poisons it ([PoisonedError]): every later call is refused until
// the log is opened anew. Damage before the durable mark is a
// [CorruptionError] that names the LSN, and nothing is cut.
package wal
