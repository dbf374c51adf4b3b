package debugger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-sim/espersim/faults"
	"github.com/esper-sim/espersim/sim/disk"
	"github.com/esper-sim/espersim/sim/trace"
)

// command is one thing that a line can ask for.
type command struct {
	name string
	args string
	help string
	run  func(x *session, words []string) error
}

// commandList is every command; a function, since help is one of them.
func commandList() []command {
	return []command{
		{"back", "[N|#EVENT|TIME]", "go back: before the last step, by N events, to an event or a time", (*session).back},
		{"events", "[N] [NODE]", "the last N events, 10 if left out, of a node", (*session).events},
		{"facts", "NODE [N]", "the last facts that a node declared, 5 if left out", (*session).facts},
		{"faults", "", "the plan: what is over, what holds, what is to come", (*session).faults},
		{"files", "NODE", "the files of a node's host: what is cached and what is durable", (*session).files},
		{"flight", "[NODE]", "the messages on their way, from or to a node", (*session).flight},
		{"help", "[COMMAND]", "what can be asked for", (*session).help},
		{"hex", "NODE FILE [durable|cached] [OFFSET [LENGTH]]", "bytes of a file, 256 of the cached ones if left out", (*session).hex},
		{"mail", "NODE [N]", "the last messages that a node sent or got, 5 if left out", (*session).mail},
		{"node", "NODE", "a node's state and timers", (*session).show},
		{"nodes", "", "all nodes", (*session).nodes},
		{"quit", "", "end the session", func(x *session, _ []string) error { x.quit = true; return nil }},
		{"run", "[#EVENT|TIME|KIND [NODE]|violation|end]", "go on to there, or to the next violation", func(x *session, w []string) error {
			stop, until, err := x.target(w)
			if err != nil {
				return err
			}
			return x.advance(stop, until, false)
		}},
		{"step", "[N]", "handle the next event, or N of them, and show what they lead to", (*session).step},
		{"violations", "", "what was found so far", (*session).violations},
		{"waits", "", "who waits for whom", (*session).waits},
		{"where", "", "where the run stands", func(x *session, _ []string) error { x.where(); return nil }},
	}
}

// command carries out one line.
func (x *session) command(name string, words []string) error {
	var names []string
	for _, c := range commandList() {
		if c.name == name {
			if c.args == "" && len(words) > 0 {
				return fmt.Errorf("%s takes nothing, and got %q; want %s", name, strings.Join(words, " "), name)
			}
			return c.run(x, words)
		}
		names = append(names, c.name)
	}
	return fmt.Errorf("there is no command %q; want %q", name, faults.Nearest(name, names))
}

func (x *session) help(words []string) error {
	var names []string
	for _, c := range commandList() {
		names = append(names, c.name)
		if len(words) == 0 || words[0] == c.name {
			x.printf("%-12s %-46s %s\n", c.name, c.args, c.help)
		}
	}
	if len(words) > 0 && !slices.Contains(names, words[0]) {
		return fmt.Errorf("there is no command %q; want %q", words[0], faults.Nearest(words[0], names))
	}
	return nil
}

// count takes a number off the end of a command's words.
func count(words []string, usual int) (rest []string, n int, err error) {
	if len(words) > 0 {
		last := words[len(words)-1]
		if n, err := strconv.Atoi(last); err == nil {
			if n < 1 || n > kept {
				return nil, 0, fmt.Errorf("%q is no number from 1 to %d", last, kept)
			}
			return words[:len(words)-1], n, nil
		}
	}
	return words, usual, nil
}

func (x *session) step(words []string) error {
	rest, n, err := count(words, 1)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return fmt.Errorf("%q is no number of steps; want step 3", strings.Join(rest, " "))
	}
	for range n {
		if x.over {
			return errors.New("the run is over; want back, or quit")
		}
		if at, ok := x.World.Next(); !ok || at > x.End {
			return x.advance(nil, x.End, true)
		}
		if err := x.advance(func(line) bool { return true }, x.End, true); err != nil {
			return err
		}
	}
	return nil
}

// last prints the last n events that a test accepts.
func (x *session) last(n int, want func(line) bool) {
	var list []string
	for i := len(x.lines) - 1; i >= 0 && len(list) < n; i-- {
		if want(x.lines[i]) {
			list = append(list, x.lines[i].text)
		}
	}
	slices.Reverse(list)
	if len(list) == 0 {
		list = []string{"none so far"}
	}
	x.printf("%s\n", strings.Join(list, "\n"))
}

