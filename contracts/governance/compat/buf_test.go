package compat

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/compat/witness"
)

// besideBuf sets buf's verdicts on the grid beside what was found. buf is the
// one that $BUF names, or the one on the PATH.
func besideBuf(t *testing.T, found [][2]witness.Result) string {
	buf := os.Getenv("BUF")
	if buf == "" {
		var err error
		if buf, err = exec.LookPath("buf"); err != nil {
			return "buf is not on the PATH: its verdicts are not shown; set BUF to its path"
		}
	}
	dir := t.TempDir()
	for i, c := range grid() {
		for side, text := range map[string]string{"old": c.old, "new": c.new} {
			name := filepath.Join(dir, side, gridPackage(i)+".proto")
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			text = fmt.Sprintf("syntax = \"proto3\";\npackage %s;\n%s", gridPackage(i), text)
			if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b strings.Builder
	categories := []string{"WIRE"}
	if testing.Verbose() {
		categories = append(categories, "WIRE_JSON", "FILE")
	}
	for _, category := range categories {
		config := fmt.Sprintf(`{"version":"v2","breaking":{"use":[%q]}}`, category)
		cmd := exec.Command(buf, "breaking", ".", "--against", "../old", "--error-format", "json", "--config", config, "--against-config", config)
		cmd.Dir = filepath.Join(dir, "new")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var code *exec.ExitError
		if err != nil && (!errors.As(err, &code) || code.ExitCode() != 100) {
			return fmt.Sprintf("buf: %v: %s", err, stderr.String())
		}
		flagged := map[string]bool{}
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			var at struct {
				Path string `json:"path"`
			}
			if err := json.Unmarshal(lines.Bytes(), &at); err != nil {
				t.Fatalf("%v: %s", err, lines.Text())
			}
			flagged[strings.TrimSuffix(filepath.Base(at.Path), ".proto")] = true
		}
		pass, flag := map[exchange.Class]int{}, map[exchange.Class]int{}
		for i := range grid() {
			worst := max(found[i][0].Class, found[i][1].Class)
			if flagged[gridPackage(i)] {
				flag[worst]++
			} else {
				pass[worst]++
			}
		}
		fmt.Fprintf(&b, "buf breaking %-9s %9s %9s %9s %9s %9s\n", category, "identical", "lossless", "presence", "value", "parse")
		for _, row := range []struct {
			name string
			of   map[exchange.Class]int
		}{{"passes", pass}, {"flags", flag}} {
			fmt.Fprintf(&b, "  %-20s", row.name)
			for _, c := range exchange.Classes() {
				fmt.Fprintf(&b, " %9d", row.of[c])
			}
			sum := 0
			for n := range maps.Values(row.of) {
				sum += n
			}
			fmt.Fprintf(&b, "  of %d\n", sum)
		}
	}
	return "buf's verdict beside the worse of the two directions, by change\n" + b.String()
}
