package lineage_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/internal/config"
)

// server answers like MLflow 3. The end-to-end test verifies this with a real MLflow.
type server struct {
	*httptest.Server
	calls   []string
	headers []http.Header
	// answers by method and query; what is not here does not exist.
	answers map[string]string
	down    bool
	tags    []map[string]string
}

const (
	versionThree = `{"model_version":{"name":"fraud","version":"3","run_id":"r3","current_stage":"None","aliases":["canary","champion"],"creation_timestamp":1700000000123}}`
	runThree     = `{"run":{"info":{"run_id":"r3","experiment_id":"7"},"data":{"tags":[{"key":"mlflow.user","value":"ada"}]},"inputs":{"dataset_inputs":[
		{"tags":[{"key":"mlflow.data.context","value":"evaluation"}],"dataset":{"name":"holdout","digest":"bbb","source_type":"local","source":"{\"uri\": \"/data/holdout.csv\"}"}},
		{"tags":[{"key":"mlflow.data.context","value":"training"}],"dataset":{"name":"orders","digest":"aaa","source_type":"local","source":"{\"uri\": \"/data/orders.csv\"}"}}]}}}`
	getThree   = "model-versions/get?name=fraud&version=3"
	getRun     = "runs/get?run_id=r3"
	byChampion = "registered-models/alias?alias=champion&name=fraud"
)

