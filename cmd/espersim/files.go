package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// whole is a file that has its name only once it is complete: a command that
// is stopped half-way leaves no half-written file under it.
type whole struct {
	*os.File
	name   string
	failed error // of a write: what is there is not whole
}

// Write implements io.Writer.
func (w *whole) Write(b []byte) (int, error) {
	n, err := w.File.Write(b)
	if err != nil {
		w.failed = err
	}
	return n, err
}

func createWhole(name string) (io.WriteCloser, error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return nil, err
	}
	return &whole{File: f, name: name}, nil
}

// Close syncs the file and gives it its name.
func (w *whole) Close() error {
	err := w.failed
	if err == nil {
		err = w.Sync()
	}
	if cerr := w.File.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(w.File.Name(), w.name)
	}
	if err != nil {
		_ = os.Remove(w.File.Name()) // the first error is the one to report
	}
	return err
}

// writeWhole writes a file that everybody may read, in one step.
func writeWhole(name string, b []byte) error {
	w, err := createWhole(name)
	if err != nil {
		return err
	}
	if f, ok := w.(*whole); ok {
		err = f.Chmod(0o644)
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err != nil {
		if f, ok := w.(*whole); ok {
			_ = f.File.Close()           // the first error is the one to report
			_ = os.Remove(f.File.Name()) // the same
		}
		return err
	}
	return w.Close()
}

// bar shows progress on a terminal once something takes over two seconds.
type bar struct {
	w     io.Writer
	on    bool
	began time.Time
	last  time.Time
	drawn bool
}

func newBar(w io.Writer) *bar { return &bar{w: w, on: terminal(w), began: time.Now()} }

// terminal says whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (b *bar) set(done, total int) {
	now := time.Now()
	if !b.on || now.Sub(b.began) < 2*time.Second || now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last, b.drawn = now, true
	const width = 40
	full := width * done / max(total, 1)
	left := time.Duration(float64(now.Sub(b.began)) / float64(max(done, 1)) * float64(total-done))
	fmt.Fprintf(b.w, "\r[%s%s] %d/%d, %v left ", strings.Repeat("#", full), strings.Repeat(" ", width-full), done, total, left.Round(time.Second))
}

func (b *bar) done() {
	if b.drawn {
		fmt.Fprintf(b.w, "\r%s\r", strings.Repeat(" ", 80))
	}
}
