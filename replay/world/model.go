package world

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// models are the models of a scenario, counted by the model-quality exporter.
type models struct {
	w      *World
	clock  *clock
	store  *baseline.Store
	cfg    modelquality.Config
	source *tables.Source // of training data
	replay *modelquality.Replay
	list   []*model

	values    knownGroups
	mixtures  knownGroups
	changes   int64 // of the other baselines, that are written already
	baselines *engine.Held
	sink      *sink
	// inferences has the samples of the last scrape; the next scrape reuses its memory.
	inferences []sample
}

// model generates the spans of one model.
type model struct {
	*scenario.Model
	w     *World
	feed  *feed
	batch *batch
	// prediction and confidence are column indices in the feed, or -1.
	prediction, confidence int
	keys                   []string // of the features
	faults                 []*fault
	releases               []release
	through                int64 // the first minute without generated inferences
	span                   modelquality.Span
}

type release struct {
	from    int64
	rollout int64
	version string
}

func (w *World) openModels(ctx context.Context) (*models, error) {
	s := w.scenario
	clock := w.newClock()
	ms := &models{
		w: w, clock: clock, store: newStore(clock),
	}
	virtual := make(map[string]tables.Virtual)
	var list []map[string]any
	for i := range s.Models {
		m, err := w.openModel(ctx, &s.Models[i])
		if err != nil {
			return nil, withObject("model", s.Models[i].Name, err)
		}
		ms.list = append(ms.list, m)
		if m.Training > 0 {
			virtual[m.Name] = w.training(m)
			list = append(list, map[string]any{"name": m.Name, "training": map[string]any{"source": "replay", "table": m.Name}})
		}
	}
	text, err := yaml.Marshal(map[string]any{
		"sources": map[string]any{"replay": map[string]any{"type": "duckdb"}},
		"models":  list,
		// A configuration with training data must have a baseline store. The replay uses the one in ReplayOptions, in memory.
		"baseline_store": map[string]any{"type": "FILESYSTEM", "config": map[string]any{"directory": "unused"}},
	})
	if err != nil {
		return nil, err
	}
	if err := config.Decode("replay.yaml", text, &ms.cfg); err != nil {
		return nil, fmt.Errorf("configuration of the model-quality exporter: %w", err)
	}
	if ms.source, err = tables.OpenVirtual(virtual); err != nil {
		return nil, err
	}
	return ms, ms.restart()
}

func (w *World) openModel(ctx context.Context, sm *scenario.Model) (*model, error) {
	s := w.scenario
	m := &model{Model: sm, w: w, prediction: -1, confidence: -1, through: minuteOf(s.From())}
	m.faults = occurrences(s, func(e *scenario.Event) bool {
		return e.Model == sm.Name || e.Node != "" && slices.ContainsFunc(s.Nodes, func(n scenario.Node) bool {
			return n.Name == e.Node && slices.Contains(n.Models, sm.Name)
		})
	})
	of := occurrences(s, func(e *scenario.Event) bool { return e.Model == sm.Name })
	if sm.Data != nil {
		if err := w.openRecorded(ctx, m, of); err != nil {
			return nil, err
		}
	} else {
		columns := slices.Clone(sm.Features)
		if sm.Prediction != nil {
			m.prediction = len(columns)
			columns = append(columns, *sm.Prediction)
		}
		t := newTraffic(sm.Traffic, w.seed, sm.Name, 60*sm.RequestsPerSecond, s.From(), s.Holidays)
		sim := newSimulation(w.seed, sm.Name, columns, t, math.MinInt64/2, math.MaxInt64/2)
		sim.from, sim.to = minuteOf(s.From().AddDate(0, 0, -30)), minuteOf(s.To())
		m.feed = newFeed(sim, sim.dicts, w.seed, sm.Name, scenario.Load{}, of)
		m.name(sim.cols[:len(sm.Features)])
	}
	m.batch = newBatch(m.feed.columns(), m.feed.dicts)
	m.releases = []release{{math.MinInt64, 0, sm.Version}}
	for _, r := range sm.Releases {
		m.releases = append(m.releases, release{minuteOf(r.At.From(s.From())), int64(time.Duration(r.Rollout) / time.Minute), r.Version})
	}
	slices.SortFunc(m.releases, func(a, b release) int { return int(max(-1, min(1, a.from-b.from))) })
	return m, nil
}

