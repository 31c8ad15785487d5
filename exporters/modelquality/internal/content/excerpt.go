package content

import (
	"regexp"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Redacted stands where something was taken out of an excerpt.
const Redacted = "[redacted]"

// redactions are what no excerpt has: addresses of e-mail, numbers of cards and accounts, and what looks like a token.
var redactions = []string{
	`[\pL\pN._%+-]+@[\pL\pN.-]+\.\pL{2,}`,
	`\b(?:[A-Z]{2}\d{2}[ ]?)?(?:\d[ -]?){9,18}\d\b`,
	`\b(?:sk|pk|ghp|gho|xox[abp]|AKIA|eyJ)[A-Za-z0-9_.-]{12,}`,
}

// Excerpts cuts the beginnings of answers, without what is not to be seen.
type Excerpts struct {
	characters int
	redact     []*regexp.Regexp
}

// NewExcerpts makes Excerpts of at most so many characters, without what the expressions match.
func NewExcerpts(characters int, more []string) (*Excerpts, error) {
	e := &Excerpts{characters: characters}
	for _, s := range append(append([]string(nil), redactions...), more...) {
		r, err := regexp.Compile(s)
		if err != nil {
			return nil, err
		}
		e.redact = append(e.redact, r)
	}
	return e, nil
}

// slack is how much more of a text is looked at than is shown, so that what is taken out is not cut in two and seen.
const slack = 256

// Of returns the beginning of what a value says.
func (e *Excerpts) Of(v otlp.Value) string {
	t := texts{keep: true}
	t.read(v, true)
	text, cut := head(strings.ToValidUTF8(t.text(), "\uFFFD"), e.characters+slack)
	for _, r := range e.redact {
		text = r.ReplaceAllLiteralString(text, Redacted)
	}
	text, cutAgain := head(text, e.characters)
	if cut || cutAgain {
		text += "…"
	}
	return strings.Clone(text)
}

// head returns the first characters of a text.
func head(text string, characters int) (string, bool) {
	n := 0
	for i := range text {
		if n == characters {
			return text[:i], true
		}
		n++
	}
	return text, false
}
