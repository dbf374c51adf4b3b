package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The file format, version 1. README.md beside this file is its
// specification.
const (
	fileMagic   = "ESPTRACE"
	fileVersion = 1
	// maxField bounds any length read from a file, so that a corrupt one
	// cannot make the reader allocate without limit.
	maxField = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header says which run a file holds.
type Header struct {
	Scenario string // path or name of the scenario
	RunSeed  uint64
	Commit   string // of the program that wrote it, if it is known
}

// Writer is an Observer that stores events. Errors of the underlying writer
// are kept and returned by Close.
type Writer struct {
	w     *bufio.Writer
	buf   []byte
	names map[string]uint64
	prev  int64
	err   error
	hash  Hash
	count uint64
}

// NewWriter writes the header to w and returns the writer of the events.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	t := &Writer{w: bufio.NewWriterSize(w, 1<<16), names: make(map[string]uint64)}
	b := append([]byte(fileMagic), 0, 0)
	binary.LittleEndian.PutUint16(b[len(fileMagic):], fileVersion)
	b = appendText(b, h.Scenario)
	b = binary.LittleEndian.AppendUint64(b, h.RunSeed)
	b = appendText(b, h.Commit)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := t.w.Write(b)
	return t, err
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// name appends the number of a name, and the name itself the first time.
func (t *Writer) name(b []byte, s string) []byte {
	if i, ok := t.names[s]; ok {
		return binary.AppendUvarint(b, i)
	}
	i := uint64(len(t.names))
	t.names[s] = i
	return appendText(binary.AppendUvarint(b, i), s)
}

// Observe implements Observer.
func (t *Writer) Observe(e *Event) {
	if t.err != nil {
		return
	}
	b := append(t.buf[:0], byte(e.Kind))
	b = binary.AppendVarint(b, e.At-t.prev)
	b = binary.AppendUvarint(b, uint64(e.Incarnation))
	b = binary.AppendUvarint(b, e.Seq-e.Cause)
	b = t.name(b, e.Node)
	b = t.name(b, e.Peer)
	b = appendText(b, e.Text)
	b = binary.AppendVarint(b, e.Arg)
	b = binary.AppendUvarint(b, uint64(len(e.Data)))
	b = append(b, e.Data...)
	t.buf = b
	t.prev = e.At
	t.hash.add(e)
	t.count++
	var frame [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(frame[:], uint64(len(b)))
	if _, t.err = t.w.Write(frame[:n]); t.err != nil {
		return
	}
	if _, t.err = t.w.Write(b); t.err != nil {
		return
	}
	var sum [4]byte
	binary.LittleEndian.PutUint32(sum[:], crc32.Checksum(b, castagnoli))
	_, t.err = t.w.Write(sum[:])
}

// Flush hands everything written so far to the underlying writer, so that a
// process that is killed leaves its trace up to here.
func (t *Writer) Flush() error {
	if t.err == nil {
		t.err = t.w.Flush()
	}
	return t.err
}

// Close writes the trailer and flushes; it does not close the underlying
// writer. A file without its trailer is read as cut short.
func (t *Writer) Close() error {
	if t.err != nil {
		return fmt.Errorf("trace: %w", t.err)
	}
	b := binary.AppendUvarint(nil, 0)
	b = binary.LittleEndian.AppendUint64(b, t.count)
	b = binary.LittleEndian.AppendUint64(b, t.hash.a)
	b = binary.LittleEndian.AppendUint64(b, t.hash.b)
	if _, err := t.w.Write(b); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return t.w.Flush()
}

// A FormatError says what is wrong with a trace file, and where.
type FormatError struct {
	Offset int64 // of the record, in bytes from the beginning
	Event  uint64
	Wrong  string
	Want   string
}

// Error implements error.
func (e *FormatError) Error() string {
	s := fmt.Sprintf("trace: byte %d", e.Offset)
	if e.Event > 0 {
		s += fmt.Sprintf(" (event %d)", e.Event)
	}
	s += ": " + e.Wrong
	if e.Want != "" {
		s += "; want " + e.Want
	}
	return s
}

// Reader reads events back and checks them against the trailer.
type Reader struct {
	Header
	r     *bufio.Reader
	off   int64
	names []string
	prev  int64
	seq   uint64
	hash  Hash
	ev    Event
	buf   []byte
	done  bool
}

// NewReader reads the header. It fails with a *FormatError where r is no trace
// file of a known version.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{r: bufio.NewReaderSize(r, 1<<16)}
	sum := crc32.New(castagnoli)
	head := make([]byte, len(fileMagic)+2)
	if _, err := io.ReadFull(t.r, head); err != nil || string(head[:len(fileMagic)]) != fileMagic {
		return nil, &FormatError{Wrong: "not a trace file", Want: "it to begin with " + fileMagic}
	}
	if v := binary.LittleEndian.Uint16(head[len(fileMagic):]); v != fileVersion {
		return nil, &FormatError{Offset: int64(len(fileMagic)), Wrong: fmt.Sprintf("format version %d", v), Want: fmt.Sprintf("version %d", fileVersion)}
	}
	sum.Write(head)
	t.off = int64(len(head))
	text := func() (string, error) {
		n, err := t.uvarint("a length")
		if err != nil {
			return "", err
		}
		if n > 1<<16 {
			return "", t.bad(fmt.Sprintf("a header field of %d bytes", n), "at most 65536")
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(t.r, b); err != nil {
			return "", t.bad("the header is cut short", "")
		}
		sum.Write(appendText(nil, string(b)))
		t.off += int64(n)
		return string(b), nil
	}
	var err error
	if t.Scenario, err = text(); err != nil {
		return nil, err
	}
	var word [8]byte
	if _, err := io.ReadFull(t.r, word[:]); err != nil {
		return nil, t.bad("the header is cut short", "")
	}
	t.RunSeed = binary.LittleEndian.Uint64(word[:])
	sum.Write(word[:])
	t.off += 8
	if t.Commit, err = text(); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(t.r, word[:4]); err != nil {
		return nil, t.bad("the header is cut short", "")
	}
	if got := binary.LittleEndian.Uint32(word[:4]); got != sum.Sum32() {
		return nil, t.bad(fmt.Sprintf("header checksum %08x", got), fmt.Sprintf("%08x", sum.Sum32()))
	}
	t.off += 4
	return t, nil
}

func (t *Reader) bad(wrong, want string) *FormatError {
	return &FormatError{Offset: t.off, Event: t.seq, Wrong: wrong, Want: want}
}

func (t *Reader) uvarint(what string) (uint64, error) {
	v, err := binary.ReadUvarint(t.r)
	if err != nil {
		return 0, t.bad("cut short in "+what, "a file that was closed")
	}
	t.off += int64(len(binary.AppendUvarint(nil, v)))
	return v, nil
}

// Next returns the next event, valid until the call after it; io.EOF at the
// end of a complete and undamaged file.
func (t *Reader) Next() (*Event, error) {
	if t.done {
		return nil, io.EOF
	}
	n, err := t.uvarint("a record's length")
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, t.trailer()
	}
	if n > maxField {
		return nil, t.bad(fmt.Sprintf("a record of %d bytes", n), fmt.Sprintf("at most %d", maxField))
	}
	if uint64(cap(t.buf)) < n+4 {
		t.buf = make([]byte, n+4)
	}
	b := t.buf[:n+4]
	if _, err := io.ReadFull(t.r, b); err != nil {
		return nil, t.bad("cut short in a record", "a file that was closed")
	}
	body := b[:n]
	if got, want := binary.LittleEndian.Uint32(b[n:]), crc32.Checksum(body, castagnoli); got != want {
		return nil, t.bad(fmt.Sprintf("record checksum %08x", got), fmt.Sprintf("%08x", want))
	}
	t.seq++
	if err := t.decode(body); err != nil {
		return nil, t.bad(err.Error(), "")
	}
	t.off += int64(n) + 4
	t.hash.add(&t.ev)
	return &t.ev, nil
}

var errShort = errors.New("the record ends inside a field")

func (t *Reader) decode(b []byte) error {
	var err error
	uv := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			err, b = errShort, nil
			return 0
		}
		b = b[n:]
		return v
	}
	sv := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			err, b = errShort, nil
			return 0
		}
		b = b[n:]
		return v
	}
	raw := func() []byte {
		n := uv()
		if n > uint64(len(b)) {
			err, b = errShort, nil
			return nil
		}
		r := b[:n]
		b = b[n:]
		return r
	}
	name := func() string {
		i := uv()
		if i == uint64(len(t.names)) {
			t.names = append(t.names, string(raw()))
		} else if i > uint64(len(t.names)) {
			err = fmt.Errorf("name %d before name %d", i, len(t.names))
			return ""
		}
		return t.names[i]
	}
	e := &t.ev
	if len(b) == 0 {
		return errShort
	}
	*e = Event{Seq: t.seq, Kind: Kind(b[0])}
	b = b[1:]
	if e.Kind < 1 || e.Kind > lastKind {
		return fmt.Errorf("unknown kind %d", e.Kind)
	}
	t.prev += sv()
	e.At = t.prev
	e.Incarnation = uint32(uv())
	back := uv()
	if back > t.seq {
		return fmt.Errorf("cause %d events before event %d", back, t.seq)
	}
	e.Cause = t.seq - back
	e.Node, e.Peer = name(), name()
	e.Text = string(raw())
	e.Arg = sv()
	if d := raw(); len(d) > 0 {
		e.Data = d
	}
	if err == nil && len(b) > 0 {
		err = fmt.Errorf("%d bytes behind the last field", len(b))
	}
	return err
}

func (t *Reader) trailer() error {
	var b [24]byte
	if _, err := io.ReadFull(t.r, b[:]); err != nil {
		return t.bad("cut short in the trailer", "")
	}
	count := binary.LittleEndian.Uint64(b[:])
	want := Hash{binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
	if count != t.seq {
		return t.bad(fmt.Sprintf("the trailer counts %d events", count), fmt.Sprint(t.seq))
	}
	if want != t.hash {
		return t.bad("the trailer's hash is "+want.String(), t.hash.String())
	}
	if _, err := t.r.ReadByte(); err != io.EOF {
		return t.bad("bytes behind the trailer", "the end of the file")
	}
	t.done = true
	return io.EOF
}

// Hash is the hash of the events read so far; after io.EOF, of the run.
func (t *Reader) Hash() Hash { return t.hash }

// Len is the number of events read so far.
func (t *Reader) Len() uint64 { return t.seq }
