package policy

import (
	"encoding/hex"
	"slices"
	"strings"
)

// Family is the action that a kernel stands for: its place among those that are
// built in, or, for one of the asset library, a third of all designs, by the
// hash that its id begins with. A policy of a few actions can so speak of designs
// that nobody has seen yet: it learns which third does well where, and each new
// design falls into one. ok is false for what is no kernel's id.
func Family(kernel string, builtIn []string) (action uint32, ok bool) {
	if i := slices.Index(builtIn, kernel); i >= 0 {
		return uint32(i), i < Actions
	}
	design, _, found := strings.Cut(kernel, "-")
	b, err := hex.DecodeString(design)
	if !found || err != nil || len(b) != 32 {
		return 0, false
	}
	return uint32(b[0]) % Actions, true
}
