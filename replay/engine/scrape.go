package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
)

// A Target is scraped as Prometheus scrapes: its labels are added to every series, and the series up reports success.
type Target struct {
	Job, Instance string
	// Labels are the target's other labels, such as cluster and namespace.
	Labels map[string]string
	Source Source
	// Advance, if set, is called before each scrape to advance the state of the target. An error ends the replay.
	Advance func(ctx context.Context, at time.Time) error
}

// A Source answers the scrapes of a target. It uses the engine's clock. Sources run concurrently and must not share mutable
// state.
type Source interface {
	// Scrape writes what the target exposes at this time. An error is a failed scrape: up becomes 0, and the target's series
	// end. With ErrNoScrape there was no scrape, and nothing is stored.
	Scrape(ctx context.Context, at time.Time, to *Scrape) error
}

// SourceFunc is a function that implements Source.
type SourceFunc func(ctx context.Context, at time.Time, to *Scrape) error

// Scrape implements Source.
func (f SourceFunc) Scrape(ctx context.Context, at time.Time, to *Scrape) error {
	return f(ctx, at, to)
}

// ErrNoScrape means that Prometheus did not scrape: it was down, or it did not know the target yet.
var ErrNoScrape = errors.New("no scrape was made")

// A Scrape receives the samples of one target. It exists for the whole run. A source may keep the series that it returns.
type Scrape struct {
	store  *store
	target []labels.Label // sorted
	up     *Series
	at     int64
	live   []*Series // series of the last scrape, in the order of writing
	now    []*Series // series of this scrape
	// liveHeld and nowHeld are the same for Held.
	liveHeld, nowHeld []*Held
	cache             map[string][]cached

	// scrapes and stored count the scrapes and their samples.
	scrapes, stored int
	// staged are the series with staged samples. fresh are the series that the store does not have yet, by hash.
	staged []*Series
	fresh  map[uint64][]*Series
}

func newScrape(st *store, t Target) (*Scrape, error) {
	if t.Job == "" || t.Instance == "" || t.Source == nil {
		return nil, fmt.Errorf("target %q of job %q: expected a job, an instance and a source", t.Instance, t.Job)
	}
	all := maps.Clone(t.Labels)
	if all == nil {
		all = map[string]string{}
	}
	all["job"], all["instance"] = t.Job, t.Instance
	s := &Scrape{store: st, cache: map[string][]cached{}, fresh: map[uint64][]*Series{}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if all[name] != "" {
			s.target = append(s.target, labels.Label{Name: name, Value: all[name]})
		}
	}
	s.up = s.Series("up")
	return s, nil
}

