package content

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

func TestExcerptsAreShortAndRedacted(t *testing.T) {
	e, err := NewExcerpts(60, []string{`(?i)project \w+`})
	require.NoError(t, err)
	for text, want := range map[string]string{
		"Toronto.": "Toronto.",
		`[{"role":"assistant","content":"Write to ada@example.com, please."}]`:               "Write to [redacted], please.",
		"Card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00, call 416-555-0199 now.": "Card [redacted], IBAN [redacted], call [redacted] now.",
		"Order 12345 of 2026-11-29 for $1,200.50":                                            "Order 12345 of 2026-11-29 for $1,200.50",
		"The key is sk-abcdefghijklmnopqrstuv and eyJhbGciOiJIUzI1NiJ9.eyJzdWIi":             "The key is [redacted] and [redacted]",
		"About Project Falcon":  "About [redacted]",
		strings.Repeat("é", 61): strings.Repeat("é", 60) + "…",
		strings.Repeat("x ", 28) + "ada.lovelace.of.london@example.com is her address, we think.": strings.Repeat("x ", 28) + "[red…",
		"":       "",
		"\xffok": "\uFFFDok",
	} {
		require.Equal(t, want, e.Of(otlp.StringValue(text)))
	}
	_, err = NewExcerpts(60, []string{"("})
	require.Error(t, err)
}
