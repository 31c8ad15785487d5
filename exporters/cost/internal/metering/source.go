package metering

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Queries are PromQL. $step is the length of a step and $resolution a tenth of it. An empty query means its default.
type Queries struct {
	// Alive has a result if Prometheus has samples. A step without a result is a gap, and not a step without usage.
	Alive string `yaml:"alive,omitempty"`
	// GPUs returns the share of time in which each GPU was busy, by cluster and uuid, with node or instance. With MIG
	// it is also by gpu_instance.
	GPUs string `yaml:"gpus,omitempty"`
	// GPUNames has the GPU's name in the label name, by cluster and uuid. The name of a MIG instance ends in MIG and
	// its profile.
	GPUNames string `yaml:"gpu_names,omitempty"`
	// GPUHolders has one series for each holder of a GPU.
	GPUHolders string `yaml:"gpu_holders,omitempty"`
	// Working returns the busy seconds a second of a model, by cluster and model.
	Working string `yaml:"working,omitempty"`
	// Engines returns the models, by cluster and model, of engines that run only your own models.
	Engines string `yaml:"engines,omitempty"`
	// Requests and Successes return requests a second by model. Tokens returns tokens a second by model, direction and
	// tier. Images returns generated images a second by model.
	Requests  string `yaml:"requests,omitempty"`
	Successes string `yaml:"successes,omitempty"`
	Tokens    string `yaml:"tokens,omitempty"`
	Images    string `yaml:"images,omitempty"`
	// GatewaySpend returns the cost of requests as reported by a gateway, in its currency a second, by model and
	// department.
	GatewaySpend string `yaml:"gateway_spend,omitempty"`
	// Values returns the value of inferences in Canadian dollars a second, by model. It has no default. It replaces the
	// configured value of each inference of its models.
	Values string `yaml:"values,omitempty"`
}

