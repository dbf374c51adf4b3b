// Package actor is the seam between the system under test and whatever runs
// it: what a process of Esper may touch, and nothing else.
//
// The seam belongs to the system, not to the simulator. Packages sim and
// cluster/live are two siblings that provide an [Env]; neither imports the
// other, and no subsystem imports either, so the code that is tested is the
// code that runs live.
//
// An actor is single-threaded: its world calls it from one goroutine and it
// starts none of its own. Everything it learns comes through Receive (mail
// from other nodes, and its own expired timers) or as the result of a call on
// its Env.
package actor

import (
	"go.uber.org/zap"

	"github.com/esper-sim/espersim/contracts/canon"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/gpu"
)

// ID names a node of the cluster, such as "tolaria" or "kasmina-1".
type ID string

// An Actor is one process of the system. A returned error is a crash: the
// world reports it, and constructs the actor anew if its plan says so.
//
// A message is valid until Receive returns: the decoder reuses it, and its
// bytes fields alias the received buffer. An actor that keeps one copies it.
type Actor interface {
	// Start recovers from Env.FS. It is called once, before any mail.
	Start() error
	// Receive handles one message. A timer that expired arrives as a
	// *localv2.TimerFired from the actor's own ID.
	Receive(from ID, m canon.Message) error
}

// Exit is the error with which an actor ends its own life because only a new one
// can go on: it is no crash. Who watches over the process starts another, or, with
// Reboot, restarts the host and with it every process there.
type Exit struct {
	Why    string
	Reboot bool
}

// Error implements error.
func (e *Exit) Error() string {
	if e.Reboot {
		return "the host is to be restarted: " + e.Why
	}
	return "the process is to be restarted: " + e.Why
}

// A Constructor makes an actor over its environment. A restart calls it
// again: memory that must be forgotten cannot survive, so there is no reset
// code to get wrong.
type Constructor func(Env) (Actor, error)

// Env is everything an actor may touch. It is a struct of small interfaces:
// each wraps alone, a test fills only what it needs, and a new capability
// breaks nobody.
type Env struct {
	Self        ID
	Clock       Clock
	Net         Net
	FS          FS
	GPU         gpu.Device
	Devices     []Device // the host's accelerators; none, where it has none
	Rand        Keyed
	Log         *zap.Logger
	Facts       Recorder
	Probe       Probe
	Incarnation uint64 // 1 for the first life of the node, then rising by one
	// Schema is the version of the contracts that this process speaks. What it
	// receives is what a program of that version would see; what it sends is cut
	// to it.
	Schema wire.Version
}

// A Device is an accelerator of the host.
type Device struct {
	Accel  gpu.Accelerator // the process's part of it
	Health gpu.Monitor     // what is known of it from outside
}

// Net sends mail. Every message crosses as an encoded EventEnvelope.
type Net interface {
	// Send encodes m now and hands it to the link to the named node. It
	// departs when the handler has reached this point in virtual time. There
	// is no error: a link may lose anything. m may be reused after the call.
	Send(to ID, m canon.Message, o SendOptions)
	// Incoming is the envelope of the message being received and its encoded
	// bytes, both valid until Receive returns; nil for timers and in Start.
	Incoming() (*envelopev2.EventEnvelope, []byte)
}

// SendOptions fills the envelope. The zero value is a direct message of
// normal priority.
type SendOptions struct {
	// Key says which message this is, whatever else happens in the run: the
	// identity that random decisions about it are keyed on, such as
	// "step/3/7/forward". It should not hold anything that a fault elsewhere
	// would change (counters of messages, generations, times). Empty: a hash
	// of the payload without its volatile fields.
	Key     string
	Attempt uint32 // how often this message was sent before

	EventID       string // empty: made by the world from the identity
	Topic         string // set: a publication for the bus
	CorrelationID string
	ReplyTo       string
	CausationID   string
	PartitionKey  string
	RunID         string
	Epoch         int64
	Priority      envelopev2.Priority // zero: NORMAL
	TTLMillis     int64               // zero: none
	MaxAttempts   uint32
	// As is the newest minor version that the readers know; nil: the sender's.
	As *uint32
	// Auth signs the envelope; nil leaves it unsigned.
	Auth Signer
}

// A Signer fills the auth block of an envelope whose other fields are final.
type Signer interface {
	Sign(e *envelopev2.EventEnvelope, payload []byte)
}

// Recorder takes the facts an actor claims, for checkers. A fact is encoded
// at once and may be reused after the call. Facts never reach a wire or
// another actor.
type Recorder interface {
	Record(fact canon.Message)
}

// Keyed is randomness that is asked by identity rather than drawn from a
// stream: the same run seed, node, purpose and key give the same value
// whatever was asked before. That is what makes a shrunk plan reproduce.
type Keyed interface {
	For(purpose string, a, b uint64) uint64
}

// Probe marks places of the code for a sweep.
type Probe interface {
	// Reached counts that the named place was reached.
	Reached(name string)
	// Sometimes says whether a rare but allowed behaviour should be taken
	// here. It is always false outside a simulation that asks for it.
	Sometimes(name string) bool
}
