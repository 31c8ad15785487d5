package main

import (
	"context"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
)

// checks read the configuration file of an exporter.
var checks = map[string]func(path string) error{
	"dataquality": func(path string) error {
		_, err := dataquality.Load(path)
		return err
	},
}

func checkCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := app.Command("check", "Check the configuration file of an exporter, as the exporter's --config.check does.")
	exporter := c.Arg("exporter", "Which exporter the file is for: dataquality.").Required().Enum("dataquality")
	file := c.Arg("file", "Path of the configuration file.").Required().String()

	return commands{c.FullCommand(): func(context.Context) error {
		if err := checks[*exporter](*file); err != nil {
			return fmt.Errorf("the configuration is not valid:\n%w", err)
		}
		_, err := fmt.Fprintf(stdout, "OK: %s is valid\n", *file)
		return err
	}}
}
