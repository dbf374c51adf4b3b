package kernel

import (
	"encoding/binary"
	"hash/crc32"
)

// Seal appends the checksum.
func Seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(append([]byte(nil), b...), crc32.Checksum(b, castagnoli))
}
