// Package telemetry carries what a process says about itself.
//
// Input: OpenTelemetry instruments and spans, the OpenCensus views and spans of
// dependencies that still use it, and the Prometheus metrics of the process. Out
// flow the OpenTelemetry and OpenCensus metrics at /metrics, and everything by
// OTLP where the standard OTEL_* variables ask for it. The package owns the
// providers and, from Start on, the process-wide hooks by which libraries find
// them: a library that nobody configured looks nowhere else.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	octrace "go.opencensus.io/trace"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/bridge/opencensus"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Options say whose telemetry it is.
type Options struct {
	Service string // service.name, unless OTEL_SERVICE_NAME says otherwise
	Version string
	Logger  *slog.Logger
	// Registerer is where the metrics of OpenTelemetry and OpenCensus show up.
	Registerer prometheus.Registerer
	// Self are the Prometheus metrics of the process, which OTLP carries too. It
	// must not include what Registerer gathers, which would then be sent twice.
	Self prometheus.Gatherer
}

// Telemetry is the running telemetry of the process.
type Telemetry struct {
	Meters  metric.MeterProvider
	Tracers trace.TracerProvider

	shutdown []func(context.Context) error
}

// Start sets telemetry up and installs it process-wide: as OpenTelemetry's
// global providers and error handler, and as the tracer behind OpenCensus.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{Meters: metricnoop.NewMeterProvider(), Tracers: tracenoop.NewTracerProvider()}
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return t, nil
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(o.Service), semconv.ServiceVersion(o.Version)),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithFromEnv(), // last, so that the operator's word counts
	)
	if err != nil {
		return nil, fmt.Errorf("describe the process to OpenTelemetry: %w", err)
	}
	if err := t.startMetrics(ctx, o, res); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	if err := t.startTraces(ctx, res); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		o.Logger.Warn("Telemetry could not be processed or sent", "err", err)
	}))
	return t, nil
}

func (t *Telemetry) startMetrics(ctx context.Context, o Options, res *resource.Resource) error {
	census := opencensus.NewMetricProducer()
	exporter, err := otelprom.New(
		otelprom.WithRegisterer(o.Registerer),
		otelprom.WithProducer(census),
		// The scrape names the process by job and instance and <name>_build_info
		// its version; target_info and scope labels would say it again on every
		// series.
		otelprom.WithoutTargetInfo(),
		otelprom.WithoutScopeInfo(),
	)
	if err != nil {
		return fmt.Errorf("expose OpenTelemetry metrics: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(exporter)}
	if exports("METRICS") {
		self := bridge.NewMetricProducer(bridge.WithGatherer(o.Self))
		autoexport.WithFallbackMetricProducer(func(context.Context) (sdkmetric.Producer, error) {
			return producers{census, self}, nil
		})
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("export metrics as OTEL_* says: %w", err)
		}
		options = append(options, sdkmetric.WithReader(reader))
	}
	meters := sdkmetric.NewMeterProvider(options...)
	previous := otel.GetMeterProvider()
	otel.SetMeterProvider(meters)
	t.Meters = meters
	t.onShutdown(func(ctx context.Context) error {
		otel.SetMeterProvider(previous)
		return meters.Shutdown(ctx)
	})
	return nil
}

// maxSpanAttributes has room for the features of a model, of which a span has one attribute each.
const maxSpanAttributes = 1024

// spanLimits are the SDK's, but for the number of attributes where the environment does not say one: from the 129th on the
// SDK would drop those that come last, the prediction among them.
func spanLimits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if os.Getenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT") == "" && os.Getenv("OTEL_ATTRIBUTE_COUNT_LIMIT") == "" {
		limits.AttributeCountLimit = maxSpanAttributes
	}
	return limits
}

func (t *Telemetry) startTraces(ctx context.Context, res *resource.Resource) error {
	if !exports("TRACES") {
		return nil // no-op spans cost nothing
	}
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return fmt.Errorf("export traces as OTEL_* says: %w", err)
	}
	tracers := sdktrace.NewTracerProvider(sdktrace.WithResource(res), sdktrace.WithBatcher(exporter), sdktrace.WithRawSpanLimits(spanLimits()))
	previous, previousCensus := otel.GetTracerProvider(), octrace.DefaultTracer
	otel.SetTracerProvider(tracers)
	opencensus.InstallTraceBridge(opencensus.WithTracerProvider(tracers))
	t.Tracers = tracers
	t.onShutdown(func(ctx context.Context) error {
		otel.SetTracerProvider(previous)
		octrace.DefaultTracer = previousCensus
		return tracers.Shutdown(ctx)
	})
	return nil
}

func (t *Telemetry) onShutdown(f func(context.Context) error) { t.shutdown = append(t.shutdown, f) }

// Shutdown sends what is not sent yet and takes the providers back. It gives up
// when ctx ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	// Side by side: an endpoint that does not answer for one signal must not use
	// up the time of the other.
	errs := make([]error, len(t.shutdown))
	var all sync.WaitGroup
	for i, f := range t.shutdown {
		all.Go(func() { errs[i] = f(ctx) })
	}
	all.Wait()
	t.shutdown = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("shut telemetry down: %w", err)
	}
	return nil
}

// exports says whether the environment asks for a signal to be sent. The
// specification's default is to send to localhost, which would fill the log of
// everyone who has no collector there.
func exports(signal string) bool {
	switch os.Getenv("OTEL_" + signal + "_EXPORTER") {
	case "":
	case "none", "prometheus": // the latter is /metrics, which is always there
		return false
	default:
		return true
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// producers joins several sources of metrics into the one that autoexport takes.
type producers []sdkmetric.Producer

// Produce implements sdkmetric.Producer.
func (ps producers) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	var all []metricdata.ScopeMetrics
	var errs []error
	for _, p := range ps {
		scopes, err := p.Produce(ctx)
		all, errs = append(all, scopes...), append(errs, err)
	}
	return all, errors.Join(errs...)
}
