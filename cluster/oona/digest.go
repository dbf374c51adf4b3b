package oona

import (
	"crypto/sha256"
	"encoding/binary"
	"sort"

	evidencev2 "github.com/esper-sim/espersim/contracts/generated/go/evidence/v2"
)

// The log is the source of the state (F43): what Oona rebuilds from it is what
// it had. At every so many records it declares a digest of the one and, when it
// reads the log again, of the other.

const (
	// digestEvery is how many records lie between two digests.
	digestEvery = 16
	// digestDepth is how many of a topic's newest entries a digest covers. What is
	// older may be trimmed in one and not yet in the other: trimming is not logged,
	// it follows from the entries.
	digestDepth = 64
)

// digest is that of everything that the log says by a time: the newest entries
// of each topic, in their order, and which of them each group has not ended.
// What lives in memory only is not in it: consumers, owners, claims.
func (s *state) digest(now int64, o *Options) [sha256.Size]byte {
	h := sha256.New()
	var buf []byte
	text := func(t string) {
		buf = binary.AppendUvarint(buf, uint64(len(t)))
		buf = append(buf, t...)
	}
	number := func(n int64) { buf = binary.AppendVarint(buf, n) }
	for _, t := range s.topics {
		if t.next() == 1 {
			continue // known only because somebody asked
		}
		from := max(t.first, t.next()-int64(min(o.Retain, digestDepth)))
		for from < t.next() && now-t.at(from).received >= int64(o.Age) {
			from++
		}
		text(t.name)
		number(from)
		number(t.next())
		for at := from; at < t.next(); at++ {
			e := t.at(at)
			text(e.eventID)
			number(e.received)
			number(e.expires)
			number(int64(e.attempts))
			buf = append(buf, e.sum[:]...)
		}
		cursors := append([]*cursor(nil), t.cursors...)
		sort.Slice(cursors, func(i, j int) bool { return cursors[i].group.name < cursors[j].group.name })
		for _, c := range cursors {
			text(c.group.name)
			for at := from; at < t.next(); at++ {
				p := c.find(at)
				switch {
				case at >= c.next:
					number(at)
				case p != nil && p.attempts > 1:
					number(at)
					number(int64(p.attempts))
				case p != nil:
					number(at)
				}
			}
		}
		h.Write(buf)
		buf = buf[:0]
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// vouch declares the digest of a state at a record.
func (b *oona) vouch(lsn uint64, sum [sha256.Size]byte, rebuilt bool) {
	b.env.Facts.Record(&evidencev2.ReplayFact{Log: string(b.env.Self), Lsn: lsn, StateSha256: sum[:], Rebuilt: rebuilt})
}
