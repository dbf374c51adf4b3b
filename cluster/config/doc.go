// Package config is what a subsystem embeds to follow the configuration: it holds
// announced revisions durably, and takes one in force at the boundary that says
// so.
//
//	case *busv2.Delivery, *operationsv2.ConfigSnapshot, *operationsv2.ConfigDecision, *localv2.TimerFired:
//		if p.conf.Receive(m) {
//			return nil
//		}
//	…
//	if !p.conf.Hear(generation, epoch, revision) {
//		return // it lacks the revision, and has asked for it
//	}
//	every := p.conf.Int(config.CheckpointEvery, 4)
//
// # Why a change is seen by every subsystem at the same boundary, or by none (J2)
//
// Mycosynth announces revision R (ConfigChange). Whoever follows makes it durable
// and acknowledges it (ConfigAck). When every live subsystem has, Mycosynth tells
// Tolaria (ConfigSeal), and Tolaria alone decides: at a boundary into an epoch e
// of generation g that is not before the announced one, it logs "R is in force
// from (g, e) on", syncs, and only then sends anything about (g, e).
//
//  1. rev(g, e) is one number. It is decided at most once for each (g, e): a
//     boundary that is asked for again within a life carries what it carried
//     before (tolaria/config.go remembers which one was fixed), and after a crash
//     Tolaria comes back in another generation, or finishes a rollback that had
//     been committed, and such a boundary never takes a new revision.
//  2. Everybody learns of (g, e) by a message that carries rev(g, e): Kasmina by
//     BoundaryRequest, Tamiyo by the state packet, all others by the STARTED
//     event. There is no other message that could be lost or overtaken: who does
//     not know rev(g, e) does not know (g, e). The exception is a cluster of
//     mixed versions: before 2.2 these messages had no revision, and while a
//     reader of an older version is there, or Tolaria is one, it is left out. Who
//     hears of a boundary and of no revision asks Mycosynth, and Mycosynth
//     answers with the newest decision while no other can be under way: with none
//     sealed that is not decided. Tolaria had decided about (g, e) before anybody
//     could ask about it, so the newest decision is rev(g, e), unless it is about
//     a later boundary; then that one is asked about.
//  3. Cross takes effect only with the content of exactly that revision. Who lacks
//     it asks Mycosynth for a snapshot and does not cross until it is there:
//     Kasmina stays out of the epoch, Tamiyo does not answer, and training goes
//     on without them, as with any other silence. So a process that was down, was
//     taken for dead, or has lost its disk can be late, and cannot see something
//     else.
//  4. The content of R is one: Mycosynth logs it before it announces it, never
//     changes it, and has one open revision at a time; announcement and snapshot
//     are signed.
//
// So acknowledgements are for availability, not for safety: they keep a change
// from being decided that a live subsystem would have to stop for. A rollback
// takes no revision back: rev(g+1, e) is at least what was decided before,
// whatever e is, and by 2. and 3. is the same for all who restore.
//
// If Mycosynth is gone nothing changes, and nobody needs it who has the revision
// in force on its own disk.
package config
