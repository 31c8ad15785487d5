// Package owner reads who owns a dataset or a model: the team that Alertmanager routes its alerts to, and free labels.
//
// Input: the keys owner and labels of an object's configuration. Output: configuration errors, and an info series for each object, from
// which the rules take the labels of its alerts. State: none.
package owner

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// Limits for one object. Each label is on every alert about the object.
const (
	maxLabels = 8
	maxName   = 40
	maxValue  = 128
)

// Owned is the part of an object's configuration that names its owner. The zero value means no owner and no labels.
type Owned struct {
	// Owner is the team that is responsible for the object. It is the value of the alerts' label owner.
	Owner string `yaml:"owner,omitempty"`
	// Labels are additional labels, such as tier: gold. The rules add those that they are configured to add.
	Labels map[string]string `yaml:"labels,omitempty"`
}

var name = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

// reserved are the labels that rules, alerts and scrapes use themselves.
var reserved = []string{
	"action", "actual", "against", "ago", "alertname", "alertstate", "baseline", "basis", "bin", "blinded", "category",
	"cause_column", "cause_field", "cause_value", "change", "check", "class", "cloud_service", "cluster", "collector", "column",
	"compared", "container", "currency", "dataset", "dataset_cluster", "dataset_namespace", "day", "department", "device",
	"digest", "direction", "endpoint", "evaluation", "expected", "fact", "field", "from", "gpu", "gpu_instance", "group",
	"holder_namespace", "host", "instance", "job", "key", "kind", "layer", "le", "limit", "method", "metric",
	"mlflow_experiment_id", "mlflow_run_id", "model", "month", "namespace", "node", "of", "outcome", "owner", "part", "pod",
	"predicted", "prometheus", "quantile", "rank", "reason", "replica", "resource", "response", "result", "role", "rule_group",
	"segment", "service", "severity", "shift", "signal", "snapshot", "source", "source_kind", "state", "statement", "to", "trace_id",
	"type", "unit", "upstream", "uuid", "verdict", "version", "week", "weight", "window", "year",
}

// Validate implements config.Validator.
func (c *Owned) Validate(at config.At) {
	if c.Owner != "" || at.Has("owner") {
		checkValue(at, "owner", c.Owner)
	}
	if len(c.Labels) > maxLabels {
		at.Errorf("labels", "%d labels; want %d or fewer, since each is on every alert about the object", len(c.Labels), maxLabels)
	}
	for _, label := range slices.Sorted(maps.Keys(c.Labels)) {
		if err := CheckLabel(label); err != nil {
			at.Errorf("labels", "%v", err)
			continue
		}
		checkValue(at, "labels."+label, c.Labels[label])
	}
}

// CheckLabel returns an error if the text cannot be the name of a free label.
func CheckLabel(label string) error {
	switch {
	case len(label) > maxName || !name.MatchString(label):
		return fmt.Errorf("%q is not the name of a label; want a letter, then letters, digits and underscores, %d characters at most", label, maxName)
	case slices.Contains(reserved, label):
		return fmt.Errorf("%q is a label that Sightglass or Prometheus sets itself; want another name, such as %q", label, "team_"+label)
	}
	return nil
}

func checkValue(at config.At, key, value string) {
	if value == "" {
		at.Errorf(key, "empty; want a value, or not this key")
		return
	}
	if utf8.RuneCountInString(value) > maxValue {
		at.Errorf(key, "%d characters; want %d or fewer", utf8.RuneCountInString(value), maxValue)
	}
	for _, r := range value {
		if !unicode.IsPrint(r) {
			at.Errorf(key, "%q has a character that cannot be printed; want text in one line", value)
			return
		}
	}
}

// Info is the info series of one kind of object.
type Info struct{ series, help, object string }

// Declare adds the series to the catalogue. object is the label that identifies the object.
func Declare(c *catalogue.Catalogue, series, object string) Info {
	i := Info{
		series: c.Prefix + series, object: object,
		help: "The owner of the " + object + " in the configuration, and its free labels, each a label of its own.",
	}
	var labels []string
	if !slices.Contains(c.Labels, object) {
		labels = append(labels, object)
	}
	c.Gauge(series, i.help, append(labels, "owner")...)
	return i
}

// Metric returns the series of an object, or nil if it has no owner and no labels.
func (i Info) Metric(object string, c Owned) prometheus.Metric {
	if c.Owner == "" && len(c.Labels) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(c.Labels))
	values := make([]string, 0, 2+len(names))
	values = append(values, object, c.Owner)
	for _, n := range names {
		values = append(values, c.Labels[n])
	}
	desc := prometheus.NewDesc(i.series, i.help, append([]string{i.object, "owner"}, names...), nil)
	var m exporter.Metrics
	m.Gauge(desc, 1, values...)
	return m[0]
}
