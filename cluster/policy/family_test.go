package policy

import (
	"strings"
	"testing"
)

func TestFamily(t *testing.T) {
	builtIn := []string{"residual-4", "residual-6", "residual-8"}
	for _, c := range []struct {
		kernel string
		action uint32
		ok     bool
	}{
		{"residual-4", 0, true}, {"residual-8", 2, true}, {"residual-9", 0, false}, {"", 0, false}, {"unknown", 0, false},
		{strings.Repeat("04", 32) + "-h100-standard-espc-1", 1, true}, {strings.Repeat("ff", 32) + "-h100-fast-espc-1", 0, true},
		{strings.Repeat("04", 32), 0, false}, {strings.Repeat("04", 31) + "-h100-fast-espc-1", 0, false}, {strings.Repeat("zz", 32) + "-h100-fast-espc-1", 0, false},
	} {
		if a, ok := Family(c.kernel, builtIn); a != c.action || ok != c.ok {
			t.Errorf("%q: %d, %v; want %d, %v", c.kernel, a, ok, c.action, c.ok)
		}
	}
}
