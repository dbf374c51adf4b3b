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
// there. Signing is the checksum of the binary, and that it decodes to what encodes
// to it.
//
// Of the device's time compilation takes a quarter at most, and 15 % in
// conservative mode, in which it is after five minutes of more than 20 %: after each
// pass, a third of which is on the device, the next waits for as long as that
// takes. Only an emergency does not wait. Idle work is compiling again: first what
// was compiled in a hurry though much is expected of it, then what a better
// pipeline failed at, then what an older toolchain has compiled, then the rest that
// was compiled in a hurry. An artifact of an older toolchain stays valid beside the
// new one; a job that an older release left in the queue becomes one of this
// release. Nissa is told where each job stands, and how Tezzeret is.
//
// The files: tezzeret.go handles mail, compile.go is the work on a job, status.go
// tells; queue.go, share.go and strategy.go are pure.
package tezzeret
