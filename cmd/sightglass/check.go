package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/exporters/cost"
	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/responder"
)

// checks read the configuration file of each program.
var checks = map[string]func(path string) error{
	"cost":         checkOf(cost.Load),
	"dataquality":  checkOf(dataquality.Load),
	"gpu":          checkOf(config.Load[gpu.Config]),
	"modelquality": checkOf(modelquality.Load),
	"responder":    checkOf(config.Load[responder.Config]),
}

func checkOf[C any](load func(path string) (C, error)) func(path string) error {
	return func(path string) error {
		_, err := load(path)
		return err
	}
}

func checkCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := app.Command("check", "Check a configuration file, as the program's own --config.check does.")
	programs := slices.Sorted(maps.Keys(checks))
	exporter := c.Arg("program", "Which program the file is for: "+strings.Join(programs, ", ")+".").Required().Enum(programs...)
	file := c.Arg("file", "Path of the configuration file.").Required().String()

	return commands{c.FullCommand(): func(context.Context) error {
		if err := checks[*exporter](*file); err != nil {
			return fmt.Errorf("the configuration is not valid:\n%w", err)
		}
		_, err := fmt.Fprintf(stdout, "OK: %s is valid\n", *file)
		return err
	}}
}
