package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The devices that need nothing, and tapes of them.
func TestGPU(t *testing.T) {
	dir := t.TempDir()
	whole, corrupt, lost, other := filepath.Join(dir, "whole.tape"), filepath.Join(dir, "corrupt.tape"), filepath.Join(dir, "lost.tape"), filepath.Join(dir, "other.tape")
	short, calibration := filepath.Join(dir, "short.tape"), filepath.Join(dir, "slow.json")
	record := func(out string, more ...string) []string {
		return append([]string{"gpu", "record", "--out", out, "--backend", "simulated", "--repeats", "3"}, more...)
	}
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"gpu-help", 0, []string{"gpu"}},
		{"gpu-info-simulated", 0, []string{"gpu", "info", "--backend", "simulated"}},
		{"gpu-info-simulated-json", 0, []string{"gpu", "info", "--backend", "simulated", "--json"}},
		{"gpu-info-unknown", 2, []string{"gpu", "info", "--backend", "abacus"}},
		{"gpu-info-library", 2, []string{"gpu", "info", "--library", "lib.so"}},
		{"gpu-record", 0, record(whole, "--device", "a100")},
		{"gpu-record-corrupt", 1, record(corrupt, "--fault", "silent-corruption@7")},
		{"gpu-record-cured", 0, record(other, "--fault", "ecc-uncontained@7")},
		{"gpu-record-lost", 1, record(lost, "--fault", "off-bus@7")},
		{"gpu-record-nowhere", 2, []string{"gpu", "record", "--backend", "simulated"}},
		{"gpu-record-watcher", 2, []string{"gpu", "record", "--out", other, "--backend", "nvml"}},
		{"gpu-record-bad-fault", 2, record(other, "--fault", "flu")},
		{"gpu-record-bad-number", 2, record(other, "--fault", "off-bus@0")},
		{"gpu-record-bad-repeats", 2, record(other, "--repeats", "0")},
		{"gpu-record-not-simulated", 2, []string{"gpu", "record", "--out", other, "--backend", "cuda", "--fault", "off-bus"}},
		{"gpu-play", 0, []string{"gpu", "play", whole}},
		{"gpu-play-corrupt", 1, []string{"gpu", "play", corrupt}},
		{"gpu-play-lost", 1, []string{"gpu", "play", lost}},
		{"gpu-play-short", 2, []string{"gpu", "play", short}},
		{"gpu-calibrate", 0, []string{"gpu", "calibrate", whole}},
		{"gpu-calibrate-json", 0, []string{"gpu", "calibrate", whole, "--json"}},
		{"gpu-record-calibrated", 0, record(other, "--device", calibration)},
		{"gpu-record-bad-device", 2, record(other, "--device", filepath.Join(dir, "nothing.json"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := command(dir, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, text)
			switch c.name {
			case "gpu-record":
				b, err := os.ReadFile(whole)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(short, b[:len(b)/2], 0o644); err != nil {
					t.Fatal(err)
				}
			case "gpu-calibrate-json":
				if err := os.WriteFile(calibration, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	// A simulated device that was made of a tape is as fast as the tape.
	_, one := command(dir, "gpu", "calibrate", whole)
	_, two := command(dir, "gpu", "calibrate", other)
	if a, b := strings.Split(one, "\n")[0], strings.Split(two, "\n")[0]; a != b {
		t.Errorf("%s became %s", a, b)
	}
}

// Without a word about the backend it is the host that decides: it has devices, or the
// message says what each backend lacks.
func TestGPUInfoOfThisHost(t *testing.T) {
	code, text := command("", "gpu", "info")
	if code == 0 && strings.HasPrefix(text, "device 0, ") {
		return
	}
	if code != 2 || !strings.Contains(text, "no device was found\n  nvml: ") || !strings.Contains(text, "\n  cuda: ") {
		t.Errorf("exit code %d\n%s", code, text)
	}
}
