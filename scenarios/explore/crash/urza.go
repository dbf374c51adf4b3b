package crash

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/cluster/job"
	"github.com/esper-sim/espersim/cluster/kernel"
	"github.com/esper-sim/espersim/cluster/urza"
	"github.com/esper-sim/espersim/contracts/canon"
	assetsv2 "github.com/esper-sim/espersim/contracts/generated/go/assets/v2"
	blueprintv2 "github.com/esper-sim/espersim/contracts/generated/go/blueprint/v2"
	"github.com/esper-sim/espersim/contracts/wire"
	"github.com/esper-sim/espersim/sim/disk"
)

func urzaWorkload() *Workload {
	return &Workload{
		Name: "urza", Summary: "the asset library: an intent, an object, a commit of SQLite's, a COMMIT, an event",
		// A page of SQLite's has eight sectors of 512 bytes, and a store writes a dozen
		// pages before the first sync: all pairs of all fates are a million states. A
		// recovery writes, too; with a second crash in it there are as many again for
		// each.
		Most: 1, Sector: 4096, Coarse: true, Once: true, New: func() Subject { return &urzaSubject{} },
		Operations: []string{"blueprint", "kernel", "verdict", "retire", "reopen"},
		Starts: []Start{
			{"used", "a library with a blueprint, and another that has a kernel", urzaStart(levelBlueprint, levelKernel)},
			{"judged", "a library with a kernel that has its verdict", urzaStart(levelVerdict)},
		},
	}
}

// theJob is the job of every library here; it is read-only.
var theJob = sync.OnceValues(job.Default)

// How far an asset has come. Each level is one store.
const (
	levelNone = iota
	levelBlueprint
	levelKernel
	levelVerdict
	levelRetired
)

// urzaStart is a library with assets of some levels.
func urzaStart(levels ...int) func(*disk.Disk, Subject) (*disk.Disk, Subject, error) {
	return func(d *disk.Disk, s Subject) (*disk.Disk, Subject, error) {
		m := s.(*urzaSubject)
		err := m.Open(disk.NewFS(d, nil))
		for _, level := range levels {
			m.assets = append(m.assets, asset{})
			for range level {
				err = errors.Join(err, m.advance(len(m.assets)-1))
			}
		}
		return d, m, err
	}
}

// asset is what the model knows of one.
type asset struct {
	acknowledged, tried int // levels
}

// urzaSubject is the library, alone with its clients, and what it promised: how
// far each asset has come.
type urzaSubject struct {
	h       *lonely
	assets  []asset
	replies []canon.Message
	events  map[string]bool // published in this life
	asked   int
}

func (s *urzaSubject) Clone() Subject { return &urzaSubject{assets: slices.Clone(s.assets)} }

func (s *urzaSubject) Promise() uint64 {
	h := hashText("urza")
	for _, a := range s.assets {
		h = hash(h, uint64(a.acknowledged)<<8|uint64(a.tried))
	}
	return h
}

// Open implements Subject: what was acknowledged is there, whole, and announced;
// what was not is there whole or not at all.
func (s *urzaSubject) Open(fs actor.FS) error {
	h := &lonely{fs: fs, codec: wire.NewCodec(), timers: map[string]time.Duration{}}
	s.h, s.replies, s.events, s.asked = h, nil, map[string]bool{}, 0
	h.sent = func(m canon.Message, o actor.SendOptions) {
		if o.EventID != "" {
			s.events[o.EventID] = true
			return
		}
		s.replies = append(s.replies, m)
	}
	j, err := theJob()
	if err != nil {
		return err
	}
	a, err := urza.New(j, *urza.Defaults())(h.env("urza"))
	if err != nil {
		return err
	}
	h.actor = a
	if err := a.Start(); err != nil {
		return err
	}
	if err := h.pass(50 * time.Millisecond); err != nil {
		return err
	}
	for i := range s.assets {
		a := &s.assets[i]
		level, err := s.look(i)
		if err != nil {
			return err
		}
		if level < a.acknowledged || level > a.tried {
			return violated("I3", "asset %d was acknowledged at level %d, level %d was tried, and it is at level %d", i, a.acknowledged, a.tried, level)
		}
		// What was seen once stays.
		a.acknowledged, a.tried = level, level
		id := blueprintID(i)
		for l, event := range []string{levelBlueprint: "blueprint-submitted/" + id, levelKernel: "kernel-ready/" + kernelID(i), levelVerdict: "kernel-characterized/" + kernelID(i)} {
			if event != "" && level >= l && !s.events[event] {
				return violated("I5", "asset %d is at level %d, the bus has taken nothing, and the event %s is not published", i, level, event)
			}
		}
	}
	return nil
}

