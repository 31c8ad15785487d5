package incident

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

// marks are the characters with a meaning in Markdown or HTML. Text from outside must have no effect in a wiki.
var marks = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", `*`, `\*`, `_`, `\_`, `[`, `\[`, `]`, `\]`, `<`, `&lt;`, `>`, `&gt;`, `&`, `&amp;`, `|`, `\|`, `#`, `\#`, `!`, `\!`, `~`, `\~`,
	"://", ":\u2060//", // A wiki does not turn it into a link.
)

func md(s string) string { return marks.Replace(plain(s)) }

// WritePostmortem writes the incident as a Markdown draft of a post-mortem.
func (v *View) WritePostmortem(w io.Writer) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Post-mortem: %s\n", md(v.Title))
	p("| | |\n|---|---|")
	p("| incident | %s |", md(v.ID))
	p("| severity | %s |", md(v.Severity))
	p("| state | %s |", v.State)
	if !v.Onset.IsZero() {
		p("| began | %s, %s |", stamp(v.Onset), v.OnsetFrom)
	}
	p("| first alert | %s |", stamp(v.StartedAt))
	if v.AcknowledgedBy != "" {
		p("| acknowledged | %s by %s |", stamp(v.AcknowledgedAt), md(v.AcknowledgedBy))
	}
	if !v.ResolvedAt.IsZero() {
		p("| resolved | %s |", stamp(v.ResolvedAt))
	}
	t := v.Times()
	for _, d := range []struct {
		name  string
		value time.Duration
		from  string
	}{
		{"time to detect", t.Detect, "from its beginning to the first alert"},
		{"time to acknowledge", t.Acknowledge, "from the first alert"},
		{"time to resolve", t.Resolve, "from the first alert to the end of the last"},
	} {
		if d.value >= 0 {
			p("| %s | %s, %s |", d.name, Length(d.value), d.from)
		} else {
			p("| %s | not known |", d.name)
		}
	}
	p("\n## Probable cause\n")
	if v.Cause == "" {
		p("None is claimed: nothing that is known explains the incident well enough.\n")
	}
	for i, c := range v.Causes {
		likely := "less likely"
		if i == 0 && c.Confidence >= grouping.Claimed {
			likely = "probable cause"
		}
		p("- **%s** (%s, confidence %.0f %%)", md(c.Title), likely, 100*c.Confidence)
		for _, e := range c.Evidence {
			p("  - %s", md(e.Text))
			if e.SQL != "" {
				p("    %s", md(e.SQL))
			}
		}
	}
	p("\n## What was affected\n")
	p("| object | role | alerts | since |\n|---|---|---|---|")
	for _, o := range v.Objects {
		since := ""
		if !o.Onset.IsZero() {
			since = stamp(o.Onset)
		}
		p("| %s | %s | %d | %s |", md(o.String()), o.Role, o.Alerts, since)
	}
	p("\n## Timeline\n")
	p("| time | what | who |\n|---|---|---|")
	for _, e := range v.Timeline {
		p("| %s | %s | %s |", stamp(e.At), md(e.Text), md(e.Actor))
	}
	p("\n## Automated steps\n")
	if len(v.Actions) == 0 {
		p("None: no alert of the incident asked for an action.")
	} else {
		p("| action | asked for | object | state | what came of it | target |\n|---|---|---|---|---|---|")
	}
	for _, a := range v.Actions {
		p("| %s | %s | %s | %s | %s | %s |", md(a.Name), md(a.Response), md(a.Object), a.State, md(a.Why), md(a.Target))
	}
	p("\n## Alerts\n")
	for _, m := range v.Members {
		p("- %s, %s: %s", md(m.Name), md(m.Object.String()), md(m.Description))
		for _, l := range m.Links {
			p("  - [%s](<%s>)", l.Text, strings.NewReplacer("<", "%3C", ">", "%3E", " ", "%20", "\n", "").Replace(l.URL))
		}
	}
	if v.LeftOut > 0 {
		p("- and %d more", v.LeftOut)
	}
	for _, n := range v.Notes {
		p("\nNote: %s", md(n))
	}
	p("\n## To be written by people\n")
	p("- What did users and the business notice?\n- What went well, and what did not?\n- What is done so that it does not happen again, by whom, until when?")
	_, err := io.WriteString(w, b.String())
	return err
}
