//go:build !linux || (!amd64 && !arm64) || (!cgo && !cuda)

package cuda_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/cuda"
)

// A program without the driver's interface says what it was built without, and how to
// build it.
func TestAbsent(t *testing.T) {
	_, err := cuda.Open("")
	var e *gpu.Error
	if !errors.As(err, &e) || e.Class != gpu.NotInitialized || !strings.Contains(e.Why, "CGO_ENABLED=1 or -tags cuda") {
		t.Errorf("%v", err)
	}
}
