package exporter

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Prepared are metrics that were checked and sorted when they were collected, so that a scrape only has to write them. The zero value
// is empty.
type Prepared struct {
	families []*dto.MetricFamily
	err      error
}

// Prepare prepares metrics. It leaves out metrics that cannot be exposed, and every scrape reports their error.
func Prepare(metrics []prometheus.Metric) Prepared {
	r := prometheus.NewRegistry()
	r.MustRegister(collectorFunc(func(ch chan<- prometheus.Metric) {
		for _, m := range metrics {
			ch <- m
		}
	}))
	families, err := r.Gather()
	return Prepared{families, err}
}

// Gather implements prometheus.Gatherer. The families must not be changed.
func (p Prepared) Gather() ([]*dto.MetricFamily, error) { return p.families, p.err }

// Preparer is an Instance that publishes prepared metrics in addition to those that it collects. Two of them must not contain the same
// series, because this is not checked.
type Preparer interface {
	Prepared() []Prepared
}
