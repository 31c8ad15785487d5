package incident

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

const clock = "2006-01-02 15:04:05 UTC"

func stamp(t time.Time) string { return t.UTC().Format(clock) }

// Length formats a duration in its two largest units.
func Length(d time.Duration) string {
	switch d = d.Abs().Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
	}
}

// Count formats a number of alerts.
func Count(alerts int) string {
	if alerts == 1 {
		return "1 alert"
	}
	return fmt.Sprintf("%d alerts", alerts)
}

// plain makes text from outside safe for a terminal: one line, without control characters.
func plain(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " ")
}

// terminal writes lines and keeps the first error.
type terminal struct {
	w     io.Writer
	width int
	err   error
}

// line writes text wrapped at the width. Continuation lines begin with the indent.
func (t *terminal) line(first, indent, text string) {
	line := first
	for i, word := range strings.Fields(plain(text)) {
		if i > 0 && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > t.width {
			t.write(line)
			line = indent + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	t.write(line)
}

func (t *terminal) write(line string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.w, strings.TrimRight(line, " ")+"\n")
	}
}

// WriteText writes the incident for a terminal of the given width.
func (v *View) WriteText(w io.Writer, width int) error {
	t := &terminal{w: w, width: max(width, 40)}
	t.line("", "", v.Title)
	state := v.State + " since " + stamp(v.StartedAt)
	if v.State == Resolved {
		state = "resolved " + stamp(v.ResolvedAt) + ", after " + Length(v.ResolvedAt.Sub(v.StartedAt))
	}
	if v.AcknowledgedBy != "" {
		state += "; acknowledged by " + v.AcknowledgedBy
	}
	if v.MergedInto != "" {
		state = "part of incident " + v.MergedInto
	}
	t.line("", "", strings.TrimSpace(fmt.Sprintf("incident %s · %s · %s · %s, %d firing", v.ID, v.Severity, state, Count(v.Alerts), v.Firing)))
	t.write("")
	t.causes(v)
	t.write("Objects")
	for _, o := range v.Objects {
		role := o.Role
		if o.Alerts > 0 {
			role += fmt.Sprintf(", %s since %s", Count(o.Alerts), stamp(o.Onset))
		}
		t.line("  ", "    ", o.String()+": "+role)
	}
	for _, e := range v.Edges {
		t.line("  ", "    ", e.From.String()+" → "+e.To.String()+" ("+e.Why+")")
	}
	t.write("")
	t.write("Timeline")
	for _, e := range v.Timeline {
		text := e.Text
		if e.Actor != "" {
			text += " (" + e.Actor + ")"
		}
		t.line("  "+stamp(e.At)+"  ", "                           ", text)
	}
	if len(v.Actions) > 0 {
		t.write("")
		t.write("Actions")
		for _, a := range v.Actions {
			t.line("  ", "    ", fmt.Sprintf("%s (%s) on %s: %s", a.Name, a.Response, a.Object, a.Why))
		}
	}
	t.todo(v)
	for _, n := range v.Notes {
		t.write("")
		t.line("Note: ", "  ", n)
	}
	return t.err
}

func (t *terminal) causes(v *View) {
	claimed := false
	for i, c := range v.Causes {
		if c.Confidence >= grouping.Claimed && i == 0 {
			claimed = true
			t.line("Probable cause: ", "  ", fmt.Sprintf("%s (%.0f %%)", c.Title, 100*c.Confidence))
		} else {
			if i == 0 {
				t.write("No probable cause: nothing that is known explains it.")
			}
			t.line("  less likely: ", "    ", fmt.Sprintf("%s (%.0f %%)", c.Title, 100*c.Confidence))
		}
		for _, e := range c.Evidence {
			t.line("    - ", "      ", e.Text)
			if e.SQL != "" {
				t.write("      " + plain(e.SQL))
			}
		}
	}
	if len(v.Causes) == 0 && !claimed {
		t.write("No probable cause: nothing that is known explains it.")
	}
	t.write("")
}

// todo returns the instructions of the first alerts, each once, with their links.
func (t *terminal) todo(v *View) {
	printed, n := map[string]bool{}, 0
	for _, m := range v.Members {
		if m.Action == "" || printed[m.Action] || n == 3 {
			continue
		}
		if n == 0 {
			t.write("")
			t.write("What to do")
		}
		printed[m.Action] = true
		n++
		t.line("  - ", "    ", m.Action)
		for _, l := range m.Links {
			t.write("    " + l.Text + ": " + plain(l.URL))
		}
	}
}
