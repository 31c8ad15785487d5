package lineage

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/responder/internal/grouping"
)

var at = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)

// answers gives series to queries that contain a text; to others none.
type answers struct {
	t      *testing.T
	series map[string][]model.Sample
	fail   string
	asked  []string
}

func (a *answers) Query(ctx context.Context, query string, _ time.Time, _ ...prometheus.Option) (model.Value, prometheus.Warnings, prometheus.Infos, error) {
	_, bounded := ctx.Deadline()
	require.True(a.t, bounded, "every query has a deadline")
	a.asked = append(a.asked, query)
	if a.fail != "" && strings.Contains(query, a.fail) {
		return nil, nil, nil, errors.New("bad gateway")
	}
	vector := model.Vector{}
	for text, samples := range a.series {
		if strings.Contains(query, text) {
			for _, s := range samples {
				vector = append(vector, &s)
			}
		}
	}
	return vector, nil, nil, nil
}

// sample is a series with a value, of names and values of labels.
func sample(value float64, pairs ...string) model.Sample {
	m := model.Metric{}
	for i := 0; i < len(pairs); i += 2 {
		m[model.LabelName(pairs[i])] = model.LabelValue(pairs[i+1])
	}
	return model.Sample{Metric: m, Value: model.SampleValue(value)}
}

func fleet(t *testing.T) *answers {
	return &answers{t: t, series: map[string][]model.Sample{
		"model:ml_inference_requests:rate5m":            {sample(1, "namespace", "serving", "model", "fraud", "version", "8")},
		"ml_dataset_upstream_rows":                      {sample(1, "namespace", "data", "dataset", "payments", "upstream", "raw_payments")},
		"ml_model_dataset_info":                         {sample(1, "namespace", "serving", "model", "fraud", "dataset", "payments", "dataset_namespace", "data")},
		"ml_dataset_passed_snapshot_info":               {sample(1, "namespace", "data", "dataset", "payments", "snapshot", "v41", "digest", "d41")},
		"(ml_model_info{":                               {sample(1, "namespace", "serving", "model", "fraud", "version", "8", "mlflow_run_id", "4f1d", "training_dataset", "payments", "training_digest", "d41"), sample(1, "namespace", "serving", "model", "fraud", "version", "2", "mlflow_run_id", "0a", "training_dataset", "pay")},
		"gpu:gpu_utilization:ratio":                     {sample(1, "instance", "node-7:9400", "gpu", "0", "uuid", "GPU-1")},
		"gpu_allocation_info":                           {sample(1, "instance", "node-7:9400", "gpu", "0", "uuid", "GPU-1", "namespace", "monitoring", "exported_namespace", "serving", "pod", "gpu-exporter-x", "exported_pod", "fraud-0")},
		"vllm":                                          {sample(1, "namespace", "serving", "pod", "fraud-0", "model_name", "fraud")},
		"ml_cost_spend_cad_total":                       {sample(1, "department", "risk", "model", "fraud")},
		"ml_dataset_schema_change_info":                 {sample(1, "namespace", "data", "dataset", "payments", "column", "amount", "change", "type_changed", "expected", "double", "actual", "varchar")},
		"ml_cost_price_cad":                             {sample(4.2, "resource", "H200", "unit", "gpu_hour")},
		"version_first_served":                          {sample(float64(at.Add(-2*time.Minute).Unix()), "namespace", "serving", "model", "fraud", "version", "8")},
		"exporter_build_info":                           {sample(1, "__name__", "dataquality_exporter_build_info", "job", "dq", "instance", "a:1")},
		"sightglass_config_last_reload_success":         {sample(float64(at.Add(-time.Hour).Unix()), "job", "dq", "instance", "a:1"), sample(1, "job", "unknown", "instance", "b:1")},
		"ml_(dataset|model)_cause_info":                 {sample(0.97, "namespace", "data", "dataset", "payments", "column", "merchant_category", "signal", "drift_psi", "cause_column", "payment_provider", "cause_value", "newpay")},
		"ml_(dataset|model)_cause_rows_ratio":           {sample(0.05, "namespace", "data", "dataset", "payments", "column", "merchant_category", "signal", "drift_psi", "cause_column", "payment_provider", "cause_value", "newpay")},
		"ml_dataset_cause_statement_info":               {sample(1, "namespace", "data", "dataset", "payments", "column", "merchant_category", "signal", "drift_psi", "cause_column", "payment_provider", "cause_value", "newpay", "statement", "SELECT * FROM shop.payments AS t WHERE payment_provider = 'newpay' LIMIT 100")},
		"ml_(dataset|model)_cause_first_seen_timestamp": {sample(float64(at.Add(-4*time.Hour).Unix()), "namespace", "data", "dataset", "payments", "column", "merchant_category", "signal", "drift_psi", "cause_column", "payment_provider", "cause_value", "newpay")},
	}}
}

