// Package metering counts inferences.
//
// Input: observations and evaluations of a model's version. Output: counters, histograms with exemplars, and the traces that an alert can
// name. State: all counters of a Meter, and the limits on models, versions, features, evaluations and exception types. The memory is limited
// for every input.
package metering

import (
	"iter"
	"math"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/content"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/histogram"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/keep"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Limits limit the label values.
type Limits struct {
	Models         int `yaml:"models"`
	Versions       int `yaml:"versions"`
	ExceptionTypes int `yaml:"exception_types"`
	Features       int `yaml:"features"`
	Evaluations    int `yaml:"evaluations"`
	// Steps limits the names of tools, agents and retrievers.
	Steps int `yaml:"steps"`
	// Details limits the exceptions, features and evaluations of all versions together.
	Details int `yaml:"details"`
}

// SetDefaults implements config.Defaulter.
func (l *Limits) SetDefaults() {
	*l = Limits{Models: 100, Versions: 200, ExceptionTypes: 100, Features: 200, Evaluations: 50, Steps: 200, Details: 2000}
}

// Meter has the counters of all models.
type Meter struct {
	descs  descs
	limits Limits
	make   func(name string, most int) *limit.Limiter
	keeper *fields.Keeper

	bounds atomic.Pointer[bounds]
	// mu guards division.
	division Division
	steps    steps
	// Lock order: mu before the lock of a Series.
	mu     sync.RWMutex
	series keep.Map[key, *Series]
	// estimated are the models whose performance is estimated.
	estimated []Estimated
}

type key struct{ model, version string }

// Keep implements keep.Keeper.
func (k key) Keep() key { return key{strings.Clone(k.model), strings.Clone(k.version)} }

// Division assigns models to clients, so that no client can use up the limits on exceptions, features and evaluations of another.
type Division struct {
	// Client returns the client that owns a model; empty for the rest. A nil Client means no division.
	Client func(model string) string
	// Details has the limit of each client, and that of the rest under the empty name.
	Details map[string]int
	// Steps has the limit on names of steps of each client, and that of the rest under the empty name.
	Steps map[string]int
}

// bounds are the limiters. They are created again when a version is forgotten, so that it no longer counts against the limits.
type bounds struct {
	models, versionNames, versions, estimated *limit.Limiter
	// shares has the limiters of each client, and those of the rest under the empty name.
	shares map[string]*share
	client func(model string) string
}

// share has the limiters of one client.
type share struct {
	exceptions, features, evaluations, details, providers, prompts *limit.Limiter
}

func (b *bounds) share(model string) *share {
	if b.client != nil && model != limit.Other {
		if s, ok := b.shares[b.client(model)]; ok {
			return s
		}
	}
	return b.shares[""]
}

var _ prometheus.Collector = (*Meter)(nil)

// New returns a Meter. limiter creates its limiters; exporter.Env.Limit is such a function. keeper counts fields; it may be nil.
func New(limits Limits, limiter func(name string, most int) *limit.Limiter, keeper *fields.Keeper, estimated []Estimated) *Meter {
	m := &Meter{estimated: estimated, descs: newDescs(new(catalogue.Catalogue)), limits: limits, make: limiter, keeper: keeper}
	m.bounds.Store(m.newBounds())
	m.steps.divide(map[string]int{"": limits.Steps}, limiter)
	return m
}

func (m *Meter) newBounds() *bounds {
	l := m.limits
	b := &bounds{
		models: m.make("models", l.Models), versionNames: m.make("versions", l.Versions), versions: m.make("versions", l.Versions),
		estimated: m.make("estimated", maxEstimated), shares: make(map[string]*share), client: m.division.Client,
	}
	details := m.division.Details
	if m.division.Client == nil {
		details = map[string]int{"": l.Details}
	}
	for client, most := range details {
		b.shares[client] = &share{
			m.make("exception_types", l.ExceptionTypes), m.make("features", l.Features), m.make("evaluations", l.Evaluations), m.make("details", most),
			m.make("providers", maxProviders), m.make("prompts", maxPrompts),
		}
	}
	return b
}

// Estimate replaces the list of models whose performance is estimated. Counts of models without a change continue.
func (m *Meter) Estimate(all []Estimated) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.estimated = all
	for _, s := range m.series.All() {
		e := newEstimates(all, s.Model)
		s.mu.Lock()
		if (e == nil) != (s.estimates == nil) || e != nil && !reflect.DeepEqual(*e.of, *s.estimates.of) {
			s.estimates = e
		}
		s.mu.Unlock()
	}
}

// Divide gives each client its own limits. Existing series count against them first.
func (m *Meter) Divide(d Division) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.division = d
	steps := d.Steps
	if d.Client == nil {
		steps = map[string]int{"": m.limits.Steps}
	}
	m.steps.divide(steps, m.make)
	m.renew()
}

