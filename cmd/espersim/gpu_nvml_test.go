//go:build nvml && cgo

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/gpu/gputest"
)

// NVML, through the loading of a library: a stub. A process is bound to one, so that
// what is missing comes first.
func TestGPUWithNVML(t *testing.T) {
	dir := t.TempDir()
	s := gputest.NewScript(t)
	const source = "../../gpu/nvml/testdata/libnvidia-ml.c"
	stub, old := gputest.Build(t, dir, source), gputest.Build(t, dir, source, "nvmlDeviceGetRemappedRows")
	driver := gputest.Build(t, dir, "../../gpu/cuda/testdata/libcuda.c")
	for _, c := range []struct {
		name   string
		code   int
		script []string
		args   []string
	}{
		{"gpu-nvml-missing", 2, nil, []string{"--library", filepath.Join(dir, "nowhere.so")}},
		{"gpu-nvml-old", 2, nil, []string{"--library", old}},
		{"gpu-nvml-no-driver", 2, []string{"fail nvmlInit_v2 9 1 1"}, nil},
		{"gpu-nvml-no-device", 2, []string{"set count 0"}, nil},
		{"gpu-nvml", 0, []string{"set count 2"}, nil},
		{"gpu-nvml-json", 0, []string{"set throttle 32", "set temperature 91"}, []string{"--json"}},
		{"gpu-nvml-throttled", 0, []string{"set throttle 36"}, nil},
		{"gpu-nvml-ecc", 0, []string{"set ecc-uncorrected 2", "set remap-pending 1", "set remapped-corrected 3"}, nil},
		{"gpu-nvml-lost", 0, []string{"fail nvmlDeviceGetMemoryInfo 15 1 100"}, nil},
		{"gpu-nvml-reset", 0, []string{"fail nvmlDeviceGetTemperature 16 1 100"}, nil},
		{"gpu-nvml-silent", 0, []string{"fail nvmlDeviceGetClockInfo 10 1 100"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.Write(c.script...)
			args := []string{"gpu", "info", "--backend", "nvml"}
			if len(c.args) == 0 || c.args[0] != "--library" {
				args = append(args, "--library", stub)
			}
			code, text := command(dir, append(args, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, text)
		})
	}
	// The device that CUDA has is found among NVML's by its UUID, and watched.
	s.Write("set uuid GPU-00010203-0405-0607-0809-0A0B0C0D0E0F", "event 63")
	record := func() (string, string) {
		name := filepath.Join(dir, "t.tape")
		code, text := command(dir, "gpu", "record", "--out", name, "--library", driver, "--monitor-library", stub, "--repeats", "1")
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, text)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text, string(b)
	}
	if text, tape := record(); strings.Contains(text, "not watched") || strings.Count(tape, `"op":"sample"`) != 11 || !strings.Contains(tape, `"xid":63,"class":"remap-pending"`) {
		t.Errorf("%s\n%s", text, tape)
	}
	s.Write()
	if text, _ := record(); !strings.Contains(text, "not watched: NVML knows no device GPU-00010203-0405-0607-0809-0a0b0c0d0e0f") {
		t.Error(text)
	}
}
