package exporter

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Constant is one value of a snapshot. It becomes client_golang's constant metric when it is first written. A snapshot that is replaced
// before a scrape therefore costs a fifth of a snapshot of constant metrics, and a replay can read values and labels directly.
type Constant struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	value  float64
	labels []string

	once   sync.Once
	metric prometheus.Metric
}

var _ prometheus.Metric = (*Constant)(nil)

// newConstant keeps labels, which the caller must not change afterwards.
func newConstant(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels []string) *Constant {
	return &Constant{desc: desc, kind: kind, value: value, labels: labels}
}

// Desc implements prometheus.Metric.
func (c *Constant) Desc() *prometheus.Desc { return c.desc }

// Value returns the metric's value.
func (c *Constant) Value() float64 { return c.value }

// LabelValues returns the values of the labels in the order of the descriptor. The caller must not change them.
func (c *Constant) LabelValues() []string { return c.labels }

// Write implements prometheus.Metric. Labels that do not match the descriptor are an error of the scrape.
func (c *Constant) Write(out *dto.Metric) error {
	c.once.Do(func() {
		var err error
		if c.metric, err = prometheus.NewConstMetric(c.desc, c.kind, c.value, c.labels...); err != nil {
			c.metric = prometheus.NewInvalidMetric(c.desc, fmt.Errorf("make metric: %w", err))
		}
	})
	return c.metric.Write(out)
}
