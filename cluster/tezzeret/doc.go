// Package tezzeret compiles blueprints to kernels, in the background (card 06).
//
// What it promises:
//
//   - Each submitted blueprint comes to a kernel or is marked INVALID, whatever
//     crashes in between (L3). A blueprint whose event was missed is found in the
//     library.
//   - One artifact for each IR, pipeline, hardware and toolchain (I4). Its id names
//     the four, and is the id of the job; what was compiled is in the log, and is
//     not compiled again.
//   - A kernel is handed to the library, which announces it, only after the
//     artifact and its COMMIT are durable here (I5).
//   - Jobs of one tier are compiled in the order of their arrival, also over
//     restarts. At most two are active, one in conservative mode.
//   - Training waits for nothing here.
//
// Choices where the card leaves one. The states VALIDATING, COMPILING and SIGNING
// are in memory: after a crash the job is QUEUED again, in its old place. A job
// is compiled in passes, each a charge of the device's time with a timer in
// between, so that mail is handled and a crash falls anywhere; two active jobs
// take turns. What a compiler finds wrong with a graph is permanent: the blueprint
// becomes INVALID. A job that takes too long, or more memory than there is, is
// queued again one pipeline lower, as another artifact; the lowest fails for
// good after three attempts. Load is the share of the 100 places in the queue
// that is taken. A full queue drops the newest of the lowest tier for a higher
// one; what is dropped or refused stays pending in the library, and is found
// there. Idle work is compiling again what only an urgent pipeline was used for.
// Signing is the checksum of the binary, and that it decodes to what encodes to
// it.
//
// The files: tezzeret.go handles mail, compile.go is the work on a job; queue.go
// and strategy.go are pure.
package tezzeret
