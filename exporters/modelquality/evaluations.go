package modelquality

import (
	"hash/maphash"
	"math"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/join"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/limit"
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

// judged is an evaluation with its series.
type judged struct {
	series *metering.Series // nil if not known yet
	id     join.ID
	result metering.Result
}

// findSeries searches for the inference that an evaluation judges. A client's evaluation of a model that it may not name counts for "other". The
// caller holds the join's lock.
func (p *pipeline) findSeries(w *worker, s *settings, e *convention.Evaluation, j *judged) {
	p.searchSeries(e, j)
	if j.series != nil && !s.clients.May(w.client, j.series.Model) {
		j.series = p.meter.Series(limit.Other, "")
	}
}

func (p *pipeline) searchSeries(e *convention.Evaluation, j *judged) {
	for _, span := range [2]otlp.SpanID{e.Span, e.Parent} {
		if i, _ := p.join.Above(e.Trace, span); i != nil {
			j.series, j.id = i.Series, i.ID
			return
		}
	}
	if e.Model != "" {
		j.series = p.meter.Series(e.Model, e.Version)
	} else if i, ok := p.join.FindResponse(e.ResponseID); ok {
		j.series, j.id = i.Series, i.ID
	} else if e.Inside || p.join.Linked(j.id) {
		// The span is not an inference, such as the root span of a chain.
		j.series, _ = p.join.FindTrace(e.Trace)
	}
	if j.series == nil && e.Otherwise != "" {
		j.series = p.meter.Series(e.Otherwise, "")
	}
}

// tolerance lets a score that was stored as a 32-bit number, such as 0.9, reach its gate.
const tolerance = 1e-6

// judge compares an evaluation with its gate. bad means that the score has another scale than the gate. A label that fails overrides any
// score.
func (s *settings) judge(e *convention.Evaluation) (r metering.Result, bad bool) {
	g, gated := s.gates[e.Name]
	if gated && g.Scale != nil && !math.IsNaN(e.Score) {
		e.Score = (e.Score - g.Scale.Min) / (g.Scale.Max - g.Scale.Min)
	}
	bad = gated && e.Score > 1+tolerance && g.Gate <= 1
	if bad {
		e.Score = math.NaN()
	}
	scored := !math.IsNaN(e.Score)
	verdict := g.verdict(e.Label)
	switch {
	case !scored && !bad && e.Label == "" && e.Error != "":
		return metering.Broken, bad
	case !gated:
		return metering.Ungated, bad
	case verdict == failing:
		return metering.BelowGate, bad
	case scored && g.HigherIsBetter && e.Score < g.Gate-tolerance, scored && !g.HigherIsBetter && e.Score > g.Gate+tolerance:
		return metering.BelowGate, bad
	case scored:
		return metering.Pass, bad
	case bad:
		return metering.Broken, bad
	case verdict == passing:
		return metering.Pass, bad
	case e.Label != "":
		return metering.Ungated, bad // the meaning of the label is unknown
	}
	return metering.Broken, bad
}

// waits marks an evaluation that is not counted yet or was counted before.
const waits = metering.Ungated + 1
