package page

import (
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

// segment is a piece of text from outside, or one character of it that is replaced because it has an effect.
type segment struct {
	Text string
	Mark bool
}

// visible splits a text so that invisible characters, and those that change the writing direction or control a terminal, are
// shown by their code points. html/template escapes all others.
func visible(s string) []segment {
	var out []segment
	start := 0
	for i, r := range s {
		if !hidden(r) {
			continue
		}
		if i > start {
			out = append(out, segment{Text: s[start:i]})
		}
		out = append(out, segment{Text: fmt.Sprintf("U+%04X", r), Mark: true})
		start = i + len(string(r))
	}
	if start < len(s) {
		out = append(out, segment{Text: s[start:]})
	}
	return out
}

// printable is visible for places without markup, such as the drawing.
func printable(s string) string {
	var b strings.Builder
	for _, part := range visible(strings.NewReplacer("\n", " ", "\t", " ").Replace(s)) {
		b.WriteString(part.Text)
	}
	return b.String()
}

func hidden(r rune) bool {
	switch r {
	case '\n', '\t', '\u200c', '\u200d': // The last two join or separate letters and emoji.
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp)
}

// number formats n with narrow spaces between thousands.
func number[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// length formats a duration in one or two units.
func length(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 10*time.Hour:
		return fmt.Sprintf("%.1f h", d.Hours())
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	default:
		return strconv.Itoa(int(d.Hours()/24)) + " days"
	}
}

func functions(now func() time.Time) template.FuncMap {
	return template.FuncMap{
		"visible": visible,
		"number":  number[int],
		"total":   number[int64],
		"score":   func(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) },
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"utc":     func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04") + " UTC" },
		"ago": func(t time.Time) string {
			if d := now().Sub(t); d >= 10*time.Second {
				return length(d) + " ago"
			}
			return "just now"
		},
		"between": func(from, to time.Time) string { return length(to.Sub(from)) },
		"segment": url.PathEscape,
		"shown":   printable,
		"percent": func(f float64) string { return strconv.Itoa(int(f*100+0.5)) + "\u202f%" },
		"clock":   func(t time.Time) string { return t.UTC().Format("2 Jan, 15:04:05") },
		"claimed": func(f float64) bool { return f >= grouping.Claimed },
		"words":   func(s string) string { return strings.ReplaceAll(s, "_", " ") },
		// local formats a time for an input of type datetime-local.
		"local": func(t time.Time) string {
			if t.IsZero() {
				return ""
			}
			return t.UTC().Format(localLayout)
		},
	}
}

const localLayout = "2006-01-02T15:04"
