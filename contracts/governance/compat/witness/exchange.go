// Package witness finds out by trying what happens to messages between a
// writer and a reader: it makes messages, sends them through protobuf-go's
// decoder, compares, and shrinks what was lost to the smallest message that
// shows it.
//
// It knows nothing of the rules by which package rules predicts the same.
package witness

import (
	"bytes"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

// Outcome is what happened to one message.
type Outcome struct {
	Class   exchange.Class
	Where   string               // the field that differs, from the message's root; empty if none does
	Written protoreflect.Message // as the writer made it
	Bytes   []byte               // its canonical encoding
	Err     error                // why the reader refused the bytes; the rest is then unset
	Seen    protoreflect.Message // as the reader holds it
	Relay   []byte               // its canonical encoding by the reader
	Back    protoreflect.Message // the relay as the writer's side reads it; nil if BackErr is set
	BackErr error                // why the writer's side refused the relay
}

// Exchange sends one message of the writer's schema to a reader of the type r,
// and what that sends on back.
func Exchange(m protoreflect.Message, r protoreflect.MessageDescriptor) Outcome {
	return (&exchanger{codec: new(codec), checks: AllChecks()}).exchange(m, r)
}

// Decode reads bytes as protobuf does. Custom options of the binary do not
// matter: unknown fields stay unknown.
func Decode(b []byte, d protoreflect.MessageDescriptor) (protoreflect.Message, error) {
	m := dynamicpb.NewMessage(d)
	if err := decoder.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("these bytes are no %s: %s", d.FullName(), Plain(err))
	}
	return m, nil
}

var decoder = proto.UnmarshalOptions{AllowPartial: true}

// exchanger is Exchange with what it remembers.
type exchanger struct {
	codec   *codec
	checks  Checks
	shallow bool // enums are numbers
	buf     []byte
}

func (x *exchanger) exchange(m protoreflect.Message, r protoreflect.MessageDescriptor) Outcome {
	o := Outcome{Written: m, Bytes: x.codec.message(nil, m)}
	seen := dynamicpb.NewMessage(r)
	if err := decoder.Unmarshal(o.Bytes, seen); err != nil {
		o.Class, o.Err = exchange.ParseFailure, err
		return o
	}
	o.Seen = seen
	o.Class, o.Where = x.compare(m, seen)
	o.Relay = x.codec.message(nil, seen)
	if bytes.Equal(o.Relay, o.Bytes) {
		o.Back = m
		return o
	}
	o.Class = max(o.Class, exchange.Lossless)
	if !x.checks.Relay {
		return o
	}
	back := dynamicpb.NewMessage(m.Descriptor())
	if err := decoder.Unmarshal(o.Relay, back); err != nil {
		o.BackErr = err
		o.Class = max(o.Class, exchange.ValueLossy)
		return o
	}
	o.Back = back
	if class, where := x.compare(m, back); class > o.Class {
		o.Class, o.Where = class, where
	}
	return o
}

func (x *exchanger) compare(w, r protoreflect.Message) (exchange.Class, string) {
	c := comparer{codec: x.codec, checks: x.checks}
	c.checks.Enums = c.checks.Enums && !x.shallow
	c.message("", ofMessage(w), ofMessage(r))
	return c.worst, c.where
}

// Plain is an error of protobuf-go as it always was: the library puts a space
// of one of two kinds behind its name, so that nobody compares its texts.
func Plain(err error) string {
	return strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
}