func TestLineageIsReadFromDatasetsToCosts(t *testing.T) {
	t.Parallel()
	q := fleet(t)
	r, err := Read(t.Context(), q, []Link{{Dataset: "raw_payments", Feeds: []string{"limits"}}}, at)
	require.NoError(t, err)
	if path := os.Getenv("SIGHTGLASS_QUERIES"); path != "" { // For promtool.
		text, _ := json.Marshal(q.asked)
		require.NoError(t, os.WriteFile(path, text, 0o600))
	}
	node := func(kind grouping.Kind, ns, name string) grouping.Node {
		return grouping.Node{Kind: kind, Namespace: ns, Name: name}
	}
	fraud := node(grouping.Model, "serving", "fraud")
	for name, hops := range map[grouping.Node]int{
		node(grouping.Dataset, "data", "raw_payments"):       2,
		node(grouping.Dataset, "data", "payments"):           1,
		node(grouping.Snapshot, "data", "payments v41"):      3,
		node(grouping.Run, "serving", "4f1d"):                2,
		node(grouping.Version, "serving", "fraud version 8"): 1,
		node(grouping.Server, "serving", "fraud-0"):          1,
		node(grouping.GPU, "", "GPU-1"):                      2,
		node(grouping.Host, "", "node-7"):                    3,
	} {
		got, found := r.Graph.Upstream(fraud)[name]
		require.True(t, found, name)
		require.Equal(t, hops, got, name)
	}
	require.Contains(t, r.Graph.Downstream(fraud), node(grouping.Department, "", "risk"))
	require.NotContains(t, r.Graph.Upstream(fraud), node(grouping.Run, "serving", "0a"), "a run of a version that nobody asks")
	require.Contains(t, r.Graph.Downstream(node(grouping.Dataset, "data", "raw_payments")), node(grouping.Model, "", "limits"), "a link of the configuration")

	require.Equal(t, []grouping.Segment{{
		Node: node(grouping.Dataset, "data", "payments"), Column: "merchant_category", Signal: "drift_psi",
		Cause: "payment_provider = newpay", Explained: 0.97, Rows: 0.05, FirstSeen: at.Add(-4 * time.Hour), SQL: "SELECT * FROM shop.payments AS t WHERE payment_provider = 'newpay' LIMIT 100",
	}}, r.Segments)
	require.Len(t, r.Changes, 2)
	require.Equal(t, "Version 8 of fraud began to serve", r.Changes[0].Text)
	require.Equal(t, at.Add(-2*time.Minute), r.Changes[0].At)
	require.Equal(t, "The exporter dq loaded its configuration", r.Changes[1].Text)
	require.Equal(t, []string{"Column amount of payments changed its type from double to varchar"}, r.Observed.Schema[node(grouping.Dataset, "data", "payments")])
}

func TestARunLearnedTheSnapshotOfTheDatasetThatItNames(t *testing.T) {
	t.Parallel()
	run := grouping.Node{Kind: grouping.Run, Name: "r"}
	of := func(dataset string) grouping.Node {
		return grouping.Node{Kind: grouping.Snapshot, Name: dataset + " v1"}
	}
	for name, tc := range map[string]struct {
		dataset, digest string
		want            grouping.Node
	}{
		"of two datasets with the same content":           {"payments", "same", of("payments")},
		"the other one":                                   {"copy", "same", of("copy")},
		"without a name, of the only dataset":             {"", "one", of("payments")},
		"without a name, of none if there are several":    {"", "same", grouping.Node{}},
		"of another dataset, whose snapshot is not known": {"clicks", "one", grouping.Node{Kind: grouping.Dataset, Name: "clicks"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &answers{t: t, series: map[string][]model.Sample{
				"model:ml_inference_requests:rate5m": {sample(1, "model", "fraud", "version", "8")},
				"ml_dataset_passed_snapshot_info": {
					sample(1, "dataset", "payments", "snapshot", "v1", "digest", "one"), sample(1, "dataset", "payments", "snapshot", "v1", "digest", "same"),
					sample(1, "dataset", "copy", "snapshot", "v1", "digest", "same"),
				},
				"(ml_model_info{": {sample(1, "model", "fraud", "version", "8", "mlflow_run_id", "r", "training_dataset", tc.dataset, "training_digest", tc.digest)},
			}}
			r, err := Read(t.Context(), q, nil, at)
			require.NoError(t, err)
			var learned []grouping.Node
			for node, hops := range r.Graph.Upstream(run) {
				if hops == 1 {
					learned = append(learned, node)
				}
			}
			if tc.want == (grouping.Node{}) {
				require.Empty(t, learned)
				return
			}
			require.Equal(t, []grouping.Node{tc.want}, learned)
		})
	}
}

