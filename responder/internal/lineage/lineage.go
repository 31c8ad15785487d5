// Package lineage reads the lineage and recent changes from Prometheus.
//
// Input: series of exporters and servers, by instant queries with a deadline, and configured links. Output: a graph, segments
// that explain changes of datasets, and the versions, schemas and prices in use; two successive readings give the changes
// between them. State: none. It never writes to Prometheus and makes no range queries.
package lineage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

// Querier queries Prometheus.
type Querier interface {
	Query(ctx context.Context, query string, at time.Time, opts ...prometheus.Option) (model.Value, prometheus.Warnings, prometheus.Infos, error)
}

const (
	// queryTimeout is the timeout of one query. Prometheus gets it, too, so that it does not continue an abandoned query.
	queryTimeout = 10 * time.Second
	// maxSeries bounds the result of a query. A longer one is truncated and reported.
	maxSeries = 20_000
	// reach is the maximum age of changes that have a time of their own.
	reach = 48 * time.Hour
)

// Reading is the result of one reading.
type Reading struct {
	Graph    *grouping.Graph
	Observed Observed
	Changes  []grouping.Change // changes with a time of their own
	Segments []grouping.Segment
	At       time.Time
	// Queries and Failed count the queries and the failed ones. Problems has the errors.
	Queries, Failed int
	Truncated       bool
}

// reader runs the queries of one reading.
type reader struct {
	ctx context.Context //nolint:containedctx // A reader exists only during the call that has the context.
	q   Querier
	Reading
	errs []error
}

// Read runs all queries. A failed query leaves out its part, and the returned error has its reason. The Reading is usable
// unless every query failed.
func Read(ctx context.Context, q Querier, links []Link, at time.Time) (*Reading, error) {
	r := &reader{ctx: ctx, q: q, Reading: Reading{Graph: &grouping.Graph{}, At: at, Observed: newObserved()}}
	// Series with cluster and namespace come first, so that ends without them can be resolved.
	r.serving()
	r.datasets()
	r.runs()
	r.hardware()
	r.money()
	for _, l := range links {
		l.add(r.Graph)
	}
	r.changes()
	r.segments()
	r.Truncated = r.Truncated || r.Graph.Truncated
	return &r.Reading, r.err()
}

// err says the first few errors: where Prometheus is down, all queries fail alike.
func (r *reader) err() error {
	if r.Failed == 0 {
		return nil
	}
	const most = 3
	first := errors.Join(r.errs[:min(len(r.errs), most)]...)
	if len(r.errs) > most || r.Failed == r.Queries {
		return fmt.Errorf("%d of %d queries failed, such as: %w", r.Failed, r.Queries, first)
	}
	return first
}

