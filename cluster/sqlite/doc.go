// Package sqlite opens SQLite databases on an actor's file system.
//
// SQLite's own code runs: its journal, its syncs, its recovery. What it asks of
// an operating system goes to actor.FS, so a crash may fall between any two of
// its operations, and what it believes of disks is put to the test like
// everything else.
//
// How it is held to be a function of the run:
//
//   - The only randomness that reaches a file is the salt of a journal. It comes
//     from the actor's keyed source.
//   - An actor is alone with its files, so locks are kept in memory, and a
//     write-ahead log is opened in exclusive mode, without shared memory.
//   - Nothing in SQL may ask for the time: pass it as a value.
//
// A crash unwinds through SQLite by panic, which its Go code lets pass. The
// connection is garbage then; a new one on the files that survived recovers.
//
// [Options.Journal] and [Options.Synchronous] decide what an acknowledged
// commit is worth. With the journal mode "delete" and synchronous "full",
// SQLite's defaults, it is worth less than one would think: a commit ends with
// the unlinking of the journal, nothing syncs the directory, and a power failure
// brings the journal back, which then undoes the commit. See [Options.Durable].
package sqlite
