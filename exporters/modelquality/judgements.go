package modelquality

import (
	"hash/maphash"
	"math"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/join"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
)

// pull counts assessments of MLflow as if they had arrived as log records.
func (p *pipeline) pull(evaluations []convention.Evaluation) error {
	_, err := p.take("MLflow", receiver.Logs, func(w *worker) error {
		w.batch.Evaluations = append(w.batch.Evaluations, evaluations...)
		return nil
	})
	return err
}

// repeated reports whether an evaluation has arrived before: as both event and log record of a span, or in both OTLP and MLflow. An
// evaluation of MLflow may have the trace without a span. The caller holds the join's lock.
func (p *pipeline) repeated(e *convention.Evaluation) bool {
	h := parseVerdict(p.seed, e)
	if !e.Pulled && e.Span != (otlp.SpanID{}) && p.join.Repeated(join.ID{Trace: e.Trace, Span: e.Span}, h, e.Logged) {
		return true
	}
	return p.pulls && e.Trace != (otlp.TraceID{}) && p.join.Repeated(join.ID{Trace: e.Trace}, h, e.Pulled)
}

// parseVerdict returns a hash of an evaluation's values.
func parseVerdict(seed maphash.Seed, e *convention.Evaluation) uint64 {
	type key struct {
		name, label string
		score       float64
		none        bool
	}
	k := key{e.Name, e.Label, e.Score, math.IsNaN(e.Score)}
	if k.none {
		k.score = 0
	}
	return maphash.Comparable(seed, k) | 1
}

// excerpt returns the beginning of the evaluated answer if both arrived in one request. No text is kept for later requests.
func (w *worker) excerpt(e *convention.Evaluation, j judged, of *content.Excerpts) string {
	for i := range w.batch.Observations {
		o := &w.batch.Observations[i]
		if o.Asked == nil || e.Of != i && (o.Trace != j.id.Trace || o.Span != j.id.Span) {
			continue
		}
		return of.Of(o.Asked.Output)
	}
	return ""
}
