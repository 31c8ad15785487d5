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
	"sync/atomic"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
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
	cfg         atomic.Pointer[Config]
	connections *connections
	meter       *metering.Meter
	keeper      *fields.Keeper // nil without a baseline store
	pipeline    *pipeline
	receiver    *receiver.Receiver
	descs       descs
	env         *exporter.Env
	limiter     func(name string, most int) *limit.Limiter
	fields      atomic.Pointer[func(model string) *limit.Limiter] // the limits on counted fields, by model
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
	e := &Exporter{env: env, limiter: env.Limit}
	e.cfg.Store(&cfg)
	e.fields.Store(new(fieldLimits(&cfg, env.Limit)))
	now := time.Now
	if e.connections, err = openConnections(&cfg, env); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.connections.close())
		}
	}()
	if e.connections.store != nil {
		if e.keeper, err = e.openFields(&cfg); err != nil {
			return nil, err
		}
	}
	e.meter = metering.New(cfg.Limits, env.Limit, e.keeper, cfg.estimated())
	var reviews Reviews
	if e.connections.outbox != nil {
		reviews = e.connections.outbox
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
	if e.connections.outbox != nil {
		env.Go(e.connections.outbox.Run)
	}
	m, err := e.openMLflow(&cfg)
	if err != nil {
		return err
	}
	if err := e.watchMLflow(m, cfg.MLflow); err != nil {
		return err
	}
	for i := range cfg.Labels {
		l, err := e.openLabels(&cfg, i)
		if err != nil {
			return err
		}
		if err := e.watchLabels(l); err != nil {
			return err
		}
	}
	return e.watchFields()
}

// OTLP returns the handler of OTLP over HTTP that also serves the configured address.
func (e *Exporter) OTLP() http.Handler { return e.receiver.Routes() }

// Stop implements exporter.Stopper.
func (e *Exporter) Stop(context.Context) error { return e.connections.close() }

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
	e.connections.collect(ch)
	for _, m := range e.descs.configured(e.cfg.Load()) {
		ch <- m
	}
}
