package modelquality

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/rules"
)

// bins are the values of a field by their bin.
type bins map[string]int64

func (b bins) since(earlier bins) bins {
	d := make(bins)
	for bin, n := range b {
		d[bin] = n - earlier[bin]
	}
	return d
}

// bins are those that the exporter exposes of a field.
func (w *world) bins(model, field string) bins {
	w.t.Helper()
	got := make(bins)
	for line := range strings.Lines(w.metrics(`ml_model_field_values_total{`)) {
		if strings.Contains(line, fmt.Sprintf("field=%q,model=%q", field, model)) {
			n, err := strconv.ParseInt(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 10, 64)
			require.NoError(w.t, err)
			got[strings.SplitN(line, `"`, 3)[1]] = n
		}
	}
	require.NotEmpty(w.t, got)
	return got
}

func psi(t *testing.T, now, before bins) float64 {
	t.Helper()
	c, ok := drift.Compare(now, before)
	require.True(t, ok)
	return c.PSI
}

// near is an embedding near a direction, which the angle turns.
func near(r *rand.Rand, angle float64) []any {
	list := make([]any, 32)
	for i := range list {
		list[i] = r.NormFloat64() * 0.05
	}
	list[0], list[1] = list[0].(float64)+math.Cos(angle), list[1].(float64)+math.Sin(angle)
	return list
}

func TestEmbeddingsAreCountedByTheirDistance(t *testing.T) {
	for name, withEmbedding := range map[string]func(embedding any) attributes{
		"of a model of one's own":           func(e any) attributes { return fraud(attributes{"ml.embedding": e}) },
		"beside its features":               func(e any) attributes { return fraud(attributes{"ml.embedding": e, "ml.feature.amount": 3.5}) },
		"of the prompt of a language model": func(e any) attributes { return chat("fraud", attributes{"ml.embedding": e}) },
		"of an embedding model under OpenInference's name": func(e any) attributes {
			return attributes{"openinference.span.kind": "EMBEDDING", "embedding.model_name": "fraud", "embedding.embeddings.0.embedding.vector": e, "embedding.embeddings.1.embedding.vector": []any{7.0}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 200}\n")
			r := rand.New(rand.NewPCG(1, 1))
			send := func(n int, angle float64) {
				for i := range n {
					w.postSpans(nil, call{id: i + 1, attrs: withEmbedding(near(r, angle))})
				}
			}
			send(200, 0)
			require.NoError(t, w.keeper.Cycle(t.Context()))
			learned := w.bins("fraud", "embedding.distance")
			send(200, 0.8)
			require.Greater(t, psi(t, w.bins("fraud", "embedding.distance").since(learned), learned), 1.0)
			w.requireMetric(`sightglass_otlp_refused_values_total{value="embedding"} 0`)
		})
	}
}

func TestAFeatureThatIsAListOfNumbersIsAnEmbedding(t *testing.T) {
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 100}\n")
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 100 {
		w.postSpans(nil, call{id: i + 1, attrs: fraud(attributes{"ml.feature.picture": near(r, 0), "ml.feature.title": near(r, 1), "ml.feature.tags": []string{"a", "b"}})})
	}
	require.NoError(t, w.keeper.Cycle(t.Context()))
	require.Greater(t, len(w.bins("fraud", "picture")), 8)
	require.Greater(t, len(w.bins("fraud", "title")), 8)
	require.NotContains(t, w.metrics("ml_model_field_values_total"), `"tags"`)
	w.requireMetric(`ml_model_field_without_bins_info{field="tags",model="fraud",reason="of a type without bins",role="input",version="3"} 1`)
	w.requireMetric(`sightglass_otlp_refused_values_total{value="embedding"} 100`)
}

