package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// A Version of the schema. A process of one major version reads every minor
// version of it; it writes no newer one than its own.
type Version struct{ Major, Minor uint32 }

// Newest is the version that this program was compiled with.
var Newest = Version{Major: 2, Minor: 3}

func (v Version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// ParseVersion reads a version such as "2.0".
func ParseVersion(s string) (Version, error) {
	major, minor, ok := strings.Cut(s, ".")
	a, errA := strconv.ParseUint(major, 10, 15)
	b, errB := strconv.ParseUint(minor, 10, 15)
	if !ok || errA != nil || errB != nil || a == 0 {
		return Version{}, fmt.Errorf("%q is no version; one is written %v", s, Newest)
	}
	return Version{uint32(a), uint32(b)}, nil
}

// Writes is the version that a process of version v writes for readers that
// know the minor version as; nil: they know as much as v.
func (v Version) Writes(as *uint32) Version {
	if as != nil {
		v.Minor = min(v.Minor, *as)
	}
	return v
}
