package instrument

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// FindRun says which MLflow run trained a version.
type FindRun func(context.Context) (string, error)

const (
	findTimeout = 10 * time.Second
	// findAgain is the time after which a search that failed is repeated.
	findAgain = time.Minute
	// maxAnswer bounds what is read of MLflow's answer.
	maxAnswer = 1 << 20
)

// run is found once, in the background: no inference waits for it, and none fails for want of it.
type run struct {
	find FindRun

	mu      sync.Mutex
	found   string
	running bool
	next    time.Time
}

// id is the run's ID, or empty as long as it is not known.
func (r *run) id(ctx context.Context) string {
	if r.find == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == "" && !r.running && !time.Now().Before(r.next) {
		r.running = true
		// The search outlives the inference that began it.
		go r.search(context.WithoutCancel(ctx))
	}
	return r.found
}

func (r *run) search(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	id, err := r.find(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running, r.next = false, time.Now().Add(findAgain)
	if err == nil {
		r.found = id
	}
}

// RunFromMLflow asks an MLflow server for the run of a registered version. The client adds what authentication the server
// wants, in its Transport; nil is http.DefaultClient.
func RunFromMLflow(client *http.Client, server, model, version string) FindRun {
	if client == nil {
		client = http.DefaultClient
	}
	query := url.Values{"name": {model}, "version": {version}}
	target := strings.TrimRight(server, "/") + "/api/2.0/mlflow/model-versions/get?" + query.Encode()
	return func(ctx context.Context) (string, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
		if err != nil {
			return "", fmt.Errorf("instrument: ask MLflow for a run: %w", err)
		}
		response, err := client.Do(request)
		if err != nil {
			return "", fmt.Errorf("instrument: ask MLflow for a run: %w", err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return "", fmt.Errorf("instrument: ask MLflow for a run: model %q, version %q: %s", model, version, response.Status)
		}
		var answer struct {
			ModelVersion struct {
				RunID string `json:"run_id"`
			} `json:"model_version"`
		}
		if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(&answer); err != nil {
			return "", fmt.Errorf("instrument: ask MLflow for a run: %w", err)
		}
		return answer.ModelVersion.RunID, nil
	}
}
