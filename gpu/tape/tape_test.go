package tape_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/esper-sim/espersim/cluster/deviceload"
	"github.com/esper-sim/espersim/gpu"
	"github.com/esper-sim/espersim/gpu/simulated"
	"github.com/esper-sim/espersim/gpu/tape"
)

// few are some of the programs: one that learns nothing and one that does.
func few(t *testing.T) []deviceload.Item {
	t.Helper()
	list, err := deviceload.Items(1)
	if err != nil {
		t.Fatal(err)
	}
	return []deviceload.Item{list[0], list[5], list[9]}
}

// record makes a tape on a simulated device with a fault, and says what the run saw.
func record(t *testing.T, fault *simulated.Fault) ([]byte, *deviceload.Report, error) {
	t.Helper()
	profile, err := gpu.ByName("a100")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Duration(0)
	chip := simulated.NewChip(simulated.Config{Profile: profile, Now: func() time.Duration { return now }})
	if fault != nil {
		if _, err := chip.Inject(*fault); err != nil {
			t.Fatal(err)
		}
	}
	id, err := chip.Identity()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	x := chip.Open(simulated.Process{Hold: func(d time.Duration) { now += d }})
	r := tape.Record(&b, tape.Head{Backend: "simulated", Workload: "few", Identity: id}, x, chip, func() time.Duration { return now })
	report, ran := deviceload.Run(r, r, few(t), 3)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), report, ran
}

func read(t *testing.T, b []byte) *tape.Tape {
	t.Helper()
	tp, err := tape.Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return tp
}

// A run that does what was recorded sees the device again: results, times, errors and
// what the monitor said, for every way in which it failed.
func TestPlayedIsRecorded(t *testing.T) {
	faults := []*simulated.Fault{nil}
	for _, c := range []gpu.Class{gpu.Throttled, gpu.Sticky, gpu.Hung, gpu.MemoryContained, gpu.MemoryUncontained, gpu.Firmware, gpu.OffBus, gpu.OutOfMemory, gpu.FalseHealth, gpu.RemapPending} {
		faults = append(faults, &simulated.Fault{Class: c, Skip: 1, Limit: 2})
	}
	for _, f := range faults {
		name := "well"
		if f != nil {
			name = f.Class.String()
		}
		t.Run(name, func(t *testing.T) {
			b, recorded, failed := record(t, f)
			var held time.Duration
			p := read(t, b).Play(func(d time.Duration) { held += d })
			played, err := deviceload.Run(p, p, few(t), 3)
			if !reflect.DeepEqual(played, recorded) || fmt.Sprint(err) != fmt.Sprint(failed) {
				t.Errorf("played %+v, %v; recorded %+v, %v", played, err, recorded, failed)
			}
			if err := p.Done(); err != nil {
				t.Error(err)
			}
			if f != nil && f.Class == gpu.Hung && held < deviceload.Limit {
				t.Errorf("what hung is played in %v", held)
			}
			if f != nil && f.Class != gpu.FalseHealth && f.Class != gpu.OutOfMemory && f.Class != gpu.Sticky && f.Class != gpu.Hung && recorded.Events == 0 && failed == nil {
				t.Error("no event was recorded")
			}
		})
	}
}