// look asks for an asset, and says how far it is.
func (s *urzaSubject) look(i int) (int, error) {
	r, err := s.ask("kasmina", &assetsv2.FetchKernel{RequestId: s.request(), KernelArtifactId: kernelID(i)})
	if err != nil {
		return 0, err
	}
	k, ok := r.(*assetsv2.FetchKernelReply)
	switch {
	case !ok:
		return 0, violated("I2", "a kernel is asked for, and the answer is %s", r.FullName())
	case k.Status == assetsv2.AssetStatus_EXISTS:
		if !bytes.Equal(k.Binary, kernelBytes(i)) {
			return 0, violated("K3", "the kernel of asset %d has other bytes than were stored", i)
		}
		switch k.Kernel.GetStatus() {
		case blueprintv2.KernelStatus_PENDING_BENCHMARKING:
			return levelKernel, nil
		case blueprintv2.KernelStatus_VALIDATED:
			return levelVerdict, nil
		case blueprintv2.KernelStatus_RETIRED:
			return levelRetired, nil
		}
		return 0, violated("I1", "the kernel of asset %d is %v", i, k.Kernel.GetStatus())
	case k.Status != assetsv2.AssetStatus_NOT_FOUND:
		return 0, violated("I3", "nothing was damaged, and the library says of a kernel %v: %s", k.Status, k.Reason)
	}
	if r, err = s.ask("viewer", &assetsv2.FetchBlueprint{RequestId: s.request(), BlueprintId: blueprintID(i), WithIr: true}); err != nil {
		return 0, err
	}
	b, ok := r.(*assetsv2.FetchBlueprintReply)
	switch {
	case !ok:
		return 0, violated("I2", "a blueprint is asked for, and the answer is %s", r.FullName())
	case b.Status == assetsv2.AssetStatus_NOT_FOUND:
		return levelNone, nil
	case b.Status != assetsv2.AssetStatus_EXISTS:
		return 0, violated("I3", "nothing was damaged, and the library says of a blueprint %v: %s", b.Status, b.Reason)
	case !bytes.Equal(b.Ir.AppendCanonical(nil), design(i).AppendCanonical(nil)):
		return 0, violated("I3", "the blueprint of asset %d is another one than was stored", i)
	}
	return levelBlueprint, nil
}

func (s *urzaSubject) request() string {
	s.asked++
	return fmt.Sprint("request-", s.asked)
}

// ask sends a request in somebody's name, and returns the answer.
func (s *urzaSubject) ask(as string, m canon.Message) (canon.Message, error) {
	j, err := theJob()
	if err != nil {
		return nil, err
	}
	signer, err := wire.NewHMACSigner("run", j.Key[:])
	if err != nil {
		return nil, err
	}
	signer.SignedAt = s.h.Now()
	e := s.h.codec.Scratch()
	e.SourceSubsystem = as
	s.h.raw = s.h.codec.Seal(nil, e, m, signer)
	in, opened, err := s.h.codec.Nested().Open(s.h.raw)
	if err != nil {
		return nil, err
	}
	s.h.in, s.replies = in, nil
	if err := s.h.actor.Receive(actor.ID(as), opened); err != nil {
		return nil, err
	}
	if len(s.replies) != 1 {
		return nil, violated("I2", "%s has %d answers", m.FullName(), len(s.replies))
	}
	return s.replies[0], nil
}

