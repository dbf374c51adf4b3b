package compat

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/esper-sim/espersim/contracts/governance/compat/exchange"
)

// WriteJSON writes the report as one indented JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteText writes the report for people, change by change in the order of
// their places.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	file := ""
	for _, c := range r.Changes {
		if c.Position.File != file {
			file = c.Position.File
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", c.Position, c.Text)
		fmt.Fprintf(&b, "  policy      %s: %s\n", c.Level, c.Reason)
		if c.Frozen {
			fmt.Fprintf(&b, "  refused     package %s is frozen\n", c.Package)
		}
		if c.OldToNew == c.NewToOld && c.OldToNew.Witness == nil {
			c.OldToNew.write(&b, "both ways")
		} else {
			c.OldToNew.write(&b, "old to new")
			c.NewToOld.write(&b, "new to old")
		}
		if n := len(c.Reached); n > 0 {
			var l []string
			for _, p := range c.Reached[:min(n, 5)] {
				l = append(l, p.Message+"."+p.Path)
			}
			if n > 5 {
				l = append(l, fmt.Sprintf("and from %d more", n-5))
			}
			fmt.Fprintf(&b, "  reached by  %s\n", strings.Join(l, ", "))
		}
	}
	if len(r.Messages) > 0 {
		b.WriteString("\nmessage types, all changes together\n")
		for _, m := range r.Messages {
			fmt.Fprintf(&b, "  %s: old to new %s, new to old %s\n", m.Message, m.OldToNew.Class, m.NewToOld.Class)
		}
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(r.Verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (e Evidence) write(b *strings.Builder, way string) {
	fmt.Fprintf(b, "  %-11s %s", way, e.Class)
	if e.Note != "" {
		fmt.Fprintf(b, " (%s)", e.Note)
	}
	b.WriteByte('\n')
	w := e.Witness
	if w == nil {
		return
	}
	line := func(what, text string) { fmt.Fprintf(b, "              %-9s %s\n", what, text) }
	line("written", fmt.Sprintf("%s %s, %s", w.Message, w.Written, plural(w.Size, "byte")))
	line("bytes", short(w.Hex))
	line("seen", w.Seen)
	switch {
	case e.Class == exchange.ParseFailure:
	case w.Relay == w.Hex:
		line("relay", "the same bytes")
	default:
		line("relay", short(w.Relay))
		line("read back", w.Back)
	}
	line("again", w.Reproduce)
}

// short leaves out the middle of what nobody reads.
func short(hex string) string {
	switch {
	case hex == "":
		return "none"
	case len(hex) > 80:
		return fmt.Sprintf("%s…%s", hex[:40], hex[len(hex)-20:])
	}
	return hex
}

// Verdict is the report in one line.
func (r *Report) Verdict() string {
	if len(r.Changes) == 0 {
		return "no bump: nothing changed but comments and form, if that"
	}
	major, lossy, frozen := 0, 0, 0
	for _, c := range r.Changes {
		if c.Level == Major {
			major++
		}
		if !c.OldToNew.Class.Clean() || !c.NewToOld.Class.Clean() {
			lossy++
		}
		if c.Frozen {
			frozen++
		}
	}
	text := fmt.Sprintf("proposes a %s bump: ", r.Bump)
	if r.Bump == Major {
		text = "needs a major version: "
	}
	if r.Refused {
		text = fmt.Sprintf("refused: %s of a frozen package; ", plural(frozen, "change")) + text
	}
	return text + fmt.Sprintf("%s, %d forbidden by the policy, %d with a witness of loss", plural(len(r.Changes), "change"), major, lossy)
}

// WriteGitHub writes one annotation for each change that matters, as GitHub's
// workflow commands: an error for what is forbidden, a warning for what is
// allowed and loses something all the same.
func (r *Report) WriteGitHub(w io.Writer) error {
	for _, c := range r.Changes {
		worst, way := c.OldToNew, "old to new"
		if c.NewToOld.Class > worst.Class {
			worst, way = c.NewToOld, "new to old"
		}
		level := "notice"
		switch {
		case c.Level == Major || c.Frozen:
			level = "error"
		case !worst.Class.Clean():
			level = "warning"
		}
		text := c.Text + "\n" + c.Level.String() + ": " + c.Reason
		if c.Frozen {
			text += "\npackage " + c.Package + " is frozen"
		}
		text += "\n" + way + ": " + worst.Class.String()
		if worst.Witness != nil {
			text += "\n" + worst.Witness.Reproduce
		}
		place := "file=" + property(c.Position.File)
		if c.Position.Line > 0 {
			place += fmt.Sprintf(",line=%d,col=%d", c.Position.Line, c.Position.Column)
		}
		if _, err := fmt.Fprintf(w, "::%s %s,title=%s::%s\n", level, place, property(string(c.Kind)), data(text)); err != nil {
			return err
		}
	}
	return nil
}

// data and property escape as GitHub's runner unescapes.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
