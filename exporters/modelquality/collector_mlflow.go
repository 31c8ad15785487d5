package modelquality

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/assessments"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/datasets"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// registry is an MLflow server with the readers of its data. The following are nil if they are not configured.
type registry struct {
	server      *lineage.Registry
	datasets    *datasets.Reader // fetches the datasets of runs
	files       *tables.Source   // reads these files
	buckets     []objstore.Bucket
	assessments *assessments.Puller
	stops       []stop
}

func (r *connections) openRegistry(m *MLflowConfig, versions int, env *exporter.Env, now func() time.Time) (_ *registry, err error) {
	out := &registry{}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.close())
		}
	}()
	var link *template.Template
	if m.TraceLink != "" {
		if link, err = template.New("trace_link").Parse(m.TraceLink); err != nil {
			return nil, err
		}
	}
	client, err := httpclient.New(m.HTTPClient, m.client, clientName)
	if err != nil {
		return nil, err
	}
	if out.server, err = lineage.New(lineage.Options{
		URL: m.URL, Token: m.Token, Username: m.Username, Password: m.Password, Aliases: m.Aliases, Client: client,
		Refresh: time.Duration(m.Refresh), RetryMissing: time.Duration(m.RetryMissing), Timeout: time.Duration(m.Timeout),
		RequestsPerSecond: m.RequestsPerSecond, MaxVersions: max(versions, 1), WriteBack: m.WriteBack, TraceLink: link, Logger: env.Logger, Now: now,
	}); err != nil {
		return nil, err
	}
	return out, out.openDatasets(&m.Datasets, r.temp(), env, now)
}

func (m *registry) openDatasets(d *DatasetsConfig, temp string, env *exporter.Env, now func() time.Time) (err error) {
	if !d.any() {
		return nil
	}
	o := datasets.Options{
		Hosts: d.Hosts, MaxBytes: int64(d.MaxBytes), Timeout: time.Duration(d.Timeout), TempDir: cmp.Or(string(d.TempDirectory), temp), Now: now, Logger: env.Logger,
	}
	for _, f := range d.Folders {
		o.Folders = append(o.Folders, string(f))
	}
	if d.Artifacts {
		o.Artifacts = m.server
	}
	for _, b := range d.Buckets {
		bucket, err := b.Bucket(env.Logger)
		if err != nil {
			return fmt.Errorf("datasets: bucket %s: %w", b.URI, err)
		}
		m.buckets = append(m.buckets, bucket)
		o.Buckets = append(o.Buckets, datasets.Bucket{URI: b.URI, BucketReader: bucket})
	}
	if m.datasets, err = datasets.New(o); err != nil {
		return err
	}
	m.files, err = tables.Open(tables.Options{Type: tables.DuckDB, TempDirectory: tables.Scratch(temp)})
	return err
}

func (m *registry) collect(ch chan<- prometheus.Metric) {
	m.server.Collect(ch)
	if m.assessments != nil {
		m.assessments.Collect(ch)
	}
}

func (m *registry) close() error {
	var errs []error
	if m.files != nil {
		errs = append(errs, m.files.Close())
	}
	for _, b := range m.buckets {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// openMLflow returns nil if no registry is configured. It starts nothing.
func (e *Exporter) openMLflow(cfg *Config) (*registry, error) {
	m := cfg.MLflow
	if m == nil {
		return nil, nil
	}
	out, err := e.connections.openRegistry(m, cfg.Limits.Versions, e.env, e.pipeline.now)
	if err != nil {
		return nil, cfg.Wrap("mlflow", fmt.Errorf("mlflow: %w", err))
	}
	a := &m.Assessments
	if len(a.Experiments) == 0 {
		return out, nil
	}
	o := assessments.Options{
		Server: out.server, Lookback: time.Duration(a.Lookback), File: string(a.File), Take: e.pipeline.pull, Now: e.pipeline.now, Logger: e.env.Logger,
	}
	for _, x := range a.Experiments {
		o.Experiments = append(o.Experiments, assessments.Experiment(x))
	}
	if out.assessments, err = assessments.New(o); err != nil {
		return nil, errors.Join(cfg.Wrap("mlflow.assessments", err), out.close())
	}
	return out, nil
}

// watchMLflow makes a registry current and starts its loops. The registry may be nil.
func (e *Exporter) watchMLflow(m *registry, cfg *MLflowConfig) error {
	e.connections.registry.Store(m)
	if m == nil {
		return nil
	}
	loops := []exporter.Loop{{Name: "mlflow", Interval: lineageEvery, Timeout: time.Minute, Collect: e.lineage}}
	if m.assessments != nil {
		loops = append(loops, exporter.Loop{
			Name: "assessments", Interval: time.Duration(cfg.Assessments.Interval), Timeout: time.Duration(cfg.Assessments.Timeout), Collect: m.assessments.Cycle,
		})
	}
	for _, l := range loops {
		stop, err := e.env.StartLoop(l)
		if err != nil {
			return err
		}
		m.stops = append(m.stops, stop)
	}
	return nil
}

// lineage asks the registry about the versions that are served.
func (e *Exporter) lineage(ctx context.Context) error {
	var versions []lineage.Version
	var series []*metering.Series
	e.meter.All(func(s *metering.Series) {
		if s.Model != limit.Other && s.Version != limit.Other && s.Model != unknown {
			versions, series = append(versions, lineage.Version{Model: s.Model, Version: s.Version}), append(series, s)
		}
	})
	m := e.connections.registry.Load()
	if m == nil {
		return nil // A reload has just removed it.
	}
	err := m.server.Cycle(ctx, versions)
	for i, s := range series {
		if info, ok := m.server.Lookup(versions[i]); ok {
			s.SetRun(info.RunID)
		}
	}
	return err
}
