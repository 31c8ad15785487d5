// Package review is the contract between whoever gates a response (the model-quality exporter) and whoever hands it to
// a person (the responder, or any webhook). An Item flows from the first to the second as the JSON body of one POST to
// Path; neither side keeps state here.
//
// The sender repeats a POST until the receiver answers 2xx, so the receiver must take the same ID twice without
// queuing it twice. 5xx, 429 and no answer at all are repeated, and so are 401, 403 and 404, which a token or an address
// set right will mend. 409 means that the item is there already; any other status, that it will never be taken.
package review

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"
)

// Path of the receiver's endpoint, below its base URL.
const Path = "/api/v1/reviews"

// IdempotencyHeader carries the item's ID for receivers that look at headers alone.
const IdempotencyHeader = "Idempotency-Key"

// Item is one response that an evaluation put below its gate.
type Item struct {
	// ID names the item for ever: see NewID.
	ID string `json:"id"`
	// Time of the evaluation.
	Time time.Time `json:"time"`

	Model       string `json:"model"`
	Version     string `json:"version"`
	MLflowRunID string `json:"mlflow_run_id,omitempty"`

	// TraceID and SpanID of the span that answered, in lower-case hex.
	TraceID string `json:"trace_id,omitempty"`
	SpanID  string `json:"span_id,omitempty"`
	// ResponseID is the service's own name of the answer, gen_ai.response.id.
	ResponseID string `json:"response_id,omitempty"`

	// Evaluation that failed, its score and the gate that the score is below.
	Evaluation string  `json:"evaluation"`
	Score      float64 `json:"score"`
	Gate       float64 `json:"gate"`
	// Label and Explanation are the evaluator's own words, where it gave any.
	Label       string `json:"label,omitempty"`
	Explanation string `json:"explanation,omitempty"`
	// Excerpt of the response, only where the operator allows it to leave the service.
	Excerpt string `json:"excerpt,omitempty"`
}

// NewID derives an item's ID from what was evaluated, so that a sender that crashed between two POSTs says the same
// ID again.
func NewID(traceID, spanID, responseID, evaluation string) string {
	sum := sha256.New()
	for _, part := range []string{traceID, spanID, responseID, evaluation} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Validate says everything that is wrong with the item.
func (i Item) Validate() error {
	var wrong []error
	for _, field := range []struct{ name, value string }{
		{"id", i.ID}, {"model", i.Model}, {"evaluation", i.Evaluation},
	} {
		if field.value == "" {
			wrong = append(wrong, fmt.Errorf("%s: is missing", field.name))
		}
	}
	if i.Time.IsZero() {
		wrong = append(wrong, errors.New("time: is missing, expected an RFC 3339 time"))
	}
	for _, field := range []struct {
		name  string
		value float64
	}{{"score", i.Score}, {"gate", i.Gate}} {
		if math.IsNaN(field.value) || math.IsInf(field.value, 0) {
			wrong = append(wrong, fmt.Errorf("%s: is %v, expected a finite number", field.name, field.value))
		}
	}
	if i.TraceID == "" && i.ResponseID == "" {
		wrong = append(wrong, errors.New("trace_id and response_id: both missing, expected at least one to find the response by"))
	}
	return errors.Join(wrong...)
}