// openRecorded sets the feed of a model whose inferences are the rows of a file.
func (w *World) openRecorded(ctx context.Context, m *model, faults []*fault) error {
	var columns []requestedColumn
	add := func(name, key string) (index int) {
		if name == "" {
			return -1
		}
		if i := slices.IndexFunc(columns, func(a requestedColumn) bool { return a.name == name }); i >= 0 {
			return i
		}
		columns = append(columns, requestedColumn{name: name, pos: below(m.Pos, key)})
		return len(columns) - 1
	}
	for i, name := range m.FeatureColumns {
		add(name, fmt.Sprintf("feature_columns[%d]", i))
	}
	m.prediction, m.confidence = add(m.PredictionColumn, "prediction_column"), add(m.ConfidenceColumn, "confidence_column")
	r, err := w.recording(ctx, m.Name, m.Data, columns)
	if err != nil {
		return err
	}
	for i, c := range r.cols {
		if c.class == classTime {
			return columns[i].pos.Errorf("%q has timestamps; want numbers or texts", c.name)
		}
	}
	if i := m.confidence; i >= 0 {
		pos, of := below(m.Pos, "confidence_column"), r.all.cols[i]
		if of.dict != nil {
			return pos.Errorf("%q has %s; want numbers from 0 to 1", m.ConfidenceColumn, valuesOf[r.cols[i].class])
		}
		if k := slices.IndexFunc(of.num, func(v float64) bool { return !(v >= 0 && v <= 1) }); k >= 0 {
			return pos.Errorf("%q has %v; want numbers from 0 to 1", m.ConfidenceColumn, of.num[k])
		}
	}
	m.feed = newFeed(r, r.dicts, w.seed, m.Name, scenario.Load{}, faults)
	m.name(r.cols[:len(m.FeatureColumns)])
	return m.feed.check()
}

func (m *model) name(features []column) {
	for _, c := range features {
		m.keys = append(m.keys, "ml.feature."+c.name)
	}
}

// training returns a table of the features before the start, without incidents.
func (w *World) training(m *model) *table {
	s := w.scenario
	from := minuteOf(s.From().AddDate(0, 0, -30))
	// Training rows are evenly distributed over thirty days.
	perMinute := float64(m.Training) / (30 * 24 * 60)
	flat := m.Traffic
	flat.HourlyNoise, flat.DailyNoise, flat.Growth = 0, 0, 0
	t := newTraffic(flat, w.seed, m.Name+"/training", perMinute, s.From(), nil)
	sim := newSimulation(w.seed, m.Name+"/training", m.Features, t, from, minuteOf(s.From()))
	for i, d := range sim.draws {
		// With the same name, the categories have the same peak hours as in production.
		d.name = m.Name + "/" + m.Features[i].Name
	}
	f := newFeed(sim, sim.dicts, w.seed, m.Name+"/training", scenario.Load{}, nil)
	return newTable(f, scenario.TimeColumn, s.From)
}

// close releases all resources.
func (ms *models) close() error { return errors.Join(ms.source.Close(), ms.store.Close()) }

func (ms *models) restart() (err error) {
	ms.changes = -1
	ms.replay, err = modelquality.NewReplay(ms.cfg, modelquality.ReplayOptions{
		Sources: map[string]*tables.Source{"replay": ms.source}, Store: ms.store, Now: ms.clock.now, Logger: ms.w.logger,
	})
	return err
}

// advance generates the inferences up to a time and passes them to the exporter.
func (ms *models) advance(ctx context.Context, at time.Time) error {
	now := minuteOf(at)
	for _, m := range ms.list {
		for ; m.through < now; m.through++ {
			if err := ms.replay.Feed(func(span func(*modelquality.Span)) { m.spans(m.through, span) }); err != nil {
				return fmt.Errorf("model %q: %w", m.Name, err)
			}
		}
	}
	return ms.replay.Tidy(ctx)
}

// state has the parameters of the inferences of a minute.
type state struct {
	slower, queue              float64
	errors, timeouts, fallback float64
	confidence                 float64
	grounded, invented         float64
}

func (m *model) state(at int64) state {
	st := state{slower: 1, queue: m.Latency.Queue, errors: m.Errors, timeouts: m.Timeouts, fallback: m.Fallbacks}
	for _, w := range m.faults {
		p := w.progress(at)
		if p == 0 {
			continue
		}
		switch w.Kind {
		case scenario.LatencyRegression:
			st.slower *= 1 + (w.Size-1)*p
		case scenario.ErrorStorm:
			st.errors += w.Size * p
		case scenario.FallbackStorm:
			st.fallback += w.Size * p
		case scenario.ConfidenceCollapse:
			st.confidence = mix(m.meanConfidence(), w.Size, p)
		case scenario.GroundednessDecay:
			st.grounded = mix(m.meanGroundedness(), w.Size, p)
		case scenario.HallucinationSurge:
			st.invented = w.Size * p
		case scenario.GPUQueueing:
			// The computation time stays the same; the additional time is queue wait.
			st.slower *= (1 - st.queue) / (1 - w.Size*p)
			st.queue = w.Size * p
		case scenario.GPUSaturation:
			st.slower *= 1.5
			st.queue = max(st.queue, 0.6*p)
		}
	}
	return st
}

