// Package modelquality is the exporter that turns spans and log records about inferences into metrics.
//
// Input: OTLP spans and log records, tables of labels, and MLflow. Output by model and version: outcomes, latency and queue wait, features
// and predictions by frozen bins, and evaluations. State: counters, which belong to the Exporter and whose number the configuration limits.
// Baselines and undelivered reviews must outlive the process, so they are on disk or in an object store. The package never decides whether
// a value is good or bad; the rules do.
package modelquality

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/assessments"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/datasets"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Load reads and validates a configuration file. Without a file, every setting has its default.
func Load(path string) (Config, error) { return config.Load[Config](path) }

// Spec describes the exporter's binary.
func Spec() exporter.Spec[Config] {
	var webConfig *kingpin.FlagClause
	return exporter.Spec[Config]{
		Name:           "modelquality_exporter",
		Description:    "Publishes latency, outcomes, distributions and evaluations of inferences from OpenTelemetry spans.",
		DefaultAddress: ":10912",
		ConfigOptional: true,
		Load:           Load,
		Flags:          func(app *kingpin.Application) { webConfig = app.GetFlag("web.config.file") },
		Start: func(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
			file := string(cfg.OTLP.WebConfigFile)
			if file == "" && webConfig != nil {
				file = webConfig.Model().Value.String()
			}
			return start(env, cfg, file)
		},
		Watching: func(cfg Config) []any {
			mlflow, reviews := "none", "none"
			if cfg.MLflow != nil {
				mlflow = cfg.MLflow.URL
			}
			if cfg.Reviews != nil {
				reviews = cfg.Reviews.URL
			}
			return []any{"otlp_grpc", cfg.OTLP.GRPC, "otlp_http", cfg.OTLP.HTTP, "models", len(cfg.Models), "labels", len(cfg.Labels), "mlflow", mlflow, "reviews", reviews}
		},
	}
}

// Exporter is the exporter. It applies a new configuration itself, because a replacement would lose its counters.
type Exporter struct {
	cfg      atomic.Pointer[Config]
	rooms    *rooms
	meter    *metering.Meter
	keeper   *fields.Keeper // nil without a baseline store
	pipeline *pipeline
	receiver *receiver.Receiver
	// assessments is nil if none are configured.
	assessments *assessments.Puller
	descs       descs
	limiter     func(name string, most int) *limit.Limiter
}

var (
	_ exporter.Instance         = (*Exporter)(nil)
	_ exporter.Stopper          = (*Exporter)(nil)
	_ exporter.Reloader[Config] = (*Exporter)(nil)
)

// Intervals and limits of the background work.
const (
	tidyEvery   = 5 * time.Second
	fieldsEvery = 10 * time.Second
	// lineageEvery is the time until the registry is asked about a new version. The registry schedules later requests itself.
	lineageEvery = 5 * time.Second
	// fieldsTimeout is long because the first read of training data can be slow.
	fieldsTimeout = 10 * time.Minute
)

