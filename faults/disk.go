package faults

import "strings"

// diskKinds are the faults of package sim/disk under the names "disk/…".
var diskKinds = []*Kind{
	diskKind("lose-unsynced", Survivable, "at a power loss every pending write of a file is lost", "rate"),
	diskKind("reorder-unsynced", Survivable, "at a power loss an earlier pending write is lost and a later one survives", "rate"),
	diskKind("torn-write", Survivable, "at a power loss a pending write survives in part, by units of size", "rate", "size"),
	diskKind("zero-tail", Survivable, "at a power loss sizes survive and the last data is zero", "rate"),
	diskKind("stale-tail", Survivable, "at a power loss the last data is what freed blocks held", "rate"),
	diskKind("lost-entry", Survivable, "at a power loss an unsynced creation is undone", "rate"),
	diskKind("lost-rename", Survivable, "at a power loss an unsynced rename is undone", "rate"),
	diskKind("lost-unlink", Survivable, "at a power loss an unsynced removal is undone", "rate"),
	diskKind("fsync-eio", Survivable, "a sync fails with EIO, and the next one says it is well", "rate"),
	diskKind("dsync-eio", Survivable, "an O_DSYNC write fails; its data stays readable, its outcome is unknown", "rate"),
	diskKind("enospc", Survivable, "a write finds no space", "rate"),
	diskKind("enospc-sync", Survivable, "a sync finds no space", "rate"),
	diskKind("short-write", Survivable, "a write does a part of its bytes, without an error", "rate"),
	diskKind("eintr", Survivable, "a write does nothing and says it was interrupted", "rate"),
	diskKind("bit-rot", Detected, "a durable bit that is read has flipped, for good", "rate", "offset", "size"),
	diskKind("bad-sector", Detected, "a sector that is read fails until it is rewritten", "rate", "offset", "size"),
	diskKind("misdirected", Detected, "a write reaches the medium some sectors away", "rate"),
	diskKind("lost-write", Detected, "a write is acknowledged and never reaches the medium", "rate"),
	diskKind("stale-read", Survivable, "one read sees a sector as it was before its last write", "rate"),
	diskKind("lying-flush", Outside, "a sync says it is well and makes nothing durable", "rate"),
	diskKind("slow-io", Survivable, "operations take delay longer", "rate", "delay"),
	diskKind("hung-io", Survivable, "operations never complete", "rate"),
}

// simNames are the effects whose names differ in package sim/disk.
var simNames = map[string]string{
	"fsync-eio": "sync-error", "dsync-eio": "dsync-error", "enospc": "no-space-write",
	"enospc-sync": "no-space-sync", "eintr": "interrupted",
}

func diskKind(name string, class Class, summary string, params ...string) *Kind {
	return &Kind{Name: "disk/" + name, Area: "disk", Shape: OnHosts, Class: class, Summary: summary,
		Params: append(params, "path", "count", "skip"),
		inject: func(k *Kind, f Fault, w World) (*Active, error) {
			effect := strings.TrimPrefix(k.Name, "disk/")
			if s, ok := simNames[effect]; ok {
				effect = s
			}
			a := &Active{fault: f}
			ids := make([]int, len(f.On))
			for i, h := range f.On {
				id, err := w.AddDisk(h, effect, f)
				if err != nil {
					return a, err
				}
				ids[i] = id
			}
			a.end = func() (fired uint64) {
				for i, h := range f.On {
					fired += w.RemoveDisk(h, ids[i])
				}
				return fired
			}
			return a, nil
		}}
}