func mix(a, b, share float64) float64 { return a + (b-a)*share }

func (m *model) meanConfidence() float64 {
	if m.Confidence == nil {
		return 0.9
	}
	return m.Confidence.Mean
}

func (m *model) meanGroundedness() float64 {
	for _, e := range m.Evaluations {
		if e.Name == "groundedness" {
			return e.Mean
		}
	}
	return 0.95
}

// between draws a number between 0 and 1 with a mean: a normal variable on the logistic scale.
func between(r *rand.Rand, mean, concentration float64) float64 {
	sd := 1 / math.Sqrt(concentration*mean*(1-mean))
	return 1 / (1 + math.Exp(-(math.Log(mean/(1-mean)) + sd*r.NormFloat64())))
}

// version returns the version that handles a request in a minute.
func (m *model) version(at int64, r *rand.Rand) string {
	for i := len(m.releases) - 1; i > 0; i-- {
		rel := m.releases[i]
		if at < rel.from {
			continue
		}
		if rel.rollout == 0 || r.Float64() < float64(at-rel.from+1)/float64(rel.rollout) {
			return rel.version
		}
	}
	return m.releases[0].version
}

// spans generates the spans of the inferences of a minute.
func (m *model) spans(at int64, emit func(*modelquality.Span)) {
	b := m.batch
	b.reset()
	m.feed.events(at, b)
	r := random(m.w.seed, m.Name+"/service", at)
	st := m.state(at)
	s := &m.span
	for i := range b.n {
		*s = modelquality.Span{Name: "predict", Attributes: s.Attributes[:0], Events: s.Events[:0]}
		binary.BigEndian.PutUint64(s.Trace[:], uint64(at))
		binary.BigEndian.PutUint64(s.Trace[8:], hash(m.Name)+uint64(i))
		binary.BigEndian.PutUint64(s.ID[:], uint64(at)<<24|uint64(i)&0xfff)
		attribute := func(key string, v modelquality.Value) {
			s.Attributes = append(s.Attributes, modelquality.Attribute{Key: key, Value: v})
		}
		attribute("ml.model.name", modelquality.StringValue(m.Name))
		attribute("ml.model.version", modelquality.StringValue(m.version(at, r)))
		duration := time.Duration(m.Latency.Median).Seconds() * st.slower * math.Exp(m.Latency.Sigma*r.NormFloat64())
		wait := duration * math.Min(0.98, st.queue*(0.5+r.Float64()))
		attribute("ml.inference.queue_wait_ms", modelquality.DoubleValue(1e3*wait))
		attribute("ml.inference.forward_pass_ms", modelquality.DoubleValue(1e3*(duration-wait)))
		ended := m.end(r, st, s, attribute)
		for f, key := range m.keys {
			if v, ok := b.attribute(f, i, m.feed.columns()[f].class); ok {
				attribute(key, v)
			}
		}
		if ended {
			m.output(r, st, b, i, s, attribute)
		}
		s.Start = uint64(b.time[i]) * 1000
		s.End = s.Start + uint64(duration*1e9)
		emit(s)
	}
}

// end sets how the inference ended, and reports whether it has an output.
func (m *model) end(r *rand.Rand, st state, s *modelquality.Span, attribute func(string, modelquality.Value)) bool {
	switch u := r.Float64(); {
	case u < st.errors:
		s.Status = modelquality.StatusError
		attribute("error.type", modelquality.StringValue("RuntimeError"))
		return false
	case u < st.errors+st.timeouts:
		s.Status = modelquality.StatusError
		attribute("error.type", modelquality.StringValue("timeout"))
		return false
	case u < st.errors+st.timeouts+st.fallback:
		attribute("ml.outcome", modelquality.StringValue("fallback"))
		return false
	}
	return true
}

// output adds the model's output and its evaluations.
func (m *model) output(r *rand.Rand, st state, b *batch, i int, s *modelquality.Span, attribute func(string, modelquality.Value)) {
	if m.prediction >= 0 {
		if v, ok := b.attribute(m.prediction, i, m.feed.columns()[m.prediction].class); ok {
			attribute("ml.prediction", v)
		}
	}
	switch {
	case m.confidence >= 0:
		if v, ok := b.attribute(m.confidence, i, classNumber); ok {
			attribute("ml.prediction.confidence", v)
		}
	case m.Confidence != nil:
		mean := m.Confidence.Mean
		if st.confidence > 0 {
			mean = st.confidence
		}
		attribute("ml.prediction.confidence", modelquality.DoubleValue(between(r, mean, m.Confidence.Concentration)))
	}
	if m.InputTokens > 0 {
		attribute("gen_ai.usage.input_tokens", modelquality.IntValue(int64(m.InputTokens*(0.5+r.ExpFloat64()/2))))
	}
	if m.OutputTokens > 0 {
		attribute("gen_ai.usage.output_tokens", modelquality.IntValue(int64(m.OutputTokens*(0.5+r.ExpFloat64()/2))))
	}
	for _, e := range m.Evaluations {
		if r.Float64() >= e.Of {
			continue
		}
		score := between(r, e.Mean, e.Concentration)
		if e.Name == "groundedness" {
			switch {
			case r.Float64() < st.invented:
				score = 0.1 * r.Float64()
			case st.grounded > 0:
				score = between(r, st.grounded, e.Concentration)
			}
		}
		s.Events = append(s.Events, modelquality.SpanEvent{
			Name: "gen_ai.evaluation.result", Time: uint64(b.time[i]) * 1000,
			Attributes: []modelquality.Attribute{
				{Key: "gen_ai.evaluation.name", Value: modelquality.StringValue(e.Name)},
				{Key: "gen_ai.evaluation.score.value", Value: modelquality.DoubleValue(score)},
			},
		})
	}
}

