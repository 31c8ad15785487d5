// Package telemetry publishes the telemetry of the process itself.
//
// Input: OpenTelemetry instruments and spans, the OpenCensus views and spans of dependencies that still use OpenCensus, and the
// Prometheus metrics of the process. Output: the OpenTelemetry and OpenCensus metrics at /metrics, and all telemetry by OTLP if the
// standard OTEL_* variables request it. State: the providers and, after Start, the process-wide hooks through which libraries find the
// providers.
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

// Options describe the process.
type Options struct {
	Service string // service.name, unless OTEL_SERVICE_NAME overrides it
	Version string
	Logger  *slog.Logger
	// Registerer is where the metrics of OpenTelemetry and OpenCensus are registered.
	Registerer prometheus.Registerer
	// Self are the Prometheus metrics of the process, which are also sent by OTLP. It must not include Registerer's metrics, which
	// would then be sent twice.
	Self prometheus.Gatherer
}

// Telemetry is the running telemetry of the process.
type Telemetry struct {
	Meters  metric.MeterProvider
	Tracers trace.TracerProvider

	shutdown []func(context.Context) error
}

// Start starts the telemetry and installs it process-wide: as OpenTelemetry's global providers and error handler, and as the tracer of
// OpenCensus.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	t := &Telemetry{Meters: metricnoop.NewMeterProvider(), Tracers: tracenoop.NewTracerProvider()}
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return t, nil
	}
	res, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(o.Service), semconv.ServiceVersion(o.Version)),
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithFromEnv(), // last, so that the operator's settings take precedence
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
		// The labels job and instance identify the process, and <name>_build_info has its version. target_info and scope labels would
		// repeat them on every series.
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

// maxSpanAttributes is large enough for the features of a model, each of which is one attribute of a span.
const maxSpanAttributes = 1024

// spanLimits returns the SDK's limits, with more attributes unless the environment sets a limit. The SDK's default keeps 128
// attributes: it drops the 129th and all later ones, among them the prediction.
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

// Shutdown sends pending telemetry and restores the previous providers. It gives up when ctx ends.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	// Concurrently, so that an endpoint that does not answer for one signal does not use up the time of the other.
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

// exports reports whether the environment requests the export of a signal. The specification's default is to export to localhost.
// Without a collector there, that would fill the log.
func exports(signal string) bool {
	switch os.Getenv("OTEL_" + signal + "_EXPORTER") {
	case "":
	case "none", "prometheus": // the latter is /metrics, which is always served
		return false
	default:
		return true
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// producers combines several producers of metrics into one for autoexport.
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
