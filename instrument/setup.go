package instrument

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
)

// SetupOptions say whose telemetry it is.
type SetupOptions struct {
	// Service is service.name, unless OTEL_SERVICE_NAME says otherwise.
	Service string
	Version string
	// Logger tells of telemetry that could not be sent.
	Logger *slog.Logger
	// Registerer shows the service's OpenTelemetry and OpenCensus metrics to Prometheus; nil is not at all.
	Registerer prometheus.Registerer
	// Self are Prometheus metrics that OTLP is to carry too, other than those of Registerer; nil is none.
	Self prometheus.Gatherer
}

// Setup gives a service that has no OpenTelemetry of its own OTLP as the standard OTEL_* variables say. What it and its
// dependencies still report by OpenCensus, metrics and spans, goes the same way. It replaces the process-wide providers
// until shutdown, which sends what is left.
func Setup(ctx context.Context, o SetupOptions) (shutdown func(context.Context) error, err error) {
	if o.Service == "" || o.Logger == nil {
		return nil, errors.New("instrument: telemetry needs the name of a service and a logger")
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	if o.Self == nil {
		o.Self = prometheus.NewRegistry()
	}
	t, err := telemetry.Start(ctx, telemetry.Options{Service: o.Service, Version: o.Version, Logger: o.Logger, Registerer: o.Registerer, Self: o.Self})
	if err != nil {
		return nil, fmt.Errorf("instrument: %w", err)
	}
	return t.Shutdown, nil
}
