// Package contract tells Leyline which version of the contracts a process speaks,
// and remembers what she thinks of it.
package contract

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/contracts/build"
	"github.com/esper-sim/espersim/contracts/canon"
	localv2 "github.com/esper-sim/espersim/contracts/generated/go/local/v2"
	operationsv2 "github.com/esper-sim/espersim/contracts/generated/go/operations/v2"
	"github.com/esper-sim/espersim/contracts/governance/manifest"
	"github.com/esper-sim/espersim/contracts/wire"
)

// Timer is the name of a box's own timer.
const Timer = "contract"

// Every is how often a process tells Leyline what it speaks.
const Every = 2 * time.Second

// Table says which descriptor sets the versions have, from the manifest that is
// compiled in.
type Table map[wire.Version]string

// Load reads the manifest.
func Load() (Table, error) {
	m, err := manifest.Parse("versions.yaml", build.Manifest)
	if err != nil {
		return nil, err
	}
	t := Table{}
	for _, v := range m.Versions {
		var major uint32
		if _, err := fmt.Sscanf(v.Name, "v%d", &major); err != nil {
			return nil, fmt.Errorf("versions.yaml: %q is no version: %w", v.Name, err)
		}
		for minor, hash := range append(append([]string(nil), v.Earlier...), v.Hash) {
			t[wire.Version{Major: major, Minor: uint32(minor)}] = hash
		}
	}
	return t, nil
}

// Digest is the SHA-256 of a version's descriptor set; nil for one that the
// manifest does not have.
func (t Table) Digest(v wire.Version) []byte {
	b, err := hex.DecodeString(t[v])
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// Box is a process's word to Leyline. A nil box has none.
type Box struct {
	env     actor.Env
	job     *job.Job
	query   operationsv2.VersionQuery
	n       uint64
	latest  string
	trouble string
}

// New makes the box of a subsystem.
func New(env actor.Env, j *job.Job, subsystem string) (*Box, error) {
	t, err := Load()
	if err != nil {
		return nil, err
	}
	b := &Box{env: env, job: j}
	b.query.Subsystem, b.query.SchemaMajor, b.query.SchemaMinor = subsystem, env.Schema.Major, env.Schema.Minor
	b.query.DescriptorSetSha256 = t.Digest(env.Schema)
	return b, nil
}

// Start tells for the first time.
func (b *Box) Start() {
	if b == nil {
		return
	}
	b.n++
	b.latest = fmt.Sprint("version/", b.env.Self, "/", b.env.Incarnation, "/", b.n)
	b.query.QueryId = b.latest
	b.env.Net.Send(b.job.Leyline, &b.query, actor.SendOptions{Key: b.latest})
	b.env.Clock.SetTimer(Timer, 0, Every)
}

// Receive takes a message if it is the box's, and says whether it is.
func (b *Box) Receive(m canon.Message) bool {
	if b == nil {
		return false
	}
	switch m := m.(type) {
	case *localv2.TimerFired:
		if m.Name == Timer {
			b.Start()
			return true
		}
	case *operationsv2.VersionReply:
		if m.QueryId == b.latest {
			if b.trouble = m.Reason; m.Compatible {
				b.trouble = ""
			} else {
				b.env.Log.Error("leyline does not know these contracts: " + m.Reason)
			}
		}
		return true
	}
	return false
}

// Trouble is why Leyline does not take the process for one of the system; empty
// if it does, or has not answered.
func (b *Box) Trouble() string {
	if b == nil {
		return ""
	}
	return b.trouble
}
