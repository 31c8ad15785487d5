package action

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// hostile is a label that tries to leave its string, its parameter and its URL.
const hostile = "fraud\"}, {{ .Key }} ${inputs.x}, model=a/../..?b=c\r\nX-Injected: 1 \u2028\u202e"

var alertParams = Params{
	Key: "0123456789abcdef0123456789abcdef", Action: "retrain", Alertname: "MLModelDrift", Model: hostile, Version: "3",
	MLflowRunID: "run7", Dataset: "orders", LastGoodSnapshot: "s3://b/snap=41", TraceID: "4bf92f3577b34da6", StartsAt: time.Unix(0, 0),
}

// exchange is one request that a target has to make, with the answer to it.
type exchange struct {
	want   string // method and URI
	status int
	answer string
}

// service plays a target. It checks each request and keeps the bodies.
type service struct {
	*httptest.Server
	t      *testing.T
	script []exchange
	bodies []string
	heads  []http.Header
}

func play(t *testing.T, script ...exchange) *service {
	t.Helper()
	s := &service{t: t, script: script}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(s.script) == 0 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		next := s.script[0]
		s.script = s.script[1:]
		if got := r.Method + " " + r.URL.RequestURI(); got != next.want {
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "want "+next.want+", got "+got)
			return
		}
		s.bodies, s.heads = append(s.bodies, string(body)), append(s.heads, r.Header)
		w.WriteHeader(next.status)
		_, _ = io.WriteString(w, next.answer)
	}))
	t.Cleanup(s.Close)
	return s
}

// load returns the target of a configuration, in which URL stands for the service's address.
func (s *service) load(text string) *target {
	s.t.Helper()
	var c TargetConfig
	require.NoError(s.t, config.Decode(filepath.Join(s.t.TempDir(), "c.yaml"), []byte(strings.ReplaceAll(text, "URL", s.URL)), &c))
	t, err := c.target("test")
	require.NoError(s.t, err)
	return t
}

const runsOfGitHub = "/repos/acme/models/actions/workflows/retrain.yaml/runs?created=%3E%3D2026-11-24T08%3A59%3A00Z&event=workflow_dispatch&per_page=100"