// advance stores the next level of an asset.
func (s *urzaSubject) advance(i int) error {
	a := &s.assets[i]
	a.tried = a.acknowledged + 1
	var m canon.Message
	as := "tezzeret"
	switch a.tried {
	case levelBlueprint:
		m, as = &assetsv2.StoreBlueprint{RequestId: s.request(), Ir: design(i), CreatorSubsystem: "karn", RiskScore: 0.1}, "karn"
	case levelKernel:
		sum := sha256.Sum256(kernelBytes(i))
		m = &assetsv2.StoreKernel{RequestId: s.request(), BlueprintId: blueprintID(i), Hardware: "h100", Toolchain: "t", Binary: kernelBytes(i), BinarySha256: sum[:],
			BinaryCrc32C: crc32.Checksum(kernelBytes(i), crc32.MakeTable(crc32.Castagnoli)), Kernel: &blueprintv2.CompiledKernelArtifact{Id: kernelID(i), CompilationPipeline: "fast"}}
	case levelVerdict:
		m, as = &assetsv2.StoreReport{RequestId: s.request(), KernelArtifactId: kernelID(i), Status: blueprintv2.KernelStatus_VALIDATED,
			Report: &blueprintv2.UrabraskValidationReport{PassedValidation: true}}, "urabrask"
	default:
		m = &assetsv2.MoveAsset{RequestId: s.request(), AssetId: kernelID(i), Kernel: blueprintv2.KernelStatus_RETIRED, Reason: "old"}
	}
	r, err := s.ask(as, m)
	if err != nil {
		return err
	}
	if done, ok := r.(*assetsv2.StoreReply); !ok || done.Status != assetsv2.AssetStatus_STORED {
		return violated("I3", "nothing failed, and level %d of asset %d is answered %v: %s", a.tried, i, done.GetStatus(), done.GetReason())
	}
	a.acknowledged = a.tried
	return nil
}

// Do implements Subject.
func (s *urzaSubject) Do(op int, fs actor.FS) (bool, error) {
	if op == len(urzaLevels) {
		return true, s.Open(fs)
	}
	want := urzaLevels[op]
	if want == levelBlueprint {
		s.assets = append(s.assets, asset{})
		return true, s.advance(len(s.assets) - 1)
	}
	i := slices.IndexFunc(s.assets, func(a asset) bool { return a.acknowledged == want-1 })
	if i < 0 {
		return false, nil
	}
	return true, s.advance(i)
}

// urzaLevels are the levels that the operations take an asset to.
var urzaLevels = []int{levelBlueprint, levelKernel, levelVerdict, levelRetired}

// Continue implements Subject.
func (s *urzaSubject) Continue(actor.FS) error {
	s.assets = append(s.assets, asset{})
	return s.advance(len(s.assets) - 1)
}

// design is the n-th blueprint, and the rest what follows from it.
func design(n int) *blueprintv2.BlueprintIR {
	return kernel.Canonical(&blueprintv2.BlueprintIR{DesignIntent: fmt.Sprint("design ", n), SchemaVersion: 1,
		Nodes: []*blueprintv2.BlueprintIR_Node{{Id: "in", Op: "input", OutShape: []int64{8}}, {Id: "out", Op: "output", InShape: []int64{8}}},
		Edges: []*blueprintv2.BlueprintIR_Edge{{From: "in", To: "out"}}})
}

func blueprintID(n int) string { return kernel.ID(design(n)) }

func kernelID(n int) string { return urza.KernelID(blueprintID(n), "h100", "fast", "t") }

func kernelBytes(n int) []byte { return bytes.Repeat([]byte{byte(n + 1)}, 700) }
