// Package review defines the request that sends a response to human review.
//
// Input: an Item from the program that applies the gate (the model-quality exporter). Output: the JSON body of one POST to Path, which
// the program that forwards items to a person (the responder, or any webhook) receives. State: none.
//
// The sender repeats a POST until the receiver answers 2xx. Therefore the receiver must not queue the same ID twice. The sender also
// retries after 5xx, 429 and no answer, and after 401, 403 and 404, because a corrected token or URL resolves these. 409 means that the
// item exists already. After any other status the sender does not retry.
package review

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
)

// Path is the path of the receiver's endpoint below its base URL.
const Path = "/api/v1/reviews"

// IdempotencyHeader is the header with the item's ID, for receivers that read only headers.
const IdempotencyHeader = "Idempotency-Key"

// Item is one response with an evaluation score below its gate.
type Item struct {
	// ID identifies the item permanently; see NewID.
	ID string `json:"id"`
	// Time of the evaluation.
	Time time.Time `json:"time"`

	Model       string `json:"model"`
	Version     string `json:"version"`
	MLflowRunID string `json:"mlflow_run_id,omitempty"`

	// TraceID and SpanID identify the span of the response, in lower-case hex.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// ResponseID is the service's own ID of the response, gen_ai.response.id.
	ResponseID string `json:"response_id,omitempty"`

	// Evaluation is the name of the evaluation, Score its score, and Gate the limit that the score is below.
	Evaluation string  `json:"evaluation"`
	Score      float64 `json:"score"`
	Gate       float64 `json:"gate"`
	// Label and Explanation are given by the evaluator, if it gave any.
	Label       string `json:"label,omitempty"`
	Explanation string `json:"explanation,omitempty"`
	// Excerpt of the response. It is set only if the operator allows it to leave the service.
	Excerpt string `json:"excerpt,omitempty"`
}

// NewID derives an item's ID from what was evaluated, so that a sender that crashed between two POSTs uses the same ID again.
func NewID(traceID, spanID, responseID, evaluation string) string {
	sum := sha256.New()
	for _, part := range []string{traceID, spanID, responseID, evaluation} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Validate returns all errors of the item.
func (i Item) Validate() error {
	var errs []error
	for _, field := range []struct{ name, value string }{
		{"id", i.ID}, {"model", i.Model}, {"evaluation", i.Evaluation},
	} {
		if field.value == "" {
			errs = append(errs, fmt.Errorf("%s: is missing", field.name))
		}
	}
	if i.Time.IsZero() {
		errs = append(errs, errors.New("time: is missing, expected an RFC 3339 time"))
	}
	for _, field := range []struct {
		name  string
		value float64
	}{{"score", i.Score}, {"gate", i.Gate}} {
		if math.IsNaN(field.value) || math.IsInf(field.value, 0) {
			errs = append(errs, fmt.Errorf("%s: is %v, expected a finite number", field.name, field.value))
		}
	}
	if i.TraceID == "" && i.ResponseID == "" {
		errs = append(errs, errors.New("trace_id and response_id: both missing, expected at least one to find the response by"))
	}
	return errors.Join(errs...)
}
