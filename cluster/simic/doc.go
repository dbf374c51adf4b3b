// Package simic trains the policy by which Tamiyo chooses kernels, offline, from
// field reports, and releases it in stages.
//
// What it promises:
//
//   - A report is acknowledged once it is an experience or a logged rejection,
//     durably, and only once either of them, whatever the bus delivers again. A
//     report that breaks a rule is given back once, then rejected, and Tamiyo
//     is told.
//   - No expired experience is trained on, and none of the fifth that validation
//     judges by.
//   - A policy reaches production only by all stages of its validation, then by
//     a share of Tamiyo's decisions. What is in production can be rolled back to
//     the version before it: weights never change under their version.
//
// Choices where the design leaves some. Everything that arrives is logged before
// it is acknowledged; the buffer in memory is the hot part, the log the cold one,
// and a snapshot lets go of the log before it. An experience expires after an
// hour of Simic's own time; one that a restart brings back counts from the wall
// clock's word on its age, which nothing else believes. The outcomes of a test
// come from whoever runs the policy, in totals that only grow. A superseded
// version is STAGED: in reserve.
//
// The files: simic.go handles mail, intake.go takes reports in, journal.go is
// the log, learn.go trains, release.go moves policies on; buffer.go, reward.go
// and validate.go are pure.
package simic
