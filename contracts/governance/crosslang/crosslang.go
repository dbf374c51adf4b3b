// Package crosslang has a second implementation of protobuf decode, judge and
// encode messages: Python's, with its C++ backend. It shares nothing with Go's.
//
// A [Worker] is a Python process. What it says of an encoding is compared with
// what the generated code says of it: the bytes of messages, and the verdict of
// the accept rule.
package crosslang

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Script is the worker's program.
//
//go:embed worker.py
var Script string

// Options say how to start a Worker.
type Options struct {
	Python   string   // the interpreter
	Stubs    string   // the folder of the generated packages
	Packages []string // to take message types from
	Sets     []string // descriptor sets, files that end in .binpb, to take more from
	Script   string   // another program than Script
}

// A Worker is a running Python process. It is used from one goroutine.
type Worker struct {
	// Version is Python's.
	Version string
	// Types are the full names of the message types that it has, sorted.
	Types []string

	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *bytes.Buffer
	kinds  map[string]uint16
	buf    []byte
}

// Start starts a worker. A backend other than C++ is an error: Python's own
// does not keep −0.0 and NaN payloads.
func Start(o Options) (*Worker, error) {
	if o.Script == "" {
		o.Script = Script
	}
	args := append([]string{"-B", "-c", o.Script}, o.Packages...)
	w := &Worker{cmd: exec.Command(o.Python, append(args, o.Sets...)...), stderr: new(bytes.Buffer)}
	stubs, err := filepath.Abs(o.Stubs)
	if err != nil {
		return nil, err
	}
	w.cmd.Env = append(os.Environ(), "PYTHONPATH="+stubs, "PYTHONHASHSEED=0")
	w.cmd.Stderr = w.stderr
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReaderSize(out, 1<<16)
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	var hello struct {
		Backend string   `json:"backend"`
		Python  string   `json:"python"`
		Types   []string `json:"types"`
	}
	line, err := w.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &hello)
	}
	if err != nil {
		return nil, w.fail(err)
	}
	if hello.Backend != "cpp" {
		return nil, errors.Join(fmt.Errorf("%s: the backend of google.protobuf is %q; want cpp", o.Python, hello.Backend), w.Close())
	}
	w.Version, w.Types = hello.Python, hello.Types
	w.kinds = map[string]uint16{}
	for i, name := range hello.Types {
		w.kinds[name] = uint16(i)
	}
	return w, nil
}

// Mode says what the worker does with a record.
type Mode byte

// The modes.
const (
	Reencode Mode = iota // decode and encode
	Judge                // and apply the accept rule
)

// A Record is an encoding of a message type.
type Record struct {
	Type  string
	Mode  Mode
	Bytes []byte
}

// An Answer is what Python says of a record.
type Answer struct {
	// Parsed: ParseFromString returned a message, which is what a program that
	// does no more than call it goes by.
	Parsed bool
	// Cut: it warned, or did not read to the end.
	Cut bool
	// Accepted: the accept rule holds. Of mode Judge only.
	Accepted bool
	// Bytes are what the message encodes to.
	Bytes []byte
}

// Do hands a batch over and returns the answers in its order.
func (w *Worker) Do(batch []Record) ([]Answer, error) {
	b := binary.LittleEndian.AppendUint32(w.buf[:0], uint32(len(batch)))
	b = append(b, 0, 0, 0, 0)
	for _, r := range batch {
		kind, ok := w.kinds[r.Type]
		if !ok {
			return nil, fmt.Errorf("python has no message type %s: run make generate", r.Type)
		}
		b = binary.LittleEndian.AppendUint16(b, kind)
		b = append(b, byte(r.Mode))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Bytes)))
		b = append(b, r.Bytes...)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-8))
	w.buf = b
	// Python reads a batch to its end before it writes.
	if _, err := w.in.Write(b); err != nil {
		return nil, w.fail(err)
	}
	var head [4]byte
	if _, err := io.ReadFull(w.out, head[:]); err != nil {
		return nil, w.fail(err)
	}
	out := make([]byte, binary.LittleEndian.Uint32(head[:]))
	if _, err := io.ReadFull(w.out, out); err != nil {
		return nil, w.fail(err)
	}
	answers := make([]Answer, 0, len(batch))
	for range batch {
		if len(out) < 5 || uint64(len(out)-5) < uint64(binary.LittleEndian.Uint32(out[1:])) {
			return nil, errors.New("python's answer is cut")
		}
		n := 5 + int(binary.LittleEndian.Uint32(out[1:]))
		answers = append(answers, Answer{Parsed: out[0]&1 != 0, Accepted: out[0]&2 != 0, Cut: out[0]&4 != 0, Bytes: slices.Clip(out[5:n])})
		out = out[n:]
	}
	return answers, nil
}

// fail ends the process and says why it would not go on.
func (w *Worker) fail(err error) error {
	_ = w.in.Close() // it is at its end anyway
	_ = w.cmd.Wait() // err says more
	lines := strings.TrimSpace(w.stderr.String())
	if i := strings.LastIndexByte(lines, '\n'); i >= 0 {
		lines = lines[i+1:]
	}
	return fmt.Errorf("%s: %w: %s", w.cmd.Path, err, lines)
}

// Close ends the process.
func (w *Worker) Close() error {
	err := w.in.Close()
	if werr := w.cmd.Wait(); err == nil {
		err = werr
	}
	return err
}
