package demo

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// mlflowPath is where MLflow serves its registry.
const mlflowPath = "/api/2.0/mlflow/"

// serveRegistry simulates MLflow's registry: version 7 of both models is registered with its run, and the run with its
// experiment. All other requests get MLflow's error for missing objects.
func serveRegistry(w http.ResponseWriter, req *http.Request, trained time.Time) {
	query := req.URL.Query()
	runs := map[string]string{recommender: recommenderRun, bot: botRun, risk: riskRun}
	switch run := runs[query.Get("name")]; {
	case strings.HasSuffix(req.URL.Path, "model-versions/get") && run != "" && query.Get("version") == modelVersion:
		_, _ = fmt.Fprintf(w, `{"model_version": {"name": %q, "version": %q, "run_id": %q, "current_stage": "None", "aliases": ["champion"], "creation_timestamp": %d}}`,
			query.Get("name"), modelVersion, run, trained.UnixMilli())
	case strings.HasSuffix(req.URL.Path, "runs/get"):
		_, _ = fmt.Fprintf(w, `{"run": {"info": {"run_id": %q, "experiment_id": "1"}, "data": {}, "inputs": {}}}`, query.Get("run_id"))
	default:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "the simulated registry has no such object"}`)
	}
}
