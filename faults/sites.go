package faults

// A Site is a place in the system's code where rare but allowed behaviour can
// be taken: a log that turns to a new segment before the old one is full, a
// message that is repeated though nobody asked. No promise depends on it, so a
// run with sites on must be as correct as one without. The sites of the bus's
// faults are not among them; those are kinds of the catalogue (see BusSite).
type Site struct {
	Name    string // as in Probe.Sometimes
	Summary string
}

// Sites lists them all, by name. A test compares the list with the source.
func Sites() []Site { return sites }

var sites = []Site{
	{"kasmina/repeat-report", "a seed's report of a boundary is published twice, under two ids"},
	{"oona/commit-early", "a batch is committed with its first publication, without waiting for others"},
	{"oona/commit-late", "publications gather for ten times as long before they are made durable"},
	{"oona/redeliver-early", "an unacknowledged entry is delivered again as soon as the sweep sees it"},
	{"oona/small-batch", "one delivery at a time: a cursor hands out one entry and goes on at the next sweep"},
	{"oona/snapshot-early", "the state is saved and the log before it let go long before it is due"},
	{"outbox/resend-early", "a publication that waits for its answer is sent again though it is not due"},
	{"tamiyo/repeat-signal", "the decision of an epoch boundary is sent twice"},
	{"tolaria/ask-twice", "a request at the epoch boundary is sent twice"},
	{"tolaria/checkpoint-early", "a checkpoint is taken at a boundary where none is due"},
	{"tolaria/costly-mask", "a mask of the host network is told to cost accuracy"},
	{"tolaria/slow-boundary", "assembling the state of the run for Tamiyo takes five times as long"},
	{"wal/rotate-early", "a segment ends before it is full"},
	{"wal/seal-early", "a mark that vouches for what is durable is written after a sync"},
	{"wal/small-batch", "a record is written and synced at once instead of waiting for others"},
}

// FindSite is the site of a name; ok is false where there is none.
func FindSite(name string) (s Site, ok bool) {
	for _, s := range sites {
		if s.Name == name {
			return s, true
		}
	}
	return Site{}, false
}

// SiteNames lists the names of the sites, sorted.
func SiteNames() []string {
	list := make([]string, len(sites))
	for i, s := range sites {
		list[i] = s.Name
	}
	return list
}