func TestPresets(t *testing.T) {
	created := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	key := alertParams.Key
	labels := `"fraud\"}, {{ .Key }} ${inputs.x}, model=a/../..?b=c\r\nX-Injected: 1 \u2028` + "\u202e\""
	all := `{"action":"retrain","alertname":"MLModelDrift","dataset":"orders","idempotency_key":"` + key + `","last_good_snapshot":"s3://b/snap=41","mlflow_run_id":"run7","model":` + labels + `,"trace_id":"4bf92f3577b34da6","version":"3"}`

	for name, tc := range map[string]struct {
		config string
		start  []exchange
		body   string // of the first request, as JSON
		id     string
		status []exchange
		phases []Phase
	}{
		"Airflow 3 triggers a DAG run that is named by the key": {
			config: `{airflow: {url: URL/base/, dag: re train/1}}`,
			start:  []exchange{{"POST /base/api/v2/dags/re%20train%2F1/dagRuns", 200, `{"dag_run_id":"sightglass-` + key + `","state":"queued"}`}},
			body:   `{"dag_run_id":"sightglass-` + key + `","logical_date":null,"note":"Started by Sightglass for MLModelDrift.","conf":` + all + `}`,
			id:     "sightglass-" + key,
			status: []exchange{
				{"GET /base/api/v2/dags/re%20train%2F1/dagRuns/sightglass-" + key, 200, `{"state":"queued"}`},
				{"GET /base/api/v2/dags/re%20train%2F1/dagRuns/sightglass-" + key, 200, `{"state":"running"}`},
				{"GET /base/api/v2/dags/re%20train%2F1/dagRuns/sightglass-" + key, 200, `{"state":"success"}`},
			},
			phases: []Phase{Running, Running, Succeeded},
		},
		"Airflow 2 that has the run already is followed by it": {
			config: `{airflow: {url: URL, dag: retrain, api_version: 1, conf: {model: "{{ .Model }}"}}}`,
			start:  []exchange{{"POST /api/v1/dags/retrain/dagRuns", 409, `{"title":"Conflict"}`}},
			body:   `{"dag_run_id":"sightglass-` + key + `","note":"Started by Sightglass for MLModelDrift.","conf":{"model":` + labels + `}}`,
			id:     "sightglass-" + key,
			status: []exchange{{"GET /api/v1/dags/retrain/dagRuns/sightglass-" + key, 200, `{"state":"failed"}`}},
			phases: []Phase{Failed},
		},
		"Argo Workflows submits a template under a name of the key": {
			config: `{argo_workflows: {url: URL, namespace: ml, workflow_template: retrain, parameters: {model: "{{ .Model }}", run: "{{ .MLflowRunID }}"}}}`,
			start:  []exchange{{"POST /api/v1/workflows/ml/submit", 200, `{"metadata":{"name":"sightglass-` + key + `"}}`}},
			body: `{"namespace":"ml","resourceKind":"WorkflowTemplate","resourceName":"retrain","submitOptions":{"name":"sightglass-` + key + `",
				"labels":"sightglass/key=` + key + `","parameters":["model=` + labels[1:len(labels)-1] + `","run=run7"]}}`,
			id: "sightglass-" + key,
			status: []exchange{
				{"GET /api/v1/workflows/ml/sightglass-" + key, 200, `{"metadata":{},"status":{}}`},
				{"GET /api/v1/workflows/ml/sightglass-" + key, 200, `{"status":{"phase":"Running"}}`},
				{"GET /api/v1/workflows/ml/sightglass-" + key, 200, `{"status":{"phase":"Error"}}`},
			},
			phases: []Phase{Running, Running, Failed},
		},
		"Argo Events starts what is found by its label": {
			config: `{argo_events: {url: URL/retrain, workflows: {url: URL, namespace: ml}, body: {m: "{{ .Model }}"}}}`,
			start: []exchange{
				{"POST /retrain", 200, `success`},
				{"GET /api/v1/workflows/ml?listOptions.labelSelector=sightglass%2Fkey%3D" + key, 200, `{"items":null}`},
				{"GET /api/v1/workflows/ml?listOptions.labelSelector=sightglass%2Fkey%3D" + key, 200, `{"items":[{"metadata":{"name":"retrain-x7"}}]}`},
			},
			body:   `{"idempotency_key":"` + key + `","m":` + labels + `}`,
			id:     "retrain-x7",
			status: []exchange{{"GET /api/v1/workflows/ml/retrain-x7", 200, `{"status":{"phase":"Succeeded"}}`}},
			phases: []Phase{Succeeded},
		},
		"Kubeflow Pipelines creates a run": {
			config: `{kubeflow_pipelines: {url: URL/pipeline, pipeline_id: p1, pipeline_version_id: v1, experiment_id: e1, namespace: ml, parameters: {model: "{{ .Model }}"}}}`,
			start:  []exchange{{"POST /pipeline/apis/v2beta1/runs", 200, `{"run_id":"9a/b","state":"PENDING"}`}},
			body: `{"display_name":"sightglass-` + key + `","description":"Started by Sightglass for MLModelDrift.","experiment_id":"e1",
				"pipeline_version_reference":{"pipeline_id":"p1","pipeline_version_id":"v1"},"runtime_config":{"parameters":{"model":` + labels + `}}}`,
			id: "9a/b",
			status: []exchange{
				{"GET /pipeline/apis/v2beta1/runs/9a%2Fb", 200, `{"state":"CANCELING"}`},
				{"GET /pipeline/apis/v2beta1/runs/9a%2Fb", 200, `{"state":"CANCELED"}`},
			},
			phases: []Phase{Running, Failed},
		},
		"GitHub Actions dispatches a workflow whose run is found by the key in its name": {
			config: `{github_actions: {url: URL, repository: acme/models, workflow: retrain.yaml, inputs: {model: "{{ .Model }}"}}}`,
			start: []exchange{
				{"POST /repos/acme/models/actions/workflows/retrain.yaml/dispatches", 204, ``},
				{"GET " + runsOfGitHub, 200, `{"total_count":1,"workflow_runs":[{"id":1,"display_title":"retrain by hand"}]}`},
				{"GET " + runsOfGitHub, 200, `{"workflow_runs":[{"id":1,"display_title":"retrain"},{"id":9007199254740993,"display_title":"retrain ` + key + `"}]}`},
			},
			body: `{"ref":"main","inputs":{"model":` + labels + `,"sightglass_key":"` + key + `"}}`,
			id:   "9007199254740993",
			status: []exchange{
				{"GET /repos/acme/models/actions/runs/9007199254740993", 200, `{"status":"in_progress","conclusion":null}`},
				{"GET /repos/acme/models/actions/runs/9007199254740993", 200, `{"status":"completed","conclusion":"success"}`},
			},
			phases: []Phase{Running, Succeeded},
		},
		"GitHub Actions that returns an id is followed by it": {
			config: `{github_actions: {url: URL, repository: acme/models, workflow: retrain.yaml}}`,
			start:  []exchange{{"POST /repos/acme/models/actions/workflows/retrain.yaml/dispatches", 200, `{"workflow_run_id":12}`}},
			body: `{"ref":"main","inputs":{"action":"retrain","alertname":"MLModelDrift","dataset":"orders","last_good_snapshot":"s3://b/snap=41",
				"mlflow_run_id":"run7","model":` + labels + `,"sightglass_key":"` + key + `","trace_id":"4bf92f3577b34da6","version":"3"}}`,
			id:     "12",
			status: []exchange{{"GET /repos/acme/models/actions/runs/12", 200, `{"status":"completed","conclusion":"timed_out"}`}},
			phases: []Phase{Failed},
		},
		"a plain webhook gets the body it is configured for": {
			config: `{webhook: {url: "URL/go?x=1", id: run.id, body: {what: ["{{ .Model }}", 7, true, null, {since: "{{ .StartsAt.UTC }}"}]},
				status: {url: "URL/runs/{id}", field: run.state, succeeded: [ok], failed: [bad]}}}`,
			start:  []exchange{{"POST /go?x=1", 202, `{"run":{"id":5}}`}},
			body:   `{"what":[` + labels + `,7,true,null,{"since":"1970-01-01 00:00:00 +0000 UTC"}]}`,
			id:     "5",
			status: []exchange{{"GET /runs/5", 200, `{"run":{"state":"soon"}}`}, {"GET /runs/5", 200, `{"run":{"state":"bad"}}`}},
			phases: []Phase{Running, Failed},
		},
		"a plain webhook may be all there is": {
			config: `{webhook: {url: URL/go}}`,
			start:  []exchange{{"POST /go", 204, ``}},
			body:   all,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, append(tc.start, tc.status...)...)
			target := s.load(tc.config)
			id, err := target.Start(t.Context(), alertParams)
			require.NoError(t, err)
			require.JSONEq(t, tc.body, s.bodies[0])
			require.Equal(t, key, s.heads[0].Get(KeyHeader))
			require.Empty(t, s.heads[0].Get("X-Injected"))
			for range len(tc.start) - 1 {
				require.Empty(t, id)
				id, _, err = target.Find(t.Context(), alertParams, created)
				require.NoError(t, err)
			}
			require.Equal(t, tc.id, id)
			for _, want := range tc.phases {
				phase, _, err := target.Status(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, want, phase)
			}
			require.Empty(t, s.script, "every request was made")
		})
	}
}

