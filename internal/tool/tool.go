// Package tool is the command line of the operator's tool. It is one tool to its user and two programs on disk: sightglass, which is small
// and goes wherever a configuration is rendered, and sightglass-data with the commands that read tables, bills and histories, for which it
// links DuckDB and the engine of Prometheus. The first hands their words over to the second.
package tool

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/version"
)

// Name is the tool's name, whichever of its programs runs.
const Name = "sightglass"

// Commands are the functions behind the words of the command line.
type Commands map[string]func(context.Context) error

// Add declares one command with its flags.
type Add func(app *kingpin.Application, stdout io.Writer) Commands

// Run runs the command that args name, until it ends or the process is told to end. It returns the exit status.
func Run(args []string, stdout, stderr io.Writer, add ...Add) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.

	status := -1
	app, all := application(stdout, add)
	app.UsageWriter(stdout).ErrorWriter(stderr)
	app.Terminate(func(code int) { // kingpin would exit the process here; instead the first word counts.
		if status < 0 {
			status = code
		}
	})
	chosen, err := app.Parse(args)
	if status >= 0 {
		return status
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: error: %v; see --help\n", Name, err)
		return 2
	}
	if err := all[chosen](ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "%s %s: %v\n", Name, chosen, err)
		return 1
	}
	return 0
}

func application(stdout io.Writer, add []Add) (*kingpin.Application, Commands) {
	app := kingpin.New(Name, "The operator's tool of Sightglass.")
	app.HelpFlag.Short('h')
	app.Version(version.Print(Name))
	all := make(Commands)
	for _, declare := range add {
		maps.Copy(all, declare(app, stdout))
	}
	return app, all
}
