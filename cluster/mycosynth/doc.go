// Package mycosynth is the store of the configuration: versioned keys, and
// revisions that every subsystem takes in force at the same epoch boundary.
//
// What the digest leaves open is chosen thus. A change is asked for with a signed
// ConfigRequest that names the version of the key that it replaces; it is answered
// when it is durable, and asked for again gets the same answer, whatever has
// happened since. Accepted requests gather while a revision is open: there is one
// at a time, which is announced, sealed when every live subsystem has it durable,
// and closed by Tolaria's decision (package config says why that is safe). A
// subsystem is live for three seconds after it was heard last; after a start,
// Mycosynth waits as long before it takes anybody for dead. Where a live subsystem
// does not acknowledge, the change is postponed for as long as that lasts.
package mycosynth
