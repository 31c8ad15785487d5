package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	"github.com/schollz/progressbar/v3"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

func baselineCommand(app *kingpin.Application, stdout io.Writer) commands {
	parent := tool.DataCommand(app, "baseline")
	file := parent.Flag("config.file", "Path of the data-quality or model-quality exporter's configuration file.").Required().String()

	build := parent.Command("build", "Cut the bins, count the training data and add every complete day, now instead of over time.")
	buildNames := build.Arg("name", "Datasets to build; all by default.").Strings()
	show := parent.Command("show", "Show what is stored, with the columns of the datasets that are named.")
	showNames := show.Arg("name", "Datasets or models to show in detail; a line for each by default.").Strings()
	freeze := parent.Command("freeze", "End the learning of a production baseline with the days that are there.")
	freezeName := freeze.Arg("name", "Dataset or model to freeze.").Required().String()
	reset := parent.Command("reset", "Begin anew with a part of a dataset's baselines. What was there stays in the store.")
	resetName := reset.Arg("name", "Dataset or model to reset.").Required().String()
	freezeVersion := freeze.Flag("model-version", "Version of the model whose outputs are meant; by default the model's features.").String()
	resetVersion := reset.Flag("model-version", "Version of the model whose outputs are meant; by default the model's features.").String()
	parts := []string{string(baseline.PartDefinition), string(baseline.PartTraining), string(baseline.PartProduction), string(baseline.PartLastGood)}
	resetParts := reset.Flag("part", "What to reset: definition (the bins and expected schema, and with them training and production), training, production or last_good; repeatable.").
		Required().Enums(parts...)

	accept := parent.Command("accept", "Accept a column as it is now (added, gone or of another type), or what a feature of a model looks like from now on. The baselines of the others stay.")
	acceptName := accept.Arg("name", "Dataset of the column, or model of the feature.").Required().String()
	acceptColumns := accept.Arg("column", "Columns or features to accept.").Required().Strings()

	// on returns a command that calls f for each of the named datasets.
	on := func(names *[]string, f func(context.Context, *dataquality.Baselines, dataquality.DatasetConfig) error) func(context.Context) error {
		return func(ctx context.Context) (err error) {
			cfg, err := dataquality.Load(*file)
			if err != nil {
				return fmt.Errorf("the configuration is not valid:\n%w", err)
			}
			b, err := dataquality.OpenBaselines(cfg, promslog.New(&promslog.Config{}), time.Now)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, b.Close()) }()
			datasets, err := b.Datasets(ctx, *names...)
			if err != nil {
				return err
			}
			// A dataset that fails does not stop the others.
			var failures []error
			for i := 0; i < len(datasets) && ctx.Err() == nil; i++ {
				d := datasets[i]
				err := f(ctx, b, d)
				if err == nil && (len(*names) == 0 || names == buildNames) {
					// Its segments have bins now, so they can be listed.
					var segments []dataquality.DatasetConfig
					segments, err = b.Segments(ctx, d)
					datasets = slices.Insert(datasets, i+1, segments...)
				}
				if err != nil {
					failures = append(failures, fmt.Errorf("dataset %q: %w", d.Name, err))
				}
			}
			return errors.Join(failures...)
		}
	}
	one := func(name *string, f func(context.Context, *dataquality.Baselines, dataquality.DatasetConfig) error) func(context.Context) error {
		return func(ctx context.Context) error { return on(&[]string{*name}, f)(ctx) }
	}
	all := commands{
		build.FullCommand(): on(buildNames, func(ctx context.Context, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
			b.Progress = progress(os.Stderr)
			if err := b.Build(ctx, d); err != nil {
				return err
			}
			return summarize(ctx, stdout, b, d)
		}),
		show.FullCommand(): on(showNames, func(ctx context.Context, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
			if len(*showNames) == 0 {
				return summarize(ctx, stdout, b, d)
			}
			return describe(ctx, stdout, b, d)
		}),
		freeze.FullCommand(): one(freezeName, func(ctx context.Context, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
			p, err := b.Freeze(ctx, d)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "%s: production baseline frozen with %d days, %d rows\n", d.Name, len(p.Days), p.Counts.Rows)
			return err
		}),
		accept.FullCommand(): one(acceptName, func(ctx context.Context, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
			for _, column := range *acceptColumns {
				a, err := b.Accept(ctx, d, column)
				if err != nil {
					return err
				}
				if _, err := fmt.Fprintf(stdout, "%s: column %s %s\n", d.Name, column, acceptedAs(a)); err != nil {
					return err
				}
			}
			return nil
		}),
		reset.FullCommand(): one(resetName, func(ctx context.Context, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
			chosen := make([]baseline.Part, len(*resetParts))
			for i, p := range *resetParts {
				chosen[i] = baseline.Part(p)
			}
			if err := b.Reset(ctx, d, chosen...); err != nil {
				return err
			}
			_, err := fmt.Fprintf(stdout, "%s: reset %q\n", d.Name, *resetParts)
			return err
		}),
	}
	models := modelBaselines{file, stdout}
	ofModels := commands{
		build.FullCommand():  models.build,
		show.FullCommand():   models.show(showNames),
		freeze.FullCommand(): models.freeze(freezeName, freezeVersion),
		reset.FullCommand():  models.reset(resetName, resetVersion, resetParts),
		accept.FullCommand(): models.accept(acceptName, acceptColumns),
	}
	for command, run := range ofModels {
		all[command] = either(file, all[command], run)
	}
	return all
}