func start(env *exporter.Env, cfg Config, webConfigFile string) (_ exporter.Instance, err error) {
	e := &Exporter{limiter: env.Limit}
	e.cfg.Store(&cfg)
	now := time.Now
	if e.rooms, err = openRooms(&cfg, env, now); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.rooms.close())
		}
	}()
	if e.rooms.store != nil {
		causes, err := e.causes(&cfg.Causes)
		if err != nil {
			return nil, err
		}
		if e.keeper, err = fields.New(fields.Options{
			Store: e.rooms.store, Sample: cfg.Baselines.Sample, SampleWait: time.Duration(cfg.Baselines.SampleWait), Days: cfg.Baselines.Days,
			Choice: cfg.Baselines.Fields.choice(), Reveal: cfg.Baselines.Fields.revealed(), Training: e.training, Fields: env.Limit("fields", cfg.Baselines.Fields.MaxTotal),
			Zone: cfg.Baselines.TimeZone.Location(), Slow: time.Duration(cfg.Baselines.Interval), Causes: causes, Now: now, Logger: env.Logger,
		}); err != nil {
			return nil, cfg.Wrap("baselines", err)
		}
	}
	e.meter = metering.New(cfg.Limits, env.Limit, e.keeper, cfg.estimated())
	var reviews Reviews
	if e.rooms.outbox != nil {
		reviews = e.rooms.outbox
	}
	if e.pipeline, err = newPipeline(&cfg, env.Limit, e.meter, reviews, env.Logger, now); err != nil {
		return nil, cfg.Wrap("attributes", err)
	}
	e.descs = e.pipeline.descs
	if e.receiver, err = receiver.New(receiver.Options{
		GRPCAddress: address(cfg.OTLP.GRPC), HTTPAddress: address(cfg.OTLP.HTTP), WebConfigFile: webConfigFile,
		MaxRequestBytes: int64(cfg.OTLP.MaxRequestBytes), MaxJSONMemory: int64(cfg.OTLP.MaxJSONMemory), MaxRequests: cfg.OTLP.MaxConcurrentRequests, Logger: env.Logger,
	}, e.pipeline); err != nil {
		key := "otlp"
		if bind := (*receiver.BindError)(nil); errors.As(err, &bind) {
			key = "otlp." + bind.Protocol
		}
		return nil, cfg.Wrap(key, err)
	}
	if err := e.work(env, cfg); err != nil {
		return nil, errors.Join(err, e.receiver.Close())
	}
	env.Go(e.receiver.Serve)
	return e, nil
}

// work starts the periodic background work.
func (e *Exporter) work(env *exporter.Env, cfg Config) error {
	if err := env.Loop(exporter.Loop{Name: "tidy", Interval: tidyEvery, Collect: func(context.Context) error {
		e.pipeline.expire(time.Duration(cfg.Join.Wait))
		if len(e.meter.Forget(e.pipeline.now().Add(-time.Duration(e.cfg.Load().ForgetAfter)))) > 0 {
			e.pipeline.settings.Load().clients.Readmit(e.meter.Versions())
		}
		return nil
	}}); err != nil {
		return err
	}
	if e.rooms.outbox != nil {
		env.Go(e.rooms.outbox.Run)
	}
	if e.rooms.registry != nil {
		if err := env.Loop(exporter.Loop{Name: "mlflow", Interval: lineageEvery, Timeout: time.Minute, Collect: e.lineage}); err != nil {
			return err
		}
	}
	if m := cfg.MLflow; m != nil && len(m.Assessments.Experiments) > 0 {
		if err := e.pullAssessments(env, &m.Assessments); err != nil {
			return cfg.Wrap("mlflow.assessments", err)
		}
	}
	for i, l := range cfg.Labels {
		if err := env.Loop(exporter.Loop{
			Name: "labels/" + l.Name, Interval: time.Duration(l.Interval), Timeout: time.Duration(l.Timeout), Collect: e.rooms.labels[i].Cycle,
		}); err != nil {
			return err
		}
	}
	if e.keeper == nil {
		return nil
	}
	env.Go(e.keeper.Run)
	if err := env.Loop(exporter.Loop{Name: baseline.Collector, Interval: baseline.CheckInterval, Collect: e.rooms.store.Check}); err != nil {
		return err
	}
	if every := e.keeper.Causes.CausesEvery(); every > 0 {
		if err := env.Loop(exporter.Loop{Name: "causes", Interval: every, Timeout: fieldsTimeout, Collect: e.keeper.Explain}); err != nil {
			return err
		}
	}
	return env.Loop(exporter.Loop{Name: "fields", Interval: fieldsEvery, Timeout: fieldsTimeout, Collect: e.keeper.Cycle})
}

// pullAssessments starts the periodic pull of assessments.
func (e *Exporter) pullAssessments(env *exporter.Env, cfg *AssessmentsConfig) (err error) {
	o := assessments.Options{
		Server: e.rooms.registry, Lookback: time.Duration(cfg.Lookback), File: string(cfg.File), Take: e.pipeline.pull, Now: e.pipeline.now, Logger: env.Logger,
	}
	for _, x := range cfg.Experiments {
		o.Experiments = append(o.Experiments, assessments.Experiment(x))
	}
	if e.assessments, err = assessments.New(o); err != nil {
		return err
	}
	return env.Loop(exporter.Loop{Name: "assessments", Interval: time.Duration(cfg.Interval), Timeout: time.Duration(cfg.Timeout), Collect: e.assessments.Cycle})
}

