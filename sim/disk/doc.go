// Package disk is a model of a disk and its file system: what is durable, what
// is only cached, and what a crash may leave of the difference.
//
// # Model
//
// A file has durable and cached content, a directory durable and cached
// entries. What separates the two is an ordered list of pending operations:
// Write and SetSize of a file, SetEntry and DelEntry of a directory. A rename
// is a SetEntry, which is atomic, and a separate DelEntry. Sync of a file
// drains that file's list, SyncDir that directory's, and a write through a
// DSync descriptor its own range and the size. [Disk.Crash] decides the fate
// of whatever is still pending: an operation happened or did not, and each
// unit (512 bytes, aligned to the file) of a write is old, new, zero or
// garbage. Survivors of one file keep their order; files have none among each
// other. The crash of a process changes nothing here: the page cache is the
// host's.
//
// The model is deliberately weaker than any one file system, so software that
// is right on it is right on all that it covers. The observations that it must
// admit, made on a real kernel by the program in sim/disk/oracle, are in
// testdata/oracle.json.
//
// # Index
//
//   - [Disk], [New], [Config], [Profile]: the state. It has no clock.
//   - [FS], [File], [NewFS], [NewGatedFS], [Gate], [Op]: the seam's file
//     system over a Disk; the gate is where a simulator passes time.
//   - [Disk.Crash], [Disk.Random], [Choice], [Fate], [Disk.DropCaches]:
//     losing the cache.
//   - [Fault], [Kind], [Disk.Inject], [Disk.Lift], [Disk.Fired]: injected
//     faults.
//   - [Disk.Files], [Disk.Durable], [Disk.Cached], [Disk.Pending],
//     [Disk.Clone], [Disk.Hash]: looking inside.
//   - [Disk.CrashStates], [Disk.Admits]: every state that a crash may leave,
//     one by one or as a question.
//   - [Disk.Undecided], [Outcomes], [Disk.After], [Disk.Fingerprint]: what a
//     crash decides, its outcomes by number within a bound, and each as a disk.
package disk
