package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/bundle"
)

func bundleCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := app.Command("bundle", "Write the rules, the Alertmanager configuration and the dashboards, to load them into a stack that exists.")
	dir := c.Arg("dir", "Folder that gets the files. A file that is there already is not overwritten.").Required().String()
	var o bundle.Options
	var adapters, objectLabels string
	c.Flag("rules", "Form of the rules: "+strings.Join(bundle.RuleForms(), ", ")+".").Default("files").StringVar(&o.Rules)
	c.Flag("dashboards", "Form of the dashboards: "+strings.Join(bundle.DashboardForms(), ", ")+".").Default("files").StringVar(&o.Dashboards)
	c.Flag("alertmanager", "Oldest Alertmanager that reads the plain configuration: "+strings.Join(bundle.Alertmanagers(), ", ")+".").Default("0.31").StringVar(&o.Alertmanager)
	c.Flag("time-zone", "Time zone of the working hours in the Alertmanager configuration, such as America/Toronto.").Envar("SIGHTGLASS_TIME_ZONE").PlaceHolder("ZONE").StringVar(&o.TimeZone)
	c.Flag("working-hours", "Working hours, Monday to Friday, outside of which alerts that can wait are muted, such as 08:00-18:00.").Envar("SIGHTGLASS_WORKING_HOURS").PlaceHolder("FROM-TO").StringVar(&o.WorkingHours)
	c.Flag("with", "Adapters to include, separated by commas, such as dcgm,vllm. Without it, all.").PlaceHolder("NAMES").StringVar(&adapters)
	c.Flag("object-labels", "Labels of datasets and models that their alerts get beside the label owner, separated by commas, such as tier,product.").PlaceHolder("NAMES").StringVar(&objectLabels)
	c.Flag("namespace", "Namespace of Kubernetes objects.").StringVar(&o.Namespace)
	c.Flag("label", "Label of Kubernetes objects of the rules, as NAME=VALUE, such as release=prometheus. Can be repeated.").StringMapVar(&o.Labels)

	return commands{c.FullCommand(): func(context.Context) error {
		if adapters != "" {
			o.Adapters = strings.Split(adapters, ",")
		}
		if objectLabels != "" {
			o.ObjectLabels = strings.Split(objectLabels, ",")
		}
		files, err := bundle.Render(o)
		if err != nil {
			return err
		}
		if err := writeNew(*dir, files); err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "wrote %d files to %s: rules as %s, dashboards as %s, and the Alertmanager configuration\n", len(files), *dir, o.Rules, o.Dashboards)
		return err
	}}
}

// writeNew writes files that must not exist yet.
func writeNew(dir string, files bundle.Files) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = file.Write(files[name])
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