func (x *session) events(words []string) error {
	// The number stands first, and may be all.
	n, node := 10, ""
	if len(words) > 0 {
		if _, k, err := count(words[:1], 0); err != nil {
			return err
		} else if k > 0 {
			n, words = k, words[1:]
		}
	}
	if len(words) > 0 {
		var err error
		if node, err = x.node(words); err != nil {
			return err
		}
	}
	x.last(n, func(l line) bool { return node == "" || l.node == node || l.peer == node })
	return nil
}

func (x *session) facts(words []string) error {
	return x.ofNode(words, func(l line, node string) bool { return l.kind == trace.FactDeclared && l.node == node })
}

func (x *session) mail(words []string) error {
	return x.ofNode(words, func(l line, node string) bool {
		switch l.kind {
		case trace.MessageSent:
			return l.node == node
		case trace.MessageDelivered, trace.MessageRefused:
			return l.peer == node
		case trace.MessageDropped:
			return l.node == node || l.peer == node
		}
		return false
	})
}

func (x *session) ofNode(words []string, want func(l line, node string) bool) error {
	rest, n, err := count(words, 5)
	if err != nil {
		return err
	}
	node, err := x.node(rest)
	if err != nil {
		return err
	}
	x.last(n, func(l line) bool { return want(l, node) })
	return nil
}

func (x *session) faults([]string) error {
	if x.Draw != nil {
		x.printf("drew %v\n", x.Draw)
	}
	now := x.World.Now()
	for i, s := range x.Steps {
		state := "to come"
		switch k := faults.Lookup(s.Fault.Kind); {
		case s.At > now:
		case k.Once(s.For) || s.For > 0 && s.At+s.For <= now:
			state = "over"
		default:
			state = "holds"
		}
		x.printf("%3d  %-8s %v\n", i+1, state, s)
	}
	if len(x.Steps) == 0 {
		x.printf("no faults are planned\n")
	}
	return nil
}

func (x *session) nodes([]string) error {
	for _, name := range x.World.Nodes() {
		line, err := x.state(name)
		if err != nil {
			return err
		}
		x.printf("%s\n", line)
	}
	return nil
}

// state is a node on one line.
func (x *session) state(name string) (string, error) {
	v, err := x.World.View(name)
	if err != nil {
		return "", err
	}
	s := fmt.Sprintf("%-12s %-10s life %d on %s, %d file operations, %d in its inbox, %d timers", v.Name, v.State, v.Life, v.Host, v.Operations, v.Inbox, len(v.Timers))
	if v.Paused {
		s += ", stopped"
	}
	if v.Slow != 1 {
		s += fmt.Sprintf(", %g times as slow", v.Slow)
	}
	return s, nil
}

func (x *session) show(words []string) error {
	name, err := x.node(words)
	if err != nil {
		return err
	}
	state, err := x.state(name)
	if err != nil {
		return err
	}
	v, err := x.World.View(name)
	if err != nil {
		return err
	}
	x.printf("%s\ncontracts %s\n", state, v.Version)
	for _, t := range v.Timers {
		arg := ""
		if t.Arg != 0 {
			arg = fmt.Sprintf(" [%d]", t.Arg)
		}
		x.printf("timer %s%s at %s\n", t.Name, arg, trace.Stamp(int64(t.Due)))
	}
	if r := x.Suite.Waits(); r != nil {
		for _, w := range r.Waits {
			if w.Who == name || w.For == name {
				x.printf("%s\n", w)
			}
		}
	}
	return nil
}

func (x *session) flight(words []string) error {
	node := ""
	if len(words) > 0 {
		var err error
		if node, err = x.node(words); err != nil {
			return err
		}
	}
	none := true
	for _, m := range x.World.InFlight() {
		if node != "" && m.From != node && m.To != node {
			continue
		}
		none = false
		what := "bytes that do not decode"
		if _, p, err := x.codec.Open(m.Data); err == nil {
			what = short(p.FullName())
		}
		x.printf("%s → %s: %s, %d bytes, sent with #%d, arrives at %s\n", m.From, m.To, what, len(m.Data), m.Sent, trace.Stamp(int64(m.Arrives)))
	}
	if none {
		x.printf("nothing is on its way\n")
	}
	return nil
}

