package dataquality

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/connect"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/internal/tables/tablecheck"
)

// Connect reports whether the exporter can reach the sources and tables of a configuration. It writes no baselines.
func Connect(ctx context.Context, report *connect.Report, cfg Config) {
	r, err := openConnections(cfg, slog.New(slog.DiscardHandler))
	if report.Fail("baseline_store", "open", err) {
		return
	}
	defer report.Close(r.close)
	report.Do(ctx, "baseline_store", "writable", r.store.Probe)
	reachable := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(cfg.Sources)) {
		reachable[name] = tablecheck.Source(ctx, report, name, cfg.Sources[name].Type, r.source)
	}
	now := time.Now() //nolint:forbidigo // The real clock enters here.
	for _, d := range cfg.Datasets {
		connectDataset(ctx, report, r, d, reachable, now)
	}
}

func connectDataset(ctx context.Context, report *connect.Report, r *connections, d DatasetConfig, reachable map[string]bool, now time.Time) {
	part, key := "dataset "+d.Name, r.key(&d)
	window := d.at(now)
	served, ok := connectTable(ctx, report, r, part, "rights", &d.TableConfig, key, reachable)
	if ok && d.Baselines.Training == nil {
		tablecheck.Columns(ctx, report, part, time.Duration(d.Timeout), served, window, d.Columns.choice())
	}
	if t := d.Baselines.Training; t != nil {
		trained, trainedOK := connectTable(ctx, report, r, part, "rights of training", &t.TableConfig, key+"baselines.training.", reachable)
		if ok && trainedOK {
			connectTraining(ctx, report, r, part, d, served, trained, window)
		}
	}
	for i, u := range d.Upstream {
		connectTable(ctx, report, r, part, "upstream "+u.Name, &u.TableConfig, key+"upstream["+strconv.Itoa(i)+"].", reachable)
	}
	for _, c := range d.Comparisons {
		if !reachable[c.Source] {
			continue
		}
		connect.TryFor(ctx, report, time.Duration(d.Timeout), part, "comparison with "+c.Against, func(ctx context.Context) ([]int64, string, error) {
			source, err := r.source(c.Source)
			if err != nil {
				return nil, "", err
			}
			n, err := source.Numbers(ctx, c.Query, window, "compared_rows", "mismatched_rows")
			if err != nil {
				return nil, "", err
			}
			return n, fmt.Sprintf("%d rows compared, %d mismatched", n[0], n[1]), nil
		})
	}
	if ok && d.SnapshotQuery != "" {
		connect.TryFor(ctx, report, time.Duration(d.Timeout), part, "snapshot_query", func(ctx context.Context) (string, string, error) {
			name, err := served.Source.Text(ctx, d.SnapshotQuery)
			return name, "the snapshot is " + name, err
		})
	}
}

// connectTable reads the schema of a table. It does not try if the source did not answer before; it reports that instead.
func connectTable(ctx context.Context, report *connect.Report, r *connections, part, what string, t *TableConfig, key string, reachable map[string]bool) (tablecheck.Opened, bool) {
	if !reachable[t.Source] {
		report.Add(part, what, connect.Failed, "its source "+t.Source+" does not answer")
		return tablecheck.Opened{}, false
	}
	return tablecheck.Table(ctx, report, part, what, func() (*tables.Source, tables.Relation, error) { return r.table(t, key) })
}

// connectTraining reports the bins that the exporter would cut from the training data.
func connectTraining(ctx context.Context, report *connect.Report, r *connections, part string, d DatasetConfig, served, training tablecheck.Opened, window tables.Window) {
	for _, c := range training.Schema {
		if !has(served.Schema, c.Name) {
			report.Add(part, "column "+c.Name, connect.Info, c.Type+": no bins, only the training data has it")
		}
	}
	tablecheck.Bins(ctx, report, part, time.Duration(d.Timeout), served.Schema, func(ctx context.Context) (tables.Cut, error) {
		l, err := r.learner(d, time.Now) //nolint:forbidigo // The real clock enters here.
		if err != nil {
			return tables.Cut{}, err
		}
		of, rows, err := l.cutTraining(ctx, baseline.Definition{}, served.Schema, window)
		return tables.Cut{Rows: rows, Layouts: of.Fields, Left: of.Left}, err
	})
}

// at returns the window of a profile that starts now.
func (d *DatasetConfig) at(now time.Time) tables.Window {
	var w tables.Window
	if d.TimestampColumn != "" {
		w.To = now.Add(time.Duration(d.ClockSkew))
		if d.Window > 0 {
			w.From = now.Add(-time.Duration(d.Window))
		}
	}
	return w
}
