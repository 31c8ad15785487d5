// Package metering counts inferences.
//
// In flow observations and evaluations of a model's version. Out flow counters, histograms with exemplars and the
// traces that an alert can name. A Meter owns all of it, and the bounds on what a client can make it remember: whatever
// it sends, there are at most so many models, versions, features, evaluations and types of exceptions.
package metering

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/fields"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
)

// Limits bound what is remembered.
type Limits struct {
	Models         int `yaml:"models"`
	Versions       int `yaml:"versions"`
	ExceptionTypes int `yaml:"exception_types"`
	Features       int `yaml:"features"`
	Evaluations    int `yaml:"evaluations"`
	// Details bounds the exceptions, features and evaluations of all versions together.
	Details int `yaml:"details"`
}

// SetDefaults implements config.Defaulter.
func (l *Limits) SetDefaults() {
	*l = Limits{Models: 100, Versions: 200, ExceptionTypes: 100, Features: 200, Evaluations: 50, Details: 2000}
}

// Meter counts for all models.
type Meter struct {
	descs  descs
	limits Limits
	make   func(name string, most int) *limit.Limiter
	keeper *fields.Keeper

	mu     sync.RWMutex
	bounds bounds
	series map[key]*Series
}

type key struct{ model, version string }

// bounds are the limiters. They are made anew when a version is forgotten, which frees its place.
type bounds struct {
	models, versionNames, versions, exceptions, features, evaluations, details *limit.Limiter
}

var _ prometheus.Collector = (*Meter)(nil)

// New makes a Meter. Its limiters come from limiter, as exporter.Env.Limit is one. The keeper counts fields; it may be nil.
func New(limits Limits, limiter func(name string, most int) *limit.Limiter, keeper *fields.Keeper) *Meter {
	m := &Meter{descs: newDescs(new(catalogue.Catalogue)), limits: limits, make: limiter, keeper: keeper, series: make(map[key]*Series)}
	m.bounds = m.newBounds()
	return m
}

func (m *Meter) newBounds() bounds {
	l := m.limits
	return bounds{
		m.make("models", l.Models), m.make("versions", l.Versions), m.make("versions", l.Versions), m.make("exception_types", l.ExceptionTypes),
		m.make("features", l.Features), m.make("evaluations", l.Evaluations), m.make("details", l.Details),
	}
}

// Series returns the counters of a model's version. Past the limits these are those of "other".
func (m *Meter) Series(model, version string) *Series {
	m.mu.RLock()
	s, ok := m.series[key{model, version}]
	b := m.bounds
	m.mu.RUnlock()
	if ok {
		return s
	}
	k := b.fold(model, version)
	m.mu.RLock()
	s, ok = m.series[k]
	m.mu.RUnlock()
	if ok {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.series[k]; ok {
		return s
	}
	k = key{strings.Clone(k.model), strings.Clone(k.version)}
	s = newSeries(m, k)
	m.series[k] = s
	return s
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
	list := make([]*Series, 0, len(m.series))
	for _, s := range m.series {
		list = append(list, s)
	}
	m.mu.RUnlock()
	for _, s := range list {
		f(s)
	}
}

// Forget drops the versions that were not seen since a time, and returns them.
func (m *Meter) Forget(before time.Time) []*Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	var gone []*Series
	for k, s := range m.series {
		if s.last.Load() < before.UnixNano() {
			delete(m.series, k)
			gone = append(gone, s)
			if s.fields != nil {
				m.keeper.Forget(s.fields)
			}
			for _, v := range m.descs.vectors() {
				v.DeletePartialMatch(prometheus.Labels{"model": k.model, "version": k.version})
			}
		}
	}
	if len(gone) == 0 {
		return nil
	}
	m.bounds = m.newBounds()
	for k, s := range m.series {
		m.bounds.fold(k.model, k.version)
		s.readmit()
	}
	return gone
}

// Describe implements prometheus.Collector. What is there depends on what is sent.
func (m *Meter) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m *Meter) Collect(ch chan<- prometheus.Metric) {
	for _, v := range m.descs.vectors() {
		v.Collect(ch)
	}
	now := time.Now().UnixNano()
	m.All(func(s *Series) {
		for _, metric := range s.collect(now) {
			ch <- metric
		}
	})
}