// each calls f for every series of a query's result.
func (r *reader) each(query string, f func(labels func(string) string, value float64)) {
	r.Queries++
	ctx, cancel := context.WithTimeout(r.ctx, queryTimeout)
	defer cancel()
	value, _, _, err := r.q.Query(ctx, query, r.At, prometheus.WithTimeout(queryTimeout))
	vector, isVector := value.(model.Vector)
	switch {
	case err != nil:
		r.Failed++
		r.errs = append(r.errs, fmt.Errorf("ask Prometheus for %s: %w", query, err))
		return
	case !isVector:
		r.Failed++
		r.errs = append(r.errs, fmt.Errorf("ask Prometheus for %s: the answer is a %s; want a vector", query, value.Type()))
		return
	}
	if len(vector) > maxSeries {
		vector, r.Truncated = vector[:maxSeries], true
	}
	for _, s := range vector {
		f(func(name string) string { return string(s.Metric[model.LabelName(name)]) }, float64(s.Value))
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

type labels = func(string) string

// in returns an object in the cluster and namespace of the series.
func in(kind grouping.Kind, l labels, name string) grouping.Node {
	return grouping.Node{Kind: kind, Cluster: l("cluster"), Namespace: l("namespace"), Name: name}
}

func (r *reader) add(from, to grouping.Node, why string) {
	r.Graph.Add(grouping.Edge{From: from, To: to, Why: why})
}

// serving reads the versions that answer requests.
func (r *reader) serving() {
	r.each(`group by (cluster, namespace, model, version) (model:ml_inference_requests:rate5m{version!=""} > 0)`, func(l labels, _ float64) {
		m := in(grouping.Model, l, l("model"))
		r.Observed.Serving[m] = append(r.Observed.Serving[m], l("version"))
		r.add(in(grouping.Version, l, grouping.VersionName(l("model"), l("version"))), m, "is served as")
	})
}

// datasets reads the upstreams of datasets, and the models that they feed.
func (r *reader) datasets() {
	r.each(`group by (cluster, namespace, dataset, upstream) (ml_dataset_upstream_rows)`, func(l labels, _ float64) {
		r.add(in(grouping.Dataset, l, l("upstream")), in(grouping.Dataset, l, l("dataset")), "is upstream of")
	})
	r.each(`group by (cluster, namespace, model, dataset, dataset_cluster, dataset_namespace) (ml_model_dataset_info)`, func(l labels, _ float64) {
		dataset := grouping.Node{Kind: grouping.Dataset, Cluster: or(l("dataset_cluster"), l("cluster")), Namespace: or(l("dataset_namespace"), l("namespace")), Name: l("dataset")}
		r.add(dataset, in(grouping.Model, l, l("model")), "feeds")
	})
}

// runs reads which run and which data trained a version.
func (r *reader) runs() {
	// Datasets with the same content, such as copies and empty tables, have the same digest. So a run's snapshot is that of the dataset
	// that the run names. Without a name, it is the one with the digest if there is only one.
	type key struct{ dataset, digest string }
	snapshots, datasets := map[key]grouping.Node{}, map[string][]string{}
	r.each(`group by (cluster, namespace, dataset, snapshot, digest) (ml_dataset_passed_snapshot_info{digest!=""}
		and on (digest) label_replace(ml_model_info{training_digest!=""}, "digest", "$1", "training_digest", "(.+)"))`, func(l labels, _ float64) {
		s := in(grouping.Snapshot, l, l("dataset")+" "+l("snapshot"))
		snapshots[key{l("dataset"), l("digest")}] = s
		if of := datasets[l("digest")]; !slices.Contains(of, l("dataset")) {
			datasets[l("digest")] = append(of, l("dataset"))
		}
		r.add(in(grouping.Dataset, l, l("dataset")), s, "was kept as")
	})
	r.each(`group by (cluster, namespace, model, version, mlflow_run_id, training_dataset, training_digest) (ml_model_info{mlflow_run_id!=""})`, func(l labels, _ float64) {
		version := in(grouping.Version, l, grouping.VersionName(l("model"), l("version")))
		run := in(grouping.Run, l, l("mlflow_run_id"))
		if !r.isServed(in(grouping.Model, l, l("model")), l("version")) {
			return // The registry also has many versions without requests.
		}
		r.add(run, version, "trained")
		dataset := l("training_dataset")
		if of := datasets[l("training_digest")]; dataset == "" && len(of) == 1 {
			dataset = of[0]
		}
		snapshot, known := snapshots[key{dataset, l("training_digest")}]
		switch {
		case known:
			r.add(snapshot, run, "was learned by")
		case l("training_dataset") != "":
			r.add(in(grouping.Dataset, l, l("training_dataset")), run, "was learned by")
		}
	})
}

func (r *reader) isServed(m grouping.Node, version string) bool {
	for _, v := range r.Observed.Serving[r.Graph.Resolve(m)] {
		if v == version {
			return true
		}
	}
	return false
}

// serverSeries are counters that inference servers publish for each model. The label pod comes from the target.
const serverSeries = `vllm:e2e_request_latency_seconds_count|vllm:request_success_total|ray_vllm_e2e_request_latency_seconds_count|` +
	`sglang:num_requests_total|nv_inference_request_success|ts_inference_requests_total|:tensorflow:serving:request_count|` +
	`trtllm_request_success_total|request_predict_seconds_count|ml_inference_requests_total`

// ourPods publish ml_inference_requests_total for other systems and do not serve models.
const ourPods = `modelquality_exporter_build_info`

// hardware reads the GPUs of hosts, the pods that hold them, and the models that the pods serve.
func (r *reader) hardware() {
	gpu := func(l labels) grouping.Node {
		return grouping.Node{Kind: grouping.GPU, Cluster: l("cluster"), Name: grouping.GPUName(or(l("uuid"), l("UUID")), l("instance"), l("gpu"))}
	}
	r.each(`group by (cluster, instance, gpu, uuid) (gpu:gpu_utilization:ratio)`, func(l labels, _ float64) {
		r.add(grouping.Node{Kind: grouping.Host, Cluster: l("cluster"), Name: grouping.HostName(l("instance"))}, gpu(l), "has")
	})
	pods := map[grouping.Node]bool{}
	// With honor_labels, the holder's labels keep their names; without, Prometheus has renamed them. A pod that is itself the
	// scrape target is not a holder.
	r.each(`group by (cluster, instance, gpu, uuid, UUID, namespace, exported_namespace, pod, exported_pod) (
		(gpu_allocation_info{exported_pod!=""} or DCGM_FI_DEV_GPU_TEMP{exported_pod!=""})
		or ((gpu_allocation_info{exported_pod="",pod!=""} or DCGM_FI_DEV_GPU_TEMP{exported_pod="",pod!=""}) unless on (cluster, instance, pod) up)
	)`, func(l labels, _ float64) {
		pod := grouping.Node{Kind: grouping.Server, Cluster: l("cluster"), Namespace: or(l("exported_namespace"), l("namespace")), Name: or(l("exported_pod"), l("pod"))}
		pods[pod] = true
		r.add(gpu(l), pod, "runs")
	})
	served := map[grouping.Node]bool{}
	r.each(`group by (cluster, namespace, pod, model, model_name) ({__name__=~"`+serverSeries+`",pod!=""} unless on (cluster, namespace, pod) `+ourPods+`)`, func(l labels, _ float64) {
		pod := in(grouping.Server, l, l("pod"))
		served[pod] = true
		r.add(pod, in(grouping.Model, l, or(l("model"), l("model_name"))), "serves")
	})
	r.onlyModels(pods, served)
}

// onlyModels assigns the only model of a namespace to a pod there that holds a GPU and has no series of a model.
func (r *reader) onlyModels(pods, served map[grouping.Node]bool) {
	type location struct{ cluster, namespace string }
	models := map[location][]grouping.Node{}
	for m := range r.Observed.Serving {
		p := location{m.Cluster, m.Namespace}
		models[p] = append(models[p], m)
	}
	for pod := range pods {
		if ms := models[location{pod.Cluster, pod.Namespace}]; len(ms) == 1 && !served[pod] && pod.Namespace != "" {
			r.add(pod, ms[0], "is in the namespace of")
		}
	}
}

// money reads the departments that pay for models.
func (r *reader) money() {
	r.each(`group by (cluster, department, model) (ml_cost_spend_cad_total{model!="",department!=""})`, func(l labels, _ float64) {
		r.add(grouping.Node{Kind: grouping.Model, Cluster: l("cluster"), Name: l("model")},
			grouping.Node{Kind: grouping.Department, Cluster: l("cluster"), Name: l("department")}, "is paid by")
	})
}