// renew creates the limiters again. The caller holds the lock.
func (m *Meter) renew() {
	b := m.newBounds()
	m.bounds.Store(b)
	for k, s := range m.series.All() {
		b.fold(k.model, k.version)
		s.readmit(b)
	}
}

// Series returns the counters of a model's version; beyond the limits, those of "other". The caller must not hold the lock of any Series.
func (m *Meter) Series(model, version string) *Series {
	m.mu.RLock()
	s, ok := m.series.Get(key{model, version})
	m.mu.RUnlock()
	if ok {
		return s
	}
	k := m.bounds.Load().fold(model, version)
	m.mu.RLock()
	s, ok = m.series.Get(k)
	m.mu.RUnlock()
	if ok {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.series.Get(k); ok {
		return s
	}
	return m.series.Put(k, func(k key) *Series { return newSeries(m, k) })
}

func (b *bounds) fold(model, version string) key {
	k := key{b.models.Fold(model), b.versionNames.Fold(version)}
	switch {
	case k.model == limit.Other && version != "":
		k.version = limit.Other
	case k.version == limit.Other || k.version == "":
	case b.versions.Fold(k.model+"\x1f"+k.version) == limit.Other:
		k.version = limit.Other
	}
	return k
}

// All calls f with the counters of every version.
func (m *Meter) All(f func(*Series)) {
	m.mu.RLock()
	list := make([]*Series, 0, m.series.Len())
	for _, s := range m.series.All() {
		list = append(list, s)
	}
	m.mu.RUnlock()
	for _, s := range list {
		f(s)
	}
}

// Versions returns the models and versions that have counters.
func (m *Meter) Versions() iter.Seq2[string, string] {
	return func(yield func(model, version string) bool) {
		m.mu.RLock()
		defer m.mu.RUnlock()
		for k := range m.series.All() {
			if !yield(k.model, k.version) {
				return
			}
		}
	}
}

// Forget removes the versions without an observation since a time, and returns them.
func (m *Meter) Forget(before time.Time) []*Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	var removed []*Series
	for k, s := range m.series.All() {
		if s.lastSeen() < before.UnixNano() {
			m.series.Delete(k)
			removed = append(removed, s)
			if s.fields != nil {
				m.keeper.Forget(s.fields)
			}
		}
	}
	if len(removed) == 0 {
		return nil
	}
	m.renew()
	return removed
}

// Describe implements prometheus.Collector. It sends nothing, because the metrics depend on the received spans.
func (m *Meter) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Meter) Collect(ch chan<- prometheus.Metric) {
	now := time.Now().UnixNano()
	for _, metric := range m.steps.collect(&m.descs) {
		ch <- metric
	}
	m.All(func(s *Series) {
		for _, metric := range s.collect(now) {
			ch <- metric
		}
	})
}

// Series has the counters of one version of a model. Callers of its counting methods hold its lock.
type Series struct {
	Model, Version string

	meter  *Meter
	fields *fields.Tracker // nil if fields are not counted
	// counting is used while the series is locked.
	counting fields.Counting
	// run is the MLflow run that trained the version, if the registry knows it.
	run atomic.Pointer[string]

	mu sync.Mutex
	// last is the time of the last observation, in Unix nanoseconds.
	last     int64
	requests [convention.Outcomes]int64
	tokens   [convention.Directions]tokens
	finishes [convention.Finishes]int64
	// sampled counts the sampled inferences, represented the inferences that they stand for.
	sampled                                      int64
	represented                                  float64
	hosted                                       bool
	duration, queueWait, forwardPass, firstToken histogram.Histogram
	confidence                                   histogram.Histogram
	exceptions                                   detail[int64]
	ages                                         detail[histogram.Histogram]
	evaluations                                  detail[evaluation]
	traces                                       [reasons]traceSlot
	estimates                                    *estimates // nil if the performance is not estimated
	infos                                        infos
	answers                                      answers
}

type tokens struct {
	count int64
	known bool
}

// Result is the result of comparing an evaluation with its gate.
type Result uint8

// Results. Ungated means that there is no gate.
const (
	Pass Result = iota
	BelowGate
	Broken
	Ungated
)

type evaluation struct {
	score   histogram.Histogram
	results [Ungated]int64
	gated   bool
}

func newSeries(m *Meter, k key) *Series {
	s := &Series{Model: k.model, Version: k.version, meter: m, last: time.Now().UnixNano(), estimates: newEstimates(m.estimated, k.model)}
	for i := range s.traces {
		s.traces[i] = newTraceSlot()
	}
	// "other" combines several models or versions, so its values have no distribution.
	if m.keeper != nil && k.model != limit.Other && k.version != limit.Other {
		s.fields = m.keeper.Track(k.model, k.version)
	}
	return s
}

