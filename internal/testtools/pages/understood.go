package pages

import (
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"
)

// RequireUnderstood fails the test unless app accepts every word and flag of each wanted command of sightglass in the pages under root. It
// requires at least 10 such commands.
func RequireUnderstood(t *testing.T, root string, app *kingpin.Application, wanted func(args []string) bool) {
	t.Helper()
	found, err := Find(root, []string{"sightglass", "chrt"})
	require.NoError(t, err)
	checked := 0
	for _, c := range found {
		words := c.Words
		if words[0] == "chrt" {
			words = words[3:] // The command that chrt starts.
		}
		args := words[1:]
		if strings.TrimPrefix(words[0], "bin/") != "sightglass" || strings.HasPrefix(args[0], "-") || !wanted(args) {
			continue
		}
		checked++
		context, err := app.ParseContext(args)
		require.NoError(t, err, c)
		require.NotNil(t, context.SelectedCommand, c)
	}
	require.GreaterOrEqual(t, checked, 10)
}
