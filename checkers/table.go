package checkers

import "github.com/esper-sim/espersim/sim/trace"

var messages = []trace.Kind{trace.MessageSent, trace.MessageDelivered}

// catalogue is what can be judged, in the order of the digest's part I.
var catalogue = []Invariant{
	{ID: "P1", Statement: "no process ends by a panic, nor by an error where the fault tables say that it goes on", Source: "faults §1"},
	{ID: "W1", Statement: "an entry that was acknowledged as durable is there after every crash", Source: "HLD 8.3"},
	{ID: "W2", Statement: "recovery returns a prefix of what was appended; a torn tail is cut, never interpreted", Source: "HLD 8.3"},
	{ID: "W3", Statement: "a change of a single bit in a header or payload is detected", Source: "HLD 8.3"},
}

// groups are the checkers.
var groups = []group{
	{[]string{"P1"}, []trace.Kind{trace.NodeExited, trace.NodeReady}, newProcesses},
	{[]string{"W1", "W2", "W3"}, messages, newLedger},
}
