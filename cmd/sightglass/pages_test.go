package main

import (
	"io"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools/pages"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

// The pages' commands of this program are read as it reads them: every word and flag exists.
func TestThePagesCommandsAreUnderstood(t *testing.T) {
	t.Parallel()
	found, err := pages.Find("../..", []string{"sightglass", "chrt"})
	require.NoError(t, err)
	app := kingpin.New("test", "")
	for _, add := range own {
		add(app, io.Discard)
	}
	checked := 0
	for _, c := range found {
		words := c.Words
		if words[0] == "chrt" {
			words = words[3:] // The one that it starts.
		}
		args := words[1:]
		if strings.TrimPrefix(words[0], "bin/") != "sightglass" || strings.HasPrefix(args[0], "-") {
			continue
		}
		if _, ok := tool.ReadsData(args); ok {
			continue // Of the other program, whose test has them.
		}
		checked++
		context, err := app.ParseContext(args)
		require.NoError(t, err, c)
		require.NotNil(t, context.SelectedCommand, c)
	}
	require.GreaterOrEqual(t, checked, 10)
}
