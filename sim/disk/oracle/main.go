//go:build linux

// Command oracle asks a real kernel what a crash leaves, and writes the
// answers to sim/disk/testdata/oracle.json, where a test compares them with
// the model.
//
// Each sequence of operations runs on a fresh ext4 image that is mounted
// through a loop device with commit=300, so that only what the sequence syncs
// reaches the image. The image is then copied while it is still mounted: the
// copy is what the disk held at that moment. Mounting the copy replays its
// journal, and what can be read there is what survived.
//
// It needs root, loop devices and mkfs.ext4, and exits with 2 where they are
// missing, with 1 when something else fails or the model refuses an answer.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/disk/oracle/script"
)

func main() {
	out := flag.String("o", "sim/disk/testdata/oracle.json", "where to write the answers")
	every := flag.Int("every", 7, "run each n-th of the sequences of three operations")
	flag.Parse()
	if missing := missing(); missing != "" {
		fmt.Fprintln(os.Stderr, "oracle: cannot ask the kernel here:", missing)
		os.Exit(2)
	}
	if err := run(*out, *every); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

// missing says in plain words what this machine lacks, or "".
func missing() string {
	if os.Geteuid() != 0 {
		return "mounting needs root"
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is not installed"
		}
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "there are no loop devices"
	}
	return ""
}

// setup is the state that every sequence starts from.
var setup = []script.Step{"create a", "write a 0 8192 o", "create b", "write b 0 4096 p", "fsync a", "fsync b", "dirsync"}

// table are the sequences of faults.md, section 1.
var table = [][]script.Step{
	{"create n", "write n 0 4096 x"},
	{"create n", "write n 0 4096 x", "fsync n"},
	{"create n", "write n 0 4096 x", "dwrite n 4096 4096 y"},
	{"create n", "write n 0 4096 x", "write n 4096 4096 y", "fdatasync n"},
	{"create t", "write t 0 4096 x", "fsync t", "rename t a"},
	{"create t", "write t 0 4096 x", "rename t a", "dirsync"},
	{"create t", "write t 0 4096 x", "fsync t", "rename t a", "dirsync"},
	{"unlink a"},
	{"truncate a 4096"},
	// What a log does: preallocate, sync all, then write records with O_DSYNC.
	{"create n", "truncate n 16384", "fsync n", "dirsync", "dwrite n 0 512 x", "dwrite n 512 512 y", "write n 1024 512 z"},
	// A buffered neighbour in the page of a synced write.
	{"write a 0 512 x", "dwrite a 512 512 y"},
	{"write a 0 512 x", "dwrite a 4096 512 y"},
}

// steps is the alphabet of the systematic sequences: each is one operation,
// but creation comes with a first write.
var steps = [][]script.Step{
	{"create n", "write n 0 4096 x"},
	{"write n 4096 4096 y"},
	{"dwrite n 4096 4096 z"},
	{"fsync n"},
	{"rename n a"},
	{"write a 0 4096 x"},
	{"write a 8192 4096 y"},
	{"dwrite a 4096 512 z"},
	{"fsync a"},
	{"fdatasync a"},
	{"truncate a 4096"},
	{"rename a b"},
	{"unlink b"},
	{"dirsync"},
}

// sequences lists what to ask: the table, all pairs, and each n-th triple.
// Those that cannot run (an operation on a missing file) drop out, as do those
// without any change.
func sequences(every int) [][]script.Step {
	list := slices.Clone(table)
	triples := 0
	add := func(parts ...[]script.Step) bool {
		s := slices.Concat(parts...)
		if !possible(s) {
			return false
		}
		list = append(list, s)
		return true
	}
	for _, a := range steps {
		add(a)
	}
	for _, a := range steps {
		for _, b := range steps {
			add(a, b)
		}
	}
	for _, a := range steps {
		for _, b := range steps {
			for _, c := range steps {
				if s := slices.Concat(a, b, c); possible(s) {
					if triples%every == 0 {
						list = append(list, s)
					}
					triples++
				}
			}
		}
	}
	return list
}

// possible runs a sequence on the model to see whether it can run at all.
func possible(s []script.Step) bool {
	d, err := model(disk.PosixWeak, nil)
	return err == nil && script.Run(disk.NewFS(d, nil), s) == nil
}

// model is a disk after the setup and the sequence.
func model(p disk.Profile, s []script.Step) (*disk.Disk, error) {
	d, err := disk.New(disk.Config{Profile: p})
	if err != nil {
		return nil, err
	}
	fs := disk.NewFS(d, nil)
	if err := script.Run(fs, setup); err != nil {
		return nil, err
	}
	return d, script.Run(fs, s)
}

