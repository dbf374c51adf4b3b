// Package jace aligns two curricula: how far the task of a training run has come
// (Tamiyo's stage, 0 to 6) and how far the strategies for it have (Simic's stage,
// 0 to 6).
//
// What it promises: a decision for every epoch and every change of strategy,
// within its budget or from what is always there; each names at least one
// strategy and has a confidence of at least 0.3, and a fallback is SYNCHRONIZED
// with at least 0.4, whatever has failed. Nobody waits for it: training goes on
// without any decision.
//
// Where the design leaves a choice: the task stage follows the epochs; a
// fallback is always SYNCHRONIZED, also where 11.2 would allow INDEPENDENT; the
// matrix is a file with a digest, read again now and then, and one that is
// damaged is written anew from its definition; the decision caches are three
// levels, from the newest to the oldest, and memory pressure empties the lower
// two.
//
// The files: jace.go handles mail, store.go keeps the matrix; decide.go,
// cache.go and budget.go are pure.
package jace
