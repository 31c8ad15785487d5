package scenario

import (
	"math"
	"slices"
	"time"
)

func sqrt(f float64) float64 { return math.Sqrt(f) }

// Target is the type of the affected object.
type Target string

// Targets.
const (
	OnDataset    Target = "dataset"
	OnModel      Target = "model"
	OnNode       Target = "node"
	OnDepartment Target = "department"
)

// Spec has the properties of a kind of incident.
type Spec struct {
	// About describes the kind, for docs/replay.md.
	About   string
	Targets []Target
	// Column means that it affects a column, Category that it needs a category.
	Column, Category bool
	// Values are those that it changes; any if there are none.
	Values []Values
	// Size is the default size in Unit, Least and Most are its limits. Neutral is the size that changes nothing. Without Most, the kind has
	// no size.
	Size, Least, Most, Neutral float64
	Unit                       string
	// Delay and Ramp are defaults; a kind without Delay has no delay. Sudden means that it has no ramp.
	Delay, Ramp time.Duration
	Sudden      bool
	// Learned means that its detectors need a baseline that is complete.
	Learned bool
	// Detectors are the alerts that detect it. Consequences are alerts that may fire with it: for the same column, dataset or model, for
	// the models of the node, or for the department's model.
	Detectors    map[Target][]string
	Consequences []string
}

// Kinds of incidents.
const (
	SilentFeed       Kind = "silent_feed"
	VolumeDrop       Kind = "volume_drop"
	DuplicatedLoad   Kind = "duplicated_load"
	NullSurge        Kind = "null_surge"
	UnmappedCategory Kind = "unmapped_category"
	RenamedCategory  Kind = "renamed_category"
	SlowDrift        Kind = "slow_drift"
	SuddenDrift      Kind = "sudden_drift"
	UnitChange       Kind = "unit_change"
	WrongSnapshot    Kind = "wrong_snapshot"
	FrozenColumn     Kind = "frozen_column"
	LateData         Kind = "late_data"
	SkewedSubset     Kind = "skewed_subset"
	SchemaChange     Kind = "schema_change"

	ServingSkew        Kind = "training_serving_skew"
	ConfidenceCollapse Kind = "confidence_collapse"
	GroundednessDecay  Kind = "groundedness_decay"
	HallucinationSurge Kind = "hallucination_surge"
	FallbackStorm      Kind = "fallback_storm"
	ErrorStorm         Kind = "error_storm"
	LatencyRegression  Kind = "latency_regression"
	TrafficCliff       Kind = "traffic_cliff"

	GPUQueueing   Kind = "gpu_memory_queueing"
	GPUSaturation Kind = "gpu_saturation"
	GPUThrottling Kind = "gpu_throttling"
	GPUXid        Kind = "gpu_xid"
	GPULost       Kind = "gpu_lost"
	GPUIdle       Kind = "gpu_idle"

	CostCreep     Kind = "cost_creep"
	BudgetOverrun Kind = "budget_overrun"
)

// Alerts that detect changed values of a dataset or a model. A drift alert and a breakage alert both count as the detection.
var (
	dataValues   = []string{"MLDatasetDrift", "MLDatasetBroken", "MLDatasetUnseenCategories", "MLDatasetNullRatioHigh", "MLDatasetValuesOutOfRange", "MLDatasetMeanShifted"}
	dataVolume   = []string{"MLDatasetVolumeAnomaly", "MLDatasetStale", "MLDatasetRowDropHigh"}
	modelValues  = []string{"MLModelDrift", "MLModelInputBroken", "MLModelTrainingServingSkew"}
	modelEffects = []string{"MLModelPredictionDrift", "MLModelConfidenceShift", "MLModelEstimatedPerformanceDrop"}
)

// sized reports whether the kind has a size.
func (s *Spec) sized() bool { return s.Most > 0 }

func on(t Target, alerts ...string) map[Target][]string { return map[Target][]string{t: alerts} }

func values() map[Target][]string {
	return map[Target][]string{OnDataset: dataValues, OnModel: modelValues}
}

var (
	both = []Target{OnDataset, OnModel}
	// driftable are values whose distribution can change.
	driftable = []Values{Numbers, Texts, Booleans}
)