// defaults read the canonical series, which any exporter can supply.
var defaults = Queries{ //nolint:gosec // Tokens are what models read and write; none of them is a credential.
	Alive: `count(count_over_time(up[$step]))`,
	GPUs:  `avg by (cluster, instance, node, uuid, gpu_instance) (avg_over_time(gpu:gpu_utilization:ratio[$step]))`,
	GPUNames: `max by (cluster, instance, uuid, gpu_instance, name) (last_over_time(gpu_info[$step])) or ` +
		`max by (cluster, instance, uuid, gpu_instance, name) (label_replace(label_join(label_replace(label_replace(` +
		`last_over_time(DCGM_FI_DEV_GPU_TEMP[$step]) or last_over_time(DCGM_FI_PROF_GR_ENGINE_ACTIVE[$step]), ` +
		`"uuid", "$1", "UUID", "(.+)"), "gpu_instance", "$1", "GPU_I_ID", "(.+)"), "name", " MIG ", "modelName", "GPU_I_PROFILE"), ` +
		`"name", "$1", "name", "(.+) MIG ")) unless on (cluster, uuid) last_over_time(gpu_info[$step]) or ` +
		`max by (cluster, instance, uuid, gpu_instance, name) (label_replace(last_over_time(nvidia_smi_gpu_info[$step]), ` +
		`"uuid", "GPU-$1", "uuid", "([^G].*)")) unless on (cluster, uuid) last_over_time(gpu_info[$step]) or ` +
		`max by (cluster, instance, uuid, gpu_instance, name) (label_replace(label_replace(label_replace(last_over_time(nvidia_smi_mig_info[$step]), ` +
		`"uuid", "GPU-$1", "uuid", "([^G].*)"), "gpu_instance", "$1", "gpu_instance_id", "(.+)"), "name", "MIG $1", "profile", "(.+)")) ` +
		`unless on (cluster, uuid) last_over_time(gpu_info[$step])`,
	GPUHolders: `max by (cluster, instance, node, uuid, gpu_instance, namespace, exported_namespace, pod, exported_pod, container, exported_container, slurm_job, unit) (` +
		`last_over_time(gpu_allocation_info[$step])) or ` +
		`max by (cluster, instance, node, uuid, gpu_instance) (last_over_time(gpu:gpu_holders:count[$step])) unless on (cluster, uuid) last_over_time(gpu_allocation_info[$step])`,
	// Busy time is the time of forward passes, or of complete requests if forward passes are not timed. The sources of
	// one model are selected at every moment and averaged after that. So a model that changes its source within a step
	// is not counted twice. Requests that a gateway forwards are computed elsewhere.
	Working: `avg_over_time((sum by (cluster, model) (model:ml_inference_forward_pass_seconds:mean_5m` + servers + ` * ` +
		`on (cluster, namespace, model, version, source) model:ml_inference_requests:rate5m))[$step:$resolution]) or ` +
		`avg_over_time((sum by (cluster, model) (model:ml_inference_duration_seconds:mean_5m` + servers + ` * ` +
		`on (cluster, namespace, model, version, source) model:ml_inference_requests:rate5m))[$step:$resolution])`,
	Engines:  `max by (cluster, model) (max_over_time(model:ml_inference_requests:rate5m{source=~"llamacpp|lmdeploy|nim|ray-llm|sglang|tei|tgi|triton-trtllm|trtllm|vllm"}[$step]))`,
	Requests: `avg_over_time((sum by (model) (model:ml_inference_requests:rate5m))[$step:$resolution])`,
	Successes: `avg_over_time((sum by (model) (model:ml_inference_requests:rate5m) - (sum by (model) (` +
		`model:ml_inference_failures:ratio_rate5m * on (cluster, namespace, model, version, source) group_left () ` +
		`model:ml_inference_requests:rate5m) or 0 * sum by (model) (model:ml_inference_requests:rate5m)))[$step:$resolution])`,
	Tokens: `avg_over_time((sum by (model, direction, tier) (model:ml_inference_tokens:rate5m))[$step:$resolution])`,
	// LiteLLM's counters. Without a price list of its own LiteLLM has no spend. A request without a requested model has
	// the model that served it.
	Images: `sum by (model) (label_replace(rate(litellm_images_generated_metric_total{requested_model!~"|None"}[$step]), "model", "$1", "requested_model", "(.+)"))`,
	GatewaySpend: `sum by (model, department) (label_replace(` +
		`label_replace(rate(litellm_spend_metric_total{requested_model!~"|None"}[$step]), "model", "$1", "requested_model", "(.+)") or ` +
		`rate(litellm_spend_metric_total{requested_model=~"|None"}[$step]), "department", "$1", "team_alias", "(.+)"))`,
}

// servers selects all sources of models except gateways and clients: see "One model, counted once" in docs/adapters.md.
const servers = `{source!~"envoy-ai-gateway|litellm|otel-client"}`

// Holder is a rule that maps the holder of a GPU to an owner. An empty glob matches everything.
type Holder struct {
	Namespace, Pod, Container, SlurmJob, Unit, Node string
	Owner                                           Owner
}

// Validate returns an error for an invalid glob.
func (h Holder) Validate() error {
	for _, glob := range []string{h.Namespace, h.Pod, h.Container, h.SlurmJob, h.Unit, h.Node} {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("%q is not a valid glob", glob)
		}
	}
	return nil
}

// Querier is the subset of Prometheus's API that is needed.
type Querier interface {
	Query(ctx context.Context, query string, ts time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error)
}

// Prometheus is a Source that queries a Prometheus server.
type Prometheus struct {
	API     Querier
	Queries Queries
	Holders []Holder
	// Resources are queries by name.
	Resources map[string]string
	Timeout   time.Duration
}

var _ Source = Prometheus{}

// inStep inserts the length of a step into a query.
func inStep(query string, step time.Duration) string {
	return strings.NewReplacer("$step", model.Duration(step).String(), "$resolution", model.Duration(step/10).String()).Replace(query)
}

