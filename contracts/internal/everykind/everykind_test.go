package everykind

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-sim/espersim/contracts/canon"
	"github.com/esper-sim/espersim/contracts/internal/prototest"
)

var _ canon.Message = (*Every)(nil)

func TestRoundTrip(t *testing.T) {
	reused := new(Every)
	rapid.Check(t, func(t *rapid.T) {
		m := new(Every)
		prototest.Fill(t, m)
		b := m.AppendCanonical(nil)
		if slow := prototest.Encode(m.ProtoReflect()); !bytes.Equal(b, slow) || len(b) != m.CanonicalSize() {
			t.Fatalf("encoded\n%x, the oracle has\n%x", b, slow)
		}
		theirs := new(Every)
		if err := proto.Unmarshal(b, theirs); err != nil {
			t.Fatal(err)
		}
		if err := reused.ParseCanonical(b); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(reused, theirs) || !bytes.Equal(reused.AppendCanonical(nil), b) {
			t.Fatalf("decoded\n%v, want\n%v", reused, theirs)
		}
		if reused.IdentityHash(0) != m.IdentityHash(0) {
			t.Fatal("equal messages, two identities")
		}
	})
}

// Accepted means canonical, and canonical means accepted: what protobuf-go
// decodes and the oracle encodes to the same bytes again must be taken, unless
// it holds what is forbidden by value.
func TestMutations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := new(Every)
		prototest.Fill(t, m)
		b := m.AppendCanonical(nil)
		if len(b) == 0 {
			return
		}
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		ours, theirs := new(Every), new(Every)
		err := ours.ParseCanonical(b)
		if bad := proto.Unmarshal(b, theirs); bad != nil {
			if err == nil {
				t.Fatalf("accepted, protobuf-go says %v", bad)
			}
			return
		}
		identical := bytes.Equal(prototest.Encode(theirs.ProtoReflect()), b)
		if err == nil && !identical {
			t.Fatalf("accepted %x", b)
		}
		if e, ok := err.(*canon.Error); ok && identical {
			switch e.Reason {
			case canon.UnknownEnum, canon.BadTimestamp, canon.BadDuration:
			default:
				t.Fatalf("refused a canonical encoding: %v", err)
			}
		}
	})
}

// A nil element, a nil message in a oneof and a nil message encode as empty
// ones, as protobuf-go does it.
func TestNilMessages(t *testing.T) {
	m := &Every{Inners: []*Inner{nil, {}}, Two: &Every_ArmInner{}}
	theirs, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.AppendCanonical(nil); !bytes.Equal(got, theirs) && len(got) != len(theirs) {
		t.Errorf("%x, protobuf-go writes %x", got, theirs)
	}
	if got := (*Every)(nil).AppendCanonical(nil); len(got) != 0 {
		t.Errorf("nil encodes as %x", got)
	}
}