func TestKubeflowFindsARunByItsName(t *testing.T) {
	name := "sightglass-" + alertParams.Key
	filter := `%7B%22predicates%22%3A%5B%7B%22key%22%3A%22name%22%2C%22operation%22%3A%22EQUALS%22%2C%22string_value%22%3A%22` + name + `%22%7D%5D%7D`
	s := play(t, exchange{"GET /apis/v2beta1/runs?page_size=10&filter=" + filter, 200, `{"runs":[{"run_id":"x","display_name":"other"},{"run_id":"y","display_name":"` + name + `"}]}`})
	id, found, err := s.load(`{kubeflow_pipelines: {url: URL, pipeline_id: p}}`).Find(t.Context(), alertParams, time.Now())
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "y", id)
}

func TestFailedAnswersOfTargets(t *testing.T) {
	for name, tc := range map[string]struct {
		status    int
		answer    string
		want      string
		permanent bool
	}{
		"what the target will never take":             {422, `{"message":"no such input"}`, `422 Unprocessable Entity: "{\"message\":\"no such input\"}"`, true},
		"a token that may be rotated":                 {401, ``, "401 Unauthorized", false},
		"a pipeline that may come back":               {404, ``, "404 Not Found", false},
		"a target that is down":                       {503, strings.Repeat("x ", 1000), "x …", false},
		"a redirect to a host that is not configured": {302, ``, "302 Found", false},
		"an answer without the id":                    {200, `{"run":{}}`, "run.id: the answer has no such field", false},
		"an invalid ID":                               {200, `{"run":{"id":[1]}}`, "run.id: is a []interface {} in the answer; want a text or a number", false},
		"an id as long as a novel":                    {200, `{"run":{"id":"` + strings.Repeat("x", 513) + `"}}`, "has 513 bytes", false},
		"a page of HTML":                              {200, `<html>login</html>`, `the answer is no JSON`, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := play(t, exchange{"POST /go", tc.status, tc.answer})
			_, err := s.load(`{webhook: {url: URL/go, id: run.id}}`).Start(t.Context(), alertParams)
			require.ErrorContains(t, err, tc.want)
			var permanent permanentError
			if tc.permanent {
				require.ErrorAs(t, err, &permanent)
			} else {
				require.NotErrorAs(t, err, &permanent)
			}
		})
	}
}

func TestCredentialsComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "token"), []byte("s3cret\n"), 0o600))
	s := play(t, exchange{"POST /go", 200, ""})
	var c TargetConfig
	require.NoError(t, config.Decode(filepath.Join(dir, "c.yaml"), []byte(`{webhook: {url: `+s.URL+`/go}, http_client: {authorization: {credentials_file: token}}}`), &c))
	target, err := c.target("test")
	require.NoError(t, err)
	_, err = target.Start(t.Context(), alertParams)
	require.NoError(t, err)
	require.Equal(t, "Bearer s3cret", s.heads[0].Get("Authorization"))
}

func TestTargetsThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ config, want string }{
		"none":                      {`{}`, `has 0 kinds of target []; want one of airflow,`},
		"two":                       {`{webhook: {url: "http://a"}, airflow: {url: "http://a", dag: b}}`, `has 2 kinds of target ["airflow" "webhook"]; want one of`},
		"an address without scheme": {`{webhook: {url: "a:80"}}`, `webhook: url: "a:80" is no address of a service; want http(s)://host[/path], without credentials`},
		"credentials in an address": {`{webhook: {url: "http://u:p@a"}}`, `is no address of a service`},
		"a part that is missing":    {`{airflow: {url: "http://a"}}`, `airflow: dag: missing`},
		"a version of Airflow":      {`{airflow: {url: "http://a", dag: b, api_version: 3}}`, `api_version: 3; want 2 for Airflow 3 or 1 for Airflow 2`},
		"a repository":              {`{github_actions: {repository: models, workflow: a}}`, `repository: "models"; want owner/name`},
		"a value that is unknown":   {`{webhook: {url: "http://a", body: {x: "{{ .Modell }}"}}}`, `webhook: body: x: "{{ .Modell }}" is no template of an alert's values: `},
		"a template that is open":   {`{airflow: {url: "http://a", dag: b, conf: {x: "{{ .Model"}}}`, `airflow: conf: x: "{{ .Model" is no template`},
		"a status without id":       {`{webhook: {url: "http://a", status: {url: "http://a/{id}", field: s, succeeded: [a], failed: [b]}}}`, `id: missing; want the path of the run's id`},
		"a status that never ends":  {`{webhook: {url: "http://a", id: i, status: {url: "http://a/{id}", field: s}}}`, `a run would never end`},
		"a secret in the file":      {`{webhook: {url: "http://a"}, http_client: {authorization: {credentials: hunter2}}}`, `http_client: holds a secret; want a file`},
		"a setting that is unknown": {`{webhook: {url: "http://a"}, http_client: {tls: {}}}`, `http_client: is not valid`},
		"a date where text belongs": {`{webhook: {url: "http://a", body: {x: 2026-11-24}}}`, `x: a time.Time has no form in JSON; quote it to make it text`},
		"an address in a template":  {`{webhook: {url: "{{ .Model }}"}}`, `is no address of a service`},
	} {
		t.Run(name, func(t *testing.T) {
			var c TargetConfig
			err := config.Decode("c.yaml", []byte(tc.config), &c)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// FuzzTemplates looks for a label that gets out of its string.
func FuzzTemplates(f *testing.F) {
	f.Add(hostile)
	f.Add("\xff\xff\x00")
	f.Fuzz(func(t *testing.T, label string) {
		body, err := newTree(map[string]any{"a": "x {{ .Model }} y", "b": "z"})
		require.NoError(t, err)
		text, err := body.fill(Params{Model: label})
		require.NoError(t, err)
		var back map[string]string
		require.NoError(t, json.Unmarshal(text, &back))
		require.Equal(t, map[string]string{"a": "x " + string([]rune(label)) + " y", "b": "z"}, back, "each byte that is no text is replaced")
	})
}
