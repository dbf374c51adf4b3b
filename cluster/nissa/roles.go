package nissa

import (
	"time"

	"github.com/esper-sim/espersim/cluster/job"
	envelopev2 "github.com/esper-sim/espersim/contracts/generated/go/envelope/v2"
	"github.com/esper-sim/espersim/contracts/wire"
)

// role is what somebody who asks Nissa may do; a higher one may do all that a
// lower one may.
type role uint8

const (
	viewer   role = iota // sees metrics and status
	operator             // reads the logs, and acknowledges alerts
	admin                // silences alerts
)

var roleNames = [...]string{"viewer", "operator", "admin"}

func (r role) String() string { return roleNames[r] }

// roleOf is the role of who sent an envelope: the one whose key has signed it,
// not long ago. Whoever signs with no such key is a viewer.
func roleOf(j *job.Job, e *envelopev2.EventEnvelope, now time.Time) role {
	if e.GetAuth() == nil {
		return viewer
	}
	for r := admin; r > viewer; r-- {
		key := j.RoleKey(r.String())
		if e.Auth.KeyId == r.String() && wire.Verify(e, key[:]) == nil {
			if age := now.Sub(e.Auth.SignedAt.AsTime()); age > job.MaxClockSkew || age < -job.MaxClockSkew {
				return viewer
			}
			return r
		}
	}
	return viewer
}
