package compat

import (
	"fmt"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
	"github.com/esper-sim/espersim/contracts/governance/schema"
)

// Kind names what sort of change it is.
type Kind string

// The kinds of changes.
const (
	FileAdded            Kind = "file-added"
	FileRemoved          Kind = "file-removed"
	PackageAdded         Kind = "package-added"
	PackageRemoved       Kind = "package-removed"
	DefinitionMoved      Kind = "definition-moved" // to another file
	MessageAdded         Kind = "message-added"
	MessageRemoved       Kind = "message-removed"
	MessageRenamed       Kind = "message-renamed"
	FieldAdded           Kind = "field-added"
	MapFieldAdded        Kind = "map-field-added"
	FieldRemoved         Kind = "field-removed"
	FieldRenamed         Kind = "field-renamed"
	FieldRenumbered      Kind = "field-renumbered"
	FieldType            Kind = "field-type"
	FieldCardinality     Kind = "field-cardinality"
	FieldPresence        Kind = "field-presence"
	FieldPacked          Kind = "field-packed"
	FieldOneof           Kind = "field-oneof"
	OneofRenamed         Kind = "oneof-renamed"
	EnumAdded            Kind = "enum-added"
	EnumRemoved          Kind = "enum-removed"
	EnumValueAdded       Kind = "enum-value-added"
	EnumValueInserted    Kind = "enum-value-inserted" // below the highest number
	EnumValueRemoved     Kind = "enum-value-removed"
	EnumValueRenamed     Kind = "enum-value-renamed"
	EnumValueRenumbered  Kind = "enum-value-renumbered"
	EnumValuesReordered  Kind = "enum-values-reordered"
	ServiceAdded         Kind = "service-added"
	ServiceRemoved       Kind = "service-removed"
	MethodAdded          Kind = "method-added"
	MethodRemoved        Kind = "method-removed"
	MethodRequest        Kind = "method-request"
	MethodResponse       Kind = "method-response"
	MethodStreaming      Kind = "method-streaming"
	ReservationAdded     Kind = "reservation-added"
	ReservationRemoved   Kind = "reservation-removed"
	ReservedNumberReused Kind = "reserved-number-reused"
	ReservedNameReused   Kind = "reserved-name-reused"
	OptionChanged        Kind = "option-changed"
	ExtensionAdded       Kind = "extension-added"
	ExtensionRemoved     Kind = "extension-removed"
	ExtensionChanged     Kind = "extension-changed"
)

// Level is which part of a version a change moves.
type Level int

// The levels.
const (
	None Level = iota
	Minor
	Major
)

func (l Level) String() string {
	if l < None || l > Major {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return [...]string{"none", "minor", "major"}[l]
}

// MarshalText gives the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(b []byte) error {
	for _, k := range []Level{None, Minor, Major} {
		if k.String() == string(b) {
			*l = k
			return nil
		}
	}
	return fmt.Errorf("%q is no level; want none, minor or major", b)
}

// Change is one atomic difference between two schemas.
type Change struct {
	Kind     Kind            `json:"kind"`
	Subject  string          `json:"subject"`    // full name of what changed, by its new name where it has one
	Package  string          `json:"package"`    // the package that it is in
	Position schema.Position `json:"position"`   // in the new schema, or in the old one if it is gone there
	Text     string          `json:"text"`       // what changed, in words
	Level    Level           `json:"level"`      // none, minor or major
	Rule     string          `json:"rule"`       // name of the policy's rule
	Reason   string          `json:"reason"`     // the rule as a sentence
	Frozen   bool            `json:"frozen"`     // its package is frozen
	OldToNew Evidence        `json:"old_to_new"` // old writer, new reader
	NewToOld Evidence        `json:"new_to_old"` // new writer, old reader
	Reached  []Reach         `json:"reached"`    // messages that contain it through their fields
	At       string          `json:"message"`    // the message type that contains it; empty if none does
	where    location        // for evidence
}

// Evidence is what happens to messages in one direction because of a change.
type Evidence struct {
	Class   exchange.Class `json:"class"`
	Rules   exchange.Class `json:"rules"`             // what the rules predict
	Found   exchange.Class `json:"found"`             // the worst that the search found
	Tried   int            `json:"tried"`             // messages that the search sent
	Note    string         `json:"note,omitempty"`    // what the class alone does not say
	Witness *Witness       `json:"witness,omitempty"` // for every class worse than value-lossless
}

// Witness is a message that shows a class.
type Witness struct {
	Message   string `json:"message"`         // full name of its type
	Hex       string `json:"hex"`             // its canonical encoding
	Size      int    `json:"size"`            // in bytes
	Written   string `json:"written"`         // as text
	Where     string `json:"where,omitempty"` // the field that shows it
	Seen      string `json:"seen"`            // what the reader sees, or why it refuses
	Relay     string `json:"relay"`           // what the reader sends on, in hex
	Back      string `json:"back"`            // what the writer's side makes of that
	Reproduce string `json:"reproduce"`       // a shell command
}

// Reach is a way to a change.
type Reach struct {
	Message string `json:"message"` // full name
	Path    string `json:"path"`    // the fields from it to the message that changed, such as "batch.items"
}

// Verdict is what all changes together do to the messages of one type.
type Verdict struct {
	Message  string   `json:"message"` // full name
	OldToNew Evidence `json:"old_to_new"`
	NewToOld Evidence `json:"new_to_old"`
}

// Report is the comparison of two schemas. Its JSON form is stable: a change
// of it that a program could notice has another version.
type Report struct {
	Version  string    `json:"version"` // "espersim.breaking.v1"
	Old      string    `json:"old"`     // as the schemas were named
	New      string    `json:"new"`
	Bump     Level     `json:"bump"`     // what the next version must move
	Refused  bool      `json:"refused"`  // a frozen package changed
	Changes  []Change  `json:"changes"`  // by file, line and column
	Messages []Verdict `json:"messages"` // of every type that is affected, by name
}

// Breaking says that a major version is needed, or that a frozen package was
// changed.
func (r *Report) Breaking() bool { return r.Bump == Major || r.Refused }
