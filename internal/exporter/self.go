package exporter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/sightglass-ml/sightglass/internal/limit"
)

// selfMetrics are the metrics of the process itself.
type selfMetrics struct {
	registry   *prometheus.Registry
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	dropped    *prometheus.CounterVec
	panics     *prometheus.CounterVec
}

func newSelfMetrics(name string) *selfMetrics {
	m := &selfMetrics{
		registry: prometheus.NewRegistry(),
		reloadOK: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sightglass_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration succeeded.",
		}),
		reloadTime: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sightglass_config_last_reload_success_timestamp_seconds",
			Help: "Time of the last successful load of the configuration.",
		}),
		dropped: limit.NewDropped(),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sightglass_panics_total",
			Help: "Panics that were caught, by the part of the program. The log has the stack.",
		}, []string{"part"}),
	}
	for _, part := range []string{"load", "start", "reload", "stop", "scrape", "collector", "background"} {
		m.panics.WithLabelValues(part)
	}
	m.registry.MustRegister(
		m.reloadOK, m.reloadTime, m.dropped, m.panics,
		versioncollector.NewCollector(name),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *selfMetrics) reloaded(ok bool) {
	m.reloadOK.Set(boolean(ok))
	if ok {
		m.reloadTime.SetToCurrentTime()
	}
}
