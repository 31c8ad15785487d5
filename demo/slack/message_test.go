package slack

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseAnswersAsSlackWould(t *testing.T) {
	many := func(n int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	button := `{"type":"button","text":"Trace","url":"https://tempo.example.com"}`
	for name, tc := range map[string]struct{ body, wantErr string }{
		"a text alone is a message":                   {`{"text":"hello"}`, ""},
		"an attachment with a title alone is one too": {`{"attachments":[{"title":"hello"}]}`, ""},
		"a button without a URL is accepted":          {`{"attachments":[{"text":"x","actions":[{"type":"button","text":"Trace"}]}]}`, ""},
		"a bare host is accepted":                     {`{"attachments":[{"text":"x","actions":[{"type":"button","text":"Trace","url":"http://tempo:3200"}]}]}`, ""},
		"five buttons are accepted":                   {`{"attachments":[{"text":"x","actions":` + many(5, button) + `}]}`, ""},
		"unknown keys are ignored":                    {`{"text":"x","icon_emoji":":eye:"}`, ""},
		"3000 characters of text are accepted":        {`{"attachments":[{"text":"` + strings.Repeat("é", 3000) + `"}]}`, ""},
		"no JSON":                                     {`payload=x`, "invalid_payload: invalid character 'p' looking for beginning of value"},
		"an empty body":                               {``, "invalid_payload: unexpected end of JSON input"},
		"a value of the wrong type":                   {`{"text":5}`, "invalid_payload: json: cannot unmarshal number into Go struct field Message.text of type string"},
		"nothing to show":                             {`{"channel":"#x","attachments":[{"color":"good"}]}`, "no_text: neither a text nor an attachment with something to show"},
		"too many attachments":                        {`{"attachments":` + many(101, `{"text":"x"}`) + `}`, "too_many_attachments: 101 attachments, at most 100"},
		"a message text past the limit":               {`{"text":"` + strings.Repeat("x", 40_001) + `"}`, "msg_too_long: text has 40001 characters, at most 40000"},
		"an attachment text past the limit":           {`{"attachments":[{"text":"` + strings.Repeat("é", 3001) + `"}]}`, "invalid_attachments: attachment 0: text has 3001 characters, at most 3000"},
		"six buttons":                                 {`{"attachments":[{"text":"x","actions":` + many(6, button) + `}]}`, "invalid_attachments: attachment 0: 6 actions, at most 5"},
		"a button without a type":                     {`{"attachments":[{"text":"x","actions":[{"text":"Trace"}]}]}`, "invalid_attachments: attachment 0: action 0: type is missing"},
		"a button of an unknown type":                 {`{"attachments":[{"text":"x","actions":[{"type":"link","text":"Trace"}]}]}`, `invalid_attachments: attachment 0: action 0: type "link" is unknown`},
		"a button without a text":                     {`{"attachments":[{"text":"x","actions":[{"type":"button"}]}]}`, "invalid_attachments: attachment 0: action 0: text is missing"},
		"a button that runs a script":                 {`{"attachments":[{"text":"x","actions":[{"type":"button","text":"x","url":"javascript:alert(1)"}]}]}`, `invalid_attachments: attachment 0: action 0: url "javascript:alert(1)" is neither http nor https`},
		"a raw quote in a URL":                        {`{"attachments":[{"text":"x","title_link":"https://a.example.com/?q=\"x\""}]}`, `invalid_attachments: attachment 0: title_link "https://a.example.com/?q=\"x\"" has a character that must be percent-encoded`},
		"a URL past the limit":                        {`{"attachments":[{"text":"x","title_link":"https://a.example.com/` + strings.Repeat("x", 3000) + `"}]}`, "invalid_attachments: attachment 0: title_link has 3022 characters, at most 3000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.body))
			if tc.wantErr == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.wantErr)
			require.ErrorAs(t, err, new(*Error))
		})
	}
}

func TestButtonsAreThoseSlackShows(t *testing.T) {
	a := Attachment{Actions: []Action{
		{Type: "button", Text: "no URL"},
		{Type: "button", Text: "bare host", URL: "http://alertmanager:9093/#/alerts"},
		{Type: "button", Text: "full host", URL: "https://alertmanager.example.com"},
		{Type: "button", Text: "IPv4", URL: "http://127.0.0.1:9093"},
		{Type: "button", Text: "IPv6", URL: "http://[::1]:9093"},
		{Type: "button", Text: "answered by an app", Name: "ack"},
	}}
	var visible []string
	for _, b := range a.Buttons() {
		visible = append(visible, b.Text)
	}
	require.Equal(t, []string{"full host", "IPv4", "IPv6", "answered by an app"}, visible)
}

func FuzzParseAndRender(f *testing.F) {
	full, err := json.Marshal(fullMessage)
	require.NoError(f, err)
	f.Add(full, 80)
	f.Add([]byte(`{"text":"<!date^1^{time}|> <|> <!> <#> *  * **a* _b_ `+"\\u001b[31m `x` \\ud800"+`"}`), 1)
	f.Add([]byte(`{"attachments":[{"text":"\n\n  \n<a|b|c>","fields":[{}],"actions":[{"type":"button","text":"\u0007","url":"http://%zz"}]}]}`), -5)
	f.Fuzz(func(t *testing.T, body []byte, width int) {
		m, err := Parse(body)
		if err != nil {
			return
		}
		text := m.Render(width, false)
		require.Equal(t, text, strings.ToValidUTF8(text, ""))
		for _, r := range text {
			require.True(t, r == '\n' || r >= ' ', "control character %q", r)
		}
	})
}