func run(out string, every int) error {
	dir, err := os.MkdirTemp("", "espersim-oracle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	base := filepath.Join(dir, "base.img")
	if err := makeBase(base, dir); err != nil {
		return err
	}
	version, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	record := script.Record{
		Source: "sim/disk/oracle: ext4, data=ordered, commit=300, loop device; crash = copy of the mounted image",
		Kernel: strings.TrimSpace(string(version)),
		Setup:  setup,
	}
	start := time.Now()
	refused := 0
	for i, s := range slices.Concat(table, sequences(every)) {
		mount := ""
		if i < len(table) {
			// Once more without ext4's help for programs that rename without a
			// sync.
			mount = "noauto_da_alloc"
		}
		state, err := ask(base, dir, mount, s)
		if err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		c := script.Case{Mount: mount, Steps: s, After: map[string]string{}}
		for name, data := range state {
			c.After[name] = script.Encode(data)
		}
		record.Cases = append(record.Cases, c)
		for _, p := range []disk.Profile{disk.PosixWeak, disk.Ext4} {
			d, err := model(p, s)
			if err != nil {
				return fmt.Errorf("model of %v: %w", s, err)
			}
			if err := d.AdmitsSane(state); err != nil {
				refused++
				fmt.Printf("REFUSED %v\n  %v\n  %v\n", s, c.After, err)
			}
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(record); err != nil {
		return err
	}
	if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Printf("%d sequences in %v, %d refusals, written to %s\n", len(record.Cases), time.Since(start).Round(time.Second), refused, out)
	if refused > 0 {
		return fmt.Errorf("the model refuses %d answers", refused)
	}
	return nil
}

func makeBase(base, dir string) error {
	if err := os.WriteFile(base, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(base, 16<<20); err != nil {
		return err
	}
	if err := command("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0", base); err != nil {
		return err
	}
	return mounted(base, filepath.Join(dir, "base"), "", func(at string) error {
		if err := os.Remove(filepath.Join(at, "lost+found")); err != nil {
			return err
		}
		return script.Run(kernel(at), setup)
	})
}

// ask runs a sequence on a copy of the base image, and reads what a crash
// after it leaves.
func ask(base, dir, mount string, s []script.Step) (disk.State, error) {
	img, crashed := filepath.Join(dir, "run.img"), filepath.Join(dir, "crashed.img")
	if err := copyImage(base, img); err != nil {
		return nil, err
	}
	err := mounted(img, filepath.Join(dir, "run"), mount, func(at string) error {
		if err := script.Run(kernel(at), s); err != nil {
			return err
		}
		return copyImage(img, crashed)
	})
	if err != nil {
		return nil, err
	}
	state := disk.State{}
	err = mounted(crashed, filepath.Join(dir, "crashed"), "", func(at string) error {
		entries, err := os.ReadDir(at)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if state[e.Name()], err = os.ReadFile(filepath.Join(at, e.Name())); err != nil {
				return err
			}
		}
		return nil
	})
	return state, err
}

// mounted mounts an image, with one more option if given, runs f in it and
// unmounts it.
func mounted(img, at, option string, f func(at string) error) error {
	if err := os.MkdirAll(at, 0o700); err != nil {
		return err
	}
	if err := command("mount", "-t", "ext4", "-o", strings.TrimSuffix("loop,commit=300,"+option, ","), img, at); err != nil {
		return err
	}
	err := f(at)
	for _, f := range opened {
		_ = f.Close()
	}
	opened = nil
	return errors.Join(err, command("umount", at))
}

func command(name string, args ...string) error {
	if text, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, text)
	}
	return nil
}

// copyImage copies a file without its holes: images are mostly holes.
func copyImage(from, to string) error {
	return command("cp", "--sparse=always", from, to)
}

// kernel is a mounted directory as actor.FS.
type kernel string

// opened are the descriptors of the running sequence. They stay open until the
// image was copied: ext4 flushes a truncated file when it is closed.
var opened []*os.File

func (k kernel) path(name string) string { return filepath.Join(string(k), name) }

func (k kernel) Open(name string, flag actor.Flag) (actor.File, error) {
	mode := os.O_RDWR
	if flag&actor.Create != 0 {
		mode |= os.O_CREATE
	}
	if flag&actor.Excl != 0 {
		mode |= os.O_EXCL
	}
	if flag&actor.DSync != 0 {
		mode |= syscall.O_DSYNC
	}
	f, err := os.OpenFile(k.path(name), mode, 0o600)
	if err != nil {
		return nil, err
	}
	opened = append(opened, f)
	return kernelFile{f}, nil
}

func (k kernel) Mkdir(name string) error       { return os.Mkdir(k.path(name), 0o700) }
func (k kernel) Remove(name string) error      { return os.Remove(k.path(name)) }
func (k kernel) Rename(from, to string) error  { return os.Rename(k.path(from), k.path(to)) }
func (k kernel) Within(time.Duration) actor.FS { return k }
func (k kernel) Sector() int                   { return 512 }

func (k kernel) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(k.path(dir))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (k kernel) SyncDir(dir string) error {
	f, err := os.Open(k.path(dir))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type kernelFile struct{ *os.File }

func (f kernelFile) Allocate(size int64) error { return f.Truncate(size) }
func (f kernelFile) Datasync() error           { return syscall.Fdatasync(int(f.Fd())) }
func (f kernelFile) Size() (int64, error)      { return f.Seek(0, io.SeekEnd) }
