package mutants

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// concern says which scenarios concern a package: their runs are made first,
// in this order, and with rising seeds for as long as there is budget. All
// others are run once, as the suite has them.
var concern = map[string][]string{
	"wal": {"disk", "wal-hardened.yaml", "checkpoint", "triad-survivable.yaml", "bus/disk.yaml", "bus/crashes.yaml", "commands/crash-at-op.yaml",
		"commands/full-disk.yaml", "regress"},
	"checkpoint": {"checkpoint/rot.yaml", "regress/full-disk-in-a-seal.yaml", "checkpoint/rot-and-a-failing-sync.yaml", "checkpoint/sealing-crash-at-op.yaml",
		"checkpoint", "triad-survivable.yaml", "triad-calm.yaml", "rollback/coordinator-crash-at-op.yaml", "rollback/coordinator-power-at-op.yaml", "regress"},
	"merkle":  {"merkle-hardened.yaml", "merkle-bit-rot.yaml", "triad-calm.yaml", "checkpoint", "triad-survivable.yaml"},
	"breaker": {"control", "triad-survivable.yaml", "triad-calm.yaml", "rollback/partition-kasmina.yaml", "rollback/partition-tamiyo.yaml"},
	"oona":    {"bus", "control/intruder.yaml", "contracts", "triad-survivable.yaml", "triad-calm.yaml", "regress"},
	"tolaria": {"triad-calm.yaml", "triad-survivable.yaml", "commands/by-hand.yaml", "commands/wild-rates.yaml", "control/emergencies.yaml",
		"rollback/decided-checkpoint-unreadable.yaml", "regress/journal-of-short-lives.yaml", "rollback", "control", "checkpoint", "commands", "operations", "regress"},
	"kasmina": {"triad-calm.yaml", "triad-survivable.yaml", "rollback/unheard-abort.yaml", "rollback/late-offers.yaml", "rollback/left-out.yaml", "rollback", "control", "commands", "triad-branches.yaml", "innovation", "operations", "regress"},
	"tamiyo":  {"triad-calm.yaml", "control/intruder.yaml", "control/pauses-unheard.yaml", "control/tamiyos-disk.yaml", "rollback/lost-query-of-tamiyo.yaml", "triad-survivable.yaml", "innovation", "policy", "rollback", "control", "commands", "operations", "regress"},
	"command": {"triad-calm.yaml", "control/intruder.yaml", "control/insider.yaml", "control/confirm.yaml", "commands/forgotten.yaml", "triad-survivable.yaml", "commands", "control", "regress"},
	"outbox":  {"triad-calm.yaml", "triad-survivable.yaml", "commands", "contracts", "control", "bus"},
	"urza":    {"urza/calm.yaml", "innovation/calm.yaml", "urza", "innovation", "cluster/library-disk-full.yaml", "cluster/without-urza.yaml"},
	"karn":    {"innovation/calm.yaml", "innovation/unasked.yaml", "innovation", "cluster/calm.yaml", "cluster/without-karn.yaml"},
	"tezzeret": {"innovation/calm.yaml", "innovation/failing-device.yaml", "innovation/crashes.yaml", "innovation", "cluster/calm.yaml", "cluster/compile-farm-loop.yaml",
		"cluster/without-tezzeret.yaml"},
	"urabrask": {"innovation/calm.yaml", "innovation/in-use.yaml", "innovation/hostile.yaml", "innovation/failing-device.yaml", "innovation/crashes.yaml", "innovation", "cluster/calm.yaml", "cluster/without-urabrask.yaml"},
	"simic":    {"policy/calm.yaml", "policy", "regress/end-of-an-adaptation-heard-in-the-next.yaml", "cluster/calm.yaml", "cluster/without-simic.yaml"},
	"nissa": {"operations/calm.yaml", "operations/answers.yaml", "operations/config.yaml", "operations/log-read-again.yaml", "operations/alert-storm.yaml", "operations/versions.yaml", "rollback/auxiliaries.yaml", "operations",
		"regress/state-for-nissa-past-an-open-breaker.yaml", "cluster/without-nissa.yaml"},
	"narset": {"operations/regions.yaml", "operations/calm.yaml", "operations/config.yaml", "operations", "cluster/calm.yaml", "cluster/without-narset.yaml"},
	"mycosynth": {"operations/config.yaml", "operations/config-old-words.yaml", "operations/config-mycosynth-at-op.yaml", "operations", "regress/revision-left-out-by-an-older-tolaria.yaml",
		"cluster/calm.yaml", "cluster/without-mycosynth.yaml"},
	"leyline": {"operations/versions.yaml", "operations/calm.yaml", "operations", "cluster/calm.yaml", "cluster/without-leyline.yaml"},
	"jace":    {"jace", "policy/triad.yaml", "regress/curriculum-given-up.yaml", "cluster/calm.yaml", "cluster/without-jace.yaml"},
	"emrakul": {"pruning", "rollback/auxiliaries.yaml", "cluster/calm.yaml", "cluster/rollback-at-half-alpha.yaml", "cluster/without-emrakul.yaml"},
	"elesh":   {"pruning/crashes.yaml", "cluster/calm.yaml", "cluster/without-elesh-1.yaml", "cluster/rolling-restart.yaml", "cluster/without-emrakul.yaml"},
	"config": {"operations/config.yaml", "operations/config-left-out.yaml", "operations/config-disks.yaml", "operations/config-crashes.yaml", "operations/config-cut-off.yaml", "operations",
		"regress/revision-left-out-by-an-older-tolaria.yaml", "regress/revision-left-out-for-an-older-reader.yaml", "cluster/calm.yaml"},
	"journal":   {"innovation/calm.yaml", "innovation/crashes.yaml", "innovation", "cluster/calm.yaml"},
	"assets":    {"innovation/calm.yaml", "innovation/slow-library.yaml", "innovation", "cluster/calm.yaml", "cluster/without-urza.yaml"},
	"inbox":     {"innovation/calm.yaml", "innovation", "policy", "operations", "pruning", "jace"},
	"sqlite":    {"urza", "innovation/calm.yaml", "innovation/crashes.yaml", "cluster/library-disk-full.yaml"},
	"kernel":    {"innovation/calm.yaml", "innovation/grafted.yaml", "triad-kernels.yaml", "innovation", "cluster/calm.yaml"},
	"policy":    {"policy", "cluster/calm.yaml", "cluster/without-simic.yaml"},
	"contract":  {"operations/versions.yaml", "operations/calm.yaml", "contracts", "cluster/rolling-upgrade.yaml", "operations"},
	"auxiliary": {"rollback/auxiliaries-told-twice.yaml", "rollback/auxiliaries.yaml", "rollback", "cluster/two-rollbacks.yaml", "cluster/rollback-at-half-alpha.yaml", "pruning", "policy/triad.yaml"},
	"pressure":  {"bus/storm.yaml", "operations/storm.yaml", "bus", "operations"},
	"device":    {"gpu"},
	"fleet":     {"gpu/lemon-of-64.yaml", "gpu/nvlink.yaml", "gpu/fleet-partitioned.yaml", "gpu/full-disk.yaml", "gpu/lemon.yaml"},
	"rates":     {"control/warm-up.yaml", "control/", "triad-calm.yaml", "triad-survivable.yaml"},
}

