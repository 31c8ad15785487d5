package modelquality

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// labelFolder is a folder with tables of labels and a configuration.
type labelFolder struct {
	*world
	dir string
}

func newLabelFolder(t *testing.T, text string) *labelFolder {
	t.Helper()
	p := &labelFolder{dir: t.TempDir()}
	for name, rows := range map[string]int{"a.csv": 3, "b.csv": 5} {
		var out strings.Builder
		_, _ = fmt.Fprintln(&out, "at,p,l,c")
		for i := range rows {
			_, _ = fmt.Fprintf(&out, "%s,x,x,0.9\n", time.Now().Add(-time.Duration(i+1)*time.Hour).UTC().Format(time.RFC3339))
		}
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, name), []byte(out.String()), 0o600))
	}
	e, err := start(exportertest.Env(t), p.config(t, text), "")
	require.NoError(t, err)
	p.world = &world{Exporter: e.(*Exporter), t: t}
	t.Cleanup(func() { require.NoError(t, p.Stop(t.Context())) })
	return p
}

func (p *labelFolder) config(t *testing.T, text string) Config {
	t.Helper()
	var cfg Config
	require.NoError(t, config.Decode(filepath.Join(p.dir, "modelquality.yaml"), []byte("otlp: {grpc: '127.0.0.1:0', http: '127.0.0.1:0'}\n"+text), &cfg))
	return cfg
}

func (p *labelFolder) await(line string, present bool) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(exportertest.Gather(p.t, p.Exporter), line) == present }, 20*time.Second, 20*time.Millisecond, line)
}

const (
	labelsA = "  - {name: a, source: files, files: a.csv, timestamp_column: at, prediction_column: p, label_column: l, model: ma, version: \"1\"}\n"
	labelsB = "  - {name: b, source: files, files: b.csv, timestamp_column: at, prediction_column: p, label_column: l, model: mb, version: \"1\"}\n"
	files   = "sources: {files: {type: duckdb}}\n"
	rowsOfA = `ml_model_labelled_rows{model="ma",segment="",version="1"} 3`
	rowsOfB = `ml_model_labelled_rows{model="mb",segment="",version="1"} 5`
)

func TestReloadReplacesChangedLabelTables(t *testing.T) {
	t.Parallel()
	p := newLabelFolder(t, files+"labels:\n"+labelsA)
	p.await(rowsOfA, true)
	a := p.connections.labels["a"]
	reload := func(text string) { require.NoError(t, p.Reload(t.Context(), p.config(t, text))) }

	reload("# A comment moves the lines.\n" + files + "labels:\n" + labelsB + labelsA)
	p.await(rowsOfB, true)
	p.await(rowsOfA, true)
	require.Same(t, a, p.connections.labels["a"], "one that is as it was goes on")

	reload(files + "labels:\n" + strings.Replace(labelsA, "a.csv", "b.csv", 1) + labelsB)
	p.await(strings.Replace(rowsOfA, " 3", " 5", 1), true)

	source := p.connections.sources["files"]
	reload("sources: {files: {type: duckdb, threads: 1}}\nlabels:\n" + labelsA)
	p.await(rowsOfA, true)
	p.await(rowsOfB, false)
	require.NotSame(t, source, p.connections.sources["files"], "a source that has changed is opened anew")

	// A change that is refused takes nothing over.
	err := p.Reload(t.Context(), p.config(t, files+"labels:\n"+labelsB+"limits: {models: 7}\n"))
	require.ErrorContains(t, err, "modelquality.yaml:5: limits: has changed; restart the exporter, or undo the change")
	require.Contains(t, p.connections.labels, "a")

	reload("")
	p.await("ml_model_labelled_rows{", false)
	p.await("sightglass_collector_success{collector=\"labels/a\"}", false)
}

func TestReloadChangesWhichModelsAreEstimated(t *testing.T) {
	t.Parallel()
	p := newLabelFolder(t, files+"labels:\n"+labelsA)
	feed := func(trace byte) {
		p.spans(nil, span{trace: trace, id: 1, took: time.Millisecond, attrs: attributes{"ml.model.name": "ma", "ml.model.version": "1", "ml.prediction": "x", "ml.confidence": 0.93}})
	}
	counted := func() string { return p.metrics(`ml_model_confidence_predictions_total{bin="0.95"`) }
	feed(1)
	require.Empty(t, counted())
	estimated := files + "labels:\n" + strings.Replace(labelsA, "model: ma", "model: ma, confidence_column: c", 1)
	for trace := byte(2); trace < 4; trace++ {
		require.NoError(t, p.Reload(t.Context(), p.config(t, estimated)))
		feed(trace)
	}
	require.Equal(t, "ml_model_confidence_predictions_total{bin=\"0.95\",class=\"x\",model=\"ma\",segment=\"\",version=\"1\"} 2\n", counted(), "what has not changed is counted on")
	require.NoError(t, p.Reload(t.Context(), p.config(t, files+"labels:\n"+labelsA)))
	require.Empty(t, counted())
	p.requireMetric(`ml_inference_requests_total{model="ma",outcome="ok",version="1"} 3`)
}

