package tape

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
)

// Tape is one that was read and checked.
type Tape struct {
	Head    Head
	records []record // all, the head and the end among them

	launches int             // so far, while it is read
	loaded   map[uint64]bool // modules, the same
}

// A FormatError says what is wrong with a tape, and where.
type FormatError struct {
	Line   int
	Offset int64 // of the line's first byte
	Wrong  string
	Want   string
}

// Error implements error.
func (e *FormatError) Error() string {
	s := fmt.Sprintf("tape, line %d, offset %d: %s", e.Line, e.Offset, e.Wrong)
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// longest is how many bytes a line may have.
const longest = 1 << 20

// ops are the operations, and which records of a head and an end they stand between.
var ops = map[string]bool{"memory": true, "alloc": true, "free": true, "load": true, "unload": true, "run": true,
	"limit": true, "rebuild": true, "reset": true, "sample": true, "events": true}

// Read reads a whole tape. What is wrong with it is a *FormatError.
func Read(r io.Reader) (*Tape, error) {
	t := &Tape{loaded: map[uint64]bool{}}
	lines := bufio.NewReaderSize(r, 1<<16)
	offset := int64(0)
	for n := 1; ; n++ {
		bad := func(want, wrong string, args ...any) (*Tape, error) {
			return nil, &FormatError{n, offset, fmt.Sprintf(wrong, args...), want}
		}
		line, err := readLine(lines)
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return bad("a record of the end", "the tape ends after %d records", len(t.records))
		case errors.Is(err, io.EOF):
			return bad("a newline", "the tape ends in a record")
		case errors.Is(err, errLong):
			return bad(fmt.Sprintf("at most %d bytes", longest), "the line is longer")
		case err != nil:
			return nil, err
		}
		c, wrong, want := parse(line[:len(line)-1])
		if wrong != "" {
			return bad(want, "%s", wrong)
		}
		c.line = n
		switch {
		case n == 1 && (c.Op != "head" || c.Head == nil):
			return bad("the head", "the first record is %q", c.Op)
		case n == 1:
			if t.Head = *c.Head; t.Head.Version != Version {
				return bad(strconv.Itoa(Version), "the format version is %d", t.Head.Version)
			}
		case c.Op == "end":
			if c.Records != n {
				return bad(strconv.Itoa(n), "the end counts %d records", c.Records)
			}
			if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
				return bad("nothing", "something follows the end")
			}
			t.records = append(t.records, c)
			return t, nil
		case !ops[c.Op]:
			return bad("one of the operations", "the operation is %q", c.Op)
		}
		if wrong := t.check(&c); wrong != "" {
			return bad("", "%s", wrong)
		}
		t.records = append(t.records, c)
		offset += int64(len(line))
	}
}

var errLong = errors.New("the line is too long")

// readLine reads a line with its newline; at the end what there is of one.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > longest {
			return nil, errLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// parse reads a line without its newline; wrong is empty if it is one.
func parse(line []byte) (c record, wrong, want string) {
	sum, body, ok := bytes.Cut(line, []byte(" "))
	if !ok || len(sum) != 8 {
		return c, "it does not begin with a checksum", "8 hexadecimal digits and a space"
	}
	if got := fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)); got != string(sum) {
		return c, fmt.Sprintf("the CRC-32C is %q", sum), got
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, err.Error(), "a record"
	}
	if d.More() {
		return c, "something follows the record", "one a line"
	}
	return c, "", ""
}

// check says what a record lacks, in the light of those before it.
func (t *Tape) check(c *record) string {
	switch c.Op {
	case "load":
		if c.Takes == nil || c.Batch < 1 {
			return "a load without footprint or batch"
		}
		if c.Error == nil {
			t.loaded[c.Module] = true
		}
	case "run":
		if t.launches++; c.Launch != t.launches {
			return fmt.Sprintf("launch %d comes after launch %d", c.Launch, t.launches-1)
		}
		if c.Error == nil && !t.loaded[c.Module] {
			return fmt.Sprintf("module %d runs, and was not loaded", c.Module)
		}
		if c.Error == nil && c.Timing == nil {
			return "a launch without timing"
		}
		if c.Timing != nil && (c.Timing.Ran < 0 || c.Timing.Queued < 0 || c.Timing.Units < 0) {
			return "a launch that took less than no time"
		}
	case "sample":
		if (c.Sample == nil) == (c.Error == nil) {
			return "a sample without what was sampled"
		}
	}
	if c.TookNS < 0 {
		return "it took less than no time"
	}
	return ""
}
