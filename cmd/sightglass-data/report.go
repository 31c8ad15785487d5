package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

func reportCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := tool.DataCommand(app, "report")
	file := c.Flag("config.file", "Path of the data-quality exporter's configuration file.").Required().String()
	output := c.Flag("output", "Path of the page; the dataset's name and .html by default.").String()
	name := c.Arg("dataset", "Dataset to report on.").Required().String()

	return commands{c.FullCommand(): func(ctx context.Context) (err error) {
		cfg, err := dataquality.Load(*file)
		if err != nil {
			return fmt.Errorf("the configuration is not valid:\n%w", err)
		}
		b, err := dataquality.OpenBaselines(cfg, promslog.New(&promslog.Config{}), time.Now)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		datasets, err := b.Datasets(ctx, *name)
		if err != nil {
			return err
		}
		report, err := b.Report(ctx, datasets[0])
		if err != nil {
			return fmt.Errorf("dataset %q: %w", *name, err)
		}
		path := *output
		if path == "" {
			// The name of a segment has a slash.
			path = strings.ReplaceAll(*name, "/", "_") + ".html"
		}
		page, err := os.Create(path)
		if err != nil {
			return err
		}
		if err := errors.Join(report.WriteHTML(page), page.Close()); err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s: %d rows, %d columns: wrote %s\n", *name, report.Rows, len(report.Columns), path)
		return err
	}}
}
