package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// The fixed parts of the format. The first three and the positions of magic,
// version, time, type, length, checksum area and marker are the HLD's (8.3).
const (
	HeaderSize = 256
	Version    = 2
	// Marker is the HLD's "endian marker". It is written little-endian, always,
	// so it cannot tell byte orders apart; it stays as a check of the format.
	Marker = 0x1234567890ABCDEF
	// MaxPayload is the longest payload of one record, in bytes. Longer data
	// goes into several records of one transaction, see Chunks.
	MaxPayload = 64 << 20

	minUnit  = 512
	maxUnit  = 64 << 10
	typeSize = 2 // the type area holds a numeric code of two bytes
)

const magic = "ESPR"

// Positions of the fields in the header, in bytes. README.md has the table.
const (
	offMagic      = 0
	offVersion    = 4
	offTime       = 8
	offTypeSize   = 16
	offKind       = 20
	offKindRest   = 22
	offLength     = 52
	offPayloadSum = 60
	offHeaderSum  = 64
	offPrevious   = 68
	offSumRest    = 72
	offMarker     = 92
	offLSN        = 100
	offTxn        = 108
	offOp         = 116
	offSegment    = 120
	offOffset     = 128
	offSynced     = 136
	offEpoch      = 144
	offStart      = 152
	offUnit       = 160
	offRest       = 164
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// LSN is the log sequence number of a record: 1 for the first of a log, then
// rising by one. 0 means none.
type LSN uint64

// Op is the part a record plays in a transaction.
type Op uint32

// The operations. BEGIN to ABORT have the numbers of the companion documents.
const (
	Single Op = 0 // a record of its own
	Begin  Op = 1 // opens a transaction; the payload is its execution context
	Data   Op = 2
	Commit Op = 3
	Abort  Op = 4
	Mark   Op = 5 // carries SyncedUpTo and Start only; never replayed
)

var opNames = [...]string{"SINGLE", "BEGIN", "DATA", "COMMIT", "ABORT", "MARK"}

// String is the operation's name, or its number when it has none.
func (o Op) String() string {
	if int(o) < len(opNames) {
		return opNames[o]
	}
	return fmt.Sprintf("Op(%d)", uint32(o))
}

// Header is the head of a record, decoded.
type Header struct {
	Time       int64  // ms since 1970 by the node's clock; information only
	Kind       uint16 // what the payload is; the log's owner decides
	Length     uint64 // of the payload, in bytes
	PayloadSum uint32 // CRC32C of the payload
	HeaderSum  uint32 // CRC32C of the header without this field
	Previous   uint32 // HeaderSum of the record before, 0 at the log's first
	LSN        LSN
	Txn        uint64 // LSN of the transaction's BEGIN; 0 outside
	Op         Op
	Segment    uint64
	Offset     uint64 // of this header in its segment file
	SyncedUpTo LSN    // this and everything before was durable at the time
	Epoch      int64
	Start      LSN    // records before this one may have been removed
	Unit       uint32 // the record is padded with zeros to a multiple of this
}

// Next is the offset at which the record after this one begins.
func (h *Header) Next() int64 {
	return int64(h.Offset) + padded(int(h.Length), int(h.Unit))
}

// padded is the size on disk of a record with n bytes of payload.
func padded(n, unit int) int64 {
	size := int64(HeaderSize) + int64(n)
	return (size + int64(unit) - 1) / int64(unit) * int64(unit)
}

// put encodes h into b, which holds HeaderSize zero bytes, and sets
// h.HeaderSum.
func (h *Header) put(b []byte) {
	le := binary.LittleEndian
	b = b[:HeaderSize]
	copy(b[offMagic:], magic)
	le.PutUint32(b[offVersion:], Version)
	le.PutUint64(b[offTime:], uint64(h.Time))
	le.PutUint32(b[offTypeSize:], typeSize)
	le.PutUint16(b[offKind:], h.Kind)
	le.PutUint64(b[offLength:], h.Length)
	le.PutUint32(b[offPayloadSum:], h.PayloadSum)
	le.PutUint32(b[offPrevious:], h.Previous)
	le.PutUint64(b[offMarker:], Marker)
	le.PutUint64(b[offLSN:], uint64(h.LSN))
	le.PutUint64(b[offTxn:], h.Txn)
	le.PutUint32(b[offOp:], uint32(h.Op))
	le.PutUint64(b[offSegment:], h.Segment)
	le.PutUint64(b[offOffset:], h.Offset)
	le.PutUint64(b[offSynced:], uint64(h.SyncedUpTo))
	le.PutUint64(b[offEpoch:], uint64(h.Epoch))
	le.PutUint64(b[offStart:], uint64(h.Start))
	le.PutUint32(b[offUnit:], h.Unit)
	h.HeaderSum = headerSum(b)
	le.PutUint32(b[offHeaderSum:], h.HeaderSum)
}

func headerSum(b []byte) uint32 {
	sum := crc32.Update(0, castagnoli, b[:offHeaderSum])
	return crc32.Update(sum, castagnoli, b[offHeaderSum+4:HeaderSize])
}

// MarshalBinary encodes the header with a fresh checksum.
func (h *Header) MarshalBinary() ([]byte, error) {
	b := make([]byte, HeaderSize)
	h.put(b)
	_, err := DecodeHeader(b)
	return b, err
}

// FieldError says which field of a record is not what it must be.
type FieldError struct {
	Field  string
	At     int // offset of the field in the record, in bytes
	Got    uint64
	Want   uint64
	Detail string // where no single value is wanted
}

func (e *FieldError) Error() string {
	if e.Detail != "" {
		return fmt.Sprintf("%s at byte %d is %d: %s", e.Field, e.At, e.Got, e.Detail)
	}
	return fmt.Sprintf("%s at byte %d is %#x, want %#x", e.Field, e.At, e.Got, e.Want)
}

// errZero is the end of a segment: a header of zeros.
var errZero = &FieldError{Field: "header", Detail: "all zero, which is the end and never a record"}

// DecodeHeader decodes and checks the first HeaderSize bytes of b. It checks
// what a header can say about itself; that it stands in the right place of
// the right log is the reader's to check. The error is a *FieldError.
func DecodeHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < HeaderSize {
		return h, &FieldError{Field: "header", Got: uint64(len(b)), Detail: "bytes left, fewer than the 256 of a header"}
	}
	b = b[:HeaderSize]
	if allZero(b) {
		return h, errZero
	}
	le := binary.LittleEndian
	// The checksum first: every message after it is about a header that says
	// what its writer meant.
	if string(b[:4]) != magic {
		return h, &FieldError{Field: "magic", At: offMagic, Got: uint64(le.Uint32(b)), Want: uint64(le.Uint32([]byte(magic)))}
	}
	if got, want := le.Uint32(b[offHeaderSum:]), headerSum(b); got != want {
		return h, &FieldError{Field: "header checksum", At: offHeaderSum, Got: uint64(got), Want: uint64(want)}
	}
	if v := le.Uint32(b[offVersion:]); v != Version {
		return h, &FieldError{Field: "version", At: offVersion, Got: uint64(v), Want: Version}
	}
	if v := le.Uint32(b[offTypeSize:]); v != typeSize {
		return h, &FieldError{Field: "type length", At: offTypeSize, Got: uint64(v), Want: typeSize}
	}
	if v := le.Uint64(b[offMarker:]); v != Marker {
		return h, &FieldError{Field: "endian marker", At: offMarker, Got: v, Want: Marker}
	}
	for _, z := range [...][2]int{{offKindRest, offLength}, {offSumRest, offMarker}, {offRest, HeaderSize}} {
		if !allZero(b[z[0]:z[1]]) {
			return h, &FieldError{Field: "reserved area", At: z[0], Got: 1, Detail: "not zero"}
		}
	}
	h = Header{
		Time:       int64(le.Uint64(b[offTime:])),
		Kind:       le.Uint16(b[offKind:]),
		Length:     le.Uint64(b[offLength:]),
		PayloadSum: le.Uint32(b[offPayloadSum:]),
		HeaderSum:  le.Uint32(b[offHeaderSum:]),
		Previous:   le.Uint32(b[offPrevious:]),
		LSN:        LSN(le.Uint64(b[offLSN:])),
		Txn:        le.Uint64(b[offTxn:]),
		Op:         Op(le.Uint32(b[offOp:])),
		Segment:    le.Uint64(b[offSegment:]),
		Offset:     le.Uint64(b[offOffset:]),
		SyncedUpTo: LSN(le.Uint64(b[offSynced:])),
		Epoch:      int64(le.Uint64(b[offEpoch:])),
		Start:      LSN(le.Uint64(b[offStart:])),
		Unit:       le.Uint32(b[offUnit:]),
	}
	switch inTxn := h.Op >= Begin && h.Op <= Abort; {
	case h.Length > MaxPayload:
		return h, &FieldError{Field: "payload length", At: offLength, Got: h.Length, Detail: "more than 64 MiB"}
	case h.LSN == 0 || h.LSN >= 1<<62:
		return h, &FieldError{Field: "LSN", At: offLSN, Got: uint64(h.LSN), Detail: "not a record's number"}
	case h.Op > Mark:
		return h, &FieldError{Field: "operation", At: offOp, Got: uint64(h.Op), Detail: "no such operation"}
	case inTxn != (h.Txn != 0) || h.Txn > uint64(h.LSN) || (h.Op == Begin) != (h.Txn == uint64(h.LSN)):
		return h, &FieldError{Field: "transaction", At: offTxn, Got: h.Txn, Detail: "does not go with operation " + h.Op.String()}
	case h.Unit < minUnit || h.Unit > maxUnit || h.Unit&(h.Unit-1) != 0:
		return h, &FieldError{Field: "unit", At: offUnit, Got: uint64(h.Unit), Detail: "not a power of two from 512 to 65536"}
	case h.Offset >= 1<<62 || h.Offset%uint64(h.Unit) != 0:
		return h, &FieldError{Field: "own offset", At: offOffset, Got: h.Offset, Detail: "not a multiple of the unit"}
	case h.SyncedUpTo >= h.LSN:
		return h, &FieldError{Field: "synced-up-to", At: offSynced, Got: uint64(h.SyncedUpTo), Detail: "not before the record itself"}
	case h.Start == 0 || h.Start > h.LSN:
		return h, &FieldError{Field: "start", At: offStart, Got: uint64(h.Start), Detail: "not a record up to this one"}
	}
	return h, nil
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
