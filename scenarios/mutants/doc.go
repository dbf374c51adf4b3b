// Package mutants measures the net: it changes the system in one place, in a
// way that matters for durability and protocols, and counts how often the
// scenarios and checkers notice.
package mutants