// Series returns the series of this target with the given metric name and labels (pairs of name and value). It looks up all
// labels, so a source with thousands of series should keep them.
func (s *Scrape) Series(name string, pairs ...string) *Series {
	ls := make([]labels.Label, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		ls = append(ls, labels.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return s.series(name, ls)
}

func (s *Scrape) series(name string, ls []labels.Label) *Series {
	all := append([]labels.Label{{Name: model.MetricNameLabel, Value: name}}, s.target...)
	for _, l := range ls {
		if l.Value == "" {
			continue
		}
		// As with the default honor_labels: false, the target's label takes precedence.
		for slices.ContainsFunc(s.target, func(t labels.Label) bool { return t.Name == l.Name }) {
			l.Name = model.ExportedLabelPrefix + l.Name
		}
		all = append(all, l)
	}
	sorted := labels.New(all...)
	if series := s.store.lookUp(sorted); series != nil && series.pinned {
		return series
	}
	hash := sorted.Hash()
	if series := find(s.fresh[hash], sorted); series != nil {
		return series
	}
	series := &Series{labels: sorted, pinned: true}
	s.fresh[hash] = append(s.fresh[hash], series)
	return series
}

// publish makes the samples scraped since the last call visible to rules. No rule may be evaluated at the same time.
func (s *Scrape) publish() error {
	for _, hash := range slices.Sorted(maps.Keys(s.fresh)) {
		for _, series := range s.fresh[hash] {
			if err := s.store.publish(series); err != nil {
				return err
			}
		}
	}
	clear(s.fresh)
	for _, h := range s.liveHeld {
		s.stageHeld(h)
	}
	for _, series := range s.staged {
		series.publish()
	}
	s.staged = s.staged[:0]
	return nil
}

func (s *Scrape) stage(series *Series, at int64, v float64, h *histogram.FloatHistogram, step int64, n int) bool {
	none := len(series.next) == 0
	if !series.stage(at, v, h, step, n) {
		return false
	}
	if none {
		s.staged = append(s.staged, series)
	}
	return true
}

// Float stores the value of a series at this scrape. A second value for the same series is dropped.
func (s *Scrape) Float(series *Series, v float64) { s.add(series, v, nil) }

// Histogram stores a native histogram. The caller must not modify it afterwards.
func (s *Scrape) Histogram(series *Series, h *histogram.FloatHistogram) { s.add(series, 0, h) }

func (s *Scrape) add(series *Series, v float64, h *histogram.FloatHistogram) {
	if before := series.held; before != nil {
		if before.seen == s.at {
			return
		}
		s.stageHeld(before)
	}
	if !s.stage(series, s.at, v, h, 0, 1) {
		return
	}
	series.owner, series.seen = s, s.at
	s.now = append(s.now, series)
}

// Hold repeats the last scrape: every series gets its previous value.
func (s *Scrape) Hold() {
	for _, h := range s.liveHeld {
		s.Held(h)
	}
	for _, series := range s.live {
		if last, ok := series.newest(); ok {
			s.add(series, last.v, last.h)
		}
	}
}

// through scrapes a target at each interval from from until before to.
func (s *Scrape) through(ctx context.Context, t *Target, from, to time.Time, interval time.Duration) error {
	for at := from; at.Before(to); at = at.Add(interval) {
		if t.Advance != nil {
			if err := t.Advance(ctx, at); err != nil {
				return fmt.Errorf("advance %s to %s: %w", t.Instance, at, err)
			}
		}
		if err := s.scrape(ctx, t.Source, at.UnixMilli()); err != nil {
			return fmt.Errorf("scrape %s: %w", t.Instance, err)
		}
		s.scrapes++
		s.stored += s.samples()
	}
	return nil
}

// scrape scrapes the source once and stores the samples.
func (s *Scrape) scrape(ctx context.Context, source Source, at int64) error {
	s.at, s.now, s.nowHeld = at, s.now[:0], s.nowHeld[:0]
	err := source.Scrape(ctx, time.UnixMilli(at).UTC(), s)
	if errors.Is(err, ErrNoScrape) {
		// Discard what the source wrote before it returned the error.
		s.discard()
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	up := 1.0
	if err != nil {
		up = 0
		s.discard()
	}
	s.follow()
	s.stage(s.up, at, up, nil, 0, 1)
	return nil
}

// samples returns the number of samples of the last scrape.
func (s *Scrape) samples() int {
	n := len(s.live)
	for _, h := range s.liveHeld {
		n += len(h.series)
	}
	return n
}

var staleNaN = math.Float64frombits(value.StaleNaN)

// cached is a series by its position in a metric family. The next scrape finds it there without a look-up.
type cached struct {
	labels []*dto.LabelPair
	series []*Series // series of the sample, or of a histogram's or summary's samples
}

// Families stores metric families as Prometheus stores a scrape in the text format: histograms as classic buckets. It accepts
// the result of a prometheus.Gatherer.
func (s *Scrape) Families(families []*dto.MetricFamily) error {
	for _, f := range families {
		name := f.GetName()
		cache := s.cache[name]
		if len(cache) < len(f.Metric) {
			cache = append(cache, make([]cached, len(f.Metric)-len(cache))...)
			s.cache[name] = cache
		}
		for i, m := range f.Metric {
			c := &cache[i]
			if c.series == nil || !sameLabels(c.labels, m.Label) {
				*c = cached{labels: m.Label}
			}
			w := writer{s, c, name, m.Label, 0}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				w.write("", m.GetCounter().GetValue())
			case dto.MetricType_GAUGE:
				w.write("", m.GetGauge().GetValue())
			case dto.MetricType_UNTYPED:
				w.write("", m.GetUntyped().GetValue())
			case dto.MetricType_SUMMARY:
				for _, q := range m.GetSummary().Quantile {
					w.write("", q.GetValue(), "quantile", labels.FormatOpenMetricsFloat(q.GetQuantile()))
				}
				w.write("_sum", m.GetSummary().GetSampleSum())
				w.write("_count", float64(m.GetSummary().GetSampleCount()))
			case dto.MetricType_HISTOGRAM:
				w.histogram(m.GetHistogram())
			default:
				return fmt.Errorf("metric %s is a %s, which no exporter here exposes", name, f.GetType())
			}
		}
	}
	return nil
}

func sameLabels(a, b []*dto.LabelPair) bool {
	return slices.EqualFunc(a, b, func(a, b *dto.LabelPair) bool {
		return a == b || a.GetValue() == b.GetValue() && a.GetName() == b.GetName()
	})
}

// writer writes the samples of one metric in order.
type writer struct {
	s      *Scrape
	cached *cached
	name   string
	labels []*dto.LabelPair
	next   int
}

func (w *writer) write(suffix string, v float64, pair ...string) {
	if w.next == len(w.cached.series) {
		ls := make([]labels.Label, 0, len(w.labels)+1)
		for _, l := range w.labels {
			ls = append(ls, labels.Label{Name: l.GetName(), Value: l.GetValue()})
		}
		if len(pair) == 2 {
			ls = append(ls, labels.Label{Name: pair[0], Value: pair[1]})
		}
		w.cached.series = append(w.cached.series, w.s.series(w.name+suffix, ls))
	}
	w.s.Float(w.cached.series[w.next], v)
	w.next++
}

func (w *writer) histogram(h *dto.Histogram) {
	count := float64(h.GetSampleCount())
	if h.GetSampleCountFloat() > 0 {
		count = h.GetSampleCountFloat()
	}
	infinite := false
	for _, b := range h.Bucket {
		v := float64(b.GetCumulativeCount())
		if b.GetCumulativeCountFloat() > 0 {
			v = b.GetCumulativeCountFloat()
		}
		infinite = infinite || math.IsInf(b.GetUpperBound(), 1)
		w.write("_bucket", v, "le", labels.FormatOpenMetricsFloat(b.GetUpperBound()))
	}
	if !infinite {
		w.write("_bucket", count, "le", "+Inf")
	}
	w.write("_sum", h.GetSampleSum())
	w.write("_count", count)
}
