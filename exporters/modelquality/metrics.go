package modelquality

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/assessments"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/labels"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/owner"
)

// Catalogue returns the metrics of the exporter for the reference.
func Catalogue() *catalogue.Catalogue {
	c := new(catalogue.Catalogue)
	metering.Declare(c)
	fields.Declare(c)
	lineage.Declare(c)
	assessments.Declare(c)
	labels.Declare(c)
	outbox.Declare(c)
	newDescs(c)
	receiver.Declare(c)
	return c
}

// signalDrift is the threshold that a single field can override.
const signalDrift = "drift_psi"

// descs are the descriptors of this package's metrics.
type descs struct {
	threshold, dataset, items, ignored, bad, dropped *prometheus.Desc
	owner                                            owner.Info
}

func newDescs(c *catalogue.Catalogue) descs {
	return descs{
		threshold: c.Gauge("ml_model_threshold", "A configured threshold that overrides the default of the rules. field is empty for the whole model.", "model", "signal", "field"),
		dataset:   c.Gauge("ml_model_dataset_info", "A configured dataset that the model is trained on or served from. Its cluster and namespace are empty if they are those of this exporter.", "model", "dataset", "dataset_cluster", "dataset_namespace"),
		items:     c.Counter("sightglass_otlp_items_total", "Spans and log records by result.", "signal", "result"),
		ignored:   c.Counter("sightglass_otlp_ignored_items_total", "Spans and log records without information about a model, by reason.", "signal", "reason"),
		bad:       c.Counter("sightglass_otlp_refused_values_total", "Invalid values of spans and log records, which are not used.", "value"),
		dropped:   c.Counter("sightglass_otlp_truncated_spans_total", "Spans of which the SDK dropped attributes."),
		owner:     owner.Declare(c, "ml_model_owner_info", "model"),
	}
}

// configured returns the metrics of a configuration: overrides, datasets and owners of its models.
func (d descs) configured(cfg *Config) exporter.Metrics {
	var m exporter.Metrics
	for i := range cfg.Models {
		model := &cfg.Models[i]
		if info := d.owner.Metric(model.Name, model.Owned); info != nil {
			m = append(m, info)
		}
		for _, of := range model.Datasets {
			m.Gauge(d.dataset, 1, model.Name, of.Name, of.Cluster, of.Namespace)
		}
		for name, v := range model.Thresholds.byName() {
			if v != nil {
				m.Gauge(d.threshold, *v, model.Name, name, "")
			}
		}
		for field, f := range model.Thresholds.Fields {
			if f.DriftPSI != nil {
				m.Gauge(d.threshold, *f.DriftPSI, model.Name, signalDrift, field)
			}
		}
	}
	return m
}