func TestInvalidEmbeddingsAreRefusedAndLoggedOnce(t *testing.T) {
	long := make([]any, 4097)
	for i := range long {
		long[i] = 0.5
	}
	for name, test := range map[string]struct {
		embedding any
		is        string
	}{
		"a text":                    {"[0.5, 0.25]", "not an array"},
		"a number":                  {0.5, "not an array"},
		"texts":                     {[]any{"0.5", "secret"}, "an array with an element that is not a number"},
		"a text among numbers":      {[]any{0.5, "secret"}, "an array with an element that is not a number"},
		"nothing":                   {[]any{}, "an array of 0 numbers without one that is not 0"},
		"zeros without a direction": {[]any{0.0, 0.0}, "an array of 2 numbers without one that is not 0"},
		"NaN":                       {[]any{0.5, math.NaN()}, "an array of 2 numbers, of which number 1 is NaN"},
		"an infinite number":        {[]any{math.Inf(-1), 0.5}, "an array of 2 numbers, of which number 0 is -Inf"},
		"more than 4096 numbers":    {long, "an array of more than 4096 numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 100}\n")
			log := new(testtools.Log)
			w.pipeline.logger = slog.New(slog.NewTextHandler(log, nil))
			r := rand.New(rand.NewPCG(1, 1))
			for i := range 100 {
				w.spans(nil, span{trace: byte(i + 1), id: 1, took: 1e6, attrs: fraud(attributes{"ml.embedding": near(r, 0)})})
			}
			require.NoError(t, w.keeper.Cycle(t.Context()))
			for i := range 5 {
				w.spans(nil, span{trace: byte(i + 101), id: 1, took: 1e6, attrs: fraud(attributes{"ml.embedding": test.embedding})})
			}
			w.requireMetric(`sightglass_otlp_refused_values_total{value="embedding"} 5`)
			w.requireMetric(requests("fraud", "3", "ok", 105)) // The call itself counts.
			require.EqualValues(t, 5, w.bins("fraud", "embedding.distance")["nan"])
			require.Equal(t, 1, strings.Count(log.String(), "A value that a service sends is not used"), log.String())
			require.Contains(t, log.String(), fmt.Sprintf(`value=embedding is=%q want="an array of 1 to 4096 finite numbers, not all of them 0"`, test.is))
			require.NotContains(t, log.String(), "secret")
		})
	}
}

// The real rules, two days of inferences of a service that serves another embedding from the second day's noon on.
func TestLong_TheDriftRuleWorksOnEmbeddings(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	now := begin
	store, err := baseline.Open(baseline.Folder(t.TempDir()), promslog.NewNopLogger(), nil, baseline.WithClock(func() time.Time { return now }))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	replay, err := NewReplay(parse(t, "baselines: {days: 1, sample: 500}\n"), ReplayOptions{Store: store, Now: func() time.Time { return now }, Logger: promslog.NewNopLogger()})
	require.NoError(t, err)
	registry := prometheus.NewRegistry()
	require.NoError(t, registry.Register(replay.exporter.meter))
	require.NoError(t, registry.Register(replay.exporter.keeper))
	bundle, err := engine.LoadRules(rules.FS)
	require.NoError(t, err)
	eng, err := engine.New(engine.Options{Rules: bundle, Interval: time.Minute})
	require.NoError(t, err)

	r := rand.New(rand.NewPCG(1, 1))
	turned := begin.Add(36 * time.Hour)
	var fired []string
	_, err = eng.Run(t.Context(), engine.Replay{
		From: begin, To: begin.Add(38 * time.Hour),
		Targets: []engine.Target{{
			Job: "sightglass-modelquality", Instance: "modelquality-exporter:10912",
			Advance: func(ctx context.Context, at time.Time) error {
				now = at
				angle := 0.0
				if !at.Before(turned) {
					angle = 0.4
				}
				var spans []span
				for i := range 60 {
					spans = append(spans, span{trace: byte(i + 1), id: byte(i + 1), took: 1e6, attrs: attributes{"ml.model.name": "search", "ml.model.version": "1", "ml.embedding": near(r, angle)}})
				}
				if _, err := replay.exporter.pipeline.Export(ctx, receiver.Traces, traces(t, nil, spans...)); err != nil {
					return err
				}
				return replay.Tidy(ctx)
			},
			Source: engine.SourceFunc(func(_ context.Context, _ time.Time, to *engine.Scrape) error {
				families, err := registry.Gather()
				if err != nil {
					return err
				}
				return to.Families(families)
			}),
		}},
		Alerts: func(tr engine.Transition) {
			if tr.State == engine.Firing && strings.HasPrefix(tr.Labels.Get("alertname"), "MLModel") {
				fired = append(fired, tr.Labels.Get("alertname")+" "+tr.Labels.Get("model")+" "+tr.Labels.Get("field"))
				require.WithinRange(t, tr.At, turned, turned.Add(time.Hour), tr.Labels.String())
			}
		},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"MLModelDrift search embedding.distance"}, fired)
}
