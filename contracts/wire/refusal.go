package wire

import "fmt"

// Reason says why an envelope was refused.
type Reason int

// The reasons of a Refusal.
const (
	_ Reason = iota
	// BadChecksum: the envelope's or the payload's bytes were changed.
	BadChecksum
	// Malformed: the bytes are no protobuf message.
	Malformed
	// NonCanonical: another encoder would have written other bytes.
	NonCanonical
	// UnsupportedVersion: the schema version is not this program's.
	UnsupportedVersion
	// UnknownType: there is no message type of that name.
	UnknownType
	// BadSignature: Verify found no valid signature under the key.
	BadSignature
)

var reasonText = [...]string{
	BadChecksum:        "bad checksum",
	Malformed:          "malformed",
	NonCanonical:       "not canonical",
	UnsupportedVersion: "unsupported version",
	UnknownType:        "unknown type",
	BadSignature:       "bad signature",
}

func (r Reason) String() string {
	if r > 0 && int(r) < len(reasonText) {
		return reasonText[r]
	}
	return fmt.Sprintf("Reason(%d)", int(r))
}

// Refusal is the error of Open and Verify.
type Refusal struct {
	Reason Reason
	Detail string
	Err    error // a *canon.Error, if the encoding itself was refused
}

func (r *Refusal) Error() string { return r.Reason.String() + ": " + r.Detail }

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }
