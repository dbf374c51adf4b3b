//go:build linux && (amd64 || arm64) && (cgo || cuda)

package main

import (
	"path/filepath"
	"regexp"
	"testing"

	"github.com/esper-sim/espersim/gpu/gputest"
)

// watched is why nothing watches the device: other words where NVML is built in.
var watched = regexp.MustCompile("not watched: .*\n")

// The driver's interface, through the loading of a library: a stub that computes.
func TestGPUWithCUDA(t *testing.T) {
	dir := t.TempDir()
	s := gputest.NewScript(t)
	stub := gputest.Build(t, dir, "../../gpu/cuda/testdata/libcuda.c")
	nowhere := filepath.Join(dir, "nowhere.so")
	record := func(more ...string) []string {
		return append([]string{"gpu", "record", "--out", filepath.Join(dir, "cuda.tape"), "--library", stub, "--monitor-library", nowhere, "--repeats", "2"}, more...)
	}
	for _, c := range []struct {
		name   string
		code   int
		script []string
		args   []string
	}{
		{"gpu-cuda-missing", 2, nil, []string{"gpu", "info", "--backend", "cuda", "--library", nowhere}},
		{"gpu-cuda-no-device", 2, []string{"set count 0"}, []string{"gpu", "info", "--backend", "cuda", "--library", stub}},
		{"gpu-cuda-no-driver", 2, []string{"fail cuInit 100 1 1"}, []string{"gpu", "info", "--backend", "cuda", "--library", stub}},
		{"gpu-cuda", 0, []string{"set count 2"}, []string{"gpu", "info", "--backend", "cuda", "--library", stub}},
		{"gpu-cuda-json", 0, nil, []string{"gpu", "info", "--backend", "cuda", "--library", stub, "--json"}},
		{"gpu-cuda-lost", 0, []string{"fail cuDeviceGetName 46 1 1"}, []string{"gpu", "info", "--backend", "cuda", "--library", stub}},
		{"gpu-cuda-record", 0, nil, record()},
		{"gpu-cuda-record-sticky", 0, []string{"fail cuLaunchKernel 719 40 1"}, record()},
		{"gpu-cuda-record-corrupt", 1, []string{"set corrupt-launch 4"}, record()},
		{"gpu-cuda-record-lost", 1, []string{"fail cuLaunchKernel 46 40 1000000"}, record()},
		{"gpu-cuda-record-no-device", 2, nil, record("--index", "3")},
		{"gpu-cuda-record-old", 2, []string{"set capability 52"}, record()},
		{"gpu-cuda-calibrate", 0, nil, []string{"gpu", "calibrate", filepath.Join(dir, "cuda.tape")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Write(c.script...)
			code, text := command(dir, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, watched.ReplaceAllString(text, "not watched: WHY\n"))
		})
	}
}