// Usage implements Source. A query without a result means that there was no usage.
func (p Prometheus) Usage(ctx context.Context, end time.Time, step time.Duration) (Usage, error) {
	ask := func(query, otherwise string) (model.Vector, error) {
		query = inStep(cmp.Or(query, otherwise), step)
		ctx, cancel := context.WithTimeout(ctx, p.Timeout)
		defer cancel()
		value, warnings, _, err := p.API.Query(ctx, query, end)
		if err != nil {
			return nil, fmt.Errorf("query %s: %w", query, err)
		}
		if len(warnings) > 0 {
			// One component of a distributed Prometheus did not answer. A step is queried successfully only once, so
			// the result must be complete.
			return nil, fmt.Errorf("query %s: the result may be incomplete: %s", query, strings.Join(warnings, "; "))
		}
		vector, ok := value.(model.Vector)
		if !ok {
			return nil, fmt.Errorf("query %s: the result is a %s, expected a vector", query, value.Type())
		}
		return vector, nil
	}
	alive, err := ask(p.Queries.Alive, defaults.Alive)
	if err != nil || len(alive) == 0 {
		return Usage{Blind: err == nil}, err
	}
	var u Usage
	if err := p.gpus(&u, ask); err != nil {
		return Usage{}, err
	}
	for _, q := range []struct {
		query, otherwise string
		into             *map[string]float64
	}{
		{p.Queries.Requests, defaults.Requests, &u.Requests},
		{p.Queries.Successes, defaults.Successes, &u.Successes},
		{p.Queries.Images, defaults.Images, &u.Images},
	} {
		vector, err := ask(q.query, q.otherwise)
		if err != nil {
			return Usage{}, err
		}
		*q.into = byModel(vector)
	}
	if p.Queries.Values != "" {
		vector, err := ask(p.Queries.Values, "")
		if err != nil {
			return Usage{}, err
		}
		u.Values = byModel(vector)
	}
	working, err := ask(p.Queries.Working, defaults.Working)
	if err != nil {
		return Usage{}, err
	}
	u.Working = make(map[ClusterModel]float64)
	for _, s := range working {
		if v, ok := amount(s); ok {
			u.Working[ClusterModel{string(s.Metric["cluster"]), string(s.Metric["model"])}] += v
		}
	}
	engines, err := ask(p.Queries.Engines, defaults.Engines)
	if err != nil {
		return Usage{}, err
	}
	u.Engines = make(map[ClusterModel]bool)
	for _, s := range engines {
		u.Engines[ClusterModel{string(s.Metric["cluster"]), string(s.Metric["model"])}] = true
	}
	tokens, err := ask(p.Queries.Tokens, defaults.Tokens)
	if err != nil {
		return Usage{}, err
	}
	u.Tokens = make(map[TokenUse]float64)
	for _, s := range tokens {
		if v, ok := amount(s); ok {
			u.Tokens[TokenUse{string(s.Metric["model"]), string(s.Metric["direction"]), string(s.Metric["tier"])}] += v
		}
	}
	spent, err := ask(p.Queries.GatewaySpend, defaults.GatewaySpend)
	if err != nil {
		return Usage{}, err
	}
	u.Gateway = make(map[Owner]float64)
	for _, s := range spent {
		department := strings.ToLower(string(s.Metric["department"]))
		if department == "none" {
			department = "" // LiteLLM uses this for a key without a team.
		}
		if v, ok := amount(s); ok {
			u.Gateway[Owner{department, string(s.Metric["model"])}] += v
		}
	}
	for name, query := range p.Resources {
		vector, err := ask(query, "")
		if err != nil {
			return Usage{}, err
		}
		for _, s := range vector {
			if v, ok := amount(s); ok {
				u.Resources = append(u.Resources, ResourceUse{name, Owner{string(s.Metric["department"]), string(s.Metric["model"])}, v})
			}
		}
	}
	return u, nil
}

// amount returns false for an invalid value: a rate below zero or NaN would lower a counter, or make it NaN forever.
func amount(s *model.Sample) (float64, bool) {
	v := float64(s.Value)
	return v, v >= 0 && !math.IsInf(v, 0)
}

func byModel(vector model.Vector) map[string]float64 {
	out := make(map[string]float64)
	for _, s := range vector {
		if v, ok := amount(s); ok {
			out[string(s.Metric["model"])] += v
		}
	}
	return out
}
