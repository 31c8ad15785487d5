package scenario

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Model is a model whose inferences the model-quality exporter counts.
type Model struct {
	config.Pos `yaml:"-"`

	Name string `yaml:"name"`
	// Data replays the rows of a file as inferences. The named columns are features, prediction and confidence.
	Data             *Data    `yaml:"data,omitempty"`
	FeatureColumns   []string `yaml:"feature_columns,omitempty"`
	PredictionColumn string   `yaml:"prediction_column,omitempty"`
	ConfidenceColumn string   `yaml:"confidence_column,omitempty"`

	RequestsPerSecond float64   `yaml:"requests_per_second"`
	Traffic           Traffic   `yaml:"traffic"`
	Version           string    `yaml:"version"`
	Releases          []Release `yaml:"releases,omitempty"`
	Features          []Column  `yaml:"features,omitempty"`
	// Prediction is the output; optional.
	Prediction *Column     `yaml:"prediction,omitempty"`
	Confidence *Confidence `yaml:"confidence,omitempty"`
	Latency    Latency     `yaml:"latency"`
	// Errors, Timeouts and Fallbacks are shares of the requests.
	Errors    float64 `yaml:"errors"`
	Timeouts  float64 `yaml:"timeouts"`
	Fallbacks float64 `yaml:"fallbacks"`
	// InputTokens and OutputTokens are means; 0 if the model has no tokens.
	InputTokens  float64      `yaml:"input_tokens"`
	OutputTokens float64      `yaml:"output_tokens"`
	Evaluations  []Evaluation `yaml:"evaluations,omitempty"`
	// Training is the number of rows of the model's training data, drawn from the features before the start.
	Training int `yaml:"training_rows"`
}

// SetDefaults implements config.Defaulter.
func (m *Model) SetDefaults() {
	m.RequestsPerSecond, m.Version, m.Errors, m.Timeouts, m.Fallbacks = 1, "1", 0.003, 0.001, 0.002
}

// Validate implements config.Validator.
func (m *Model) Validate(at config.At) {
	named(at, m.Name, "model")
	if m.Data == nil && (len(m.FeatureColumns) > 0 || m.PredictionColumn != "" || m.ConfidenceColumn != "") {
		at.Errorf("data", "missing; want a file that has the columns")
	}
	if m.Data != nil {
		m.checkData(at)
	}
	if !(m.RequestsPerSecond > 0 && m.RequestsPerSecond <= 1000) {
		at.Errorf("requests_per_second", "%v; want a number above 0, at most 1000", m.RequestsPerSecond)
	}
	share(at, "errors", m.Errors)
	share(at, "timeouts", m.Timeouts)
	share(at, "fallbacks", m.Fallbacks)
	if all := m.Errors + m.Timeouts + m.Fallbacks; all > 1 {
		at.Errorf("errors", "errors, timeouts and fallbacks are %v together; want 1 or less", all)
	}
	for i := range m.Evaluations {
		if slices.ContainsFunc(m.Evaluations[:i], func(e Evaluation) bool { return e.Name == m.Evaluations[i].Name }) {
			at.Errorf(item("evaluations", i)+".name", "%q appears twice; want different names", m.Evaluations[i].Name)
		}
	}
	if m.Training < 0 || m.Training > 1_000_000 {
		at.Errorf("training_rows", "%d; want 0 to 1000000", m.Training)
	}
	unique(at, m.Features)
	for i := range m.Features {
		if m.Features[i].Age != nil {
			at.Errorf("features["+strconv.Itoa(i)+"].age_seconds", "of a feature; want a number or categories")
		}
	}
}

// checkData checks a model whose inferences are the rows of a file.
func (m *Model) checkData(at config.At) {
	withData(at, "features", "name columns of the file in feature_columns")
	withData(at, "prediction", "name a column of the file in prediction_column")
	withData(at, "requests_per_second", "the requests are the rows of the file")
	withData(at, "traffic", "the requests are the rows of the file")
	withData(at, "training_rows", "such a model learns its baseline from its first 30 days of requests; use a warmup of 32d")
	if m.Confidence != nil && m.ConfidenceColumn != "" {
		at.Errorf("confidence_column", "not together with confidence; want either a column of the file or simulated numbers")
	}
	if len(m.Data.Columns) > 0 {
		at.Errorf("data.columns", "of a dataset; want feature_columns, prediction_column and confidence_column of the model")
	}
	if len(m.FeatureColumns) == 0 && m.PredictionColumn == "" && m.ConfidenceColumn == "" {
		at.Errorf("feature_columns", "missing; want the columns of the file that are features, or prediction_column or confidence_column")
	}
	if m.ConfidenceColumn != "" && m.ConfidenceColumn == m.PredictionColumn {
		at.Errorf("confidence_column", "%q is prediction_column too; want another column", m.ConfidenceColumn)
	}
	for i, c := range m.FeatureColumns {
		key := item("feature_columns", i)
		switch {
		case c == m.Data.Time:
			at.Errorf(key, "%q is the column with the time; want a number or a text", c)
		case slices.Contains(m.FeatureColumns[:i], c):
			at.Errorf(key, "%q appears twice; want each column once", c)
		}
	}
}

// Release is a new version.
type Release struct {
	At      Moment `yaml:"at"`
	Version string `yaml:"version"`
	// Rollout is the time until all requests go to the new version.
	Rollout config.Duration `yaml:"rollout"`
}

// SetDefaults implements config.Defaulter.
func (r *Release) SetDefaults() { r.Rollout = config.Duration(10 * time.Minute) }

