// Package contractstest is for the tests of whoever owns a message schema: it
// fails a test when a change of the schema loses something, makes random
// messages of any type, and makes random evolutions of schemas to test tools
// with.
package contractstest
