package dynamic

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FieldAt names the field of an encoding of d that the byte at offset belongs
// to, such as "SystemStatePacket.seed_states[1].health.status". It goes as deep
// as the bytes can be read; a field that the schema does not have is called by
// its number.
func FieldAt(d protoreflect.MessageDescriptor, b []byte, offset int) string {
	return fieldAt(d, b, offset, string(d.Name()))
}

func fieldAt(d protoreflect.MessageDescriptor, b []byte, offset int, path string) string {
	seen := map[protowire.Number]int{}
	for at := 0; at < len(b); {
		n, wire, size := protowire.ConsumeTag(b[at:])
		if size < 0 {
			return path
		}
		f := d.Fields().ByNumber(n)
		here := fmt.Sprintf("%s.#%d", path, n)
		if f != nil {
			here = path + "." + string(f.Name())
			if f.IsList() && !f.IsPacked() || f.IsMap() {
				here = fmt.Sprintf("%s[%d]", here, seen[n])
			}
			seen[n]++
		}
		value := protowire.ConsumeFieldValue(n, wire, b[at+size:])
		if value < 0 {
			return here
		}
		end := at + size + value
		if offset < end {
			if f == nil || f.Message() == nil || wire != protowire.BytesType {
				return here
			}
			content, _ := protowire.ConsumeBytes(b[at+size:])
			start := end - len(content)
			if offset < start {
				return here
			}
			return fieldAt(f.Message(), content, offset-start, here)
		}
		at = end
	}
	return path
}

// FirstDifference is the offset of the first byte in which two encodings
// differ, or -1. Where one is the beginning of the other, it is the length of
// the shorter one.
func FirstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return min(len(a), len(b))
}