// SetRun sets the run that trained the version.
func (s *Series) SetRun(run string) { s.run.Store(&run) }

// Run returns the run that a span names, otherwise the one that the registry knows.
func (s *Series) Run(named string) string {
	if named != "" {
		return named
	}
	if r := s.run.Load(); r != nil {
		return *r
	}
	return ""
}

// Options of Observe.
type Options struct {
	// LowConfidence is the limit below which an inference's trace is offered as an example.
	LowConfidence float64
	// Nested means that the observation is nested in another one of the same version and is not a request of its own.
	Nested bool
	// Skip are the bits of the values that the other one has; see Observation.Has.
	Skip uint16
}

// Lock locks the series for a series of calls, because most spans of a request are of one version.
func (s *Series) Lock() {
	s.mu.Lock()
	if s.fields != nil {
		s.counting = s.fields.Begin()
	}
}

// Unlock ends the series of calls.
func (s *Series) Unlock() {
	if s.fields != nil {
		s.counting.End()
	}
	s.mu.Unlock()
}

func (s *Series) lastSeen() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Observe counts one inference. The caller must hold the lock, as for all following methods.
func (s *Series) Observe(o *convention.Observation, opt Options, now int64) {
	s.last = now
	e := &Exemplar{Trace: o.Trace, Run: s.Run(o.Run), Now: now}
	d := &s.meter.descs
	if o.QueueWait >= 0 && opt.Skip&convention.HasQueueWait == 0 {
		s.queueWait.Observe(d.queueWait, o.QueueWait, e)
	}
	if o.ForwardPass >= 0 && opt.Skip&convention.HasForwardPass == 0 {
		s.forwardPass.Observe(d.forwardPass, o.ForwardPass, e)
	}
	if o.TimeToFirst >= 0 && opt.Skip&convention.HasFirstToken == 0 {
		s.firstToken.Observe(d.firstToken, o.TimeToFirst, e)
	}
	if !opt.Nested {
		s.requests[o.Outcome]++
		if o.Weight > 0 {
			s.sampled++
			s.represented += o.Weight
		}
		s.duration.Observe(d.duration, o.Duration, e)
		s.traces[Slow].offer(o.Duration, e)
		if o.HostedCall != nil {
			s.infos.count(s, o.HostedCall)
		}
		if o.Exception != "" {
			*s.exceptions.get(s, o.Exception, (*share).exceptionTypes)++
		}
		switch o.Outcome {
		case convention.Error, convention.Timeout:
			s.traces[Failed].offer(1, e)
		}
	}
	s.hosted = o.Hosted
	if o.Finish != convention.NoFinish && opt.Skip&convention.HasFinish == 0 {
		s.finishes[o.Finish]++
	}
	if o.Tokens != nil {
		for i, n := range o.Tokens {
			if n >= 0 && n < 1<<53 && opt.Skip&convention.HasTokens(convention.Direction(i)) == 0 {
				s.tokens[i].count += int64(n)
				s.tokens[i].known = true
			}
		}
	}
	if !math.IsNaN(o.Confidence) && opt.Skip&convention.HasConfidence == 0 {
		s.confidence.Observe(d.confidence, o.Confidence, e)
		if o.Confidence < opt.LowConfidence {
			s.traces[LowConfidence].offer(-o.Confidence, e)
		}
	}
	if s.estimates != nil && opt.Skip&(convention.HasConfidence|convention.HasFields) == 0 {
		s.estimates.count(s, o)
	}
	if a := o.HostedCall; a != nil && a.Answer > 0 && !opt.Nested && s.answers.repeated(a.Hash) {
		o.Features[a.Answer-1].Value = otlp.StringValue(content.Repeated.String())
	}
	if s.fields != nil && opt.Skip&convention.HasFields == 0 && s.counting.Count(o) {
		s.traces[UnseenCategory].offer(1, e)
	}
	for i := range o.FeatureTimes {
		f := &o.FeatureTimes[i]
		s.ages.get(s, f.Name, (*share).featureNames).Observe(d.age, f.Age, e)
	}
}

// ObservePhase counts a nested span that measures a phase of an inference.
func (s *Series) ObservePhase(phase convention.Phase, seconds float64, e Exemplar) {
	e.Run = s.Run(e.Run)
	s.last = e.Now
	if phase == convention.QueueWait {
		s.queueWait.Observe(s.meter.descs.queueWait, seconds, &e)
	} else {
		s.forwardPass.Observe(s.meter.descs.forwardPass, seconds, &e)
	}
}

