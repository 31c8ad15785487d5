package lineage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// ErrNoTraces means that the server has no such experiment, or does not support the search of traces.
var ErrNoTraces = errors.New("the server knows no such experiment, or is older than MLflow 3, which can search traces")

// Trace is one of MLflow's traces with its assessments.
type Trace struct {
	ID          string       `json:"trace_id"`
	Assessments []Assessment `json:"assessments"`
}

// Assessment is an evaluation of a trace, or of one of its spans.
type Assessment struct {
	ID        string          `json:"assessment_id"`
	Name      string          `json:"assessment_name"`
	SpanID    string          `json:"span_id"`
	Created   time.Time       `json:"create_time"`
	Updated   time.Time       `json:"last_update_time"`
	Rationale string          `json:"rationale"`
	Valid     *bool           `json:"valid"`
	Feedback  *Feedback       `json:"feedback"`
	Expected  json.RawMessage `json:"expectation"`
}

// Feedback is the value of an assessment, which is a number, boolean or text, or an error.
type Feedback struct {
	Value any `json:"value"`
	Error *struct {
		Code string `json:"error_code"`
	} `json:"error"`
}

// Page is one page of the found traces.
type Page struct {
	Traces []Trace `json:"traces"`
	Next   string  `json:"next_page_token"`
}

// Experiment returns the ID of an experiment.
func (r *Registry) Experiment(ctx context.Context, name string) (string, error) {
	var answer struct {
		Experiment struct {
			ID string `json:"experiment_id"`
		} `json:"experiment"`
	}
	err := r.get(ctx, "experiments/get-by-name", url.Values{"experiment_name": {name}}, &answer)
	if errors.Is(err, errNotFound) {
		return "", fmt.Errorf("MLflow has no experiment %q", name)
	}
	return answer.Experiment.ID, err
}

// Traces returns a page of an experiment's traces since a time, the newest first.
func (r *Registry) Traces(ctx context.Context, experiment string, since time.Time, most int, page string) (Page, error) {
	type object = map[string]any
	query := object{
		"locations":   []object{{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": object{"experiment_id": experiment}}},
		"filter":      fmt.Sprintf("timestamp_ms >= %d", since.UnixMilli()),
		"order_by":    []string{"timestamp_ms DESC"},
		"max_results": most,
	}
	if page != "" {
		query["page_token"] = page
	}
	body, err := json.Marshal(query)
	if err != nil {
		return Page{}, err
	}
	var answer Page
	err = r.request(ctx, "3.0", http.MethodPost, "traces/search", nil, body, &answer)
	if errors.Is(err, errNotFound) {
		return Page{}, fmt.Errorf("MLflow traces/search of experiment %s: %w", experiment, ErrNoTraces)
	}
	return answer, err
}
