// Package wire turns a message into the bytes that cross a link, and back.
//
// Every message between subsystems crosses as an encoded EventEnvelope.
// [Codec.Seal] writes one, [Codec.Open] applies the whole accept rule:
// checksums of envelope and payload, schema version, known payload type, and
// canonical form of both. What it refuses is a [Refusal]: no handler runs for
// it.
//
// Checksums find accidents. [HMACSigner] and [Verify] authenticate.
// [Allowed] says which payload types may travel on which topic.
package wire