// Series is what is counted of one version of one model.
type Series struct {
	Model, Version string

	meter  *Meter
	fields *fields.Tracker // nil where they are not counted
	// last is when the version was last seen, in nanoseconds since 1970.
	last atomic.Int64
	// run is the MLflow run that trained the version, where the registry knew it.
	run atomic.Pointer[string]

	requests                                     [convention.Outcomes]atomic.Int64
	tokens                                       [2]tokens
	duration, queueWait, forwardPass, firstToken histogram
	confidence                                   histogram
	exceptions                                   detail[atomic.Int64]
	ages                                         detail[histogram]
	evaluations                                  detail[evaluation]
	places                                       [reasons]*place
}

type tokens struct {
	count atomic.Int64
	known atomic.Bool
}

// Result is what a gate makes of an evaluation.
type Result uint8

// The results. Ungated is that there was no gate.
const (
	Pass Result = iota
	BelowGate
	Broken
	Ungated
)

type evaluation struct {
	score   histogram
	results [Ungated]atomic.Int64
	gated   atomic.Bool
}

func newSeries(m *Meter, k key) *Series {
	s := &Series{Model: k.model, Version: k.version, meter: m}
	s.last.Store(time.Now().UnixNano())
	for i := range s.places {
		s.places[i] = newPlace()
	}
	// What is "other" is not one model, so its values have no distribution.
	if m.keeper != nil && k.model != limit.Other && k.version != limit.Other {
		s.fields = m.keeper.Track(k.model, k.version)
	}
	return s
}

// SetRun says which run trained the version.
func (s *Series) SetRun(run string) { s.run.Store(&run) }

// Run is the run that a span names, or else the one that the registry knows.
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
	// LowConfidence is the confidence below which a trace is worth a look.
	LowConfidence float64
	// Part says that the observation is below another one of the same version, and no request of its own.
	Part bool
}

// Observe counts one inference.
func (s *Series) Observe(o *convention.Observation, opt Options, now int64) {
	s.last.Store(now)
	e := Exemplar{o.Trace, s.Run(o.Run), now}
	d := &s.meter.descs
	s.observeTimes(o, e)
	if !opt.Part {
		s.requests[o.Outcome].Add(1)
		s.duration.observe(d.duration, o.Duration, e, s.Model, s.Version)
		s.places[Slow].offer(o.Duration, e)
		if o.Exception != "" {
			s.exceptions.get(s, o.Exception, (*bounds).exceptionTypes).value.Add(1)
		}
		switch o.Outcome {
		case convention.Error, convention.Timeout:
			s.places[Failed].offer(float64(now), e)
		}
	}
	for i, n := range [2]float64{o.InputTokens, o.OutputTokens} {
		if n >= 0 && n < 1<<53 {
			s.tokens[i].count.Add(int64(n))
			s.tokens[i].known.Store(true)
		}
	}
	if !math.IsNaN(o.Confidence) {
		s.confidence.observe(d.confidence, o.Confidence, e, s.Model, s.Version)
		if o.Confidence < opt.LowConfidence {
			s.places[LowConfidence].offer(-o.Confidence, e)
		}
	}
	if s.fields != nil && s.fields.Count(o) {
		s.places[UnseenCategory].offer(float64(now), e)
	}
	for i := range o.FeatureTimes {
		f := &o.FeatureTimes[i]
		age := s.ages.get(s, f.Name, (*bounds).featureNames)
		age.value.observe(d.age, f.Age, e, s.Model, s.Version, age.label)
	}
}

// ObservePhase counts a child span that is a part of an inference.
func (s *Series) ObservePhase(phase convention.Phase, seconds float64, e Exemplar) {
	e.Run = s.Run(e.Run)
	s.last.Store(e.Now)
	if phase == convention.QueueWait {
		s.queueWait.observe(s.meter.descs.queueWait, seconds, e, s.Model, s.Version)
	} else {
		s.forwardPass.observe(s.meter.descs.forwardPass, seconds, e, s.Model, s.Version)
	}
}

func (s *Series) observeTimes(o *convention.Observation, e Exemplar) {
	d := &s.meter.descs
	if o.QueueWait >= 0 {
		s.queueWait.observe(d.queueWait, o.QueueWait, e, s.Model, s.Version)
	}
	if o.ForwardPass >= 0 {
		s.forwardPass.observe(d.forwardPass, o.ForwardPass, e, s.Model, s.Version)
	}
	if o.TimeToFirst >= 0 {
		s.firstToken.observe(d.firstToken, o.TimeToFirst, e, s.Model, s.Version)
	}
}

