package content

import (
	"regexp"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Redacted replaces removed text in an excerpt.
const Redacted = "[redacted]"

// redactions are always removed: e-mail addresses, card and account numbers, and strings that look like tokens.
var redactions = []string{
	`[\pL\pN._%+-]+@[\pL\pN.-]+\.\pL{2,}`,
	`\b(?:[A-Z]{2}\d{2}[ ]?)?(?:\d[ -]?){9,18}\d\b`,
	`\b(?:sk|pk|ghp|gho|xox[abp]|AKIA|eyJ)[A-Za-z0-9_.-]{12,}`,
}

// Excerpts returns the beginnings of answers without private text.
type Excerpts struct {
	characters int
	redact     []*regexp.Regexp
}

// NewExcerpts returns Excerpts of at most characters, without matches of redactions and more.
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

// slack is the number of additional characters that are redacted before the cut. A match at the cut is thus found completely.
const slack = 256

// Of returns the redacted beginning of a value's text.
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

// head returns the first characters of a text, and whether it was cut.
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