func TestFailedQueryLosesOnlyItsOwnEdges(t *testing.T) {
	t.Parallel()
	q := fleet(t)
	q.fail = "ml_cost_spend_cad_total"
	r, err := Read(t.Context(), q, nil, at)
	require.ErrorContains(t, err, "bad gateway")
	require.Equal(t, 1, r.Failed)
	q.fail = " " // All of them.
	r, err = Read(t.Context(), q, nil, at)
	require.Equal(t, r.Queries, r.Failed)
	require.ErrorContains(t, err, "15 of 15 queries failed, such as: ")
	require.Equal(t, 3, strings.Count(err.Error(), "bad gateway"))
	q.fail = "ml_cost_spend_cad_total"
	r, err = Read(t.Context(), q, nil, at)
	require.ErrorContains(t, err, "bad gateway")
	require.Contains(t, r.Graph.Upstream(grouping.Node{Kind: grouping.Model, Namespace: "serving", Name: "fraud"}), grouping.Node{Kind: grouping.GPU, Name: "GPU-1"})
}

func TestThePodsOfANamespaceServeItsOnlyModel(t *testing.T) {
	t.Parallel()
	q := fleet(t)
	delete(q.series, "vllm")
	r, err := Read(t.Context(), q, nil, at)
	require.NoError(t, err)
	require.Contains(t, r.Graph.Downstream(grouping.Node{Kind: grouping.GPU, Name: "GPU-1"}), grouping.Node{Kind: grouping.Model, Namespace: "serving", Name: "fraud"})

	q.series["model:ml_inference_requests:rate5m"] = append(q.series["model:ml_inference_requests:rate5m"], sample(1, "namespace", "serving", "model", "limits", "version", "1"))
	r, err = Read(t.Context(), q, nil, at)
	require.NoError(t, err)
	require.NotContains(t, r.Graph.Downstream(grouping.Node{Kind: grouping.GPU, Name: "GPU-1"}), grouping.Node{Kind: grouping.Model, Namespace: "serving", Name: "fraud"}, "to pick one of two is to guess")
}

func TestDifferencesBetweenTwoReadingsAreChanges(t *testing.T) {
	t.Parallel()
	model := grouping.Node{Kind: grouping.Model, Namespace: "serving", Name: "fraud"}
	data := grouping.Node{Kind: grouping.Dataset, Name: "payments"}
	observe := func(version, column string, price float64) Observed {
		o := newObserved()
		o.At = at
		if version != "" {
			o.Serving[model] = strings.Split(version, " ")
		}
		if column != "" {
			o.Schema[data] = []string{column}
		}
		if price > 0 {
			o.Prices["H200 for one gpu_hour"] = price
		}
		return o
	}
	for name, tc := range map[string]struct {
		before *Observed
		now    Observed
		want   []string
	}{
		"nothing is known of the time before":      {nil, observe("8", "x", 4), nil},
		"nothing differs":                          {new(observe("8", "x", 4)), observe("8", "x", 4), nil},
		"a version":                                {new(observe("7", "", 0)), observe("8", "", 0), []string{"Version 8 of fraud began to serve"}},
		"a version beside another":                 {new(observe("7", "", 0)), observe("7 8", "", 0), []string{"Version 8 of fraud began to serve"}},
		"a version that goes":                      {new(observe("7 8", "", 0)), observe("8", "", 0), nil},
		"a model that is new":                      {new(observe("", "", 0)), observe("8", "", 0), nil},
		"a column":                                 {new(observe("", "x", 0)), observe("", "y", 0), []string{"y"}},
		"a column that is as it should be again":   {new(observe("", "x", 0)), observe("", "", 0), nil},
		"a price":                                  {new(observe("", "", 4)), observe("", "", 5), []string{"The price of H200 for one gpu_hour went from C$ 4 to C$ 5"}},
		"a price of an unused model":               {new(observe("", "", 0)), observe("", "", 5), nil},
		"a reading in which the series are absent": {new(observe("8", "x", 4)), observe("", "", 0), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changes, next := tc.now.Since(tc.before)
			var got []string
			for _, c := range changes {
				got = append(got, c.Text)
			}
			require.Equal(t, tc.want, got)
			// What is kept comes back the same, and what was missing for a while has not changed.
			text, err := json.Marshal(next)
			require.NoError(t, err)
			var read Observed
			require.NoError(t, json.Unmarshal(text, &read))
			require.Equal(t, next, read)
			again, _ := tc.now.Since(&read)
			require.Empty(t, again)
		})
	}
}

func TestCauseTextWithOneOrSeveralColumns(t *testing.T) {
	t.Parallel()
	for labels, want := range map[[2]string]string{
		{"provider", "newpay"}:            "provider = newpay",
		{"provider, region", "newpay, x"}: "provider = newpay and region = x",
		{"provider", "O'Hara, Ltd"}:       "provider = O'Hara, Ltd",
		{"", ""}:                          "",
	} {
		require.Equal(t, want, cause(labels[0], labels[1]))
	}
}
