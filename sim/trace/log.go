package trace

// An Observer sees each event as it happens. It must not keep the event.
type Observer interface {
	Observe(e *Event)
}

// A Log takes the events of a run in order, numbers and hashes them and shows
// them to its observers. It stores none of them.
type Log struct {
	cur       Event
	seq       uint64
	hash      Hash
	observers []Observer
}

// NewLog makes a log with the given observers, called in that order.
func NewLog(observers ...Observer) *Log {
	return &Log{observers: observers}
}

// Next clears and returns the log's current event for the caller to fill. It
// lives in the log, since an event passed through an interface from the stack
// would be allocated each time.
func (l *Log) Next(at int64, k Kind) *Event {
	e := &l.cur
	*e = Event{}
	e.Seq, e.At, e.Kind = l.seq+1, at, k
	return e
}

// Commit hashes the event that Next returned, shows it to the observers, and
// returns its number.
func (l *Log) Commit() uint64 {
	l.seq++
	l.hash.add(&l.cur)
	for _, o := range l.observers {
		o.Observe(&l.cur)
	}
	return l.seq
}

// Hash is the hash of all committed events.
func (l *Log) Hash() Hash { return l.hash }

// Len is the number of committed events.
func (l *Log) Len() uint64 { return l.seq }
