package testtools

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// MLflow starts an empty MLflow server, which also stores the artifacts of runs, and returns its URL.
func MLflow(t testing.TB) (url string) {
	t.Helper()
	python := Path(t, "python/bin/python")
	Path(t, "python/bin/mlflow")
	dir, port := t.TempDir(), strconv.Itoa(freePort(t))
	server := exec.Command(python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1",
		"--backend-store-uri", "sqlite:///"+filepath.Join(dir, "mlflow.db"), "--artifacts-destination", filepath.Join(dir, "artifacts"))
	server.Dir = dir
	server.Env = append(os.Environ(), MLflowEnv...)
	url = "http://127.0.0.1:" + port
	startServer(t, server, func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", response.Status)
		}
		return nil
	})
	return url
}

// MLflowEnv disables workers that tests do not need, and telemetry, in MLflow's server and library.
var MLflowEnv = []string{"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true", "DO_NOT_TRACK=true", "GIT_PYTHON_REFRESH=quiet"}
