package modelquality

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// logScript records the same training data in every way that teams do, one run and one version of the model each.
const logScript = `
import sys
import mlflow, pandas as pd
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.entities import Dataset, DatasetInput, InputTag

server, path, web = sys.argv[1:]
mlflow.set_tracking_uri(server)
client = mlflow.MlflowClient()
client.create_registered_model("orders")
data = pd.read_csv(path)
mlflow.set_experiment("orders")

def version(log):
    with mlflow.start_run() as run:
        mlflow.log_artifact(path, "training data")
        log(run.info)
    client.create_model_version("orders", "s3://models/orders", run.info.run_id)

def pandas(source):
    return lambda run: mlflow.log_input(mlflow.data.from_pandas(data, source=source and source(run), name="orders " + run.run_id), context="training")

def named(uri):
    import json
    return lambda run: client.log_inputs(run.run_id, [DatasetInput(
        Dataset(name="orders", digest=run.run_id[:8], source_type="mlflow", source=json.dumps({"uri": uri(run)})),
        [InputTag("mlflow.data.context", "training")])])

proxy = server + "/api/2.0/mlflow-artifacts/artifacts"
version(pandas(lambda run: path))                                                                       # 1
version(pandas(lambda run: web + "/orders.csv"))                                                        # 2
version(pandas(lambda run: run.artifact_uri.replace("mlflow-artifacts:", proxy) + "/training%20data/orders.csv"))  # 3
version(named(lambda run: run.artifact_uri + "/training data/orders.csv"))                              # 4
version(named(lambda run: "runs:/" + run.run_id + "/training data/orders.csv"))                         # 5
version(pandas(lambda run: "s3://training-data/orders.csv"))                                            # 6
version(pandas(None))                                                                                   # 7
version(named(lambda run: run.artifact_uri + "/training data/none.csv"))                                # 8
`

func TestTheDatasetsThatRunsWereTrainedOn(t *testing.T) {
	python := testtools.Path(t, "python/bin/python")
	server := testtools.MLflow(t)
	dir := t.TempDir()
	rows := "amount,country\n"
	for n := range 50 {
		rows += fmt.Sprintf("%d,%s\n", n, []string{"CA", "FR"}[n%2])
	}
	path := filepath.Join(dir, "orders.csv")
	require.NoError(t, os.WriteFile(path, []byte(rows), 0o600))
	web := httptest.NewServer(http.FileServer(http.Dir(dir)))
	t.Cleanup(web.Close)
	cmd := exec.CommandContext(t.Context(), python, "-W", "ignore", "-c", logScript, server, path, web.URL)
	cmd.Env, cmd.Dir = append(os.Environ(), testtools.MLflowEnv...), dir
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)

	host, err := url.Parse(web.URL)
	require.NoError(t, err)
	temp := t.TempDir()
	w := newWorld(t, fmt.Sprintf(`
baseline_store: {type: FILESYSTEM, config: {directory: %q}}
baselines: {sample: 10}
mlflow:
  url: %s
  requests_per_second: 100
  datasets:
    folders: [%q]
    artifacts: true
    hosts: [%q]
    buckets: [{uri: s3://training-data, type: FILESYSTEM, config: {directory: %q}}]
    temp_directory: %q
`, t.TempDir(), server, dir, host.Host, dir, temp))
	versions := []string{"1", "2", "3", "4", "5", "6", "7", "8"}
	for _, version := range versions {
		for n := range 10 {
			w.spans(nil, span{trace: byte(n + 1), id: 1, took: time.Second, attrs: attributes{
				"ml.model.name": "orders", "ml.model.version": version, "ml.feature.amount": float64(n) + 0.5, "ml.feature.country": "CA",
			}})
		}
	}
	require.NoError(t, w.lineage(t.Context()))
	require.NoError(t, w.keeper.Cycle(t.Context()))
	for _, version := range versions {
		baselines := w.metrics(`ml_model_field_baseline_values{baseline="training",field="amount",model="orders",role="input",version="` + version + `"}`)
		if version == "7" || version == "8" {
			require.Empty(t, baselines, "it names no file, or one that is not there")
			require.NotEmpty(t, w.metrics(`ml_model_field_values_total{bin="null",field="amount",model="orders",role="input",version="`+version+`"}`), "its bins are from production")
			continue
		}
		require.NotEmpty(t, baselines, "version %s: %s", version, w.metrics("ml_model_info", "ml_model_field_baseline_values", "ml_model_field_values_total"))
		require.Equal(t, 50, int(number(t, baselines)), "version %s", version)
	}
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left, "downloads are deleted")
}

// number is the value of the only line.
func number(t *testing.T, line string) (v float64) {
	t.Helper()
	_, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &v)
	require.NoError(t, err, line)
	return v
}
