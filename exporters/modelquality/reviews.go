package modelquality

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/outbox"
	"github.com/sightglass-ml/sightglass/internal/review"
)

// Reviews accepts the responses for human review.
type Reviews interface {
	// Add returns once all items are stored safely. The same item may be added again.
	Add(items ...review.Item) error
	// Drop counts items that could not be added.
	Drop(err error, items ...review.Item)
}

// review sends evaluations below their gate to the outbox. If it cannot store them, they are dropped and counted. A retry by the client is
// not requested: it would fill the client's queue, and lost spans are worse than lost reviews.
func (p *pipeline) review(w *worker, s *settings) {
	if p.reviews == nil {
		return
	}
	var items []review.Item
	for i := range w.batch.Evaluations {
		e, j := &w.batch.Evaluations[i], w.judged[i]
		if j.result != metering.BelowGate || !s.gates[e.Name].Review {
			continue
		}
		item := p.item(e, j, s.gates[e.Name])
		if s.excerpts != nil {
			item.Excerpt = w.excerpt(e, j, s.excerpts)
		}
		if !sampled(item.ID, s.gates[e.Name].ReviewRatio) {
			continue
		}
		if err := item.Validate(); err != nil {
			p.logger.Debug("A response cannot be reviewed", "evaluation", item.Evaluation, "err", err)
			continue
		}
		items = append(items, item)
	}
	err := p.reviews.Add(items...)
	if len(items) == 1 && err != nil {
		p.reviews.Drop(err, items...)
		return
	}
	if errors.Is(err, outbox.ErrFull) { // Single items may still fit.
		for _, item := range items {
			if err := p.reviews.Add(item); err != nil {
				p.reviews.Drop(err, item)
			}
		}
	} else if err != nil {
		p.reviews.Drop(err, items...)
	}
}

// sampled selects a share of the items by their IDs, so that a repeated evaluation, also at another replica, has the same result.
func sampled(id string, ratio float64) bool {
	if ratio >= 1 {
		return true
	}
	sum := sha256.Sum256([]byte(id))
	return float64(binary.BigEndian.Uint64(sum[:8])>>11)/(1<<53) < ratio
}

// maxWords limits an evaluator's texts in a review item, in bytes.
const maxWords = 2048

func (p *pipeline) item(e *convention.Evaluation, j judged, g GateConfig) review.Item {
	words := func(s string) string { return strings.Clone(strings.ToValidUTF8(s[:min(len(s), maxWords)], "\uFFFD")) }
	item := review.Item{
		Time: time.Unix(0, e.Time).UTC(), Model: unknown, MLflowRunID: words(e.Run),
		ResponseID: words(e.ResponseID), Evaluation: words(e.Name), Score: e.Score, Gate: g.Gate, Label: words(e.Label), Explanation: words(e.Explanation),
	}
	if e.Time == 0 {
		item.Time = p.now().UTC()
	}
	if math.IsNaN(e.Score) {
		// A failing verdict without a score counts as the worst score.
		item.Score = 0
		if !g.HigherIsBetter {
			item.Score = 1
		}
	}
	if j.series != nil {
		item.Model, item.Version, item.MLflowRunID = j.series.Model, j.series.Version, j.series.Run(item.MLflowRunID)
	}
	if j.id.Trace != (otlp.TraceID{}) {
		item.TraceID = hex.EncodeToString(j.id.Trace[:])
	}
	if j.id.Span != (otlp.SpanID{}) {
		item.SpanID = hex.EncodeToString(j.id.Span[:])
	}
	item.ID = review.NewID(item.TraceID, item.SpanID, item.ResponseID, item.Evaluation)
	return item
}

// excerpt returns the beginning of the evaluated answer if both arrived in one request. No text is kept for later requests.
func (w *worker) excerpt(e *convention.Evaluation, j judged, of *content.Excerpts) string {
	for i := range w.batch.Observations {
		o := &w.batch.Observations[i]
		if o.HostedCall == nil || e.Of != i && (o.Trace != j.id.Trace || o.Span != j.id.Span) {
			continue
		}
		return of.Of(o.HostedCall.Output)
	}
	return ""
}
