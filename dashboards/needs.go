package dashboards

import "regexp"

// needs maps patterns of series names to what must run, or must have happened, for the series to exist. The first pattern that matches a
// chart's first query is used.
var needs = []struct {
	series *regexp.Regexp
	what   string
}{
	{regexp.MustCompile(`dataset\w*:ml_(drift|unseen)|ml_dataset_column_baseline`), "a baseline: of training data, or of 30 days of profiles"},
	{regexp.MustCompile(`dataset:ml_row_drop`), "a dataset with upstream in the data-quality exporter's configuration"},
	{regexp.MustCompile(`dataset:ml_mismatch`), "a dataset with against in the data-quality exporter's configuration"},
	{regexp.MustCompile(`dataset:ml_freshness`), "a dataset with a timestamp column"},
	{regexp.MustCompile(`dataset\w*:ml_|ml_dataset_`), "the data-quality exporter and one profile of a dataset"},
	{regexp.MustCompile(`model_field:ml_drift`), "spans with features, and a baseline: of training data, or of 30 days in production"},
	{regexp.MustCompile(`model_field:ml_values|ml_model_feature|ml_model_confidence`), "spans with features, predictions and confidence: see docs/instrumentation.md"},
	{regexp.MustCompile(`ml_evaluation|ml_hallucination|ml_model_evaluations|ml_model_reviews`), "spans with evaluations: see docs/instrumentation.md"},
	{regexp.MustCompile(`ml_performance|ml_model_label`), "labels in the model-quality exporter's configuration"},
	{regexp.MustCompile(`model:ml_season`), "three days of requests to this model"},
	{regexp.MustCompile(`ml_inference_\w+_bucket|ml_inference_requests_total|ml_inference_exceptions`), "spans of inferences at the model-quality exporter"},
	{regexp.MustCompile(`ml_inference_(tokens|time_to_first_token|memory)`), "a language model whose spans or server count tokens"},
	{regexp.MustCompile(`ml_inference_(queue_wait|forward_pass)`), "spans or a server that tell queue and forward pass apart"},
	{regexp.MustCompile(`model:ml_inference`), "spans of inferences, or an inference server that an adapter reads"},
	{regexp.MustCompile(`ml_cost|ml_roi|ml_tokens_per_cad|ml_observability|ml_unreconciled`), "the cost exporter with bills or prices"},
	{regexp.MustCompile(`gpu_sm_|gpu_tensor_|gpu_clock|gpu_pcie|gpu_power_limit|gpu_throttle_active|gpu_temperature_c|gpu_memory_used_bytes|gpu_utilization_ratio`), "gpu-exporter on this GPU's host"},
	{regexp.MustCompile(`gpu:gpu_xid|gpu:gpu_ecc|gpu:gpu_throttled`), "gpu-exporter, or dcgm-exporter with these fields: see docs/gpu.md"},
	{regexp.MustCompile(`gpu:gpu_`), "gpu-exporter or dcgm-exporter"},
	{regexp.MustCompile(`instance:(cpu|memory)`), "node_exporter on hosts with GPUs"},
	{regexp.MustCompile(`ml_review|ml_response`), "the responder"},
	{regexp.MustCompile(`sightglass_`), "an exporter of Sightglass"},
	{regexp.MustCompile(`ALERTS`), "the bundle's rules in Prometheus"},
}

// neededBy returns what the panel of a query needs.
func neededBy(expr string) string {
	for _, n := range needs {
		if n.series.MatchString(expr) {
			return n.what
		}
	}
	return ""
}