// training returns the training data of a version: from the configuration, otherwise from the registry.
func (e *Exporter) training(ctx context.Context, model, version string) (fields.Training, bool, error) {
	if t, key := e.cfg.Load().training(model, version); t != nil {
		source, relation, err := e.rooms.table(&t.Place, "", key)
		return fields.Training{Source: source, Relation: relation, Prediction: t.PredictionColumn, Confidence: t.ConfidenceColumn}, err == nil, err
	}
	if e.rooms.datasets == nil {
		return fields.Training{}, false, nil
	}
	info, known := e.rooms.registry.Lookup(lineage.Version{Model: model, Version: version})
	if !known {
		return fields.Training{}, false, errors.New("the MLflow registry has not said yet what it was trained on")
	}
	if info.SourceType == "" && info.Source == "" {
		return fields.Training{}, false, nil // The run has no dataset.
	}
	file, err := e.rooms.datasets.Open(ctx, datasets.Dataset{RunID: info.RunID, Type: info.SourceType, Source: info.Source})
	if errors.Is(err, datasets.ErrUnreadable) {
		return fields.Training{}, false, nil
	}
	if err != nil {
		return fields.Training{}, false, err
	}
	relation, err := e.rooms.files.Files(file.Path, "")
	return fields.Training{Source: e.rooms.files, Relation: relation, Done: file.Done}, err == nil, err
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
	err := e.rooms.registry.Cycle(ctx, versions)
	for i, s := range series {
		if info, ok := e.rooms.registry.Lookup(versions[i]); ok {
			s.SetRun(info.RunID)
		}
	}
	return err
}

// Reload implements exporter.Reloader. It can change attribute names, gates, thresholds, training data and forget_after. All other settings
// affect sockets or the memory of counters, and need a restart.
func (e *Exporter) Reload(_ context.Context, cfg Config) error {
	old := e.cfg.Load()
	for _, part := range []struct {
		key      string
		old, new any
	}{
		{"otlp", old.OTLP, cfg.OTLP},
		{"limits", old.Limits, cfg.Limits},
		{"join", old.Join, cfg.Join},
		{"sources", old.Sources, cfg.Sources},
		{"baseline_store", old.BaselineStore, cfg.BaselineStore},
		{"baselines", old.Baselines, cfg.Baselines},
		{"causes", old.Causes, cfg.Causes},
		{"mlflow", old.MLflow, cfg.MLflow},
		{"reviews", old.Reviews, cfg.Reviews},
		{"labels", old.Labels, cfg.Labels},
	} {
		if !reflect.DeepEqual(part.old, part.new) {
			return cfg.Wrap(part.key, errors.New("has changed; restart the exporter, or undo the change"))
		}
	}
	s, err := newSettings(&cfg, e.limiter)
	if err != nil {
		return cfg.Wrap("attributes", err)
	}
	s.clients.Readmit(e.meter.Versions())
	e.pipeline.apply(&cfg, s)
	e.cfg.Store(&cfg)
	return nil
}

// OTLP returns the handler of OTLP over HTTP that also serves the configured address.
func (e *Exporter) OTLP() http.Handler { return e.receiver.Routes() }

// Stop implements exporter.Stopper.
func (e *Exporter) Stop(context.Context) error { return e.rooms.close() }

// Describe implements prometheus.Collector. It sends nothing, because the metrics depend on the received spans.
func (e *Exporter) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	e.meter.Collect(ch)
	e.pipeline.Collect(ch)
	e.receiver.Collect(ch)
	if e.keeper != nil {
		e.keeper.Collect(ch)
	}
	e.rooms.collect(ch)
	if e.assessments != nil {
		e.assessments.Collect(ch)
	}
	for _, m := range e.descs.configured(e.cfg.Load()) {
		ch <- m
	}
}
