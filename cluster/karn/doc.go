// Package karn designs blueprints (card 05): from fifty templates and their
// mutations it chooses what field reports speak for, and has the asset library
// store it. The library announces each to the compiler.
//
// What it promises:
//
//   - Every request is answered: by a design that is in the library, or by one of
//     the templates BP001 to BP010, within 800 ms of its arrival. A request that
//     comes again gets no second design.
//   - An adversarial design never leaves the sandbox (I6). What is sent to the
//     library has a risk of at most 0.8, compiles, and computes numbers.
//   - A design that was decided on is stored, over crashes: it is logged first, and
//     asked about until the library has answered.
//   - A field report counts once, and is acknowledged when that is durable.
//   - At most 30 % of the designs are experimental; in degraded mode, which an
//     open breaker brings, none has a risk above 0.3.
//
// Choices where the card leaves one. The stage of the curriculum rises when
// three kernels of the present one were validated, and a request may name its
// own. A template's score is the mean of its rewards of the last 24 h, plus a
// bonus that falls with how often it was used: all of them are tried, the good
// ones again. What is not tried yet is stored as it is; later designs of a
// template are mutations, children of it. A reward is 1 for FOSSILIZED, less for
// other ends, and little for a verdict. A rejected or impossible design is in
// quarantine: nothing is derived from it. Adversarial templates are what the
// sandbox is exercised with, at most one design in twenty: a check that finds
// nothing wrong with one is an error of the check.
//
// The pattern library holds what rewards say of ways of building: of each word of
// a design, and of each two that follow one another, for a week, at most 5000. It
// says what is expected of a template that has few rewards of its own, and which
// of four new mutations is made. It is learnt from the rewards in the log, so
// that a restart knows it again.
//
// The files: karn.go handles mail, generate.go makes designs, journal.go is what
// the log says; template.go, select.go, pattern.go and sandbox.go are pure.
package karn
