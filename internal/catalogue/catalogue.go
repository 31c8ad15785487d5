// Package catalogue describes the metrics that an exporter publishes.
//
// Input: names, help texts and labels, where an exporter declares its metrics. Output: descriptors for client_golang, and the rows of
// docs/metrics.md, so that the documentation cannot differ from the code. State: a Catalogue, which belongs to the exporter that made
// it.
package catalogue

import (
	"fmt"
	"io"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is one row of docs/metrics.md.
type Metric struct {
	Name   string
	Type   string
	Help   string
	Labels []string
}

// Catalogue collects the metrics of one exporter in the order of their declaration.
type Catalogue struct {
	// Prefix is the first part of every name.
	Prefix string
	// Labels are on every metric.
	Labels  []string
	Metrics []Metric
}

// Gauge declares a gauge.
func (c *Catalogue) Gauge(name, help string, labels ...string) *prometheus.Desc {
	return c.add("gauge", name, help, labels)
}

// Counter declares a counter.
func (c *Catalogue) Counter(name, help string, labels ...string) *prometheus.Desc {
	return c.add("counter", name, help, labels)
}

// Histogram declares a histogram.
func (c *Catalogue) Histogram(name, help string, labels ...string) *prometheus.Desc {
	return c.add("histogram", name, help, labels)
}

func (c *Catalogue) add(kind, name, help string, labels []string) *prometheus.Desc {
	m := Metric{Name: c.Prefix + name, Type: kind, Help: help, Labels: append(append([]string{}, c.Labels...), labels...)}
	c.Metrics = append(c.Metrics, m)
	return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
}

// WriteMarkdown writes the catalogue as a Markdown table.
func (c *Catalogue) WriteMarkdown(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| metric | type | labels | meaning |\n|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, m := range c.Metrics {
		labels := ""
		if len(m.Labels) > 0 {
			labels = "`" + strings.Join(m.Labels, "`, `") + "`"
		}
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s |\n", m.Name, m.Type, labels, strings.ReplaceAll(m.Help, "|", "\\|")); err != nil {
			return err
		}
	}
	return nil
}
