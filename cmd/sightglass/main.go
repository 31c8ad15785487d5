// Command sightglass is the operator's tool.
package main

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

// commands are the functions behind the words of the command line. Each file adds those of one subcommand.
type commands map[string]func(context.Context) error

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // A second signal ends the process at once.

	app := kingpin.New("sightglass", "The operator's tool of Sightglass.").UsageWriter(stdout).ErrorWriter(stderr)
	app.HelpFlag.Short('h')
	app.Version(version.Print("sightglass"))
	status := -1
	app.Terminate(func(code int) { // kingpin would exit the process here; instead the first word counts.
		if status < 0 {
			status = code
		}
	})
	all := make(commands)
	for _, add := range []func(*kingpin.Application, io.Writer) commands{auditCommand, baselineCommand, bundleCommand, checkCommand, demoCommand, explainCommand, importCommand, replayCommand, reportCommand} {
		maps.Copy(all, add(app, stdout))
	}
	chosen, err := app.Parse(args)
	if status >= 0 {
		return status
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "sightglass: error: %v; see --help\n", err)
		return 2
	}
	if err := all[chosen](ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "sightglass %s: %v\n", chosen, err)
		return 1
	}
	return 0
}
