//go:build !nvml || !cgo

package nvml_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/nvml"
)

// A program without the binding says what it was built without, and how to build it.
func TestAbsent(t *testing.T) {
	_, err := nvml.Open(nvml.Config{})
	var e *gpu.Error
	if !errors.As(err, &e) || e.Class != gpu.NotInitialized || !strings.Contains(e.Why, "CGO_ENABLED=1 and -tags nvml") {
		t.Errorf("%v", err)
	}
}
