package scenarios_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-sim/espersim/scenarios"
	"github.com/esper-sim/espersim/scenarios/runner"
)

// good is a scenario without a mistake. A test case replaces one part of it.
const good = `version: 1
name: a test
duration: 10s
cluster:
  hosts:
    - {name: store, disk: {sector: 512}}
    - {name: desk, rack: r1}
  nodes:
    - {name: ledger, host: store, options: {wal: hardened}}
    - {name: writer, host: desk}
plan:
  - {at: 1s, for: 2s, fault: disk/enospc store rate=0.5}
  - {at: 2s, fault: crash ledger}
random:
  - {fault: crash any, every: 3s}
checks: [W1, W2]
expect: clean
must-fire: [crash]
`

// Every mistake is answered with its place, what is wrong and what would be
// right.
func TestErrors(t *testing.T) {
	if _, err := scenarios.Parse("x.yaml", []byte(good), runner.Catalogue()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, old, with, want string }{
		{"unknown key", "duration:", "durasion:", `x.yaml:3:1: unknown key "durasion"; want "duration"`},
		{"unknown key inside", "name: writer", "nome: writer", `x.yaml:10:8: unknown key "nome" in cluster.nodes[1]; want "name"`},
		{"key twice", "name: a test", "name: a test\nname: b", `x.yaml:3:1: the key "name" is given twice; want it once`},
		{"missing key", "expect: clean\n", "", `x.yaml:1:1: the scenario has no "expect"; want clean, or the ids of the invariants that must be violated`},
		{"missing key inside", "{at: 2s, fault: crash ledger}", "{fault: crash ledger}", `x.yaml:13:5: plan[1] has no "at"; want when it begins`},
		{"number for a list", "checks: [W1, W2]", "plan: 7", `x.yaml:16:1: the key "plan" is given twice; want it once`},
		{"list for text", "name: a test", "name: [a]", `x.yaml:2:7: name is a list; want text`},
		{"text for keys", "disk: {sector: 512}", "disk: big", `x.yaml:6:27: cluster.hosts[0].disk is "big"; want keys and values`},
		{"text for a list", "[crash]", "{a: b}", `x.yaml:18:12: must-fire is keys and values; want a list`},
		{"text for a number", "sector: 512", "sector: many", `x.yaml:6:36: cluster.hosts[0].disk.sector is "many"; want a whole number`},
		{"sector out of range", "sector: 512", "sector: 1024", `x.yaml:6:36: a sector of 1024 bytes; want 512 or 4096`},
		{"no duration", "duration: 10s", "duration: long", `x.yaml:3:11: duration: "long" is no duration such as 250ms or 1m30s`},
		{"duration of zero", "duration: 10s", "duration: 0s", `x.yaml:3:11: the run has no duration; want such as 30s`},
		{"wrong word", "duration: 10s", "class: shrot\nduration: 10s", `x.yaml:3:8: class is "shrot"; want "short" (one of short, long)`},
		{"probability", "duration: 10s", "sometimes: 1.5\nduration: 10s", `x.yaml:3:12: a probability of 1.5; want 0 to 1`},
		{"unknown fault", "crash ledger", "crush ledger", `x.yaml:13:21: fault "crush ledger": unknown kind "crush"; want "crash"`},
		{"fault's parameter", "rate=0.5", "rat=0.5", `x.yaml:12:48: fault "disk/enospc store rat=0.5": disk/enospc takes no "rat"; want "rate"`},
		{"fault's value", "rate=0.5", "rate=2", `x.yaml:12:53: fault "disk/enospc store rate=2": rate is "2"; want a number above 0 and at most 1`},
		{"fault without a target", "crash ledger", "crash", `x.yaml:13:26: fault "crash": it names no target; want crash node[,node…] [restart=…]`},
		{"$n alone", "crash ledger", "crash-at-op ledger op=$n", `x.yaml:13:21: $n without an enumeration; want enumerate: {from: …, to: …}`},
		{"any in a plan", "fault: crash ledger", "fault: crash any", `x.yaml:13:21: a plan's step has the target any; want a name; any is for random faults`},
		{"instant with a duration", "at: 2s, fault", "at: 2s, for: 1s, fault", `x.yaml:13:19: crash happens once and has no duration; want no "for"`},
		{"beyond the end", "at: 2s", "at: 12s", `x.yaml:13:5: it begins at 12s, and the run ends at 10s; want an earlier time`},
		{"random without a mean", "every: 3s", "every: 0s", `x.yaml:15:31: no mean time between two arrivals; want such as 10s`},
		{"random that would never end", "crash any", "pause any", `x.yaml:15:5: pause needs a duration; want for: such as 500ms`},
		{"unknown host", "host: desk", "host: deck", `x.yaml:10:28: unknown host "deck"; want "desk"`},
		{"unknown role", "name: writer", "name: writor", `x.yaml:10:14: unknown role "writor"; want "writer"`},
		{"unknown role by is", "name: writer", "name: w, is: writor", `x.yaml:10:21: unknown role "writor"; want "writer"`},
		{"host twice", "name: desk", "name: store", `x.yaml:7:14: host "store" is declared twice; want another name`},
		{"node twice", "name: writer", "name: ledger", `x.yaml:10:14: node "ledger" is declared twice; want another name`},
		{"unknown invariant", "[W1, W2]", "[W1, W22]", `x.yaml:16:14: unknown invariant "W22"; want "W2"`},
		{"unknown invariant expected", "expect: clean", "expect: [W11]", `x.yaml:17:10: unknown invariant "W11"; want "C11"`},
		{"unknown invariant void", "expect: clean", "void: [{invariant: X, because: y}]\nexpect: clean", `x.yaml:17:20: unknown invariant "X"; want "A1"`},
		{"unknown kind that must fire", "must-fire: [crash]", "must-fire: [crosh]", `x.yaml:18:13: unknown kind of fault "crosh"; want "crash"`},
		{"enumeration", "expect: clean", "enumerate: {from: 3, to: 1}\nexpect: clean", `x.yaml:17:12: from 3 to 1; want a rising range of at most 100000 values`},
		{"unknown swarm", "expect: clean", "swarm: all\nexpect: clean", `x.yaml:17:8: swarm is "all"; want "listed" (one of listed, survivable)`},
		{"a swarm of nothing", "random:\n  - {fault: crash any, every: 3s}\n", "swarm: listed\n", `x.yaml:14:8: a swarm of the listed faults, and none is listed; want random: […], or swarm: survivable`},
		{"unknown site", "expect: clean", "sites: [{site: wal/rotate-erly, rate: 0.5}]\nexpect: clean", `x.yaml:17:16: unknown site "wal/rotate-erly"; want "wal/rotate-early"`},
		{"a bus fault as a site", "expect: clean", "sites: [{site: trim-pending, rate: 0.5}]\nexpect: clean", `x.yaml:17:16: unknown site "trim-pending"; want "tolaria/ask-twice"`},
		{"site without a rate", "expect: clean", "sites: [{site: wal/rotate-early}]\nexpect: clean", `x.yaml:17:9: sites[0] has no "rate"; want probability at each pass`},
		{"site's rate", "expect: clean", "sites: [{site: wal/rotate-early, rate: 2}]\nexpect: clean", `x.yaml:17:40: a probability of 2; want above 0 and at most 1`},
		{"site twice", "expect: clean", "sites: [{site: wal/seal-early, rate: 1}, {site: wal/seal-early, rate: 1}]\nexpect: clean", `x.yaml:17:49: the site "wal/seal-early" is given twice; want it once`},
		{"healing too late", "expect: clean", "heal-at: 10s\nexpect: clean", `x.yaml:17:10: the faults heal at 10s, and the run ends at 10s; want an earlier time`},
		{"a plan after the healing", "expect: clean", "heal-at: 2s\nexpect: clean", `x.yaml:13:10: it begins at 2s, and all faults heal at 2s; want an earlier time`},
		{"no time to converge", "expect: clean", "heal-at: 5s\nconverge-within: 5s\nexpect: clean", `x.yaml:18:18: everything must be well at 10s, and the run ends at 10s; want a longer duration, or a shorter time`},
		{"convergence without healing", "expect: clean", "converge-within: 5s\nexpect: clean", `x.yaml:17:18: it says how long after heal-at, and there is no heal-at; want heal-at: such as 30s`},
		{"a core without healing", "expect: clean", "core: [ledger]\nexpect: clean", `x.yaml:17:7: the core must be well after heal-at, and there is no heal-at; want heal-at: such as 30s`},
		{"a core without a limit", "expect: clean", "heal-at: 5s\ncore: [ledger]\nexpect: clean", `x.yaml:18:7: nothing says by when the core must be well; want converge-within: such as 20s`},
		{"unknown node in the core", "expect: clean", "heal-at: 5s\nconverge-within: 2s\ncore: [ledgr]\nexpect: clean", `x.yaml:19:8: unknown node "ledgr"; want "ledger"`},
		{"a node twice in the core", "expect: clean", "heal-at: 5s\nconverge-within: 2s\ncore: [ledger, ledger]\nexpect: clean", `x.yaml:19:16: node "ledger" stands twice in the core; want it once`},
		{"unknown probe", "expect: clean", "must-reach: [wal/rotat]\nexpect: clean", `x.yaml:17:14: unknown probe "wal/rotat"; want "wal/rotate"`},
		{"newer version", "version: 1", "version: 2", `x.yaml:1:10: version 2 of the format; want 1 to 1`},
		{"version 0", "version: 1", "version: 0", `x.yaml:1:10: version 0 of the format; want 1 to 1`},
		{"an alias", "name: a test", "name: &a a test\nabout: *a", `x.yaml:3:8: an alias; want the value itself`},
		{"a merge", "{name: writer,", "{<<: {a: b}, name: writer,", `x.yaml:10:8: unknown key "<<" in cluster.nodes[1]; want "is"`},
		{"not YAML", "plan:", "plan: [", `x.yaml:11:1: did not find expected node content; want YAML`},
		{"tabs", "  hosts:", "\thosts:", `x.yaml:5:1: found character that cannot start any token; want YAML`},
		{"no version of the contracts", "name: writer,", "name: writer, schema: v2,", `x.yaml:10:30: cluster.nodes[1].schema: "v2" is no version of the contracts; one is written 2.0`},
		{"two documents", "expect: clean", "expect: clean\n---\nname: b", `x.yaml:18:1: a second document; want one scenario a file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("%q is not in the good scenario", c.old)
			}
			_, err := scenarios.Parse("x.yaml", []byte(strings.Replace(good, c.old, c.with, 1)), runner.Catalogue())
			if err == nil || err.Error() != c.want {
				t.Errorf("\ngot  %v\nwant %s", err, c.want)
			}
			var e *scenarios.Error
			if !errors.As(err, &e) {
				t.Errorf("it is a %T", err)
			}
		})
	}
	for text, want := range map[string]string{
		"":          "x.yaml:1:1: the file is empty; want a scenario",
		"# nothing": "x.yaml:1:1: the file is empty; want a scenario",
		"a list":    `x.yaml:1:1: the file is "a list"; want keys and values`,
	} {
		if _, err := scenarios.Parse("x.yaml", []byte(text), runner.Catalogue()); err == nil || err.Error() != want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// What the roles and faults know is checked with the file, not when it runs:
// only the beginning of these messages belongs to this package.
func TestNamesInsideTheCluster(t *testing.T) {
	for _, c := range []struct{ old, with, place, part string }{
		{"crash ledger", "crash ledgre", "x.yaml:13:", `"ledger"`},
		{"disk/enospc store", "disk/enospc stroe", "x.yaml:12:", `"store"`},
		{"crash ledger", "crash-rack r2", "x.yaml:13:", `"r1"`},
		{"wal: hardened", "wol: hardened", "x.yaml:9:", `wal`},
		{"wal: hardened", "wal: hard", "x.yaml:9:", `hardened`},
	} {
		_, err := scenarios.Parse("x.yaml", []byte(strings.Replace(good, c.old, c.with, 1)), runner.Catalogue())
		if err == nil || !strings.HasPrefix(err.Error(), c.place) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: got %v, want %s… and %s", c.with, err, c.place, c.part)
		}
	}
}

// files are all scenarios of the tree.
func files(t testing.TB) []string {
	list, err := scenarios.Find([]string{"."})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range list {
		if !strings.Contains(f, "testdata") {
			out = append(out, f)
		}
	}
	if len(out) < 50 {
		t.Fatalf("%d scenarios", len(out))
	}
	return out
}

// Every scenario of the tree loads, says what it is about, and has a name of
// its own.
func TestEveryScenarioLoads(t *testing.T) {
	names := map[string]string{}
	for _, f := range files(t) {
		s, err := scenarios.Load(f, runner.Catalogue())
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.TrimSpace(s.About) == "" {
			t.Errorf("%s does not say what it is about", f)
		}
		if other := names[s.Name]; other != "" {
			t.Errorf("%s and %s have one name, %q", f, other, s.Name)
		}
		names[s.Name] = f
		for _, h := range s.Cluster.Hosts {
			if h.Name == "any" {
				t.Errorf("%s: a host is called any", f)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("version: 1\nplan: [{at: 1s, fault: *x}]"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("version: 1\nname: x\ncluster: {nodes: [{options: {a: [1]}}]}"))
	for _, name := range []string{"triad-survivable.yaml", "checkpoint/power-at-op.yaml"} {
		b, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := scenarios.Parse("x.yaml", b, runner.Catalogue())
		var e *scenarios.Error
		switch {
		case err == nil && (s.Version < 1 || s.Version > scenarios.Version || s.Duration <= 0 || len(s.Cluster.Nodes) > 0 && len(s.Cluster.Hosts) == 0):
			t.Fatalf("accepted: %+v", s)
		case err != nil && !errors.As(err, &e):
			t.Fatalf("it is a %T: %v", err, err)
		case err != nil && (e.Line < 1 || e.Column < 1 || e.Wrong == "" || strings.Contains(e.Error(), "\n")):
			t.Fatalf("no place, no reason, or more than a line: %q", e.Error())
		}
	})
}
