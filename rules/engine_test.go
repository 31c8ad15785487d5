package rules_test

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// world is a Prometheus without scraping: a storage that a test fills, and the
// engine that evaluates the bundle's rules on it.
type world struct {
	testing.TB
	storage *teststorage.TestStorage
	engine  *promql.Engine
}

func newWorld(t testing.TB) *world {
	return &world{
		TB:      t,
		storage: teststorage.New(t),
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 50_000_000,
			Timeout:    time.Minute,
			Parser:     newParser(),
		}),
	}
}

// sample is one value of one series; the labels hold the metric's name.
type sample struct {
	labels labels.Labels
	value  float64
}

func (w *world) store(at time.Time, samples []sample) {
	w.Helper()
	appender := w.storage.Appender(w.Context())
	for _, s := range samples {
		_, err := appender.Append(0, s.labels, at.UnixMilli(), s.value)
		require.NoError(w, err)
	}
	require.NoError(w, appender.Commit())
}

func (w *world) query(at time.Time, expr string) promql.Vector {
	w.Helper()
	query, err := w.engine.NewInstantQuery(w.Context(), w.storage, nil, expr, at)
	require.NoError(w, err)
	defer query.Close()
	result := query.Exec(w.Context())
	require.NoError(w, result.Err, expr)
	if result.Value.Type() == parser.ValueTypeScalar {
		require.Fail(w, "a rule must make a vector", expr)
	}
	vector, err := result.Vector()
	require.NoError(w, err)
	return append(promql.Vector(nil), vector...)
}

// evaluate runs a rule and stores what it records. It returns the number of
// series it made.
func (w *world) evaluate(at time.Time, rule rulefmt.Rule) int {
	w.Helper()
	vector := w.query(at, rule.Expr)
	if rule.Record == "" {
		return len(vector)
	}
	samples := make([]sample, len(vector))
	for i, s := range vector {
		b := labels.NewBuilder(s.Metric).Set(model.MetricNameLabel, rule.Record)
		for name, value := range rule.Labels {
			b.Set(name, value)
		}
		samples[i] = sample{b.Labels(), s.F}
	}
	w.store(at, samples)
	return len(vector)
}
