package modelquality

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/clients"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/join"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// settings are the part of the configuration that a reload can change.
type settings struct {
	convention    *convention.Convention
	gates         map[string]GateConfig
	lowConfidence float64
	clients       *clients.Clients  // nil if every client may name every model
	excerpts      *content.Excerpts // nil if reviews have no excerpts
}

func newSettings(cfg *Config, limiter func(name string, most int) *limit.Limiter) (*settings, error) {
	c, err := convention.New(cfg.Attributes, cfg.OTLP.MaxAttributes, cfg.Texts.reader())
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	excerpts, err := cfg.excerpts()
	if err != nil {
		return nil, fmt.Errorf("reviews.excerpts.redact: %w", err)
	}
	return &settings{c, cfg.Evaluations, cfg.LowConfidence, clients.New(cfg.AllowedModels, cfg.Clients, cfg.Limits.Models, cfg.Limits.Versions, limiter), excerpts}, nil
}

// pipeline processes requests and updates the counters. It implements receiver.Handler.
type pipeline struct {
	settings atomic.Pointer[settings]
	meter    *metering.Meter
	join     *join.Join[*metering.Series, waiting]
	reviews  Reviews // nil without a responder
	pulls    bool    // whether assessments of MLflow are pulled
	now      func() time.Time
	logger   *slog.Logger
	workers  sync.Pool
	items    [2][3]atomic.Int64 // by signal and result
	report   report
	seed     maphash.Seed
	answered keep.Map[keep.Name, keep.Text] // the version that answered last, by hosted model; guarded by join
	descs    descs
}

var _ receiver.Handler = (*pipeline)(nil)

// waiting is a nested span or an evaluation whose inference has not arrived.
type waiting struct {
	client     string
	phase      convention.Phase
	seconds    float64
	evaluation string // empty for a span
	score      float64
	result     metering.Result
	exemplar   metering.Exemplar
}

// Keep implements keep.Keeper.
func (x waiting) Keep() waiting {
	x.evaluation, x.exemplar.Run = strings.Clone(x.evaluation), strings.Clone(x.exemplar.Run)
	return x
}

// worker has the memory that one request needs.
type worker struct {
	// client sent the request.
	client  string
	decoder otlp.Decoder
	reader  convention.Reader
	batch   convention.Batch
	// series, traces, part and skip are by observation, judged by evaluation.
	series []*metering.Series
	traces []*join.Trace[*metering.Series]
	nested []bool
	skip   []uint16
	judged []judged
	groups groups
}

// zeros returns n zero values. It reuses the memory of the slice if possible.
func zeros[T any](of []T, n int) []T {
	of = slices.Grow(of[:0], n)[:n]
	clear(of)
	return of
}

func newPipeline(cfg *Config, limiter func(name string, most int) *limit.Limiter, meter *metering.Meter, reviews Reviews, logger *slog.Logger, now func() time.Time) (*pipeline, error) {
	s, err := newSettings(cfg, limiter)
	if err != nil {
		return nil, err
	}
	p := &pipeline{
		meter: meter, reviews: reviews, now: now, logger: logger, descs: newDescs(new(catalogue.Catalogue)),
		seed: maphash.MakeSeed(), pulls: cfg.MLflow != nil && len(cfg.MLflow.Assessments.Experiments) > 0,
		join: join.New[*metering.Series, waiting](cfg.Join.Inferences, cfg.Join.Waiting),
	}
	p.apply(cfg, s)
	return p, nil
}

// apply makes a configuration's settings current.
func (p *pipeline) apply(cfg *Config, s *settings) {
	p.settings.Store(s)
	if len(cfg.Clients) == 0 {
		p.meter.Divide(metering.Division{})
		return
	}
	p.meter.Divide(metering.Division{
		Client:  s.clients.Client,
		Details: clients.Divide(cfg.Clients, cfg.Limits.Versions, cfg.Limits.Details, clients.Details),
		Steps:   clients.Divide(cfg.Clients, cfg.Limits.Versions, cfg.Limits.Steps, nil),
	})
}

// Export implements receiver.Handler.
func (p *pipeline) Export(ctx context.Context, signal receiver.Signal, body []byte) (receiver.Answer, error) {
	return p.take(receiver.Client(ctx), signal, func(w *worker) error {
		if signal == receiver.Logs {
			return w.decoder.Logs(body, &w.reader)
		}
		return w.decoder.Traces(body, &w.reader)
	})
}

