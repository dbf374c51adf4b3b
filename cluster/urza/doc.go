// Package urza is the asset library: an immutable, content-addressed store of
// blueprints and kernels with a query API (card 08).
//
// What it promises:
//
//   - What was answered STORED or EXISTS is there after every crash, the same in
//     every byte, for ever. Nothing is overwritten or deleted: assets are
//     archived (I3).
//   - A blueprint's id is the SHA-256 of its canonical IR; a kernel's id names IR,
//     hardware, pipeline and toolchain, and of those four there is one (I3, I4).
//   - A kernel leaves PENDING_BENCHMARKING once, by a report, and is VALIDATED
//     exactly if the report says that it passed (I1).
//   - A query returns validated kernels that satisfy all of its limits, or the
//     identity kernel flagged as a fallback, and nothing else (I2).
//   - Bytes are served only if they have their digests when they are read.
//   - What others must hear of is announced on the bus after it is durable, and
//     until the bus has it: blueprint submitted, kernel ready, kernel
//     characterised. The HLD lets two subsystems announce each of them (defect
//     56); here it is the one that knows when the asset is durable.
//
// How an asset is stored: a transaction of the log begins with what it is about;
// the objects are written under their digests, each synced and renamed into
// place; SQLite commits the metadata and what is to be announced; the log
// commits; the answer is sent. A crash in between is settled at the next start,
// before anything is served: what SQLite has is whole, since objects come first,
// and gets its COMMIT; what it has not is forgotten, and an object that nobody
// names stays, harmless.
//
// Choices where the card leaves one: one process with one disk stands for the
// caches L1 to L4 and the replicas; retention is for ever (HLD 8.2 over
// companion 08.1); objects are kept uncompressed, since a kernel here has
// kilobytes; the 1 s budget of a query is the deadline of its disk operations.
//
// The files: urza.go handles mail, store.go and query.go do the work,
// library.go is the database, objects.go the object store, recover.go the start,
// status.go the edges of the two state machines.
package urza