// files are the scenarios of the suite for a package, and how many of them
// concern it.
func files(root, pkg string) (list []string, first int, err error) {
	all, err := scenarios.Find([]string{filepath.Join(root, "scenarios")})
	if err != nil {
		return nil, 0, err
	}
	for i, f := range all {
		if all[i], err = filepath.Rel(root, f); err != nil {
			return nil, 0, err
		}
		all[i] = filepath.ToSlash(all[i])
	}
	// The design as it is written is not ours to mutate, and those of class long
	// are no part of what every commit passes.
	all = slices.DeleteFunc(all, func(f string) bool {
		if strings.HasPrefix(f, "scenarios/hld/") || strings.Contains(f, "/testdata/") {
			return true
		}
		s, wrong := scenarios.Load(filepath.Join(root, f), runner.Catalogue())
		if wrong != nil {
			err = errors.Join(err, wrong)
			return true
		}
		return s.Class == "long"
	})
	if err != nil {
		return nil, 0, err
	}
	taken := map[string]bool{}
	for _, c := range concern[pkg] {
		n := len(list)
		for _, f := range all {
			if c = strings.TrimSuffix(c, "/"); !taken[f] && (f == "scenarios/"+c || strings.HasPrefix(f, "scenarios/"+c+"/")) {
				taken[f] = true
				list = append(list, f)
			}
		}
		if len(list) == n {
			return nil, 0, fmt.Errorf("no scenario %s, which concerns cluster/%s", c, pkg)
		}
	}
	first = len(list)
	for _, f := range all {
		if !taken[f] {
			list = append(list, f)
		}
	}
	return list, first, nil
}

// fingerprint is a hash over the names and bytes of files below folders.
func fingerprint(root string, folders []string, want func(string) bool) (string, error) {
	h := sha256.New()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !want(p) {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, p)
			fmt.Fprintf(h, "%s %d\n%s", filepath.ToSlash(rel), len(b), b)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

// system is the fingerprint of what is mutated and of the world around it;
// suite that of what judges it.
func fingerprints(root string) (system, suite string, err error) {
	code := func(p string) bool { return strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") }
	if system, err = fingerprint(root, []string{"cluster", "sim", "faults"}, code); err != nil {
		return "", "", err
	}
	suite, err = fingerprint(root, []string{"checkers", "scenarios"}, func(p string) bool {
		p = filepath.ToSlash(p)
		if strings.Contains(p, "scenarios/mutants/") && !strings.Contains(p, "/hunter/") {
			return false
		}
		return code(p) || strings.HasSuffix(p, ".yaml")
	})
	return system, suite, err
}
