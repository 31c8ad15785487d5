package fields

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// causeDescs are the descriptors of the metrics of probable causes.
type causeDescs struct{ info, rows, since, gradual, instances *prometheus.Desc }

func newCauseDescs(c *catalogue.Catalogue, model func(more ...string) []string) causeDescs {
	labels := model("field", "role", "signal", "cause_field", "cause_value")
	return causeDescs{
		info:      c.Gauge("ml_model_cause_info", "Share of the change of a field that disappears when the inferences with this value are left out, from 0 to 1. At most three series for each signal that exceeds its limit. 0 without cause_field and cause_value means that no single segment explains the change. Absent while too few inferences have changed to tell.", labels...),
		rows:      c.Gauge("ml_model_cause_rows_ratio", "Share of the inferences that have the value.", labels...),
		since:     c.Gauge("ml_model_cause_first_seen_timestamp_seconds", "Time of the first affected inference in the sample. Absent if inferences were affected before the sample.", labels...),
		gradual:   c.Gauge("ml_model_cause_gradual", "Whether the share of affected inferences kept growing long after the first one (1) or rose at once (0). Absent if inferences were affected before the sample.", labels...),
		instances: c.Gauge("ml_model_cause_instances_ratio", "Share of the replicas that have affected inferences. Absent if spans name fewer than two.", labels...),
	}
}

// publishedCause is a cause with its series labels.
type publishedCause struct {
	model, version, field, role, signal string
	cause                               foundCause
}

// publishedCauses returns the causes of all present incidents.
func (t *Tracker) publishedCauses() []publishedCause {
	var published []publishedCause
	for _, key := range slices.SortedFunc(maps.Keys(t.incidents), func(a, b incidentKey) int {
		return cmp.Or(cmp.Compare(a.field, b.field), cmp.Compare(a.signal, b.signal))
	}) {
		causes := t.incidents[key].causes
		if len(causes) == 0 && t.incidents[key].searches >= sureSearches {
			causes = []foundCause{{}} // Before that, more inferences can still show a cause.
		}
		field, role := labels(key.field)
		for _, f := range causes {
			published = append(published, publishedCause{t.model, t.version, field, role, key.signal, f})
		}
	}
	return published
}

// publishedCauses has the published causes of all versions.
type publishedCauses struct {
	mu    sync.Mutex
	byKey map[string][]publishedCause
}

// set replaces the causes of a version; none removes them.
func (c *publishedCauses) set(key string, of []publishedCause) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = make(map[string][]publishedCause)
	}
	if c.byKey[key] = of; len(of) == 0 {
		delete(c.byKey, key)
	}
}

func (c *publishedCauses) collect(out *exporter.Metrics, d causeDescs) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range c.byKey {
		for _, t := range of {
			l := []string{t.model, t.version, t.field, t.role, t.signal, t.cause.field, t.cause.value}
			out.Gauge(d.info, t.cause.explained, l...)
			if t.cause.field == "" {
				continue
			}
			out.Gauge(d.rows, t.cause.rows, l...)
			if !t.cause.onset.Since.IsZero() {
				gradual := 0.0
				if t.cause.onset.Gradual {
					gradual = 1
				}
				out.Gauge(d.since, float64(t.cause.onset.Since.UnixMilli())/1000, l...)
				out.Gauge(d.gradual, gradual, l...)
			}
			if t.cause.of > 1 {
				out.Gauge(d.instances, float64(t.cause.with)/float64(t.cause.of), l...)
			}
		}
	}
}

// nameOf returns the published names of a cause's field and value.
func (k *Keeper) nameOf(c column, code int32) (name, value string) {
	name = c.label()
	v := c.values[code]
	bin := c.raw(v)
	if c.field != nil && v.Text == "" {
		return name, reveal.Name(c.field.hidden, bin)
	}
	if v.Text == "" {
		return name, bin
	}
	alone := binning.Layout{Kind: binning.Categorical, Top: []string{v.Text}}
	if hidden, ok := k.Reveal.Hidden(name, alone)[bin]; ok {
		_, hash, _ := strings.Cut(hidden, "~")
		return name, "#~" + hash // It has no rank among the bins.
	}
	return name, bin
}

// raw returns the name of a value without hiding it.
func (c column) raw(v recent.Value) string {
	if v.Text != "" {
		return binning.CategoryBin(v.Text)
	}
	return c.bins()[v.Bin]
}
