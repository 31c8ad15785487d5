package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/promslog"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// modelsIn reports whether a configuration file is that of the model-quality exporter, which has no datasets of its own.
func modelsIn(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	var keys map[string]any
	if yaml.Unmarshal(text, &keys) != nil {
		return false
	}
	for _, key := range []string{"models", "otlp", "baseline_store", "baselines", "evaluations", "mlflow", "reviews", "labels"} {
		if _, ok := keys[key]; ok {
			_, datasets := keys["datasets"]
			return !datasets
		}
	}
	return false
}

// either returns a command that runs models for a configuration of the model-quality exporter, and datasets for any other.
func either(file *string, datasets, models func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		if modelsIn(*file) {
			return models(ctx)
		}
		return datasets(ctx)
	}
}

// modelBaselines has the commands for the baselines of models.
type modelBaselines struct {
	file   *string
	stdout io.Writer
}

// on returns a command that calls f for each of the named models, or for all.
func (m modelBaselines) on(names *[]string, f func(context.Context, *modelquality.Baselines, string) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		cfg, err := modelquality.Load(*m.file)
		if err != nil {
			return fmt.Errorf("the configuration is not valid:\n%w", err)
		}
		b, err := modelquality.OpenBaselines(cfg, promslog.New(&promslog.Config{}), time.Now)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		models, err := b.Models(ctx, *names...)
		if err != nil {
			return err
		}
		var failures []error
		for _, model := range models {
			if err := f(ctx, b, model); err != nil {
				failures = append(failures, fmt.Errorf("model %q: %w", model, err))
			}
			if ctx.Err() != nil {
				break
			}
		}
		return errors.Join(failures...)
	}
}

// one returns a command that calls f for the named model.
func (m modelBaselines) one(name *string, f func(context.Context, *modelquality.Baselines, string) error) func(context.Context) error {
	return func(ctx context.Context) error { return m.on(&[]string{*name}, f)(ctx) }
}

func (m modelBaselines) build(context.Context) error {
	return errors.New("baselines of models cannot be built: there is no table of past inferences to read. The exporter learns them from the inferences that it receives, and reads training data (models[].training, or the dataset of the MLflow run) by itself. 'sightglass baseline show' prints the learned days, and 'sightglass baseline freeze MODEL' ends learning")
}

func (m modelBaselines) show(names *[]string) func(context.Context) error {
	return m.on(names, func(ctx context.Context, b *modelquality.Baselines, model string) error {
		s, err := b.Status(ctx, model)
		if err != nil {
			return err
		}
		if err := m.summarize(b, model, s); err != nil || len(*names) == 0 {
			return err
		}
		t := tabwriter.NewWriter(m.stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "version\tfield\tbin\tproduction") // Flush reports the error.
		list := func(version string, fields []modelquality.FieldStatus) {
			for _, f := range fields {
				_, name, _ := strings.Cut(f.Name, "/")
				for _, bin := range f.Bins {
					_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", version, name, bin, share(f.Production, bin))
				}
			}
		}
		list("all", s.Features)
		for _, v := range s.Versions {
			list(named(v.Version), v.Outputs)
		}
		return t.Flush()
	})
}

func (m modelBaselines) summarize(b *modelquality.Baselines, model string, s modelquality.ModelStatus) error {
	if len(s.Features) == 0 {
		if _, err := fmt.Fprintf(m.stdout, "%s: no features stored by model yet\n", model); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(m.stdout, "%s: %d features; production %s\n", model, len(s.Features), learned(s.Frozen, s.Days, b.Days(), s.Rows)); err != nil {
		return err
	}
	for _, f := range s.Features {
		if f.Days == s.Days && f.Frozen == s.Frozen {
			continue
		}
		if _, err := fmt.Fprintf(m.stdout, "%s: %s, added or accepted later: %s\n", model, strings.TrimPrefix(f.Name, "input/"), learned(f.Frozen, f.Days, b.Days(), f.Rows)); err != nil {
			return err
		}
	}
	for _, v := range s.Versions {
		training := "not counted"
		if v.TrainingRows > 0 {
			training = fmt.Sprintf("%d rows", v.TrainingRows)
		}
		if _, err := fmt.Fprintf(m.stdout, "%s version %s: %d outputs; training %s; production %s\n", model, named(v.Version), len(v.Outputs),
			training, learned(v.Frozen, v.Days, b.Days(), v.Rows)); err != nil {
			return err
		}
	}
	if err := m.lacks(model, "", s.Lacks); err != nil {
		return err
	}
	for _, v := range s.Versions {
		if err := m.lacks(model, v.Version, v.Lacks); err != nil {
			return err
		}
	}
	return nil
}

// lacks prints what baselines lack.
func (m modelBaselines) lacks(model, version string, lacks []modelquality.Lack) error {
	of, flag := model, ""
	if version != "" {
		of, flag = model+" version "+version, " --model-version "+version
	}
	for _, l := range lacks {
		if _, err := fmt.Fprintf(m.stdout, "%s: the baseline lacks something, mostly because an earlier version learned it: %s. To learn it again, run 'sightglass baseline reset %s%s --part %s'.\n", of, l.What, model, flag, l.Part); err != nil {
			return err
		}
	}
	return nil
}

// named returns the displayed name of a version; "-" if it has none.
func named(version string) string {
	if version == "" {
		return "-"
	}
	return version
}

func learned(frozen bool, days, wanted int, rows int64) string {
	if frozen {
		return fmt.Sprintf("frozen with %d days, %d rows", days, rows)
	}
	return fmt.Sprintf("day %d of %d, %d rows", days, wanted, rows)
}

func (m modelBaselines) freeze(name, version *string) func(context.Context) error {
	return m.one(name, func(ctx context.Context, b *modelquality.Baselines, model string) error {
		failed := b.Freeze(ctx, model, *version)
		s, err := b.Status(ctx, model)
		if err == nil {
			err = m.summarize(b, model, s)
		}
		return errors.Join(failed, err)
	})
}

func (m modelBaselines) reset(name, version *string, names *[]string) func(context.Context) error {
	return m.one(name, func(ctx context.Context, b *modelquality.Baselines, model string) error {
		parts := make([]baseline.Part, len(*names))
		for i, p := range *names {
			if parts[i] = baseline.Part(p); parts[i] == baseline.PartLastGood {
				return errors.New("a model has no part last_good; want definition, training or production")
			}
		}
		if err := b.Reset(ctx, model, *version, parts...); err != nil {
			return err
		}
		_, err := fmt.Fprintf(m.stdout, "%s: reset %q\n", model, *names)
		return err
	})
}

func (m modelBaselines) accept(name *string, features *[]string) func(context.Context) error {
	return m.one(name, func(ctx context.Context, b *modelquality.Baselines, model string) error {
		for _, feature := range *features {
			if err := b.Accept(ctx, model, feature); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(m.stdout, "%s: %s is learned anew; the other features stay\n", model, feature); err != nil {
				return err
			}
		}
		return nil
	})
}
