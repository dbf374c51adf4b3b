package runner_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

// peak runs the command on a scenario and returns the most memory that its
// process held, in MiB.
func peak(b *testing.B, bin, file string, args ...string) float64 {
	b.Helper()
	cmd := exec.Command(bin, append([]string{"run", file}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}

// BenchmarkMemory says what a run costs that lasts ten times longer, with its
// trace in a file, and what a hundred times as many runs cost. Goals: less than
// 10 % more, and at most 1.1 times.
func BenchmarkMemory(b *testing.B) {
	dir := b.TempDir()
	bin := filepath.Join(dir, "espersim")
	if out, err := exec.Command("go", "build", "-o", bin, "../../cmd/espersim").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile("../triad-survivable.yaml")
	if err != nil {
		b.Fatal(err)
	}
	write := func(seconds int) string {
		t := regexp.MustCompile(`(?m)^duration: .*`).ReplaceAll(text, fmt.Appendf(nil, "duration: %ds", seconds))
		t = regexp.MustCompile(`until: \w+`).ReplaceAll(t, fmt.Appendf(nil, "until: %ds", seconds))
		name := filepath.Join(dir, fmt.Sprintf("triad-%d.yaml", seconds))
		if err := os.WriteFile(name, t, 0o600); err != nil {
			b.Fatal(err)
		}
		return name
	}
	short, long, many := write(100), write(1000), write(4)
	var shortMiB, longMiB, fewMiB, manyMiB float64
	for b.Loop() {
		shortMiB = peak(b, bin, short, "--seed", "3", "--keep-trace", dir)
		longMiB = peak(b, bin, long, "--seed", "3", "--keep-trace", dir)
		fewMiB = peak(b, bin, many, "--seeds", "100")
		manyMiB = peak(b, bin, many, "--seeds", "10000")
	}
	b.ReportMetric(shortMiB, "MiB-100s")
	b.ReportMetric(longMiB, "MiB-1000s")
	b.ReportMetric(longMiB/shortMiB, "longer")
	b.ReportMetric(fewMiB, "MiB-100-seeds")
	b.ReportMetric(manyMiB, "MiB-10000-seeds")
	b.ReportMetric(manyMiB/fewMiB, "more")
}
