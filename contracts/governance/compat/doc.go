// Package compat finds what changed between two schemas and says of every
// change what it means.
package compat
