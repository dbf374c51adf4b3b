// Package script is the small language in which the disk oracle states what it
// did: sequences of file operations that run on a real kernel and on the model
// alike, and the content of files in readable form.
package script

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/cluster/actor"
)

// A Step is one operation in words:
//
//	create F             make a file, which must be missing
//	write F OFF LEN C    write LEN bytes of the letter C
//	dwrite F OFF LEN C   the same through a descriptor with O_DSYNC
//	fsync F              by a descriptor of the file
//	fdatasync F
//	truncate F SIZE
//	rename F G
//	unlink F
//	dirsync              fsync of the root directory
type Step string

// Run executes the steps in order and stops at the first error. Descriptors
// are opened at their first use and stay open, as they do in a program that is
// about to crash.
func Run(fs actor.FS, steps []Step) error {
	open := map[string]actor.File{}
	for _, s := range steps {
		if err := run(fs, open, strings.Fields(string(s))); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

var errSyntax = errors.New("no such step")

func run(fs actor.FS, open map[string]actor.File, w []string) error {
	if len(w) == 1 && w[0] == "dirsync" {
		return fs.SyncDir("")
	}
	if len(w) < 2 {
		return errSyntax
	}
	name := w[1]
	switch {
	case w[0] == "unlink":
		delete(open, name)
		delete(open, "dsync "+name)
		return fs.Remove(name)
	case w[0] == "rename" && len(w) == 3:
		delete(open, name)
		delete(open, w[2])
		delete(open, "dsync "+name)
		delete(open, "dsync "+w[2])
		return fs.Rename(name, w[2])
	}
	key, flag := name, actor.Flag(0)
	switch w[0] {
	default:
		return errSyntax
	case "write", "fsync", "fdatasync", "truncate":
	case "create":
		flag = actor.Create | actor.Excl
	case "dwrite":
		key, flag = "dsync "+name, actor.DSync
	}
	f := open[key]
	if f == nil || w[0] == "create" {
		var err error
		if f, err = fs.Open(name, flag); err != nil {
			return err
		}
		open[key] = f
	}
	switch {
	case w[0] == "create":
		return nil
	case w[0] == "fsync":
		return f.Sync()
	case w[0] == "fdatasync":
		return f.Datasync()
	case w[0] == "truncate" && len(w) == 3:
		n, err := strconv.ParseInt(w[2], 10, 64)
		if err != nil {
			return err
		}
		return f.Truncate(n)
	case (w[0] == "write" || w[0] == "dwrite") && len(w) == 5:
		off, err := strconv.ParseInt(w[2], 10, 64)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(w[3])
		if err != nil {
			return err
		}
		_, err = actor.WriteFull(f, []byte(strings.Repeat(w[4], n)), off)
		return err
	}
	return errSyntax
}

// Content reads a whole file.
func Content(f actor.File) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	p := make([]byte, size)
	if n, err := f.ReadAt(p, 0); err != nil && !(errors.Is(err, io.EOF) && n == len(p)) {
		return nil, err
	}
	return p, nil
}

// Encode writes content as runs of equal bytes: "4096*0 512*x" is a page of
// zeros and 512 times the letter x. Only letters and the zero byte occur; any
// other byte is written as its number, such as "3*#255".
func Encode(p []byte) string {
	var b strings.Builder
	for i := 0; i < len(p); {
		j := i
		for j < len(p) && p[j] == p[i] {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		c := "#" + strconv.Itoa(int(p[i]))
		if p[i] == 0 {
			c = "0"
		} else if p[i] >= 'a' && p[i] <= 'z' {
			c = string(p[i])
		}
		fmt.Fprintf(&b, "%d*%s", j-i, c)
		i = j
	}
	return b.String()
}

// Decode is the inverse of Encode.
func Decode(s string) ([]byte, error) {
	var p []byte
	for _, run := range strings.Fields(s) {
		count, c, ok := strings.Cut(run, "*")
		n, err := strconv.Atoi(count)
		if !ok || err != nil || n < 0 || c == "" {
			return nil, fmt.Errorf("content %q: bad run %q", s, run)
		}
		b := c[0]
		if c == "0" {
			b = 0
		} else if c[0] == '#' {
			v, err := strconv.ParseUint(c[1:], 10, 8)
			if err != nil {
				return nil, fmt.Errorf("content %q: %w", s, err)
			}
			b = byte(v)
		}
		for range n {
			p = append(p, b)
		}
	}
	return p, nil
}

// Record is the committed file of observations.
type Record struct {
	Source string `json:"source"` // how they were made
	Kernel string `json:"kernel"`
	Setup  []Step `json:"setup"` // ran and was synced before each case
	Cases  []Case `json:"cases"`
}

// Case is one sequence and what a crash after it left.
type Case struct {
	Mount string            `json:"mount,omitempty"` // a mount option beside the usual ones
	Steps []Step            `json:"steps"`
	After map[string]string `json:"after"` // encoded content by name
}
