//go:build !nvml || !cgo

package main

import "testing"

// A program without NVML says so.
func TestGPUWithoutNVML(t *testing.T) {
	code, text := command("", "gpu", "info", "--backend", "nvml")
	if code != 2 {
		t.Errorf("exit code %d", code)
	}
	golden(t, "gpu-nvml-absent", text)
}