// A device that computed one bit otherwise is found when the tape is played, with the
// launch.
func TestDeviceThatComputesWrongly(t *testing.T) {
	b, _, err := record(t, &simulated.Fault{Class: gpu.SilentCorruption, Skip: 4, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := read(t, b).Play(nil)
	_, err = deviceload.Run(p, p, few(t), 3)
	var m *tape.Mismatch
	if !errors.As(err, &m) || m.Launch != 5 || !strings.Contains(m.Wrong, "kernel compiled 16 gave the result") {
		t.Errorf("%v", err)
	}
	if gpu.Advice(err) != gpu.GiveUp {
		t.Error("it is tried again")
	}
}

// A run that does something else is told where.
func TestRunsThatLeaveTheTape(t *testing.T) {
	b, _, err := record(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	tp := read(t, b)
	items := few(t)
	load := func(t *testing.T, p *tape.Player) gpu.Module {
		p.Limit(deviceload.Limit)
		m, err := p.Load(items[0].Program, items[0].Batch)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	out := make([]float32, items[0].Out)
	for want, do := range map[string]func(*testing.T, *tape.Player) error{
		"before the first launch: load; want limit": func(t *testing.T, p *tape.Player) error {
			_, err := p.Load(items[0].Program, 8)
			return err
		},
		"limit of 1s; want 30s": func(t *testing.T, p *tape.Player) error {
			p.Limit(time.Second)
			_, err := p.Alloc(1)
			return err
		},
		"load of product 16x16 for 9 rows; want product 16x16 for 8": func(t *testing.T, p *tape.Player) error {
			p.Limit(deviceload.Limit)
			_, err := p.Load(items[0].Program, 9)
			return err
		},
		"launch 1: run of module 99; want 1": func(t *testing.T, p *tape.Player) error {
			load(t, p)
			_, err := p.Run(99, out, items[0].Input(0))
			return err
		},
		"launch 1: the input's hash is": func(t *testing.T, p *tape.Player) error {
			m := load(t, p)
			_, err := p.Run(m, out, items[0].Input(1))
			return err
		},
		"launch 1: unload; want run": func(t *testing.T, p *tape.Player) error {
			m := load(t, p)
			if _, err := p.Run(m, out, items[0].Input(0)); err != nil {
				t.Fatal(err)
			}
			return p.Unload(m)
		},
		"the run has ended; want run": func(t *testing.T, p *tape.Player) error {
			load(t, p)
			return p.Done()
		},
	} {
		p := tp.Play(nil)
		err := do(t, p)
		var m *tape.Mismatch
		if !errors.As(err, &m) || m.Line < 2 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
		if _, again := p.Alloc(1); again == nil || again.Error() != err.Error() {
			t.Errorf("afterwards: %v", again)
		}
	}
}

// line is a record with its checksum.
func line(body string) string {
	return fmt.Sprintf("%08x %s\n", crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli)), body)
}

const (
	head = `{"op":"head","head":{"version":1,"backend":"b","workload":"w","name":"n","identity":{"index":0,"uuid":"u","model":"m","memory":1}}}`
	end2 = `{"op":"end","records":2}`
)

func TestReadSaysWhatIsWrong(t *testing.T) {
	if _, err := tape.Read(strings.NewReader(line(head) + line(end2))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", "line 1, offset 0: the tape ends after 0 records; want a record of the end"},
		{"hello\n", "line 1, offset 0: it does not begin with a checksum"},
		{line(end2), `the first record is "end"; want the head`},
		{line(strings.Replace(head, `"version":1`, `"version":2`, 1)), "the format version is 2; want 1"},
		{line(head), fmt.Sprintf("line 2, offset %d: the tape ends after 1 records", len(line(head)))},
		{line(head) + strings.TrimSuffix(line(end2), "\n"), "the tape ends in a record; want a newline"},
		{line(head) + line(`{"op":"end","records":3}`), "the end counts 3 records; want 2"},
		{line(head) + line(end2) + "\n", "something follows the end"},
		{line(head) + line(`{"op":"dance"}`), `the operation is "dance"`},
		{line(head) + line(`{"op":"reset","colour":1}`), `unknown field "colour"`},
		{line(head) + line(`{"op":"reset"} {}`), "something follows the record"},
		{line(head) + line(`{"op":"load","program":"p"}`), "a load without footprint or batch"},
		{line(head) + line(`{"op":"run","launch":2}`), "launch 2 comes after launch 0"},
		{line(head) + line(`{"op":"run","launch":1,"module":4}`), "module 4 runs, and was not loaded"},
		{line(head) + line(`{"op":"sample"}`), "a sample without what was sampled"},
		{line(head) + line(`{"op":"reset","took_ns":-1}`), "less than no time"},
		{line(head) + line(`{"op":"reset","error":{"op":"reset","class":"tired"}}`), `there is no class "tired"`},
		{line(head) + strings.Repeat("x", 1<<21), "the line is longer"},
	} {
		_, err := tape.Read(strings.NewReader(c.text))
		var e *tape.FormatError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v; want %q", c.text, err, c.want)
		}
	}
}

// A tape with one bit changed, or cut at any place, is refused.
func TestEveryBitCounts(t *testing.T) {
	b, _, err := record(t, &simulated.Fault{Class: gpu.Sticky, Skip: 1, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		spoiled := bytes.Clone(b)
		spoiled[i] ^= 1 << (i % 8)
		if _, err := tape.Read(bytes.NewReader(spoiled)); err == nil {
			t.Fatalf("bit %d of byte %d", i%8, i)
		}
		if _, err := tape.Read(bytes.NewReader(b[:i])); err == nil {
			t.Fatalf("cut at %d", i)
		}
	}
}

func TestCalibrate(t *testing.T) {
	b, _, err := record(t, &simulated.Fault{Class: gpu.Throttled})
	if err != nil {
		t.Fatal(err)
	}
	c, err := read(t, b).Calibrate()
	if err != nil {
		t.Fatal(err)
	}
	// 1.2 times the reference device, and half as fast for the heat.
	if c.Model != "a100" || c.LaunchNS < 2300 || c.LaunchNS > 2700 || len(c.Kernels) != 3 || c.Kernels[0].Launches != 3 {
		t.Errorf("%+v", c)
	}
	p, err := c.Profile()
	if err != nil || p.Name() != "a100" || p.Cost(gpu.Launch, 10) != time.Duration(10*c.LaunchNS) {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := (&tape.Calibration{Model: "x"}).Profile(); err == nil {
		t.Error("a device that takes no time")
	}
	if _, err := read(t, []byte(line(head)+line(end2))).Calibrate(); err == nil {
		t.Error("a tape without launches")
	}
}

// full is a disk without space.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

// What goes wrong in writing is said, and keeps the device from nothing.
func TestWritingFails(t *testing.T) {
	profile, err := gpu.ByName("h100")
	if err != nil {
		t.Fatal(err)
	}
	chip := simulated.NewChip(simulated.Config{Profile: profile})
	r := tape.Record(&full{5000}, tape.Head{}, chip.Open(simulated.Process{}), nil, func() time.Duration { return 0 })
	if _, err := deviceload.Run(r, nil, few(t), 20); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sample(); gpu.Advice(err) != gpu.GiveUp {
		t.Errorf("what is not watched: %v", err)
	}
	if err := r.Close(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
}

// Whatever is read, Read returns; and what it takes can be played and summed up. What
// is fuzzed are lines and, since hardly any has the right checksum, records.
func FuzzRead(f *testing.F) {
	f.Add([]byte(head + "\n" + end2))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sealed strings.Builder
		for body := range strings.SplitSeq(string(b), "\n") {
			sealed.WriteString(line(body))
		}
		for _, text := range []string{string(b), sealed.String()} {
			tp, err := tape.Read(strings.NewReader(text))
			if err != nil {
				var e *tape.FormatError
				if !errors.As(err, &e) {
					t.Errorf("%v", err)
				}
				continue
			}
			_, _ = tp.Calibrate() // that it returns is what is asked for
			p := tp.Play(nil)
			_, _, _ = p.Events(0)
			_, _ = p.Sample()
			_ = p.Reset()
			_ = p.Done()
		}
	})
}