// take counts the items that read reads.
func (p *pipeline) take(client string, signal receiver.Signal, read func(*worker) error) (receiver.Answer, error) {
	w, ok := p.workers.Get().(*worker)
	if !ok {
		w = new(worker)
	}
	defer func() {
		w.reset()
		p.workers.Put(w)
	}()
	s := p.settings.Load()
	w.client, w.reader.Convention, w.reader.Batch = client, s.convention, &w.batch
	which := 0
	if signal == receiver.Logs {
		which = 1
	}
	if err := read(w); err != nil {
		return receiver.Answer{}, err
	}
	p.resolve(w, s)
	p.review(w, s)
	p.count(w, s)
	b := &w.batch
	ignored := 0
	for r, n := range b.Ignored {
		ignored += n
		p.report.ignored[which][r].Add(int64(n))
	}
	for i, n := range [3]int{len(b.Observations) + len(b.Evaluations), ignored, b.Refused} {
		p.items[which][i].Add(int64(n))
	}
	p.report.batch(b, p.logger, p.items[0][0].Load()+p.items[1][0].Load(), p.items[0][1].Load()+p.items[1][1].Load())
	return receiver.Answer{Refused: int64(b.Refused), Reason: b.Reason}, nil
}

func (w *worker) reset() {
	w.batch.Reset()
	w.groups.reset(0)
	w.judged = w.judged[:0]
}

// resolve connects observations and evaluations. It can be repeated without harm.
func (p *pipeline) resolve(w *worker, s *settings) {
	b := &w.batch
	w.skip = zeros(w.skip, len(b.Observations))
	w.series, w.nested = zeros(w.series, len(b.Observations)), zeros(w.nested, len(b.Observations))
	w.traces = zeros(w.traces, len(b.Observations))
	w.groups.reset(len(b.Observations))
	inherit(b)
	if s.clients != nil {
		for i := range b.Observations {
			o := &b.Observations[i]
			o.Model, o.Version = s.clients.Name(w.client, o.Model, o.Version)
		}
		for i := range b.Evaluations {
			e := &b.Evaluations[i]
			e.Model, e.Version = s.clients.Name(w.client, e.Model, e.Version)
		}
	}
	p.join.Lock()
	defer p.join.Unlock()
	for i := range b.Links {
		l := &b.Links[i]
		p.join.Link(join.ID{Trace: l.Trace, Span: l.Span}, l.Parent)
	}
	for i := range b.Observations {
		o := &b.Observations[i]
		if o.Phase != convention.InferencePhase {
			continue
		}
		p.release(o)
		w.series[i] = w.groups.add(i, o.Model, o.Version, p.meter)
		w.traces[i] = p.join.Add(join.Inference[*metering.Series]{
			ID: join.ID{Trace: o.Trace, Span: o.Span}, Parent: o.Parent, Series: w.series[i], Has: o.Has, Embeds: o.Embeds,
		}, o.ResponseID)
	}
	p.nest(w)
	for i := range b.Evaluations {
		e := &b.Evaluations[i]
		j := judged{id: join.ID{Trace: e.Trace, Span: e.Span}}
		var bad bool
		if j.result, bad = s.judge(e); bad {
			b.Bad(convention.BadScore, e.Name)
		}
		if e.Of >= 0 && w.series[e.Of] != nil {
			j.series = w.series[e.Of]
		} else {
			p.findSeries(w, s, e, &j)
		}
		w.judged = append(w.judged, j)
	}
}

// unknown is the model of an evaluation whose inference is unknown.
const unknown = convention.Unknown

