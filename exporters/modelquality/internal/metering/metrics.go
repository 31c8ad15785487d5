package metering

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/histogram"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
)

// Buckets of the classic histograms. Native histograms are published in addition.
var (
	latencyBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	ratioBuckets   = []float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1}
	ageBuckets     = []float64{1, 10, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600}
)

// ConfidenceBins returns the upper bounds of the bins of confidence.
func ConfidenceBins() []float64 { return slices.Clone(ratioBuckets) }

// descs are the metrics of this package, in the order of docs/metrics.md.
type descs struct {
	requests, hosted, sampled, represented, exceptions, tokens, finishes, steps, providers, prompts, confidenceBins, predictionBins, evaluations, trace *prometheus.Desc
	duration, queueWait, forwardPass, firstToken, confidence                                                                                            *histogram.Kind
	age, score                                                                                                                                          *histogram.Kind
}

// Declare declares the metrics of a Meter in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	model := func(more ...string) []string { return append([]string{"model", "version"}, more...) }
	kind := func(name, help string, buckets []float64, more ...string) *histogram.Kind {
		return histogram.NewKind(c.Histogram(name, help, model(more...)...), buckets)
	}
	var d descs
	d.requests = c.Counter("ml_inference_requests_total", "Inferences by outcome.", model("outcome")...)
	d.sampled = c.Counter("ml_inference_sampled_total", "Counted inferences whose tracestate has a sampling threshold.", model()...)
	d.represented = c.Counter("ml_inference_represented_total", "Inferences that ml_inference_sampled_total represents, by the sampling threshold in the tracestate.", model()...)
	d.hosted = c.Gauge("ml_model_hosted_info", "Models that spans identify by the provider's name, not by ml.model.name. They need no training run.", model()...)
	d.exceptions = c.Counter("ml_inference_exceptions_total", "Exceptions and errors of inferences by type.", model("type")...)
	d.duration = kind("ml_inference_duration_seconds", "Duration of inferences, including queue time.", latencyBuckets)
	d.queueWait = kind("ml_inference_queue_wait_seconds", "Queue time of inferences before their computation.", latencyBuckets)
	d.forwardPass = kind("ml_inference_forward_pass_seconds", "Computation time of inferences.", latencyBuckets)
	d.firstToken = kind("ml_inference_time_to_first_token_seconds", "Time from the start of inferences to their first token.", latencyBuckets)
	d.tokens = c.Counter("ml_inference_tokens_total", "Tokens by direction. input and output are totals. cached and cache_write are parts of input, reasoning is a part of output.", model("direction")...)
	d.finishes = c.Counter("ml_inference_finishes_total", "Answers of language models by finish reason: stop, length, tool_calls, content_filter (also refusals), error or other.", model("reason")...)
	d.steps = c.Counter("ml_agent_steps_total", "Calls of tools, agents and retrievers by kind, name and outcome.", "kind", "name", "outcome")
	d.providers = c.Counter("ml_inference_provider_requests_total", "Inferences of hosted models by provider, as named in spans.", model("provider")...)
	d.prompts = c.Counter("ml_inference_prompt_requests_total", "Inferences of hosted models by prompt template and its version.", model("prompt", "prompt_version")...)
	d.confidence = kind("ml_model_confidence", "Confidence of predictions, from 0 to 1.", ratioBuckets)
	d.confidenceBins = c.Counter("ml_model_confidence_predictions_total", "Predictions of a class by bin of their confidence. The label bin is the upper bound. Only where labels have a confidence.", model("segment", "class", "bin")...)
	d.predictionBins = c.Counter("ml_model_binned_predictions_total", "Numeric predictions by bin. The label bin is the upper bound. Only where labels have bins of the prediction.", model("segment", "bin")...)
	d.age = kind("ml_model_feature_age_seconds", "Age of the feature at the start of the inference.", ageBuckets, "feature")
	d.score = kind("ml_model_evaluation_score", "Scores of evaluated responses.", ratioBuckets, "evaluation")
	d.evaluations = c.Counter("ml_model_evaluations_total", "Evaluated responses by the result of the evaluation's gate.", model("evaluation", "result")...)
	d.trace = c.Gauge("ml_model_exemplar_trace_info", "The worst recent trace of the model for the reason: at most 19 new ones a day.", model("reason", "trace_id", "mlflow_run_id")...)
	return d
}
