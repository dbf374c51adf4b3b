package main

import (
	"os"
	"path/filepath"
	"testing"

	adaptationv1 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v1"
	adaptationv2 "github.com/esper-sim/espersim/contracts/generated/go/adaptation/v2"
	"github.com/esper-sim/espersim/contracts/validate"
)

func TestContractsMigrate(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		in   *adaptationv1.AdaptationCommand
		args []string
	}{
		{"contracts-migrate", 0, &adaptationv1.AdaptationCommand{CommandId: "c-1", CreatedAtMs: 1500, TargetEpoch: 3,
			Command: &adaptationv1.AdaptationCommand_RollbackCheckpointId{RollbackCheckpointId: "k-7"}}, []string{"DIR/in", "--type", "AdaptationCommand", "-o", "DIR/out", "--text"}},
		{"contracts-migrate-refused", 1, &adaptationv1.AdaptationCommand{CommandId: "c-1"}, []string{"DIR/in", "--type", "adaptation.v1.AdaptationCommand", "-o", "DIR/out"}},
		{"contracts-migrate-other-type", 1, &adaptationv1.AdaptationCommand{CommandId: "c-1", CreatedAtMs: 1500}, []string{"DIR/in", "--type", "TelemetryPacket", "-o", "DIR/out"}},
		{"contracts-migrate-no-type", 2, &adaptationv1.AdaptationCommand{}, []string{"DIR/in", "-o", "DIR/out"}},
		{"contracts-migrate-v2", 2, &adaptationv1.AdaptationCommand{}, []string{"DIR/in", "--type", "esper.adaptation.v2.AdaptationCommand", "-o", "DIR/out"}},
		{"contracts-migrate-nowhere", 2, &adaptationv1.AdaptationCommand{}, []string{"DIR/in", "--type", "AdaptationCommand"}},
		{"contracts-migrate-no-file", 2, &adaptationv1.AdaptationCommand{}, []string{"DIR/none", "--type", "AdaptationCommand", "-o", "DIR/out"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			plant(t, dir, "in", "", string(c.in.AppendCanonical(nil)))
			args := []string{"contracts", "migrate"}
			for _, a := range c.args {
				if len(a) > 3 && a[:4] == "DIR/" {
					a = filepath.Join(dir, a[4:])
				}
				args = append(args, a)
			}
			code, text := command(dir, args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			golden(t, c.name, text)
			b, err := os.ReadFile(filepath.Join(dir, "out"))
			if c.code != 0 {
				if err == nil {
					t.Error("a file was written")
				}
				return
			}
			out := new(adaptationv2.AdaptationCommand)
			if err == nil {
				err = out.ParseCanonical(b)
			}
			if err == nil {
				err = validate.Command(out)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
