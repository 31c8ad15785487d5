package exporter

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// Constant is one value of a snapshot. It is exposed like a constant metric of client_golang. Snapshots of one source share the identity
// of a value. Its labels are therefore checked and sorted only once, and a replay recognizes a series by its identity.
type Constant struct {
	identity *Identity
	value    float64
}

var _ prometheus.Metric = (*Constant)(nil)

// Identity identifies a series: the metric and its label values.
type Identity struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string

	once  sync.Once
	pairs []*dto.LabelPair
	err   error
}

// newIdentity keeps the labels. The caller must not change them afterwards.
func newIdentity(desc *prometheus.Desc, kind prometheus.ValueType, labels []string) *Identity {
	valid(labels)
	return &Identity{desc: desc, kind: kind, labels: labels}
}

// is reports whether the identity has this metric and these label values.
func (i *Identity) is(desc *prometheus.Desc, label string, more []string) bool {
	return i.desc == desc && len(i.labels) == 1+len(more) && i.labels[0] == label && slices.Equal(i.labels[1:], more)
}

// Labels are the values of the labels, in the order of the description. They must not be changed.
func (i *Identity) Labels() []string { return i.labels }

// Desc implements prometheus.Metric.
func (c *Constant) Desc() *prometheus.Desc { return c.identity.desc }

// Value returns the metric's value.
func (c *Constant) Value() float64 { return c.value }

// Identity returns the identity of the series.
func (c *Constant) Identity() *Identity { return c.identity }

// Write implements prometheus.Metric. Labels that do not match the descriptor are an error of the scrape.
func (c *Constant) Write(out *dto.Metric) error {
	i := c.identity
	i.once.Do(func() {
		metric, err := prometheus.NewConstMetric(i.desc, i.kind, 0, i.labels...)
		var written dto.Metric
		if err == nil {
			err = metric.Write(&written)
		}
		if err != nil {
			i.err = fmt.Errorf("make metric: %w", err)
		}
		i.pairs = written.Label
	})
	if i.err != nil {
		return i.err
	}
	out.Label = i.pairs
	if i.kind == prometheus.CounterValue {
		out.Counter = &dto.Counter{Value: proto.Float64(c.value)}
	} else {
		out.Gauge = &dto.Gauge{Value: proto.Float64(c.value)}
	}
	return nil
}