// Evaluate counts one evaluation. A score that is not there is NaN.
func (s *Series) Evaluate(name string, score float64, result Result, e Exemplar) {
	e.Run = s.Run(e.Run)
	s.last.Store(e.Now)
	of := s.evaluations.get(s, name, (*bounds).evaluationNames)
	v := &of.value
	if !math.IsNaN(score) {
		v.score.observe(s.meter.descs.score, score, e, s.Model, s.Version, of.label)
	}
	if result == Ungated {
		return
	}
	v.results[result].Add(1)
	v.gated.Store(true)
	if result == BelowGate && name == "groundedness" {
		s.places[LowGroundedness].offer(-score, e)
	}
}

func (s *Series) collect(now int64) exporter.Metrics {
	var out exporter.Metrics
	d := &s.meter.descs
	var total int64
	for o := range s.requests {
		total += s.requests[o].Load()
	}
	for o := convention.OK; o < convention.Outcomes && total > 0; o++ {
		out.Counter(d.requests, float64(s.requests[o].Load()), s.Model, s.Version, o.String())
	}
	for i, direction := range [2]string{"input", "output"} {
		if s.tokens[i].known.Load() {
			out.Counter(d.tokens, float64(s.tokens[i].count.Load()), s.Model, s.Version, direction)
		}
	}
	s.exceptions.each(func(name string, n *atomic.Int64) {
		out.Counter(d.exceptions, float64(n.Load()), s.Model, s.Version, name)
	})
	s.evaluations.each(func(name string, v *evaluation) {
		if !v.gated.Load() {
			return
		}
		for i, result := range [Ungated]string{"pass", "below_gate", "error"} {
			out.Counter(d.evaluations, float64(v.results[i].Load()), s.Model, s.Version, name, result)
		}
	})
	for r := Slow; r < reasons; r++ {
		if t, ok := s.places[r].current(now); ok {
			out.Gauge(d.trace, 1, s.Model, s.Version, r.String(), t.trace, t.run)
		}
	}
	return out
}

// readmit gives what the series has its places in new limiters.
func (s *Series) readmit() {
	s.exceptions.readmit(s, (*bounds).exceptionTypes)
	s.ages.readmit(s, (*bounds).featureNames)
	s.evaluations.readmit(s, (*bounds).evaluationNames)
}

func (b *bounds) exceptionTypes() *limit.Limiter  { return b.exceptions }
func (b *bounds) featureNames() *limit.Limiter    { return b.features }
func (b *bounds) evaluationNames() *limit.Limiter { return b.evaluations }

// detail is something of a version by name, with two bounds: on the names, and on all details of all versions.
type detail[T any] struct {
	mu     sync.RWMutex
	byName map[string]*named[T]
}

type named[T any] struct {
	label string
	value T
}

func (d *detail[T]) get(s *Series, name string, names func(*bounds) *limit.Limiter) *named[T] {
	d.mu.RLock()
	v, ok := d.byName[name]
	d.mu.RUnlock()
	if ok {
		return v
	}
	s.meter.mu.RLock()
	b := s.meter.bounds
	s.meter.mu.RUnlock()
	name = b.admit(s, name, names)
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, ok := d.byName[name]; ok {
		return v
	}
	if d.byName == nil {
		d.byName = make(map[string]*named[T])
	}
	v = &named[T]{label: strings.Clone(name)}
	d.byName[v.label] = v
	return v
}

func (b *bounds) admit(s *Series, name string, names func(*bounds) *limit.Limiter) string {
	name = names(b).Fold(name)
	if name == limit.Other || b.details.Fold(s.Model+"\x1f"+s.Version+"\x1f"+name) == limit.Other {
		return limit.Other
	}
	return name
}

func (d *detail[T]) each(f func(name string, v *T)) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for name, v := range d.byName {
		f(name, &v.value)
	}
}

// readmit is called with the meter's lock held.
func (d *detail[T]) readmit(s *Series, names func(*bounds) *limit.Limiter) {
	d.each(func(name string, _ *T) { s.meter.bounds.admit(s, name, names) })
}
