// Package tool is the command line of the operator's tool.
//
// Input: the arguments and the commands of a program. Output: the exit status. State: none. The tool consists of two programs:
// sightglass, which is small and runs wherever a configuration is rendered, and sightglass-data, with the commands that read tables,
// bills and histories, which links DuckDB and the Prometheus engine. sightglass passes the commands of sightglass-data on to it, so
// that a user sees one tool.
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

// Name is the tool's name in messages, whichever of its programs runs.
const Name = "sightglass"

// Commands maps the name of a command to its function.
type Commands map[string]func(context.Context) error

// Add declares one command with its flags.
type Add func(app *kingpin.Application, stdout io.Writer) Commands

// Run runs the command that args name, until it returns or the process receives SIGINT or SIGTERM. It returns the exit status.
func Run(args []string, stdout, stderr io.Writer, add ...Add) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // A second signal ends the process immediately.

	status := -1
	app, all := application(stdout, add)
	app.UsageWriter(stdout).ErrorWriter(stderr)
	app.Terminate(func(code int) { // kingpin would exit the process here. The first status is kept instead.
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