// fakeRegistry answers for every version with one run, and remembers the headers of what it was asked.
type fakeRegistry struct {
	*httptest.Server
	mu      sync.Mutex
	headers []http.Header
}

func newFakeRegistry(t *testing.T, run string) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.headers = append(f.headers, r.Header)
		f.mu.Unlock()
		switch {
		case strings.HasSuffix(r.URL.Path, "/model-versions/get"):
			_, _ = fmt.Fprintf(w, `{"model_version":{"version":"1","run_id":%q,"creation_timestamp":1}}`, run)
		case strings.HasSuffix(r.URL.Path, "/runs/get"):
			_, _ = fmt.Fprintf(w, `{"run":{"info":{"run_id":%q,"experiment_id":"7"},"data":{},"inputs":{}}}`, run)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeRegistry) receivedHeaders() []http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.headers
}

func TestReloadReplacesTheRegistry(t *testing.T) {
	t.Parallel()
	one, two := newFakeRegistry(t, "run-1"), newFakeRegistry(t, "run-2")
	p := newLabelFolder(t, "mlflow: {url: "+one.URL+"}\n")
	p.spans(nil, span{trace: 1, id: 1, took: time.Millisecond, attrs: attributes{"ml.model.name": "m", "ml.model.version": "1"}})
	require.NoError(t, p.lineage(t.Context()))
	p.requireMetric(`ml_model_info{mlflow_experiment_id="7",mlflow_model_id="",mlflow_run_id="run-1",model="m",stage="",training_dataset="",training_digest="",version="1"} 1`)

	was := p.connections.registry.Load()
	require.NoError(t, p.Reload(t.Context(), p.config(t, "low_confidence: 0.4\nmlflow: {url: "+one.URL+"}\n")))
	require.Same(t, was, p.connections.registry.Load(), "another setting leaves what the registry has said")

	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "token"), []byte("secret-2"), 0o600))
	require.NoError(t, p.Reload(t.Context(), p.config(t, `mlflow:
  url: `+two.URL+`
  http_client: {authorization: {credentials_file: token}, http_headers: {X-Tenant: {values: [ml]}}}
`)))
	p.await(`mlflow_run_id="run-2",model="m"`, true)
	p.await(`mlflow_run_id="run-1",model="m"`, false)
	for _, h := range two.receivedHeaders() {
		require.Equal(t, []string{"Bearer secret-2", "ml"}, []string{h.Get("Authorization"), h.Get("X-Tenant")})
	}

	require.NoError(t, p.Reload(t.Context(), p.config(t, "")))
	p.await("ml_model_info{", false)
	p.requireMetric(`ml_inference_requests_total{model="m",outcome="ok",version="1"} 1`)
}

func TestReviewsAreSentWithTheHTTPClientSettings(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 8)
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(responder.Close)
	p := newLabelFolder(t, `
reviews: {url: "`+responder.URL+`", http_client: {http_headers: {X-Tenant: {values: [ml]}}}}
`)
	p.spans(nil, span{trace: 1, id: 1, took: time.Millisecond, attrs: attributes{"ml.model.name": "m"}, events: []event{
		{evaluationResult, time.Microsecond, attributes{"gen_ai.evaluation.name": "groundedness", "gen_ai.evaluation.score.value": 0.1}},
	}})
	select {
	case h := <-got:
		require.Equal(t, "ml", h.Get("X-Tenant"))
	case <-time.After(20 * time.Second):
		t.Fatal("no review was sent")
	}
}

func TestInvalidHTTPClientErrorNamesTheKey(t *testing.T) {
	t.Parallel()
	for sentence, c := range map[string]struct{ text, want string }{
		"a secret in the file":                {"mlflow: {url: 'http://m', http_client: {authorization: {credentials: s}}}", "mlflow.http_client: holds a secret; want a file"},
		"credentials twice":                   {"mlflow: {url: 'http://m', username: ada, http_client: {basic_auth: {username: ada, password_file: p}}}", "mlflow.username: http_client has credentials too; want one of them"},
		"a token beside them":                 {"reviews: {url: 'http://m', token: {file: t}, http_client: {basic_auth: {username: ada, password_file: p}}}", "reviews.token: http_client has credentials too; want one of them"},
		"a key that Prometheus does not know": {"reviews: {url: 'http://m', http_client: {tenant: ml}}", "reviews.http_client: is not valid: "},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			var cfg Config
			require.ErrorContains(t, config.Decode(filepath.Join(t.TempDir(), "c.yaml"), []byte(c.text), &cfg), c.want)
		})
	}
}
