package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/esper-sim/espersim/cluster/deviceload"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/backend"
	"github.com/esper-sim/espersim/gpu/tape"
	"github.com/esper-sim/espersim/scenarios/runner"
)

func newGPU() *cobra.Command {
	c := group(&cobra.Command{Use: "gpu", Short: "Real and simulated devices: what there is, and tapes of what it did"})
	c.AddCommand(newGPUInfo(), newGPURecord(), newGPUPlay(), newGPUCalibrate(), newGPUImportLog())
	return c
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func newGPUInfo() *cobra.Command {
	var config backend.Config
	var asJSON bool
	c := &cobra.Command{
		Use:   "info",
		Short: "Print the devices of this host, and how they are",
		Long: `info asks NVML for the host's devices, or CUDA where there is no NVML, or the
backend that is named. Without a driver or a device it says what is missing, and
exits with 2. --json prints one object a line.`,
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := backend.List(config)
			if err != nil {
				return err
			}
			if !asJSON {
				backend.Print(c.OutOrStdout(), list)
				return nil
			}
			for _, d := range list {
				if err := encode(c.OutOrStdout(), d); err != nil {
					return err
				}
			}
			return nil
		},
	}
	backendFlags(c, &config, "")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

func backendFlags(c *cobra.Command, config *backend.Config, otherwise string) {
	c.Flags().StringVar(&config.Backend, "backend", otherwise, strings.Join(backend.Names(), ", "))
	c.Flags().StringVar(&config.Library, "library", "", "the backend's library (default: as the dynamic linker finds it)")
}

func newGPURecord() *cobra.Command {
	var config backend.Config
	var out, device, fault string
	work := deviceload.Workload{}
	c := &cobra.Command{
		Use:   "record --out FILE",
		Short: "Run the programs of a training run on a device, and write a tape of it",
		Long: `record has a device compute products, residual kernels, compiled kernels, the
optimizer and whole training steps, in several sizes, and writes a tape of what it
did. Then it plays the tape, which computes everything by the reference: it exits
with 1 if a result of the device's differs in one bit, or if the device failed in a
way that only people cure. The tape is written all the same.`,
		Args: counted(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "" {
				return errors.New("no file for the tape; want --out FILE")
			}
			if err := simulatedDevice(&config, device, fault); err != nil {
				return err
			}
			return record(c.OutOrStdout(), config, work, out)
		},
	}
	backendFlags(c, &config, backend.CUDA)
	f := c.Flags()
	f.StringVar(&out, "out", "", "the tape's file")
	f.StringVar(&config.Monitor, "monitor-library", "", "NVML's library, with CUDA (default: as the dynamic linker finds it)")
	f.IntVar(&config.Index, "index", 0, "which device of the host, from 0")
	f.IntVar(&work.Repeats, "repeats", 20, "how often each program is run")
	f.Uint64Var(&work.Seed, "seed", 1, "what the programs' parameters and inputs are keyed by")
	f.StringVar(&device, "device", "", "the simulated device: h100, a100, v100, cpu, or a file that calibrate --json wrote")
	f.StringVar(&fault, "fault", "", "what goes wrong with the simulated device: CLASS or CLASS@N, N from 1")
	return c
}

// simulatedDevice fills in what only a simulated device has.
func simulatedDevice(config *backend.Config, device, fault string) (err error) {
	if config.Backend != backend.Simulated {
		if device != "" || fault != "" {
			return errors.New("--device and --fault are a simulated device's; want --backend simulated with them")
		}
		return nil
	}
	if config.Profile, err = profile(device); err != nil {
		return err
	}
	if fault != "" {
		config.Fault, err = backend.ParseFault(fault)
	}
	return err
}

// profile finds a device by its name, or reads a calibration.
func profile(device string) (gpu.Device, error) {
	if !strings.HasSuffix(device, ".json") {
		return gpu.ByName(device)
	}
	b, err := os.ReadFile(device)
	if err != nil {
		return nil, err
	}
	var c tape.Calibration
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, fmt.Errorf("%s: %w; want what gpu calibrate --json prints", device, err)
	}
	p, err := c.Profile()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	return p, nil
}

func record(out io.Writer, config backend.Config, work deviceload.Workload, name string) error {
	d, err := backend.Open(config)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	_, _, err = work.Record(&b, d)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	if err := writeWhole(name, b.Bytes()); err != nil {
		return err
	}
	if d.Unwatched != "" {
		fmt.Fprintf(out, "not watched: %s\n", d.Unwatched)
	}
	return play(out, name)
}

func newGPUPlay() *cobra.Command {
	return &cobra.Command{
		Use:   "play TAPE",
		Short: "Compute what a tape has by the reference, and compare",
		Long: `play runs the programs of a tape against the tape, without a device. It exits
with 1 if a result of the device's differs in one bit, and names the launch.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error { return play(c.OutOrStdout(), args[0]) },
	}
}

func openTape(name string) (*tape.Tape, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	t, err := tape.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func play(out io.Writer, name string) error {
	t, err := openTape(name)
	if err != nil {
		return err
	}
	r, failed, err := deviceload.Play(t)
	if r == nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(out, "%s: %s on %s (%s)\n", name, t.Head.Workload, t.Head.Name, t.Head.Backend)
	fmt.Fprintf(out, "%d programs whole, %d launches, %d samples, %d events\n", r.Programs, r.Launches, r.Samples, r.Events)
	for _, e := range r.Failed {
		fmt.Fprintf(out, "  %v: %v\n", e, e.Class.Trait().Action)
	}
	switch {
	case err != nil:
		fmt.Fprintf(out, "the device did not compute what the reference computes: %v\n", err)
		return exit{runner.ExitViolated}
	case failed != nil:
		fmt.Fprintf(out, "the device failed: %v\n", failed)
		return exit{runner.ExitViolated}
	}
	fmt.Fprintln(out, "every result is the reference's in each bit")
	return nil
}

func newGPUCalibrate() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "calibrate TAPE",
		Short: "Print a simulated device that is as fast as a recorded one",
		Long: `calibrate prints how long a unit of the simulated device's launches takes, and
the medians of each program and size that this comes from. What --json prints is a
device for gpu record --backend simulated --device FILE.json.`,
		Args: counted(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			t, err := openTape(args[0])
			if err != nil {
				return err
			}
			calibration, err := t.Calibrate()
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if asJSON {
				return encode(c.OutOrStdout(), calibration)
			}
			return calibration.Print(c.OutOrStdout())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}