// attribute returns a value as a service sends it. A missing value is not sent.
func (b *batch) attribute(col, i int, class class) (modelquality.Value, bool) {
	v := &b.cols[col]
	switch {
	case v.null[i]:
		return modelquality.Value{}, false
	case v.dict != nil:
		return modelquality.StringValue(v.dict.names[v.text[i]]), true
	case class == classInteger && v.num[i] == math.Trunc(v.num[i]):
		return modelquality.IntValue(int64(v.num[i])), true
	}
	return modelquality.DoubleValue(v.num[i]), true
}

// write implements restarter.
func (ms *models) write(k *sink, to *engine.Scrape) (err error) {
	ms.values.begin()
	ms.replay.Values(func(g modelquality.Group, counts []int64) {
		of := ms.values.series(k, &g)
		for i, n := range counts {
			to.Float(of.bins[i], float64(n))
		}
	})
	ms.mixtures.begin()
	ms.replay.Mixtures(func(m *modelquality.Mixture) {
		of := ms.mixtures.series(k, &m.Group)
		for i, share := range m.Shares {
			to.Float(of.bins[i], share)
		}
		to.Float(of.values, m.Values)
		if m.Swings {
			to.Float(of.swing, m.Swing)
		}
	})
	if ms.inferences, err = k.samples(ms.inferences[:0], ms.replay.Inferences()); err != nil {
		return err
	}
	for _, s := range ms.inferences {
		to.Float(s.series, s.value)
	}
	// The baselines change a few times an hour.
	if changes := ms.replay.BaselineChanges(); changes != ms.changes || ms.sink != k {
		if ms.baselines, err = k.held(ms.replay.Baselines(), new([]metricPosition)); err != nil {
			return err
		}
		ms.changes, ms.sink = changes, k
	}
	to.Held(ms.baselines)
	return nil
}

// collectors implements restarter.
func (ms *models) collectors(each func(name string, success bool, last time.Time)) {
	each("fields", true, ms.clock.at)
	each("tidy", true, ms.clock.at)
}

// knownGroups finds the series of groups that come in the same order at every scrape.
type knownGroups struct {
	known []known
	next  int
}

type known struct {
	group modelquality.Group
	bins  []*engine.Series
	// values and swing are of the whole field, where the group is of a baseline.
	values, swing *engine.Series
}

func (k *knownGroups) begin() { k.next = 0 }

func (k *knownGroups) series(sink *sink, g *modelquality.Group) *known {
	if k.next == len(k.known) {
		k.known = append(k.known, known{})
	}
	one := &k.known[k.next]
	k.next++
	if one.bins == nil || !sameGroup(&one.group, g) {
		*one = newKnown(sink, *g)
	}
	return one
}

func newKnown(sink *sink, g modelquality.Group) known {
	field := []string{"model", g.Model, "version", g.Version, "field", g.Field, "role", g.Role, "baseline", g.Baseline}
	name, of := "ml_model_field_values_total", known{group: g, bins: make([]*engine.Series, 0, len(g.Bins))}
	if g.Baseline != "" {
		name = "ml_model_field_baseline_ratio"
		of.values = sink.one("ml_model_field_baseline_values", field...)
		of.swing = sink.one("ml_model_field_baseline_swing", field...)
	}
	for _, bin := range g.Bins {
		of.bins = append(of.bins, sink.one(name, append(slices.Clip(field), "bin", bin)...))
	}
	return of
}

func sameGroup(a, b *modelquality.Group) bool {
	if a.Model != b.Model || a.Version != b.Version || a.Field != b.Field || a.Role != b.Role || a.Baseline != b.Baseline || len(a.Bins) != len(b.Bins) {
		return false
	}
	return len(a.Bins) == 0 || &a.Bins[0] == &b.Bins[0] || slices.Equal(a.Bins, b.Bins)
}
