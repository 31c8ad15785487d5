package incident

import (
	"fmt"
	"slices"
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

// mostSlackText keeps a text within Slack's limit of 3000 characters for a section.
const mostSlackText = 2800

// mostSlackAction is the room for an alert's action, which may end with an SQL statement of up to 1000 bytes.
const mostSlackAction = 1300

var slackMarks = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackText escapes text from outside, since a column named <!channel> must not notify anybody. The result has at most most
// characters.
func slackText(s string, most int) string {
	s = plain(s)
	if escaped := slackMarks.Replace(s); utf8.RuneCountInString(escaped) <= most {
		return escaped
	}
	var b strings.Builder
	n := 1 // of the ellipsis
	for _, r := range s {
		escaped := slackMarks.Replace(string(r))
		if n += utf8.RuneCountInString(escaped); n > most {
			break
		}
		b.WriteString(escaped)
	}
	return b.String() + "…"
}

// slackLine is a line of a message. If a message is too long, the last line with the highest rank is left out first. Rank 0 always
// stays.
type slackLine struct {
	rank int
	text string
}

// fitSlack joins the lines that fit.
func fitSlack(lines []slackLine, most int) string {
	for {
		var texts []string
		leave := 0
		for i, l := range lines {
			texts = append(texts, l.text)
			if l.rank >= lines[leave].rank {
				leave = i
			}
		}
		text := strings.Join(texts, "\n")
		if utf8.RuneCountInString(text) <= most || lines[leave].rank == 0 {
			return text
		}
		lines = slices.Delete(lines, leave, leave+1)
	}
}

var slackLinkMarks = strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", `"`, "%22", " ", "%20", "`", "%60", `\`, "%5C")

func slackLink(l Link) string { return "<" + slackLinkMarks.Replace(plain(l.URL)) + "|" + l.Text + ">" }

// message returns the message for the incident's present state.
func (v *View) message(linkConfig Links) slackMessage {
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
	var lines []slackLine
	add := func(rank int, format string, args ...any) {
		lines = append(lines, slackLine{rank, fmt.Sprintf(format, args...)})
	}
	if v.Cause != "" {
		add(0, "*Probable cause* %s (%.0f %%)", slackText(v.Cause, 200), 100*v.Confidence)
		for _, e := range v.Causes[0].Evidence[:min(len(v.Causes[0].Evidence), 3)] {
			add(2, "• %s", slackText(e.Text, 250))
		}
	} else {
		add(0, "*No probable cause is known.*")
	}
	add(0, "*Alerts* %d, %d firing   *Since* <!date^%d^{date_short_pretty} {time}|%s>", v.Alerts, v.Firing, v.StartedAt.Unix(), v.StartedAt.UTC().Format("2006-01-02 15:04 UTC"))
	if affected := v.affected(); affected != "" {
		add(3, "*Affected* %s", affected)
	}
	for _, a := range v.Actions[max(len(v.Actions)-3, 0):] {
		add(3, "*Action* %s on %s: %s", slackText(a.Name, 80), slackText(a.Object, 80), slackText(a.Why, 120))
	}
	if v.State == Open && len(v.Members) > 0 && v.Members[0].Action != "" {
		add(1, "*First action* %s", slackText(v.Members[0].Action, mostSlackAction))
	}
	if v.AcknowledgedBy != "" {
		add(3, "*Looked after by* %s", slackText(v.AcknowledgedBy, 80))
	}
	var links []string
	link := ""
	if linkConfig.Page != "" {
		link = linkConfig.Page + "/incidents/" + v.ID
		links = append(links, slackLink(Link{"Incident", link}))
	}
	if len(v.Members) > 0 {
		for _, l := range v.Members[0].Links {
			links = append(links, slackLink(l))
		}
	}
	footer := strings.Join(links, "   ")
	text := fitSlack(lines, mostSlackText-utf8.RuneCountInString(footer))
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