// Validate implements config.Validator.
func (r *Release) Validate(at config.At) {
	if r.At.IsZero() {
		at.Errorf("at", "missing; want %s", r.At.Want())
	}
	if r.Version == "" {
		at.Errorf("version", "missing; want the new version")
	}
	if r.Rollout < 0 {
		at.Errorf("rollout", "%v; want a duration from 0s", r.Rollout)
	}
}

// Confidence is the distribution of the model's confidence.
type Confidence struct {
	Mean float64 `yaml:"mean"`
	// Concentration is the sum of the parameters of a beta distribution; a larger one means less spread.
	Concentration float64 `yaml:"concentration"`
}

// SetDefaults implements config.Defaulter.
func (c *Confidence) SetDefaults() { c.Mean, c.Concentration = 0.88, 14 }

// Validate implements config.Validator.
func (c *Confidence) Validate(at config.At) {
	if !(c.Mean > 0 && c.Mean < 1) {
		at.Errorf("mean", "%v; want a number between 0 and 1", c.Mean)
	}
	if !(c.Concentration >= 1 && c.Concentration <= 1000) {
		at.Errorf("concentration", "%v; want a number from 1 to 1000", c.Concentration)
	}
}

// Latency is the distribution of an inference's duration.
type Latency struct {
	Median config.Duration `yaml:"median"`
	Sigma  float64         `yaml:"sigma"`
	// Queue is the mean share of queue wait.
	Queue float64 `yaml:"queue"`
}

// SetDefaults implements config.Defaulter.
func (l *Latency) SetDefaults() { *l = Latency{config.Duration(60 * time.Millisecond), 0.35, 0.1} }

// Validate implements config.Validator.
func (l *Latency) Validate(at config.At) {
	if l.Median <= 0 || l.Median > config.Duration(10*time.Minute) {
		at.Errorf("median", "%v; want a duration up to 10m", l.Median)
	}
	if !(l.Sigma >= 0 && l.Sigma <= 3) {
		at.Errorf("sigma", "%v; want a number from 0 to 3", l.Sigma)
	}
	share(at, "queue", l.Queue)
}

// Evaluation is a score for a share of the responses.
type Evaluation struct {
	Name string `yaml:"name"`
	// Of is the share of responses with a score.
	Of            float64 `yaml:"of"`
	Mean          float64 `yaml:"mean"`
	Concentration float64 `yaml:"concentration"`
}

// SetDefaults implements config.Defaulter.
func (e *Evaluation) SetDefaults() { e.Of, e.Mean, e.Concentration = 0.2, 0.96, 40 }

// Validate implements config.Validator.
func (e *Evaluation) Validate(at config.At) {
	named(at, e.Name, "evaluation")
	share(at, "of", e.Of)
	if !(e.Mean > 0 && e.Mean < 1) || !(e.Concentration >= 1 && e.Concentration <= 1000) {
		at.Errorf("mean", "mean %v and concentration %v; want a mean between 0 and 1 and a concentration from 1 to 1000", e.Mean, e.Concentration)
	}
}

// Node is a machine with GPUs.
type Node struct {
	Name string `yaml:"name"`
	GPUs int    `yaml:"gpus"`
	// Utilization is the mean utilization, Memory the share of memory in use.
	Utilization float64 `yaml:"utilization"`
	Memory      float64 `yaml:"memory"`
	Traffic     Traffic `yaml:"traffic"`
	// Models are the models on this node. Their requests wait when it is saturated.
	Models []string `yaml:"models,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (n *Node) SetDefaults() { n.GPUs, n.Utilization, n.Memory = 4, 0.5, 0.7 }

// Validate implements config.Validator.
func (n *Node) Validate(at config.At) {
	named(at, n.Name, "node")
	if n.GPUs < 1 || n.GPUs > 64 {
		at.Errorf("gpus", "%d; want 1 to 64", n.GPUs)
	}
	share(at, "utilization", n.Utilization)
	share(at, "memory", n.Memory)
}

// Costs is the spending of departments.
type Costs struct {
	Departments []Department `yaml:"departments"`
}

// Department is a department with a budget.
type Department struct {
	Name string `yaml:"name"`
	// Budget is for a month, in C$. GPUHour is the price of a GPU hour.
	Budget  float64 `yaml:"budget_cad"`
	GPUs    int     `yaml:"gpus"`
	GPUHour float64 `yaml:"gpu_hour_cad"`
	// Model is the model on the GPUs, RequestsPerSecond its request rate.
	Model             string  `yaml:"model"`
	RequestsPerSecond float64 `yaml:"requests_per_second"`
	Traffic           Traffic `yaml:"traffic"`
	// Idle is the share of unused GPU time.
	Idle float64 `yaml:"idle"`
}

// Validate implements config.Validator.
func (c *Costs) Validate(at config.At) {
	if len(c.Departments) == 0 {
		at.Errorf("departments", "none; want one or more, or no costs")
	}
}

// SetDefaults implements config.Defaulter.
func (d *Department) SetDefaults() {
	d.Budget, d.GPUs, d.GPUHour, d.RequestsPerSecond, d.Idle = 20_000, 8, 3, 5, 0.2
}

// Validate implements config.Validator.
func (d *Department) Validate(at config.At) {
	named(at, d.Name, "department")
	share(at, "idle", d.Idle)
	for _, k := range []struct {
		key string
		v   float64
	}{{"budget_cad", d.Budget}, {"gpus", float64(d.GPUs)}, {"gpu_hour_cad", d.GPUHour}, {"requests_per_second", d.RequestsPerSecond}} {
		if !(k.v > 0) || math.IsInf(k.v, 1) {
			at.Errorf(k.key, "%v; want a number above 0", k.v)
		}
	}
	if d.Model == "" {
		at.Errorf("model", "missing; want the name of the model that the GPUs serve")
	}
}