func (x *session) waits([]string) error {
	for _, l := range x.Suite.Waits().Lines() {
		x.printf("%s\n", l)
	}
	return nil
}

func (x *session) violations([]string) error {
	lines := violationLines(x.Suite.Violations)
	if len(lines) == 0 {
		lines = []string{"none so far"}
	}
	x.printf("%s\n", strings.Join(lines, "\n"))
	return nil
}

// disk is the disk of a node's host, and the folder of the node on it.
func (x *session) disk(node string) (*disk.Disk, string, error) {
	v, err := x.World.View(node)
	if err != nil {
		return nil, "", err
	}
	d, err := x.World.Disk(v.Host)
	return d, node + "/", err
}

// listed are the files below a node's folder.
func listed(d *disk.Disk, root string) (list []disk.FileInfo) {
	for _, f := range d.Files() {
		if strings.HasPrefix(f.Path, root) && !f.Dir {
			list = append(list, f)
		}
	}
	return list
}

func (x *session) files(words []string) error {
	name, err := x.node(words)
	if err != nil {
		return err
	}
	d, root, err := x.disk(name)
	if err != nil {
		return err
	}
	list := listed(d, root)
	if len(list) == 0 {
		x.printf("%s has no files\n", name)
		return nil
	}
	size := func(there bool, n int64) string {
		if !there {
			return "-"
		}
		return strconv.FormatInt(n, 10)
	}
	x.printf("%-44s %12s %12s\n", "file", "cached", "durable")
	for _, f := range list {
		x.printf("%-44s %12s %12s\n", strings.TrimPrefix(f.Path, root), size(f.Cached, f.CachedSize), size(f.Durable, f.DurableSize))
	}
	pending := 0
	for _, p := range d.Pending() {
		if strings.HasPrefix(p.Path+"/", root) {
			pending++
		}
	}
	x.printf("%d operations are not durable\n", pending)
	return nil
}

// hexMost bounds what one command prints, in bytes.
const hexMost = 64 << 10

func (x *session) hex(words []string) error {
	if len(words) < 2 {
		return errors.New("want hex NODE FILE [durable|cached] [OFFSET [LENGTH]]")
	}
	name, err := x.node(words[:1])
	if err != nil {
		return err
	}
	d, root, err := x.disk(name)
	if err != nil {
		return err
	}
	file, rest := words[1], words[2:]
	var names []string
	for _, f := range listed(d, root) {
		names = append(names, strings.TrimPrefix(f.Path, root))
	}
	if !slices.Contains(names, file) {
		if len(names) == 0 {
			return fmt.Errorf("%s has no files", name)
		}
		return fmt.Errorf("%s has no file %q; want %q", name, file, faults.Nearest(file, names))
	}
	read, what := d.Cached, "cached"
	if len(rest) > 0 && (rest[0] == "durable" || rest[0] == "cached") {
		if what = rest[0]; what == "durable" {
			read = d.Durable
		}
		rest = rest[1:]
	}
	at := []int64{0, 256}
	for i, w := range rest {
		n, err := strconv.ParseInt(w, 0, 64)
		if i >= len(at) || err != nil || n < 0 {
			return fmt.Errorf("%q is no offset and no length; want hex NODE FILE [durable|cached] [OFFSET [LENGTH]]", w)
		}
		at[i] = n
	}
	b, err := read(root + file)
	if err != nil {
		return fmt.Errorf("%s has no %s file %q: %w", name, what, file, err)
	}
	from := min(at[0], int64(len(b)))
	b = b[from:]
	b = b[:min(at[1], hexMost, int64(len(b)))]
	if len(b) == 0 {
		x.printf("the %s file has nothing at byte %d\n", what, at[0])
		return nil
	}
	for i := 0; i < len(b); i += 16 {
		row := b[i:min(i+16, len(b))]
		text := make([]byte, len(row))
		for k, c := range row {
			if text[k] = c; c < ' ' || c > '~' {
				text[k] = '.'
			}
		}
		digits := hex.EncodeToString(row)
		var spaced strings.Builder
		for k := 0; k < len(digits); k += 2 {
			if k == 16 {
				spaced.WriteByte(' ')
			}
			spaced.WriteString(digits[k:k+2] + " ")
		}
		x.printf("%08x  %-49s %s\n", from+int64(i), spaced.String(), text)
	}
	return nil
}