func serve(t *testing.T, answers map[string]string) *server {
	t.Helper()
	s := &server{answers: answers}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		call := strings.TrimPrefix(q.URL.Path, "/api/2.0/mlflow/")
		if q.URL.RawQuery != "" {
			call += "?" + q.URL.RawQuery
		}
		s.calls, s.headers = append(s.calls, call), append(s.headers, q.Header)
		answer, ok := s.answers[call]
		switch {
		case s.down:
			w.WriteHeader(http.StatusBadGateway)
		case q.Method == http.MethodPost && call == "runs/set-tag":
			var tag map[string]string
			if json.NewDecoder(q.Body).Decode(&tag) != nil {
				w.WriteHeader(http.StatusBadRequest)
			}
			s.tags = append(s.tags, tag)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no"}`))
		default:
			_, _ = w.Write([]byte(answer))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

type clock struct{ now time.Time }

func options(s *server, c *clock) lineage.Options {
	return lineage.Options{
		URL: s.URL, Aliases: []string{"champion", "Production"}, Refresh: time.Hour, RetryMissing: time.Minute, Timeout: 5 * time.Second,
		RequestsPerSecond: 1000, MaxVersions: 3, Logger: promslog.NewNopLogger(), Now: func() time.Time { return c.now },
	}
}

func registry(t *testing.T, o lineage.Options) *lineage.Registry {
	t.Helper()
	r, err := lineage.New(o)
	require.NoError(t, err)
	return r
}

func TestResolution(t *testing.T) {
	three := lineage.Info{
		RunID: "r3", ExperimentID: "7", Registered: "3", Stage: "canary", Dataset: "orders", Digest: "aaa",
		SourceType: "local", Source: "/data/orders.csv", Created: time.UnixMilli(1700000000123).UTC(),
	}
	as := func(stage string) lineage.Info { i := three; i.Stage = stage; return i }
	staged := strings.Replace(strings.Replace(strings.Replace(versionThree, `"None"`, `"Production"`, 1), `["canary","champion"]`, `[]`, 1), `{"model_version":{`, `{"model_versions":[{`, 1)
	staged = strings.TrimSuffix(staged, "}}") + "}]}"
	for name, tc := range map[string]struct {
		version string
		answers map[string]string
		want    lineage.Info
	}{
		"a number is a version":                          {"3", map[string]string{getThree: versionThree, getRun: runThree}, three},
		"any other text is an alias":                     {"champion", map[string]string{byChampion: versionThree, getRun: runThree}, as("champion")},
		"no version is the one with the preferred alias": {"", map[string]string{byChampion: versionThree, getRun: runThree}, as("champion")},
		"a server without aliases has stages": {"", map[string]string{
			"registered-models/get-latest-versions?name=fraud&stages=Production": staged, getRun: runThree,
		}, as("Production")},
		"a version that is not registered has no run": {"4", nil, lineage.Info{}},
		"a run that was deleted is known by its ID":   {"3", map[string]string{getThree: versionThree}, lineage.Info{RunID: "r3", Registered: "3", Stage: "canary", Created: three.Created}},
		"a time written as text is a time":            {"3", map[string]string{getThree: strings.Replace(versionThree, "1700000000123", `"1700000000123"`, 1), getRun: runThree}, three},
		"the only dataset is that of the training": {"3", map[string]string{getThree: versionThree, getRun: `{"run":{"info":{"run_id":"r3","experiment_id":"7"},"inputs":{"dataset_inputs":[
			{"dataset":{"name":"orders","digest":"aaa","source_type":"s3","source":"{\"uri\": \"s3://b/o\"}"}}]}}}`}, func() lineage.Info {
			i := three
			i.SourceType, i.Source = "s3", "s3://b/o"
			return i
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry(t, options(serve(t, tc.answers), &clock{}))
			v := lineage.Version{Model: "fraud", Version: tc.version}
			_, ok := r.Lookup(v)
			require.False(t, ok, "nobody has asked yet")
			require.NoError(t, r.Cycle(t.Context(), []lineage.Version{v}))
			got, ok := r.Lookup(v)
			require.True(t, ok)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestAnswersAreCachedForATime(t *testing.T) {
	s, c := serve(t, map[string]string{getThree: versionThree, getRun: runThree}), &clock{now: time.Unix(1e9, 0)}
	r := registry(t, options(s, c))
	known, missing := lineage.Version{Model: "fraud", Version: "3"}, lineage.Version{Model: "fraud", Version: "4"}
	cycle := func(calls int) {
		t.Helper()
		s.calls = nil
		require.NoError(t, r.Cycle(t.Context(), []lineage.Version{known, missing}))
		require.Len(t, s.calls, calls, "%q", s.calls)
	}
	cycle(3)
	cycle(0)
	c.now = c.now.Add(time.Minute)
	cycle(1) // the version that was missing may be there now
	c.now = c.now.Add(time.Hour)
	cycle(3)

	s.down, c.now = true, c.now.Add(time.Hour)
	err := r.Cycle(t.Context(), []lineage.Version{known, missing})
	require.ErrorContains(t, err, `model "fraud", version "3": MLflow model-versions/get: 502 Bad Gateway`)
	info, ok := r.Lookup(known)
	require.True(t, ok, "what was known stays known")
	require.Equal(t, "r3", info.RunID)

	require.NoError(t, r.Cycle(t.Context(), nil))
	_, ok = r.Lookup(known)
	require.False(t, ok, "what is not served any more is forgotten")
}

func TestALoggedModelOfMLflow3IsKnownWithoutARun(t *testing.T) {
	version := func(more string) string {
		return `{"model_version":{"version":"3","current_stage":"None","creation_timestamp":1795000000000` + more + `}}`
	}
	const getModel = "logged-models/m-1"
	for name, test := range map[string]struct {
		answers map[string]string
		want    lineage.Info
	}{
		"of an experiment": {
			map[string]string{getThree: version(`,"model_id":"m-1"`), getModel: `{"model":{"info":{"model_id":"m-1","experiment_id":"7"}}}`},
			lineage.Info{ModelID: "m-1", ExperimentID: "7", Registered: "3"},
		},
		"with its run": {
			map[string]string{getThree: version(`,"model_id":"m-1"`), getModel: `{"model":{"info":{"experiment_id":"7","source_run_id":"r3"}}}`, getRun: runThree},
			lineage.Info{ModelID: "m-1", RunID: "r3", ExperimentID: "7", Registered: "3", Dataset: "orders", Digest: "aaa", SourceType: "local", Source: "/data/orders.csv"},
		},
		"that was deleted": {
			map[string]string{getThree: version(`,"model_id":"m-1"`)}, lineage.Info{ModelID: "m-1", Registered: "3"},
		},
		"beside a run, which is asked alone": {
			map[string]string{getThree: version(`,"model_id":"m-1","run_id":"r3"`), getRun: runThree},
			lineage.Info{ModelID: "m-1", RunID: "r3", ExperimentID: "7", Registered: "3", Dataset: "orders", Digest: "aaa", SourceType: "local", Source: "/data/orders.csv"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry(t, options(serve(t, test.answers), &clock{}))
			v := lineage.Version{Model: "fraud", Version: "3"}
			require.NoError(t, r.Cycle(t.Context(), []lineage.Version{v}))
			info, ok := r.Lookup(v)
			require.True(t, ok)
			info.Created = time.Time{}
			require.Equal(t, test.want, info)
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	s := serve(t, nil)
	r := registry(t, options(s, &clock{}))
	var versions []lineage.Version
	for _, v := range []string{"1", "2", "3", "4", "5"} {
		versions = append(versions, lineage.Version{Model: "fraud", Version: v})
	}
	require.NoError(t, r.Cycle(t.Context(), versions))
	require.Equal(t, 3, testutil.CollectAndCount(r, "ml_model_info"))
}

func TestInvalidAnswersAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ answer, want string }{
		"a page of a proxy": {"<html>", "the answer is not what MLflow sends"},
		"an endless answer": {strings.Repeat(" ", 9<<20), "the answer is larger than 8388608 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := registry(t, options(serve(t, map[string]string{getThree: tc.answer}), &clock{}))
			require.ErrorContains(t, r.Cycle(t.Context(), []lineage.Version{{Model: "fraud", Version: "3"}}), tc.want)
		})
	}
}

func TestMetrics(t *testing.T) {
	s, c := serve(t, map[string]string{getThree: versionThree, getRun: runThree}), &clock{now: time.Unix(1e9, 0)}
	o := options(s, c)
	o.WriteBack = true
	o.TraceLink = template.Must(template.New("").Parse(`https://traces.example/?model={{urlquery .Model}}&run={{.RunID}}`))
	r := registry(t, o)
	versions := []lineage.Version{{Model: "fraud", Version: "3"}, {Model: "spam", Version: "1"}}
	require.NoError(t, r.Cycle(t.Context(), versions))
	require.NoError(t, testutil.CollectAndCompare(r, strings.NewReader(`
		# HELP ml_model_info The run that trained a version or the model that was logged for it, and its training data, according to the MLflow registry. Without either, the registry does not have the version.
		# TYPE ml_model_info gauge
		ml_model_info{mlflow_experiment_id="7",mlflow_model_id="",mlflow_run_id="r3",model="fraud",stage="canary",training_dataset="orders",training_digest="aaa",version="3"} 1
		ml_model_info{mlflow_experiment_id="",mlflow_model_id="",mlflow_run_id="",model="spam",stage="",training_dataset="",training_digest="",version="1"} 1
		# HELP ml_model_version_created_timestamp_seconds Time at which the version was registered.
		# TYPE ml_model_version_created_timestamp_seconds gauge
		ml_model_version_created_timestamp_seconds{model="fraud",version="3"} 1.700000000123e+09
		# HELP ml_model_version_first_served_timestamp_seconds Time of the first inference of the version, as recorded in its run.
		# TYPE ml_model_version_first_served_timestamp_seconds gauge
		ml_model_version_first_served_timestamp_seconds{model="fraud",version="3"} 1e+09
	`)))
	require.Equal(t, []map[string]string{
		{"run_id": "r3", "key": "sightglass.first_served", "value": "2001-09-09T01:46:40Z"},
		{"run_id": "r3", "key": "sightglass.traces", "value": "https://traces.example/?model=fraud&run=r3"},
	}, s.tags)

	// What is there already is not written again, also by the next process.
	s.tags = nil
	s.answers[getRun] = strings.Replace(runThree, `"tags":[`, `"tags":[{"key":"sightglass.first_served","value":"2001-09-09T01:46:40Z"},{"key":"sightglass.traces","value":"https://traces.example/?model=fraud&run=r3"},`, 1)
	c.now = c.now.Add(time.Hour)
	r = registry(t, o)
	require.NoError(t, r.Cycle(t.Context(), versions[:1]))
	require.Empty(t, s.tags)
	info, _ := r.Lookup(versions[0])
	require.Equal(t, time.Unix(1e9, 0).UTC(), info.FirstServed)
}

func TestAuthentication(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("hush\n"), 0o600))
	secret := config.SecretSource{File: config.Path(file)}
	for name, tc := range map[string]struct {
		set  func(*lineage.Options)
		want string
	}{
		"a token":               {func(o *lineage.Options) { o.Token = secret }, "Bearer hush"},
		"a user and a password": {func(o *lineage.Options) { o.Username, o.Password = "ada", secret }, "Basic YWRhOmh1c2g="},
		"nothing":               {func(*lineage.Options) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil)
			o := options(s, &clock{})
			tc.set(&o)
			require.NoError(t, registry(t, o).Cycle(t.Context(), []lineage.Version{{Model: "fraud", Version: "3"}}))
			require.Equal(t, tc.want, s.headers[0].Get("Authorization"))
		})
	}
	s := serve(t, nil)
	o := options(s, &clock{})
	o.Username, o.Token, o.Password = "ada", secret, secret
	_, err := lineage.New(o)
	require.EqualError(t, err, "a registry takes a token or a user name, not both")
	o = options(s, &clock{})
	o.URL = "mlflow"
	_, err = lineage.New(o)
	require.EqualError(t, err, "a registry needs the http or https URL of an MLflow server")
}
