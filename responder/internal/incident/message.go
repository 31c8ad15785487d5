package incident

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

// slackMessage is the body of chat.postMessage and chat.update.
type slackMessage struct {
	Channel     string            `json:"channel"`
	TS          string            `json:"ts,omitempty"`
	Text        string            `json:"text"`
	Attachments []slackAttachment `json:"attachments"`
	UnfurlLinks *bool             `json:"unfurl_links,omitempty"` // only for chat.postMessage
}

type slackAttachment struct {
	Color     string   `json:"color"`
	Title     string   `json:"title"`
	TitleLink string   `json:"title_link,omitempty"`
	Text      string   `json:"text"`
	Fallback  string   `json:"fallback"`
	MrkdwnIn  []string `json:"mrkdwn_in"`
}

// mostSlackText keeps a text within Slack's limit of 3000 characters for a section, also after escaping.
const mostSlackText = 2800

var slackMarks = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackText escapes and truncates text from outside: a column named <!channel> must not notify anybody.
func slackText(s string, most int) string {
	s = plain(s)
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most-1]) + "…"
	}
	return slackMarks.Replace(s)
}

var slackLinkMarks = strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", `"`, "%22", " ", "%20", "`", "%60", `\`, "%5C")

func slackLink(l Link) string { return "<" + slackLinkMarks.Replace(plain(l.URL)) + "|" + l.Text + ">" }

// message returns the message for the incident's present state.
func (v *View) message(places Links) slackMessage {
	word, color := "INFO", "#439fe0"
	switch v.Severity {
	case "critical":
		word, color = "CRITICAL", "danger"
	case "warning":
		word, color = "WARNING", "warning"
	}
	switch v.State {
	case Resolved:
		word, color = "RESOLVED after "+Length(v.ResolvedAt.Sub(v.StartedAt)), "good"
	case Merged:
		word, color = "PART OF ANOTHER INCIDENT", "#9ba6a1"
	}
	title := "[" + word + "] " + slackText(v.Title, 200)
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if v.Cause != "" {
		add("*Probable cause* %s (%.0f %%)", slackText(v.Cause, 200), 100*v.Confidence)
		for _, e := range v.Causes[0].Evidence[:min(len(v.Causes[0].Evidence), 3)] {
			add("• %s", slackText(e.Text, 250))
		}
	} else {
		add("*No probable cause is known.*")
	}
	add("*Alerts* %d, %d firing   *Since* <!date^%d^{date_short_pretty} {time}|%s>", v.Alerts, v.Firing, v.StartedAt.Unix(), v.StartedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if affected := v.affected(); affected != "" {
		add("*Affected* %s", affected)
	}
	for _, a := range v.Actions[max(len(v.Actions)-3, 0):] {
		add("*Action* %s on %s: %s", slackText(a.Name, 80), slackText(a.Object, 80), slackText(a.Why, 120))
	}
	if v.State == Open && len(v.Members) > 0 && v.Members[0].Action != "" {
		add("*First action* %s", slackText(v.Members[0].Action, 400))
	}
	if v.AcknowledgedBy != "" {
		add("*Looked after by* %s", slackText(v.AcknowledgedBy, 80))
	}
	var links []string
	link := ""
	if places.Page != "" {
		link = places.Page + "/incidents/" + v.ID
		links = append(links, slackLink(Link{"Incident", link}))
	}
	if len(v.Members) > 0 {
		for _, l := range v.Members[0].Links {
			links = append(links, slackLink(l))
		}
	}
	footer := strings.Join(links, "   ")
	text := strings.Join(lines, "\n")
	for len(lines) > 2 && utf8.RuneCountInString(text)+utf8.RuneCountInString(footer) > mostSlackText {
		lines = lines[:len(lines)-1] // The most important lines come first.
		text = strings.Join(lines, "\n")
	}
	if footer != "" && utf8.RuneCountInString(footer) < mostSlackText/2 {
		text += "\n" + footer
	}
	return slackMessage{Text: title, Attachments: []slackAttachment{{Color: color, Title: title, TitleLink: link, Text: text, Fallback: title, MrkdwnIn: []string{"text"}}}}
}

// affected lists the first five alerting objects.
func (v *View) affected() string {
	var names []string
	n := 0
	for _, o := range v.Objects {
		if o.Alerts == 0 {
			continue
		}
		if n++; n <= 5 {
			names = append(names, slackText(o.String(), 60))
		}
	}
	if n > 5 {
		names = append(names, fmt.Sprintf("%d more", n-5))
	}
	if n == 1 && v.Objects[0].Kind == grouping.Other {
		return ""
	}
	return strings.Join(names, ", ")
}
