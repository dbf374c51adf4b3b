// Package trace is the record of a run: its events, a rolling hash over them,
// a file format, and the first difference between two records.
//
// The hash is the identity of a run. Two runs of one commit with the same
// scenario and run seed have the same hash, on any machine and at any
// GOMAXPROCS; a test, a replay and a bug report all compare it. It is computed
// whether or not anything observes or stores the events.
//
// Checkers see a run only through this package, so they judge a run in
// process, a stored file, a live run, or a record somebody else wrote.
package trace

import "fmt"

// Kind says what happened.
type Kind uint8

// The kinds of events. Their numbers are part of the file format: they are
// never reused, and new ones are added at the end.
const (
	RunStarted       Kind = iota + 1 // Text: scenario; Arg: run seed
	NodeStarted                      // Node, Incarnation; Text: host; Arg: see SchemaArg
	NodeReady                        // Node: Start returned, mail is accepted
	NodeExited                       // Node: it returned an error or panicked; Text: what; Arg: 1 for a panic
	NodeCrashed                      // Node: killed by a fault; Arg: I/O operations of this life
	HostCrashed                      // Node: the host's name; its disks lost what was not durable
	MessageSent                      // Node → Peer; Data: envelope
	MessageDelivered                 // Peer received from Node; Cause: its MessageSent; Data: envelope
	MessageDropped                   // Node → Peer; Cause: its MessageSent; Text: why
	MessageRefused                   // Peer refused bytes from Node before any handler; Text: why; Data: the bytes
	TimerFired                       // Node; Text: name; Arg
	DiskOperation                    // Node; Text: operation and path; Arg: offset; Data: what was written
	FaultBegan                       // Text: the printed fault; Arg: its step in the plan
	FaultEnded                       // Text, Arg as FaultBegan
	FactDeclared                     // Node; Text: full message name; Data: encoded fact
	NodePaused                       // Node: it takes no steps until NodeResumed
	NodeResumed                      // Node
	RunEnded                         // Arg: number of events before this one
	DeviceOperated                   // Node called the accelerator of host Peer; Text: what, and the class of its error; Arg: see DeviceArg
	DeviceChanged                    // Node: the host whose accelerator it is; Text: what became of it; Arg: see DeviceArg
	lastKind         = DeviceChanged
)

var kindNames = [lastKind + 1]string{
	"?", "run-started", "node-started", "node-ready", "node-exited",
	"node-crashed", "host-crashed", "sent", "delivered", "dropped", "refused",
	"timer", "disk", "fault-began", "fault-ended", "fact", "paused", "resumed",
	"run-ended", "device", "device-changed",
}

// String is the name of the kind in dumps.
func (k Kind) String() string {
	if k >= 1 && k <= lastKind {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// An Event is one thing that happened. Which fields hold something depends on
// the kind. An observer must not keep an Event or its Data: both are reused.
type Event struct {
	Seq         uint64 // position in the run, from 1
	At          int64  // true virtual time, ns since the run began
	Kind        Kind
	Incarnation uint32 // of Node
	Cause       uint64 // Seq of the event that this one follows from, 0 for none
	Node        string
	Peer        string
	Text        string
	Arg         int64
	Data        []byte
	nodeSum     uint64 // NodeSum(Node), or 0 for not known
	// Value is Data decoded, where the producer had it at hand; it is neither
	// stored nor hashed. Observers of a file get nil and decode.
	Value any
}

// From sets the node and its incarnation. sum is NodeSum(node).
func (e *Event) From(node string, incarnation uint32, sum uint64) {
	e.Node, e.Incarnation, e.nodeSum = node, incarnation, sum
}

// String is one line for people.
func (e *Event) String() string {
	s := fmt.Sprintf("#%d %s %s", e.Seq, Stamp(e.At), e.Kind)
	switch e.Kind {
	case MessageSent, MessageDelivered, MessageDropped, MessageRefused:
		s += fmt.Sprintf(" %s → %s", e.Node, e.Peer)
	default:
		if e.Node != "" {
			s += " " + e.Node
		}
	}
	if e.Incarnation > 1 {
		s += fmt.Sprintf(" (life %d)", e.Incarnation)
	}
	if e.Text != "" {
		s += " " + e.Text
	}
	if e.Arg != 0 {
		s += fmt.Sprintf(" [%d]", e.Arg)
	}
	if e.Cause != 0 {
		s += fmt.Sprintf(" ← #%d", e.Cause)
	}
	if len(e.Data) > 0 {
		s += fmt.Sprintf(" %d bytes", len(e.Data))
	}
	return s
}

// Stamp prints a virtual time as seconds with nanoseconds.
func Stamp(at int64) string {
	return fmt.Sprintf("%d.%09ds", at/1e9, at%1e9)
}

// SchemaArg is the Arg of a NodeStarted whose node speaks another version of
// the contracts than the newest; 0 stands for that.
func SchemaArg(major, minor uint32) int64 { return int64(major)<<32 | int64(minor) }

// Schema reads a SchemaArg; ok is false for the newest version.
func Schema(arg int64) (major, minor uint32, ok bool) {
	return uint32(arg >> 32), uint32(arg), arg != 0
}

// DeviceArg is the Arg of what concerns an accelerator: its number on its host, from
// 0, and which context of the process it was, or for a change how often all
// contexts were lost.
func DeviceArg(device int, era uint64) int64 { return int64(device)<<48 | int64(era&(1<<48-1)) }

// DeviceOf reads a DeviceArg.
func DeviceOf(arg int64) (device int, era uint64) {
	return int(arg >> 48), uint64(arg & (1<<48 - 1))
}
