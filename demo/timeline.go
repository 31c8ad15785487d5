package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/demo/slack"
)

// timeline prints events, each line with the seconds since the start.
type timeline struct {
	out   io.Writer
	width int
	ansi  bool
	start time.Time
}

// ANSI colours.
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	grey   = "90"
)

func (t *timeline) style(code, s string) string {
	if !t.ansi {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t *timeline) line(at time.Time, format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "%7s  %s\n", seconds(at.Sub(t.start)), fmt.Sprintf(format, args...))
}

// note prints a line for the present time.
func (t *timeline) note(format string, args ...any) { t.line(time.Now(), format, args...) }

// step prints a step of an incident.
func (t *timeline) step(at time.Time, dataset, color, what, text string) {
	t.line(at, "%-18s %s %s", dataset, t.style(color, fmt.Sprintf("%-8s", what)), text)
}

// message prints a Slack message with a margin.
func (t *timeline) message(m slack.Message) {
	const margin = "           │ "
	text := m.Render(t.width-len([]rune(margin)), t.ansi)
	for line := range strings.Lines(text) {
		_, _ = fmt.Fprint(t.out, t.style(grey, margin), line)
	}
}

// text prints lines unchanged.
func (t *timeline) text(s string) { _, _ = fmt.Fprint(t.out, s) }
