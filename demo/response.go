package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

// response runs the responder, and simulates the training system and MLflow.
type response struct {
	stack     *stack.Stack
	responder string // path of the program
	server    stack.Server
	training  *http.Server
	address   string // of the simulated training system and MLflow
	// prometheus is the address of the Prometheus with the lineage.
	prometheus string
	slack      string // the address of the simulated Slack
	pace       speedup.Factor
	started    time.Time // of the simulated servers

	mu    sync.Mutex
	calls []training
}

// training is a run that the responder started.
type training struct {
	at         time.Time
	Model, Run string
}

// Token of the webhooks, and user of the page.
const (
	token    = "demo-token"
	userName = "demo"
)

func (r *response) path(name string) string { return filepath.Join(r.stack.Dir(), "response", name) }

// start starts the simulated servers and the responder.
func (r *response) start(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the training system: %w", err)
	}
	r.address, r.started = "http://"+listener.Addr().String(), time.Now()
	r.training = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.training.Serve(listener) }()
	hash, err := bcrypt.GenerateFromPassword([]byte(userName), bcrypt.MinCost)
	if err != nil {
		return fmt.Errorf("start the responder: %w", err)
	}
	url := r.address + "/runs"
	for name, content := range map[string]string{
		"token":      token,
		"users.yaml": fmt.Sprintf("basic_auth_users: {%s: %q}\n", userName, hash),
		"responder.yaml": fmt.Sprintf(`
webhook: {token: {file: token}}
reviews: {token: {file: token}}
page: {users_file: users.yaml}
prometheus: {url: "http://%s"}
incidents:
  {window: %s, lead: %s, siblings: %s, lineage_interval: %s, slack: {channel: "#ml-incidents", token: {file: token}, url: "%s/api"}}
actions:
  - name: retrain-recommender
    response: retrain
    match: {model: %s}
    dry_run: false
    poll_interval: 1s
    grace: 0s # the demo ends before the ten minutes of the default
    cooldown: 1s # only the broken values hold a second retraining back
    requires: [mlflow_run_id]
    target:
      webhook:
        url: %s
        body: {model: "{{ .Model }}", mlflow_run_id: "{{ .MLflowRunID }}"}
        id: id
        status: {url: "%s/{id}", field: state, succeeded: [done], failed: [failed]}
  - name: retrain-risk
    response: retrain
    match: {model: %s}
    dry_run: false
    requires: [mlflow_run_id]
    target: {webhook: {url: %s, body: {model: "{{ .Model }}", mlflow_run_id: "{{ .MLflowRunID }}"}, id: id}}
`, r.prometheus, duration(r.pace, time.Hour), duration(r.pace, 30*time.Minute), duration(r.pace, 15*time.Minute), duration(r.pace, time.Minute), r.slack,
			recommender, url, url, risk, url),
	} {
		if err := os.MkdirAll(r.path(""), 0o755); err != nil {
			return fmt.Errorf("start the responder: %w", err)
		}
		if err := os.WriteFile(r.path(name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("start the responder: %w", err)
		}
	}
	r.server, err = r.stack.StartExporter(ctx, stack.ExporterConfig{
		Name: "responder", Path: r.responder, Args: []string{"--config.file=" + r.path("responder.yaml")},
	})
	return err
}

func (r *response) close() error {
	if r.training == nil {
		return nil
	}
	return r.training.Close()
}

// ServeHTTP simulates the training system: it starts requested runs and reports them as finished at the first status request.
// Below mlflowPath it simulates the registry.
func (r *response) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if strings.HasPrefix(req.URL.Path, mlflowPath) {
		serveRegistry(w, req, r.started.Add(-24*time.Hour))
		return
	}
	if req.Method == http.MethodGet {
		_, _ = io.WriteString(w, `{"state": "done"}`)
		return
	}
	var asked struct {
		Model string `json:"model"`
		Run   string `json:"mlflow_run_id"`
	}
	if err := json.NewDecoder(io.LimitReader(req.Body, 1<<20)).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.calls = append(r.calls, training{time.Now(), asked.Model, asked.Run})
	n := len(r.calls)
	r.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"id": "training-%d"}`, n)
}

// since returns the training runs after the first n.
func (r *response) since(n int) []training {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]training(nil), r.calls[n:]...)
}
