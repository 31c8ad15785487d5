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

// FindRun returns the ID of the MLflow run that trained a version.
type FindRun func(context.Context) (string, error)

const (
	findTimeout = 10 * time.Second
	// findAgain is the wait after a failed look-up.
	findAgain = time.Minute
	// maxAnswer bounds the size of MLflow's response.
	maxAnswer = 1 << 20
)

// run is looked up once, in the background. No inference waits for it or fails because of it.
type run struct {
	find FindRun

	mu      sync.Mutex
	found   string
	running bool
	next    time.Time
}

// id returns the run's ID, or an empty string while it is unknown.
func (r *run) id(ctx context.Context) string {
	if r.find == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == "" && !r.running && !time.Now().Before(r.next) {
		r.running = true
		// The look-up continues after the inference that started it.
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

// RunFromMLflow looks up the run of a registered version on an MLflow server. The client's Transport adds authentication if
// the server needs it; nil is http.DefaultClient.
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