// Evaluate counts one evaluation. score is NaN if there is none.
func (s *Series) Evaluate(name string, score float64, result Result, e Exemplar) {
	e.Run = s.Run(e.Run)
	s.last = e.Now
	v := s.evaluations.get(s, name, (*share).evaluationNames)
	if !math.IsNaN(score) {
		v.score.Observe(s.meter.descs.score, score, &e)
	}
	if result == Ungated {
		return
	}
	v.results[result]++
	v.gated = true
	if result == BelowGate && name == "groundedness" {
		s.traces[LowGroundedness].offer(-score, &e)
	}
}

func (s *Series) collect(now int64) exporter.Metrics {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out exporter.Metrics
	d := &s.meter.descs
	show := func(h *histogram.Histogram, k *histogram.Kind, more ...string) {
		if m := h.Metric(k, append([]string{s.Model, s.Version}, more...)...); m != nil {
			out = append(out, m)
		}
	}
	show(&s.duration, d.duration)
	show(&s.queueWait, d.queueWait)
	show(&s.forwardPass, d.forwardPass)
	show(&s.firstToken, d.firstToken)
	show(&s.confidence, d.confidence)
	if s.estimates != nil {
		s.estimates.collect(s, d, &out)
	}
	s.infos.collect(s, d, &out)
	s.ages.each(func(name string, h *histogram.Histogram) { show(h, d.age, name) })
	var total int64
	for _, n := range s.requests {
		total += n
	}
	for o := convention.OK; o < convention.Outcomes && total > 0; o++ {
		out.Counter(d.requests, float64(s.requests[o]), s.Model, s.Version, o.String())
	}
	if s.hosted {
		out.Gauge(d.hosted, 1, s.Model, s.Version)
	}
	if s.sampled > 0 {
		out.Counter(d.sampled, float64(s.sampled), s.Model, s.Version)
		out.Counter(d.represented, s.represented, s.Model, s.Version)
	}
	for i := range s.tokens {
		if s.tokens[i].known {
			out.Counter(d.tokens, float64(s.tokens[i].count), s.Model, s.Version, convention.Direction(i).String())
		}
	}
	if s.finishes != [convention.Finishes]int64{} {
		for f := convention.Stop; f < convention.Finishes; f++ {
			out.Counter(d.finishes, float64(s.finishes[f]), s.Model, s.Version, f.String())
		}
	}
	s.exceptions.each(func(name string, n *int64) {
		out.Counter(d.exceptions, float64(*n), s.Model, s.Version, name)
	})
	s.evaluations.each(func(name string, v *evaluation) {
		show(&v.score, d.score, name)
		if !v.gated {
			return
		}
		for i, result := range [Ungated]string{"pass", "below_gate", "error"} {
			out.Counter(d.evaluations, float64(v.results[i]), s.Model, s.Version, name, result)
		}
	})
	for r := Slow; r < reasons; r++ {
		if t, ok := s.traces[r].current(now); ok {
			out.Gauge(d.trace, 1, s.Model, s.Version, r.String(), t.trace, t.run.String())
		}
	}
	return out
}

// readmit counts the series' label values against new limiters.
func (s *Series) readmit(b *bounds) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exceptions.readmit(s, b, (*share).exceptionTypes)
	s.ages.readmit(s, b, (*share).featureNames)
	s.evaluations.readmit(s, b, (*share).evaluationNames)
	s.infos.readmit(s, b)
	if s.estimates != nil {
		s.estimates.readmit(s, b)
	}
}

func (s *share) exceptionTypes() *limit.Limiter  { return s.exceptions }
func (s *share) featureNames() *limit.Limiter    { return s.features }
func (s *share) evaluationNames() *limit.Limiter { return s.evaluations }

// detail has values of a version by name. Two limits apply: on the names, and on all details of all versions of the client.
type detail[T any] struct{ byName keep.Map[keep.Name, *T] }

func (d *detail[T]) get(s *Series, name string, names func(*share) *limit.Limiter) *T {
	if v, ok := d.byName.Get(keep.Name(name)); ok {
		return v
	}
	name = s.meter.bounds.Load().admit(s, name, names)
	if v, ok := d.byName.Get(keep.Name(name)); ok {
		return v
	}
	return d.byName.Put(keep.Name(name), func(keep.Name) *T { return new(T) })
}

func (b *bounds) admit(s *Series, name string, names func(*share) *limit.Limiter) string {
	of := b.share(s.Model)
	name = names(of).Fold(name)
	if name == limit.Other || of.details.Fold(s.Model+"\x1f"+s.Version+"\x1f"+name) == limit.Other {
		return limit.Other
	}
	return name
}

func (d *detail[T]) each(f func(name string, v *T)) {
	for name, v := range d.byName.All() {
		f(string(name), v)
	}
}

func (d *detail[T]) readmit(s *Series, b *bounds, names func(*share) *limit.Limiter) {
	d.each(func(name string, _ *T) { b.admit(s, name, names) })
}
