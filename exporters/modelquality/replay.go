package modelquality

import (
	"context"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Types of the OTLP decoder, for a replay, which creates spans without encoding them.
type (
	// Span is a span.
	Span = otlp.Span
	// SpanEvent is an event of a span.
	SpanEvent = otlp.Event
	// Attribute is an attribute of a span or event.
	Attribute = otlp.Attribute
	// Value is the value of an attribute.
	Value = otlp.Value
)

// StatusError is the status of a failed span.
const StatusError = otlp.StatusError

// Constructors of attribute values.
var (
	StringValue = otlp.StringValue
	DoubleValue = otlp.DoubleValue
	IntValue    = otlp.IntValue
)

// ReplayOptions are the dependencies of a Replay.
type ReplayOptions struct {
	// Sources are the databases of the configuration, by name. Replay does not close them.
	Sources map[string]*tables.Source
	// Store has the baselines. Replay does not close it.
	Store  *baseline.Store
	Now    func() time.Time
	Logger *slog.Logger
}

// Replay is the exporter without receiver and background loops. Its caller owns the clock, passes spans, and calls Tidy.
type Replay struct{ exporter *Exporter }

// NewReplay starts the exporter like a new process. It continues the baselines of the store; counters start at zero.
func NewReplay(cfg Config, o ReplayOptions) (*Replay, error) {
	e := &Exporter{connections: newConnections(&cfg)}
	e.connections.store = o.Store
	maps.Copy(e.connections.sources, o.Sources)
	e.cfg.Store(&cfg)
	dropped := limit.NewDropped()
	limiter := func(name string, most int) *limit.Limiter { return limit.New(name, most, dropped) }
	seasons, err := cfg.Baselines.seasons()
	if err != nil {
		return nil, err
	}
	if e.keeper, err = fields.New(fields.Options{
		Store: o.Store, Sample: cfg.Baselines.Sample, SampleWait: time.Duration(cfg.Baselines.SampleWait), Days: cfg.Baselines.Days,
		Choice: cfg.Baselines.Fields.choice(), Reveal: cfg.Baselines.Fields.revealed(), Training: e.training, Fields: fieldLimits(&cfg, limiter),
		// No other process writes to the store, so it is not polled. This process publishes its own changes at once.
		Slow: max(time.Duration(cfg.Baselines.Interval), 6*time.Hour), Season: seasons, Now: o.Now, Logger: o.Logger,
	}); err != nil {
		return nil, err
	}
	e.meter = metering.New(cfg.Limits, limiter, e.keeper, cfg.estimated())
	if e.pipeline, err = newPipeline(&cfg, limiter, e.meter, nil, o.Logger, o.Now); err != nil {
		return nil, err
	}
	e.descs = e.pipeline.descs
	return &Replay{e}, nil
}

// Feed processes spans like one request. produce must call span with each; a span can be reused after the call.
func (r *Replay) Feed(produce func(span func(*Span))) error {
	_, err := r.exporter.pipeline.take("", receiver.Traces, func(w *worker) error {
		w.reader.Resource(nil)
		produce(w.reader.Span)
		return nil
	})
	return err
}

// Tidy does the periodic work of the exporter: it expires waiting items, forgets versions, cuts bins and adds days.
func (r *Replay) Tidy(ctx context.Context) error {
	e := r.exporter
	cfg := e.cfg.Load()
	e.pipeline.expire(time.Duration(cfg.Join.Wait))
	e.meter.Forget(e.pipeline.now().Add(-time.Duration(cfg.ForgetAfter)))
	return e.keeper.Cycle(ctx)
}

// What the short windows of a field are compared with, and the series of a field that differ by their bin.
type (
	// Group is the series of one field that differ by their bin alone.
	Group = fields.Group
	// Mixture is what a short window of one field is compared with now.
	Mixture = fields.Mixture
)

// Values calls each with the counters of every field. The strings and bins are the same at every call, so that a caller can tell
// quickly which field it is.
func (r *Replay) Values(each func(g Group, counts []int64)) { r.exporter.keeper.Values(each) }

// Mixtures calls each with what the short windows of every field are compared with now.
func (r *Replay) Mixtures(each func(*Mixture)) { r.exporter.keeper.Mixtures(each) }

// BaselineChanges returns the number of changes of the other baselines.
func (r *Replay) BaselineChanges() int64 { return r.exporter.keeper.Changes() }

// Baselines returns the series of the baselines except the mixtures.
func (r *Replay) Baselines() []prometheus.Metric { return r.exporter.keeper.BaselineMetrics() }

// Inferences returns all other series of models.
func (r *Replay) Inferences() []prometheus.Metric {
	ch := make(chan prometheus.Metric, 64)
	go func() {
		defer close(ch)
		r.exporter.meter.Collect(ch)
		for _, m := range r.exporter.descs.configured(r.exporter.cfg.Load()) {
			ch <- m
		}
	}()
	var all []prometheus.Metric
	for m := range ch {
		all = append(all, m)
	}
	return all
}
