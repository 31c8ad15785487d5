package modelquality

import (
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/owner"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// DatasetLink names a dataset of the data-quality exporter that a model is trained on or served from. The default of cluster and namespace
// is the model's, so that a dataset in staging never holds back a model in production.
type DatasetLink struct {
	Name      string `yaml:"name"`
	Cluster   string `yaml:"cluster,omitempty"`
	Namespace string `yaml:"namespace,omitempty"`
}

// Validate implements config.Validator.
func (d *DatasetLink) Validate(at config.At) {
	if d.Name == "" {
		at.Errorf("name", "missing; want the name of a dataset, the value of its label dataset")
	}
	if d.Cluster != "" && d.Namespace == "" {
		at.Errorf("namespace", "missing beside cluster; want the label namespace of the dataset's series")
	}
}

// ModelConfig has the settings of one model, or of one version of it.
type ModelConfig struct {
	Name string `yaml:"name"`
	// Version is empty if the settings apply to all versions.
	Version string `yaml:"version,omitempty"`
	// Owned has the owner and the additional labels of the model's alerts.
	owner.Owned `yaml:",inline"`
	Thresholds  ThresholdsConfig `yaml:"thresholds"`
	Training    *TrainingConfig  `yaml:"training,omitempty"`
	// Datasets are the datasets that the model is trained on or served from. While one is broken, the model is not retrained.
	Datasets []DatasetLink `yaml:"datasets,omitempty"`
}

// Validate implements config.Validator.
func (m *ModelConfig) Validate(at config.At) {
	if m.Name == "" {
		at.Errorf("name", "missing; want the name of the model, the value of its label model")
	}
	if m.Version != "" && at.Has("thresholds") {
		at.Errorf("thresholds", "they hold for a model, whatever its version; want them without version")
	}
	m.Owned.Validate(at)
	for _, key := range []string{"owner", "labels"} {
		if m.Version != "" && at.Has(key) {
			at.Errorf(key, "it belongs to a model, whatever its version; want it without version")
		}
	}
	if m.Version != "" && len(m.Datasets) > 0 {
		at.Errorf("datasets", "they belong to a model, whatever its version; want them without version")
	}
}

// TrainingConfig is the data that a model was trained on. A column has the name of its feature.
type TrainingConfig struct {
	tables.Location `yaml:",inline"`
	// PredictionColumn and ConfidenceColumn hold the model's outputs for the training data; optional.
	PredictionColumn string `yaml:"prediction_column,omitempty"`
	ConfidenceColumn string `yaml:"confidence_column,omitempty"`
}

// ThresholdsConfig overrides the defaults of rules/thresholds.yaml for one model.
type ThresholdsConfig struct {
	DriftPSI          *float64 `yaml:"drift_psi,omitempty"`
	QueueWaitRatio    *float64 `yaml:"queue_wait_ratio,omitempty"`
	FailureRatio      *float64 `yaml:"failure_ratio,omitempty"`
	TrafficDeviation  *float64 `yaml:"traffic_deviation_ratio,omitempty"`
	LatencyDeviation  *float64 `yaml:"latency_deviation_ratio,omitempty"`
	Groundedness      *float64 `yaml:"groundedness_score,omitempty"`
	HallucinationRate *float64 `yaml:"hallucination_ratio,omitempty"`
	PerformanceDrop   *float64 `yaml:"performance_drop_ratio,omitempty"`
	ErrorGrowth       *float64 `yaml:"error_growth_ratio,omitempty"`
	// Fields overrides thresholds of single fields.
	Fields map[string]FieldThresholds `yaml:"fields,omitempty"`
}

// FieldThresholds are the thresholds that a single field can override.
type FieldThresholds struct {
	DriftPSI *float64 `yaml:"drift_psi,omitempty"`
}

// byName returns the thresholds of a model by their names in rules/thresholds.yaml.
func (t *ThresholdsConfig) byName() map[string]*float64 {
	return map[string]*float64{
		signalDrift: t.DriftPSI, "queue_wait_ratio": t.QueueWaitRatio, "failure_ratio": t.FailureRatio,
		"traffic_deviation_ratio": t.TrafficDeviation, "latency_deviation_ratio": t.LatencyDeviation,
		"groundedness_score": t.Groundedness, "hallucination_ratio": t.HallucinationRate,
		"performance_drop_ratio": t.PerformanceDrop, "error_growth_ratio": t.ErrorGrowth,
	}
}

// Validate implements config.Validator.
func (t *ThresholdsConfig) Validate(at config.At) {
	check := func(key string, v *float64) {
		if v != nil && !(*v > 0) {
			at.Errorf(key, "%v; want a number above 0", *v)
		}
	}
	for name, v := range sorted(t.byName()) {
		check(name, v)
	}
	for field, f := range sorted(t.Fields) {
		check("fields."+field+".drift_psi", f.DriftPSI)
	}
}
