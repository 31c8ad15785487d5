package lineage_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/lineage"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// mlflow is a real server.
type mlflow struct{ url string }

// ask makes a request and decodes the answer.
func (m mlflow) ask(t *testing.T, verb, method string, body, into any) {
	t.Helper()
	data, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), verb, m.url+"/api/2.0/mlflow/"+method, bytes.NewReader(data))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s: %s", method, answer)
	if into != nil {
		require.NoError(t, json.Unmarshal(answer, into))
	}
}

type object = map[string]any

func TestARealServer(t *testing.T) {
	m := mlflow{testtools.MLflow(t)}
	var experiment struct {
		ID string `json:"experiment_id"`
	}
	m.ask(t, http.MethodPost, "experiments/create", object{"name": "fraud"}, &experiment)
	var run struct {
		Run struct {
			Info struct {
				ID string `json:"run_id"`
			}
		}
	}
	m.ask(t, http.MethodPost, "runs/create", object{"experiment_id": experiment.ID, "start_time": time.Now().UnixMilli()}, &run)
	id := run.Run.Info.ID
	input := func(name, digest, of string) object {
		return object{
			"tags":    []object{{"key": "mlflow.data.context", "value": of}},
			"dataset": object{"name": name, "digest": digest, "source_type": "local", "source": `{"uri": "/data/` + name + `.csv"}`},
		}
	}
	m.ask(t, http.MethodPost, "runs/log-inputs", object{"run_id": id, "datasets": []object{input("holdout", "bbb", "evaluation"), input("orders", "aaa", "training")}}, nil)
	m.ask(t, http.MethodPost, "registered-models/create", object{"name": "fraud"}, nil)
	before := time.Now().Truncate(time.Millisecond)
	for range 2 {
		m.ask(t, http.MethodPost, "model-versions/create", object{"name": "fraud", "source": "s3://models/fraud", "run_id": id}, nil)
	}
	m.ask(t, http.MethodPost, "registered-models/alias", object{"name": "fraud", "alias": "champion", "version": "2"}, nil)
	m.ask(t, http.MethodPost, "model-versions/transition-stage", object{"name": "fraud", "version": "1", "stage": "Production", "archive_existing_versions": false}, nil)

	r := registry(t, lineage.Options{
		URL: m.url, Aliases: []string{"champion"}, Refresh: time.Nanosecond, RetryMissing: time.Hour, Timeout: time.Minute, RequestsPerSecond: 1000, MaxVersions: 100,
		WriteBack: true, TraceLink: template.Must(template.New("").Parse("https://traces.example.com/{{.Model}}")), Logger: promslog.NewNopLogger(), Now: time.Now,
	})
	registered := map[string]struct{ version, stage string }{
		"1": {"1", "Production"}, "2": {"2", "champion"}, "champion": {"2", "champion"}, "": {"2", "champion"}, "Production": {"1", "Production"},
		// MLflow itself takes this one for an alias of the newest version.
		"latest": {"2", "latest"},
		// None of these is there.
		"3": {}, "nobody": {}, "Staging": {}, "a b": {},
	}
	var versions []lineage.Version
	for version := range registered {
		versions = append(versions, lineage.Version{Model: "fraud", Version: version})
	}
	stranger := lineage.Version{Model: "stranger", Version: "1"}
	require.NoError(t, r.Cycle(t.Context(), append(versions, stranger)))
	for version, want := range registered {
		info, ok := r.Lookup(lineage.Version{Model: "fraud", Version: version})
		require.True(t, ok, version)
		if want.version == "" {
			require.Empty(t, info, version)
			continue
		}
		require.WithinRange(t, info.Created, before, time.Now(), version)
		require.WithinRange(t, info.FirstServed, before.Add(-time.Second), time.Now(), version)
		info.Created, info.FirstServed = time.Time{}, time.Time{}
		require.Equal(t, lineage.Info{
			RunID: id, ExperimentID: experiment.ID, Registered: want.version, Stage: want.stage,
			Dataset: "orders", Digest: "aaa", SourceType: "local", Source: "/data/orders.csv",
		}, info, version)
	}
	info, ok := r.Lookup(stranger)
	require.True(t, ok)
	require.Empty(t, info)

	tags := func() map[string]string {
		var answer struct {
			Run struct {
				Data struct{ Tags []struct{ Key, Value string } }
			}
		}
		m.ask(t, http.MethodGet, "runs/get?run_id="+id, nil, &answer)
		found := make(map[string]string)
		for _, tag := range answer.Run.Data.Tags {
			found[tag.Key] = tag.Value
		}
		return found
	}
	written := tags()
	require.Equal(t, "https://traces.example.com/fraud", written[lineage.TraceLinkTag])
	require.Contains(t, written, lineage.FirstServedTag)
	require.NoError(t, r.Cycle(t.Context(), versions))
	require.Equal(t, written, tags(), "what is written once stays")
}