var specs = map[Kind]*Spec{
	SilentFeed: {
		About: "no more rows arrive", Sudden: true, Targets: []Target{OnDataset},
		Detectors: on(OnDataset, "MLDatasetStale", "MLDatasetVolumeAnomaly"), Consequences: slices.Concat(dataVolume, dataValues),
	},
	VolumeDrop: {
		About: "a share of the rows is missing", Targets: []Target{OnDataset}, Size: 0.62, Most: 1, Unit: "share of missing rows",
		Detectors: on(OnDataset, dataVolume...), Consequences: dataVolume,
	},
	DuplicatedLoad: {
		About: "rows are loaded twice", Targets: []Target{OnDataset}, Size: 1, Most: 1, Unit: "share of duplicated rows",
		Detectors: on(OnDataset, "MLDatasetVolumeAnomaly", "MLDatasetDuplicateKeys"), Consequences: dataVolume,
	},
	NullSurge: {
		About: "values are missing", Targets: both, Column: true, Size: 0.08, Most: 1, Unit: "share of nulls, above the normal share",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	UnmappedCategory: {
		About: "values have a category that is not in the baseline", Learned: true, Values: []Values{Texts}, Targets: both, Column: true, Category: true, Size: 0.05, Most: 1, Unit: "share of the values",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	RenamedCategory: {
		About: "a category is renamed", Learned: true, Values: []Values{Texts}, Targets: both, Column: true, Category: true, Size: 1, Most: 1, Unit: "share of the values of the most frequent category",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	SlowDrift: {
		About: "the distribution changes slowly", Learned: true, Values: driftable, Targets: both, Column: true, Size: 1, Least: 0, Most: 100, Ramp: 30 * 24 * time.Hour,
		Unit:      "growth of a number at the end (1 doubles it); share of the values of a text that moves to its rarest category",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	SuddenDrift: {
		About: "the distribution changes at once", Learned: true, Values: driftable, Targets: both, Column: true, Size: 1, Least: 0, Most: 100, Unit: "as of slow_drift",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	UnitChange: {
		About: "the unit of a number changes", Sudden: true, Learned: true, Values: []Values{Numbers}, Neutral: 1, Targets: both, Column: true, Size: 100, Least: 1e-9, Most: 1e9, Unit: "factor of the number",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	WrongSnapshot: {
		About: "the job loads an old snapshot: rows have the times and values from delay before", Sudden: true, Targets: []Target{OnDataset}, Delay: 7 * 24 * time.Hour,
		Detectors: on(OnDataset, "MLDatasetStale", "MLDatasetVolumeAnomaly"), Consequences: slices.Concat(dataVolume, dataValues),
	},
	FrozenColumn: {
		About: "every value is the same", Learned: true, Targets: both, Column: true, Size: 1, Most: 1, Unit: "share of the values",
		Detectors: values(), Consequences: slices.Concat(dataValues, modelValues),
	},
	LateData: {
		About: "rows arrive delay later", Sudden: true, Targets: []Target{OnDataset}, Size: 1, Most: 1, Delay: 6 * time.Hour, Unit: "share of the rows",
		Detectors: on(OnDataset, dataVolume...), Consequences: slices.Concat(dataVolume, dataValues),
	},
	SkewedSubset: {
		About: "only rows with the most frequent value, or with numbers below the median, arrive", Learned: true, Targets: []Target{OnDataset}, Column: true, Size: 1, Most: 1, Unit: "share of the other rows that are missing",
		Detectors: on(OnDataset, slices.Concat(dataValues, dataVolume)...), Consequences: slices.Concat(dataVolume, dataValues),
	},
	SchemaChange: {
		About: "the column is removed", Sudden: true, Targets: []Target{OnDataset}, Column: true,
		Detectors: on(OnDataset, "MLDatasetSchemaChanged"), Consequences: slices.Concat(dataValues, []string{"MLDatasetProfileFailing"}),
	},

	ServingSkew: {
		About: "the service computes a feature differently from training", Learned: true, Values: driftable, Targets: []Target{OnModel}, Column: true, Size: 1, Most: 100, Unit: "as of sudden_drift",
		Detectors: on(OnModel, "MLModelTrainingServingSkew", "MLModelDrift", "MLModelInputBroken"), Consequences: modelValues,
	},
	ConfidenceCollapse: {
		About: "the confidence falls", Learned: true, Targets: []Target{OnModel}, Size: 0.55, Least: 0.01, Most: 0.99, Unit: "mean confidence",
		Detectors: on(OnModel, "MLModelConfidenceShift", "MLModelEstimatedPerformanceDrop"), Consequences: modelEffects,
	},
	GroundednessDecay: {
		About: "answers are less and less grounded in their sources", Targets: []Target{OnModel}, Size: 0.8, Least: 0.01, Most: 0.99, Ramp: 7 * 24 * time.Hour, Unit: "mean score of groundedness at the end",
		Detectors: on(OnModel, "MLModelGroundednessLow", "MLModelHallucinationRateHigh"), Consequences: []string{"MLModelHallucinationRateHigh"},
	},
	HallucinationSurge: {
		About: "answers are hallucinated", Targets: []Target{OnModel}, Size: 0.4, Most: 1, Unit: "share of the answers",
		Detectors: on(OnModel, "MLModelHallucinationRateHigh", "MLModelGroundednessLow"), Consequences: []string{"MLModelGroundednessLow"},
	},
	FallbackStorm: {
		About: "requests use the fallback", Targets: []Target{OnModel}, Size: 0.3, Most: 1, Unit: "share of the requests",
		Detectors: on(OnModel, "MLInferenceFailurePathHigh"), Consequences: []string{"MLInferenceLatencyAnomaly"},
	},
	ErrorStorm: {
		About: "requests fail", Targets: []Target{OnModel}, Size: 0.3, Most: 1, Unit: "share of the requests",
		Detectors: on(OnModel, "MLInferenceFailurePathHigh"), Consequences: []string{"MLInferenceLatencyAnomaly"},
	},
	LatencyRegression: {
		About: "inferences take longer", Neutral: 1, Targets: []Target{OnModel}, Size: 2.5, Least: 1, Most: 1000, Unit: "factor of the duration",
		Detectors: on(OnModel, "MLInferenceLatencyAnomaly"), Consequences: []string{"MLInferenceQueueDominates"},
	},
	TrafficCliff: {
		About: "clients stop sending requests", Targets: []Target{OnModel}, Size: 1, Most: 1, Unit: "share of missing requests",
		Detectors: on(OnModel, "MLInferenceTrafficAnomaly"), Consequences: []string{"MLInferenceLatencyAnomaly"},
	},

	GPUQueueing: {
		About: "memory is full at 75 % utilization, and requests of the node's models wait", Targets: []Target{OnNode}, Size: 0.8, Most: 1, Unit: "share of the latency that is queue wait",
		Detectors: on(OnNode, "MLInferenceQueueDominates", "MLGPUMemoryPressure"), Consequences: []string{"MLInferenceLatencyAnomaly", "MLInferenceQueueDominates", "MLGPUMemoryPressure"},
	},
	GPUSaturation: {
		About: "every GPU of the node is busy", Sudden: true, Targets: []Target{OnNode}, Size: 0.995, Least: 0.5, Most: 1, Unit: "utilization",
		Detectors: on(OnNode, "MLGPUSaturated"), Consequences: []string{"MLInferenceLatencyAnomaly", "MLInferenceQueueDominates"},
	},
	GPUThrottling: {
		About: "heat reduces the clocks of a GPU", Targets: []Target{OnNode}, Size: 0.5, Most: 1, Unit: "share of the time",
		Detectors: on(OnNode, "MLGPUThermalThrottling"), Consequences: []string{"MLInferenceLatencyAnomaly"},
	},
	GPUXid: {
		About: "a GPU reports an error", Sudden: true, Targets: []Target{OnNode}, Size: 79, Least: 1, Most: 1000, Unit: "number of the XID",
		Detectors: on(OnNode, "MLGPUXidError"), Consequences: []string{"MLGPULost"},
	},
	GPULost: {
		About: "a GPU stops answering", Sudden: true, Targets: []Target{OnNode}, Size: 1, Least: 1, Most: 64, Unit: "number of GPUs",
		Detectors: on(OnNode, "MLGPULost"), Consequences: []string{"MLGPUIdle", "SightglassCollectorFailing"},
	},
	GPUIdle: {
		About: "GPUs are allocated and idle", Sudden: true, Neutral: -1, Targets: []Target{OnNode}, Size: 0, Most: 0.05, Unit: "utilization",
		Detectors: on(OnNode, "MLGPUIdle"), Consequences: []string{"MLCostIdleGPUWaste"},
	},

	CostCreep: {
		About: "the same requests cost more and more", Targets: []Target{OnDepartment}, Size: 1, Most: 100, Ramp: 14 * 24 * time.Hour, Unit: "growth at the end: 1 doubles the cost",
		Detectors:    on(OnDepartment, "MLCostPerInferenceTrend", "MLCostTokenRatioTrend"),
		Consequences: []string{"MLCostTokenRatioTrend", "MLCostMonthEndOverBudget", "MLCostROINegative", "MLCostPerInferenceTrend"},
	},
	BudgetOverrun: {
		About: "the department uses more GPUs", Targets: []Target{OnDepartment}, Size: 1, Most: 100, Unit: "growth of the number of GPUs: 1 doubles it",
		Detectors: on(OnDepartment, "MLCostMonthEndOverBudget"), Consequences: []string{"MLCostPerInferenceTrend", "MLCostIdleGPUWaste", "MLCostTokenRatioTrend"},
	},
}

// SpecOf returns the properties of a kind, or nil.
func SpecOf(k Kind) *Spec { return specs[k] }
