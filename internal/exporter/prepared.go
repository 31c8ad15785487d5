package exporter

import (
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Prepared are metrics that were checked, sorted and laid out when they were
// collected, so that a scrape has only to write them. The zero value is empty.
type Prepared struct {
	families []*dto.MetricFamily
	err      error
}

// Prepare prepares metrics. Those that cannot be exposed are left out, and every
// scrape says so.
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

// Preparer is an Instance that publishes prepared metrics beside what it
// collects. No two of them may share a series: nobody looks at them again.
type Preparer interface {
	Prepared() []Prepared
}
