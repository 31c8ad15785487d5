package main

import (
	"io"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/internal/testtools/pages"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

func TestCommandsOfTheDocsAreAccepted(t *testing.T) {
	t.Parallel()
	app := kingpin.New("test", "")
	for _, add := range all {
		add(app, io.Discard)
	}
	pages.RequireUnderstood(t, "../..", app, func(args []string) bool {
		_, ok := tool.ReadsData(args)
		return ok
	})
}
