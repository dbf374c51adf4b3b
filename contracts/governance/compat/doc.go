// Package compat finds what changed between two schemas and says of every
// change two things: what the policy makes of it, and what really happens to
// messages because of it.
//
// The policy (HLD 8.4) looks at declarations and gives none, minor or major.
// Frozen packages may not change at all, except in comments.
//
// The evidence is a class for each direction, old writer to new reader and new
// writer to old reader. From harmless to grave:
//
//   - byte-identical relay: the reader sees what was written, and what it sends
//     on has the same bytes. A field that it does not have at all travels as an
//     unknown field, unseen.
//   - value-lossless: values and presence hold; the relay has other bytes, as
//     when a packed list becomes an unpacked one.
//   - presence-lossy: values hold, but set-to-zero and unset are no longer told
//     apart, by the reader or after the relay.
//   - value-lossy: a reader sees another value than was written in a field that
//     it has, by name or by number, or sees it unset; or the relay brings the
//     writer's side other values than it wrote.
//   - parse failure: the reader's decoder refuses some message.
//
// How messages are written, read, relayed and compared is defined in package
// exchange. Two implementations give the class: package rules predicts it from
// the descriptors, package witness looks for a message that shows it. They
// share nothing, and where they disagree the report says so and takes the
// worse. Every class worse than value-lossless comes with a witness: a shrunk
// message, its bytes, and the command that shows the loss again.
//
// The class of a change is about that change. What is within a field's type is
// counted where it changed, and again in the verdict on each message type that
// reaches it, so that a renamed field is not blamed for what happened inside
// of its message.
package compat
