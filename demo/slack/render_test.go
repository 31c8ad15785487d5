package slack

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var fullMessage = Message{
	Channel: "#ml-oncall",
	Attachments: []Attachment{{
		Color: "danger",
		Title: "[CRITICAL] MLDatasetDrift: payments · a &lt;b&gt;",
		Text: "A column drifted from its baseline.\n" +
			"*Value* 0.31   *Threshold* 0.3   *Since* <!date^1795501253^{date_short_pretty} {time}|2026-11-24 06:20 UTC>\n" +
			"   ask <@U1>, <!channel>, <#C1|data> &amp; see <https://wiki.example.com|the wiki> or <https://x.example.com>; `code`, 2*3*4",
		Fields: []Field{{Title: "PSI", Value: "0.31", Short: true}},
		Actions: []Action{
			{Type: "button", Text: "Trace"},
			{Type: "button", Text: "Runbook", URL: "https://github.com/sightglass-ml/sightglass/blob/main/docs/runbooks/MLDatasetDrift.md"},
		},
		Footer: "Sightglass",
	}},
}

func TestRenderShowsEverythingThatSlackShows(t *testing.T) {
	require.Equal(t, `#ml-oncall
▌ [CRITICAL] MLDatasetDrift: payments · a <b>
▌ A column drifted from its baseline.
▌ Value 0.31   Threshold 0.3   Since 2026-11-24 06:20
▌ UTC
▌    ask @U1, @channel, #data & see the wiki
▌    (https://wiki.example.com) or
▌    https://x.example.com; code, 2*3*4
▌ PSI 0.31
▌ [Runbook] https://github.com/sightglass-ml/sightglass/blob/main/docs/runbooks/MLDatasetDrift.md
▌ Sightglass
`, fullMessage.Render(54, false))
}

func TestRenderUsesColourAndBoldOnATerminal(t *testing.T) {
	m := Message{Attachments: []Attachment{{Color: "good", Title: "done", Text: "*two words* here"}}}
	require.Equal(t, "\x1b[32m▌\x1b[0m \x1b[1mdone\x1b[0m\n"+
		"\x1b[32m▌\x1b[0m \x1b[1mtwo\x1b[0m \x1b[1mwords\x1b[0m here\n", m.Render(80, true))
}

func TestRenderCountsCellsNotBytes(t *testing.T) {
	m := Message{Text: "*漢字漢字* 漢字漢字 e\u0301e\u0301e\u0301e\u0301"}
	require.Equal(t, "漢字漢字 漢字漢字\ne\u0301e\u0301e\u0301e\u0301\n", m.Render(20, false))
}

func TestRenderRemovesControlCharacters(t *testing.T) {
	m := Message{Channel: "#a\x1b]0;x\a", Text: "a\x1b[31mb\u202ec\ue000d\xff"}
	require.Equal(t, "#a]0;x\na[31mbcd\n", m.Render(80, false))
}

func TestRenderNeverBreaksAWord(t *testing.T) {
	word := strings.Repeat("x", 100)
	require.Equal(t, "a\n"+word+"\nb\n", Message{Text: "a " + word + " b"}.Render(0, false))
}

func TestUnescapeWorksInOnePass(t *testing.T) {
	require.Equal(t, "<&>&lt;", Unescape("&lt;&amp;&gt;&amp;lt;"))
}