// count counts the batch, and the items that waited for it.
func (p *pipeline) count(w *worker, s *settings) {
	b := &w.batch
	now := p.now().UnixNano()
	var come []waiting
	var of []*metering.Series
	p.join.Lock()
	// In most requests no item waits, so the loop over the observations is skipped.
	meet := b.NestedSpans > 0 || p.join.Awaited()
	for i := 0; meet && i < len(b.Observations); i++ {
		o := &b.Observations[i]
		id := join.ID{Trace: o.Trace, Span: o.Span}
		if o.Phase != convention.InferencePhase {
			w.series[i] = p.enclosing(w, s, o, now)
			continue
		}
		for _, x := range p.join.Take(id) {
			if x.phase == convention.QueueWait && o.QueueWait >= 0 || x.phase == convention.ForwardPass && o.ForwardPass >= 0 {
				continue
			}
			if !s.clients.May(x.client, w.series[i].Model) {
				continue
			}
			come, of = append(come, x), append(of, w.series[i])
		}
	}
	for i := range b.Evaluations {
		e, j := &b.Evaluations[i], &w.judged[i]
		if p.repeated(e) {
			j.result = waits
			continue
		}
		if j.series == nil {
			p.findSeries(w, s, e, j) // it may have arrived in the meantime
		}
		if j.series == nil && p.join.Wait(j.id, waiting{
			client: w.client, evaluation: e.Name, score: e.Score, result: j.result, exemplar: metering.Exemplar{Trace: e.Trace, Run: e.Run, Now: now},
		}, now) {
			j.result = waits
		} else if j.series == nil {
			j.series = p.meter.Series(unknown, "")
		}
	}
	p.join.Unlock()

	if len(b.Steps) > 0 {
		p.meter.Steps(w.client, b.Steps)
	}
	for _, g := range w.groups.sort() {
		w.observe(g, s.lowConfidence, now)
	}
	for i := 0; b.NestedSpans > 0 && i < len(b.Observations); i++ {
		if o := &b.Observations[i]; o.Phase != convention.InferencePhase && w.series[i] != nil {
			count(w.series[i], waiting{phase: o.Phase, seconds: o.Duration, exemplar: metering.Exemplar{Trace: o.Trace, Run: o.Run, Now: now}})
		}
	}
	for i, x := range come {
		count(of[i], x)
	}
	for i := range b.Evaluations {
		if e, j := &b.Evaluations[i], w.judged[i]; j.result != waits {
			count(j.series, waiting{evaluation: e.Name, score: e.Score, result: j.result, exemplar: metering.Exemplar{Trace: e.Trace, Run: e.Run, Now: now}})
		}
	}
}

// observe counts the inferences of a version.
func (w *worker) observe(g group, lowConfidence float64, now int64) {
	g.series.Lock()
	defer g.series.Unlock()
	for _, i := range g.observations {
		g.series.Observe(&w.batch.Observations[i], metering.Options{LowConfidence: lowConfidence, Nested: w.nested[i], Skip: w.skip[i]}, now)
	}
}

// count counts a nested span or an evaluation.
func count(s *metering.Series, x waiting) {
	s.Lock()
	defer s.Unlock()
	if x.evaluation != "" {
		s.Evaluate(x.evaluation, x.score, x.result, x.exemplar)
	} else {
		s.ObservePhase(x.phase, x.seconds, x.exemplar)
	}
}

// enclosing returns the series of the inference that a nested span belongs to. It is nil if the inference has the value itself, or if it has
// not arrived, in which case the span waits. The caller holds the join's lock.
func (p *pipeline) enclosing(w *worker, s *settings, o *convention.Observation, now int64) *metering.Series {
	id := join.ID{Trace: o.Trace, Span: o.Parent}
	if parent, ok := p.join.Find(id); ok {
		if o.Phase == convention.QueueWait && parent.Has&convention.HasQueueWait != 0 || o.Phase == convention.ForwardPass && parent.Has&convention.HasForwardPass != 0 {
			return nil
		}
		if !s.clients.May(w.client, parent.Series.Model) {
			return nil
		}
		return parent.Series
	}
	p.join.Wait(id, waiting{client: w.client, phase: o.Phase, seconds: o.Duration, exemplar: metering.Exemplar{Trace: o.Trace, Run: o.Run, Now: now}}, now)
	return nil
}

// expire ends the wait of old items: evaluations count for the unknown model, nested spans are not counted.
func (p *pipeline) expire(wait time.Duration) {
	p.join.Lock()
	expired := p.join.Expire(p.now().Add(-wait).UnixNano())
	p.join.Unlock()
	for _, x := range expired {
		if x.evaluation == "" {
			continue
		}
		p.join.Lock()
		series, ok := p.join.FindTrace(x.exemplar.Trace)
		p.join.Unlock()
		if !ok || !p.settings.Load().clients.May(x.client, series.Model) {
			series = p.meter.Series(unknown, "")
		}
		count(series, x)
	}
}

// Describe implements prometheus.Collector.
func (p *pipeline) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *pipeline) Collect(ch chan<- prometheus.Metric) {
	var m exporter.Metrics
	for i, signal := range [2]receiver.Signal{receiver.Traces, receiver.Logs} {
		for j, result := range [3]string{"accepted", "ignored", "refused"} {
			m.Counter(p.descs.items, float64(p.items[i][j].Load()), string(signal), result)
		}
	}
	p.report.collect(&m, p.descs)
	for _, metric := range m {
		ch <- metric
	}
}
