package modelquality

import (
	"math"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// LabelsConfig is a table of predictions with their true labels.
type LabelsConfig struct {
	Name            string `yaml:"name"`
	tables.Location `yaml:",inline"`
	// TimeColumn is the time of the prediction, LabelTimeColumn the time at which the label became known.
	TimeColumn       string `yaml:"timestamp_column"`
	LabelTimeColumn  string `yaml:"label_timestamp_column,omitempty"`
	PredictionColumn string `yaml:"prediction_column"`
	LabelColumn      string `yaml:"label_column"`
	SegmentColumn    string `yaml:"segment_column,omitempty"`
	// ConfidenceColumn is the model's confidence, 0 to 1. The estimated performance of a classifier needs it.
	ConfidenceColumn string `yaml:"confidence_column,omitempty"`
	// PredictionBins are the upper bounds of the bins of numeric predictions. The estimated error needs them.
	PredictionBins []float64 `yaml:"prediction_bins,omitempty"`
	// SegmentFeature is the feature of spans that holds the segment. Without it, performance is not estimated by segment.
	SegmentFeature string `yaml:"segment_feature,omitempty"`
	// Model and Version are fixed values; ModelColumn and VersionColumn are columns instead.
	Model         string `yaml:"model,omitempty"`
	Version       string `yaml:"version,omitempty"`
	ModelColumn   string `yaml:"model_column,omitempty"`
	VersionColumn string `yaml:"version_column,omitempty"`
	// Numeric means that predictions are quantities instead of classes.
	Numeric  bool            `yaml:"numeric"`
	Window   config.Duration `yaml:"window"`
	Interval config.Duration `yaml:"interval"`
	Timeout  config.Duration `yaml:"timeout"`
	// MaxSegments and MaxClasses limit the label values.
	MaxSegments int `yaml:"max_segments"`
	MaxClasses  int `yaml:"max_classes"`
}

// SetDefaults implements config.Defaulter.
func (l *LabelsConfig) SetDefaults() {
	l.Window, l.Interval, l.Timeout = config.Duration(7*24*time.Hour), config.Duration(5*time.Minute), config.Duration(2*time.Minute)
	l.MaxSegments, l.MaxClasses = 20, 20
}

// Validate implements config.Validator.
func (l *LabelsConfig) Validate(at config.At) {
	l.Location.Validate(at)
	for _, required := range [][2]string{
		{"name", l.Name}, {"timestamp_column", l.TimeColumn}, {"prediction_column", l.PredictionColumn}, {"label_column", l.LabelColumn},
	} {
		if required[1] == "" {
			at.Errorf(required[0], "missing")
		}
	}
	if l.Model == "" && l.ModelColumn == "" {
		at.Errorf("model", "missing; want the name of the model, or model_column")
	}
	if l.ConfidenceColumn != "" && l.Numeric {
		at.Errorf("confidence_column", "%q; want none where numeric is true: the confidence is that of a class", l.ConfidenceColumn)
	}
	if len(l.PredictionBins) > 0 && !l.Numeric {
		at.Errorf("prediction_bins", "%v; want none unless numeric is true: classes are counted by their confidence", l.PredictionBins)
	}
	if len(l.PredictionBins) > maxPredictionBins {
		at.Errorf("prediction_bins", "%d bounds; want %d or fewer", len(l.PredictionBins), maxPredictionBins)
	}
	for i, bound := range l.PredictionBins {
		if math.IsNaN(bound) || math.IsInf(bound, 0) || i > 0 && bound <= l.PredictionBins[i-1] {
			at.Errorf("prediction_bins", "%v; want finite numbers in ascending order", l.PredictionBins)
			break
		}
	}
	if l.SegmentFeature != "" && (l.SegmentColumn == "" || l.bins() == nil) {
		at.Errorf("segment_feature", "%q; want it beside segment_column, and confidence_column or prediction_bins", l.SegmentFeature)
	}
	for key, d := range sorted(map[string]config.Duration{"window": l.Window, "interval": l.Interval, "timeout": l.Timeout}) {
		if d <= 0 {
			at.Errorf(key, "%v; want a duration above 0", d)
		}
	}
	for key, n := range sorted(map[string]int{"max_segments": l.MaxSegments, "max_classes": l.MaxClasses}) {
		if n < 1 || n > 1000 {
			at.Errorf(key, "%d; want 1 to 1000", n)
		}
	}
}

// bins returns the upper bounds of the bins by which predictions are counted, or nil if performance is not estimated.
func (l *LabelsConfig) bins() []float64 {
	switch {
	case l.Numeric:
		return l.PredictionBins
	case l.ConfidenceColumn != "":
		return metering.ConfidenceBins()
	}
	return nil
}

// estimated returns the models whose performance is estimated.
func (c *Config) estimated() (all []metering.Estimated) {
	for i := range c.Labels {
		l := &c.Labels[i]
		model := l.Model
		if l.ModelColumn != "" {
			model = ""
		}
		if l.bins() != nil {
			all = append(all, metering.Estimated{Model: model, Segment: l.SegmentFeature, Numeric: l.Numeric, Bins: l.PredictionBins})
		}
	}
	return all
}

// maxLabelledBins limits the combinations of version, segment and class of a table that are counted by bins.
const maxLabelledBins = 200

// maxPredictionBins limits the number of prediction_bins.
const maxPredictionBins = 30
