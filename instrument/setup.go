package instrument

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
)

// SetupOptions configure the telemetry of a service.
type SetupOptions struct {
	// Service is the resource attribute service.name, unless OTEL_SERVICE_NAME overrides it.
	Service string
	Version string
	// Logger logs telemetry that could not be sent.
	Logger *slog.Logger
	// Registerer, if set, registers the service's OpenTelemetry and OpenCensus metrics for Prometheus.
	Registerer prometheus.Registerer
	// Self, if set, are Prometheus metrics that OTLP also exports. They must not include those of Registerer.
	Self prometheus.Gatherer
}

// Setup installs OpenTelemetry in a service that does not configure it itself. The standard OTEL_* variables configure OTLP.
// Metrics and spans that the service and its dependencies report by OpenCensus are exported, too. Setup replaces the
// process-wide providers until shutdown, which sends pending telemetry.
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