// acceptedAs describes an accepted column.
func acceptedAs(a baseline.Accepted) string {
	switch {
	case a.Removed:
		return "is expected to be gone"
	case a.Layout == nil:
		return fmt.Sprintf("is expected as %s, without bins: %s", a.Column.Type, a.Left)
	}
	var values int64
	for _, n := range a.Counts {
		values += n
	}
	return fmt.Sprintf("is expected as %s, with %d bins and a baseline of %d values", a.Column.Type, len(a.Layout.Bins()), values)
}

// progress draws a progress bar for each kind of work, because a scan can take long.
func progress(w io.Writer) func(dataset, doing string, done, total int) {
	var bar *progressbar.ProgressBar
	var current string
	return func(dataset, doing string, done, total int) {
		if what := dataset + ": " + doing; bar == nil || what != current {
			current = what
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
				progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionOnCompletion(func() { _, _ = fmt.Fprintln(w) }))
		}
		_ = bar.Set(done) // A failure to draw the bar is not an error of the command.
	}
}

func summarize(ctx context.Context, w io.Writer, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
	s, err := b.Status(ctx, d)
	if err != nil {
		return err
	}
	if s.Definition.ID == "" {
		_, err := fmt.Fprintf(w, "%s: nothing stored yet\n", d.Name)
		return err
	}
	_, err = fmt.Fprintf(w, "%s: %d columns with bins cut from %s on %s; training %s; production %s\n", d.Name, len(s.Definition.Fields),
		s.Definition.Edges, s.Definition.Created.Format(time.DateOnly), trainingState(d, s), productionState(d, s))
	if err != nil || len(s.Old) == 0 {
		return err
	}
	hours := ""
	if s.DaysWithoutHours > 0 {
		hours = fmt.Sprintf(" %d days have no hours: a short window is compared with the whole baseline.", s.DaysWithoutHours)
	}
	_, err = fmt.Fprintf(w, "%s: version 0.1 cut the bins of %s, without a minimum, maximum and mean: MLDatasetValuesOutOfRange and MLDatasetMeanShifted cannot fire for them.%s "+
		"To cut them again, run 'sightglass baseline reset --part definition %s' and 'sightglass baseline build %s'.\n", d.Name, strings.Join(s.Old, ", "), hours, d.Name, d.Name)
	return err
}

func trainingState(d dataquality.DatasetConfig, s dataquality.BaselineStatus) string {
	switch {
	case s.Training.Definition != "":
		return fmt.Sprintf("%d rows", s.Training.Rows)
	case d.Baselines.Training == nil:
		return "not configured"
	}
	return "not counted yet"
}

func productionState(d dataquality.DatasetConfig, s dataquality.BaselineStatus) string {
	days := len(s.Production.Days)
	switch {
	case s.Production.Frozen():
		return fmt.Sprintf("frozen with %d days, %d rows", days, s.Production.Counts.Rows)
	case d.Baselines.Production.Days == 0:
		return "not configured"
	}
	return fmt.Sprintf("day %d of %d, %d rows", days, d.Baselines.Production.Days, s.Production.Counts.Rows)
}

// describe lists the bins of each column with the baselines' shares.
func describe(ctx context.Context, w io.Writer, b *dataquality.Baselines, d dataquality.DatasetConfig) error {
	if err := summarize(ctx, w, b, d); err != nil {
		return err
	}
	s, err := b.Status(ctx, d)
	if err != nil {
		return err
	}
	if s.LastGood != "" {
		if _, err := fmt.Fprintf(w, "last good snapshot: %s\n", s.LastGood); err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "column\tbin\ttraining\tproduction") // Flush reports the error.
	for _, column := range slices.Sorted(maps.Keys(s.Definition.Fields)) {
		for _, bin := range s.Definition.Fields[column].Bins() {
			_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", column, bin,
				share(s.Training.Fields[column], bin), share(s.Production.Counts.Fields[column], bin))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, column := range slices.Sorted(maps.Keys(s.Definition.Left)) {
		if _, err := fmt.Fprintf(w, "%s has no bins: %s\n", column, s.Definition.Left[column]); err != nil {
			return err
		}
	}
	return nil
}

func share(counts map[string]int64, bin string) string {
	var total int64
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return "–"
	}
	return fmt.Sprintf("%.4f", float64(counts[bin])/float64(total))
}
