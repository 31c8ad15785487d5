package modelquality

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/connect"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
	"github.com/sightglass-ml/sightglass/internal/state"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/internal/tables/tablecheck"
)

// Connect reports which endpoints of a configuration can be reached. It receives no requests and sends no reviews.
func Connect(ctx context.Context, report *connect.Report, cfg Config) {
	r := newConnections(&cfg)
	defer report.Close(r.close)
	for protocol, configured := range sorted(map[string]string{"grpc": cfg.OTLP.GRPC, "http": cfg.OTLP.HTTP}) {
		if a := address(configured); a != "" {
			report.Do(ctx, "otlp "+protocol, "address free", func(ctx context.Context) (string, error) { return free(ctx, a) })
		}
	}
	connectStore(ctx, report, r)
	if cfg.MLflow != nil {
		connectMLflow(ctx, report, r, *cfg.MLflow)
	}
	if v := cfg.Reviews; v != nil {
		report.Do(ctx, "reviews", "reachable", func(ctx context.Context) (string, error) {
			client, err := httpclient.New(v.HTTPClient, v.client, clientName)
			if err != nil {
				return "", err
			}
			return outbox.Reach(ctx, client, v.URL, v.Token, time.Duration(v.Timeout))
		})
		report.Do(ctx, "reviews", "writable", func(context.Context) (string, error) { return state.Probe(filepath.Dir(string(v.File))) })
	}
	reachable := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(cfg.Sources)) {
		reachable[name] = tablecheck.Source(ctx, report, name, cfg.Sources[name].Type, r.source)
	}
	for i, m := range cfg.Models {
		if m.Training != nil {
			connectTraining(ctx, report, r, m, "models["+strconv.Itoa(i)+"].training.", reachable)
		}
	}
	for i := range cfg.Labels {
		connectLabels(ctx, report, r, &cfg.Labels[i], "labels["+strconv.Itoa(i)+"].", reachable)
	}
}

// free checks that the exporter could listen on an address.
func free(ctx context.Context, address string) (string, error) {
	var c net.ListenConfig
	l, err := c.Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("%w; if this exporter is running with the same configuration, it is the one that listens", err)
	}
	return address, l.Close()
}

func connectStore(ctx context.Context, report *connect.Report, r *connections) {
	if r.cfg.Load().BaselineStore.Type == "" {
		report.Add("baseline_store", "writable", connect.Info, "none is configured: fields have no bins")
		return
	}
	var err error
	if r.store, err = baseline.Open(r.cfg.Load().BaselineStore, slog.New(slog.DiscardHandler), nil); report.Fail("baseline_store", "open", err) {
		return
	}
	report.Do(ctx, "baseline_store", "writable", r.store.Probe)
}

func connectMLflow(ctx context.Context, report *connect.Report, r *connections, m MLflowConfig) {
	env := &exporter.Env{Logger: slog.New(slog.DiscardHandler)}
	registry, err := r.openRegistry(&m, 1, env, time.Now)
	if report.Fail("mlflow", "open", err) {
		return
	}
	r.registry.Store(registry)
	report.Do(ctx, "mlflow", "reachable", func(ctx context.Context) (string, error) {
		return m.URL + " answers, and the registry may be read", registry.server.Ping(ctx)
	})
	for i, b := range m.Datasets.Buckets {
		report.Do(ctx, "bucket "+b.URI, "reachable", func(ctx context.Context) (string, error) {
			n := 0
			err := registry.buckets[i].Iter(ctx, "", func(string) error { n++; return nil })
			return fmt.Sprintf("%d objects and folders at the top", n), err
		})
	}
}

// trainingTimeout limits one read of training data.
const trainingTimeout = 2 * time.Minute

func connectTraining(ctx context.Context, report *connect.Report, r *connections, m ModelConfig, key string, reachable map[string]bool) {
	part := "model " + m.Name
	if m.Version != "" {
		part += " " + m.Version
	}
	t, ok := connectTable(ctx, report, r, part, "rights of training", &m.Training.Location, "", key, reachable)
	if !ok {
		return
	}
	if missing(report, part, t.Schema, m.Training.PredictionColumn, m.Training.ConfidenceColumn) {
		return
	}
	tablecheck.Columns(ctx, report, part, trainingTimeout, t, tables.Window{}, r.cfg.Load().Baselines.Fields.choice())
}

func connectLabels(ctx context.Context, report *connect.Report, r *connections, l *LabelsConfig, key string, reachable map[string]bool) {
	part := "labels " + l.Name
	t, ok := connectTable(ctx, report, r, part, "rights", &l.Location, l.TimeColumn, key, reachable)
	if !ok {
		return
	}
	missing(report, part, t.Schema, l.PredictionColumn, l.LabelColumn, l.ModelColumn, l.VersionColumn, l.SegmentColumn, l.LabelTimeColumn)
	for _, c := range t.Schema {
		report.Add(part, "column "+c.Name, connect.Info, c.Type)
	}
}

// missing reports columns that the configuration names but the table lacks.
func missing(report *connect.Report, part string, schema []tables.Column, names ...string) bool {
	found := false
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(schema, func(c tables.Column) bool { return c.Name == name }) {
			report.Add(part, "column "+name, connect.Failed, tables.ErrNoColumn.Error())
			found = true
		}
	}
	return found
}

// connectTable reads the schema of a table, unless its source is already reported as unreachable.
func connectTable(ctx context.Context, report *connect.Report, r *connections, part, what string, p *tables.Location, timeColumn, key string, reachable map[string]bool) (tablecheck.Opened, bool) {
	if !reachable[p.Source] {
		report.Add(part, what, connect.Failed, "its source "+p.Source+" does not answer")
		return tablecheck.Opened{}, false
	}
	return tablecheck.Table(ctx, report, part, what, func() (*tables.Source, tables.Relation, error) { return r.table(p, timeColumn, key) })
}
