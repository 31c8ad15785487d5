package slack

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"
)

// minWidth is the minimum width, so that a narrow or unknown terminal does not break every word.
const minWidth = 20

// Render returns the message as text for a terminal of the given width: the channel, then each attachment behind a bar with
// its title, text, fields and buttons. URLs of buttons are never broken, so that they can be copied. With ansi, the bar has
// the attachment's colour, and bold text is bold. Apart from these escape sequences the text has no control characters,
// whatever the message contains.
func (m Message) Render(width int, ansi bool) string {
	p := printer{width: max(width, minWidth) - 2, ansi: ansi}
	if m.Channel != "" {
		p.lines = append(p.lines, clean(m.Channel))
	}
	if m.Text != "" {
		p.mrkdwn("", m.Text)
	}
	for _, a := range m.Attachments {
		p.attachment(a)
	}
	return strings.Join(p.lines, "\n") + "\n"
}

type printer struct {
	width int
	ansi  bool
	lines []string
}

func (p *printer) attachment(a Attachment) {
	bar := p.style(colorCode(a.Color), "▌") + " "
	if a.Pretext != "" {
		p.mrkdwn("", a.Pretext)
	}
	if a.Title != "" {
		for _, line := range wrap(plain(clean(a.Title)), p.width) {
			p.lines = append(p.lines, bar+p.style("1", line))
		}
	}
	if a.Text != "" {
		p.mrkdwn(bar, a.Text)
	}
	for _, f := range a.Fields {
		p.mrkdwn(bar, "*"+f.Title+"* "+f.Value)
	}
	for _, b := range a.Buttons() {
		p.lines = append(p.lines, strings.TrimRight(bar+"["+clean(b.Text)+"] "+clean(b.URL), " "))
	}
	if a.Footer != "" {
		p.mrkdwn(bar, a.Footer)
	}
}

// mrkdwn appends text with Slack's markup, line by line. Bold is applied after wrapping, word by word, so that escape
// sequences do not count as width and no line ends inside one.
func (p *printer) mrkdwn(prefix, s string) {
	for _, paragraph := range strings.Split(s, "\n") {
		for _, line := range wrap(plain(boldMark.ReplaceAllStringFunc(clean(paragraph), markBold)), p.width) {
			p.lines = append(p.lines, strings.TrimRight(prefix+p.applyBold(line), " "))
		}
	}
}

// Bold words are enclosed in these two private-use runes, which clean removes from all other text.
const (
	boldOn  = '\uE000'
	boldOff = '\uE001'
)

// boldMark matches *bold* as a word of its own, as Slack does, and not the asterisks of 2*3*4.
var boldMark = regexp.MustCompile(`(^|[\s(])\*[^*\s](?:[^*]*[^*\s])?\*`)

func markBold(match string) string {
	lead, rest, _ := strings.Cut(match, "*")
	words := strings.Fields(strings.TrimSuffix(rest, "*"))
	for i, w := range words {
		words[i] = string(boldOn) + w + string(boldOff)
	}
	return lead + strings.Join(words, " ")
}

func (p *printer) applyBold(line string) string {
	on, off := "", ""
	if p.ansi {
		on, off = "\x1b[1m", "\x1b[0m"
	}
	return strings.NewReplacer(string(boldOn), on, string(boldOff), off).Replace(line)
}

func (p *printer) style(code, s string) string {
	if !p.ansi {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func colorCode(color string) string {
	switch color {
	case "danger":
		return "31"
	case "warning":
		return "33"
	case "good":
		return "32"
	default:
		return "36"
	}
}

// token matches what Slack interprets between angle brackets: a link, a date, a mention.
var token = regexp.MustCompile(`<([^<>|]+)(?:\|([^<>]*))?>`)

// plain converts Slack's markup to text: the label of a link followed by its address, the fallback of a date, the name of a
// mention. It removes code marks and decodes entities.
func plain(s string) string {
	s = token.ReplaceAllStringFunc(s, func(match string) string {
		part := token.FindStringSubmatch(match)
		target, label := part[1], part[2]
		switch {
		case strings.HasPrefix(target, "!date^"):
			return label
		case strings.HasPrefix(target, "!"), strings.HasPrefix(target, "@"):
			return "@" + firstOf(label, strings.TrimLeft(target, "!@"))
		case strings.HasPrefix(target, "#"):
			return "#" + firstOf(label, target[1:])
		case label == "":
			return target
		default:
			return label + " (" + target + ")"
		}
	})
	return Unescape(strings.ReplaceAll(s, "`", ""))
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// unescaper decodes the three entities in one pass, so that &amp;lt; becomes &lt; and not <.
var unescaper = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">")

// Unescape decodes the entities that Slack requires for its three control characters.
func Unescape(s string) string { return unescaper.Replace(s) }

// clean removes characters with an effect on a terminal (control and format characters), invalid UTF-8, and the private runes
// that mark bold.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

// wrap breaks a line at spaces into lines of at most width cells. A longer word is a line of its own. Continuation lines have
// the indentation of the first.
func wrap(s string, width int) []string {
	body := strings.TrimLeft(s, " ")
	indent := strings.Repeat(" ", min(len(s)-len(body), width/2))
	var lines []string
	line, used := indent, len(indent)
	for i, word := range strings.Split(body, " ") {
		w := cells(word)
		if i > 0 && used+1+w > width && used > len(indent) {
			lines = append(lines, line)
			line, used = indent, len(indent)
		} else if i > 0 {
			line, used = line+" ", used+1
		}
		line, used = line+word, used+w
	}
	return append(lines, line)
}

// cells returns the width of a string on a terminal: two for a wide character, none for a combining mark.
func cells(s string) int {
	return uniseg.StringWidth(strings.NewReplacer(string(boldOn), "", string(boldOff), "").Replace(s))
}
