package fields

import (
	"reflect"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// production publishes the production baselines: of the model's features, and of the outputs. Outputs have the version's own baseline once
// it is frozen, until then that of its predecessor.
func (k *Keeper) production(m *model, t *Tracker, out *exporter.Metrics) error {
	t.learned = nil
	show := func(l learned, of *book) {
		l.settled = func(field string, window time.Duration) bool { return of.settled(field, window, k) }
		t.learned = append(t.learned, l)
		k.publishCounts(t, onlyCounts(l.counts, l.settledDay), baseline.EdgesProduction, out)
		k.publishSwing(t, l, out)
	}
	first := m.books[0]
	if len(m.layouts()) > 0 {
		if err := k.state(t, "input", first, first.production.Frozen(), out); err != nil {
			return err
		}
	}
	for n, b := range m.books {
		// The state is that of the first book. Once it is frozen, a later book is published only when it is frozen too.
		if b.production.Frozen() || !first.production.Frozen() {
			show(b.learned(func(field string) bool { return isInput(field) && lastBook(m.books, field) == n }), b)
		}
	}
	outputs := t.outputs
	if len(outputs.definition.Fields) == 0 {
		return nil
	}
	if p := t.predecessor; p != nil && p.enough && !outputs.production.Frozen() {
		same := newLearned(p.learned.season, onlyCounts(p.learned.counts, func(field string) bool {
			return reflect.DeepEqual(outputs.definition.Fields[field], p.definition.Fields[field])
		}), true)
		if len(same.counts.Fields) > 0 {
			show(same, outputs)
			out.Gauge(k.descs.inherited, 1, t.model, t.version, p.version)
			return k.state(t, "output", outputs, true, out)
		}
	}
	show(outputs.learned(isOutput), outputs)
	return k.state(t, "output", outputs, outputs.production.Frozen(), out)
}

// state publishes the progress of a production baseline, and whether the published one is frozen.
func (k *Keeper) state(t *Tracker, role string, b *book, frozen bool, out *exporter.Metrics) error {
	days := b.production.Days
	out.Gauge(k.descs.wantedDays, float64(k.Days), t.model, t.version, role)
	out.Gauge(k.descs.days, float64(len(days)), t.model, t.version, role)
	value := 0.0
	if frozen {
		value = 1
	}
	out.Gauge(k.descs.frozen, value, t.model, t.version, role)
	if len(days) == 0 {
		return nil
	}
	start, err := days[0].Start()
	if err != nil {
		return err
	}
	out.Gauge(k.descs.firstDay, float64(start.Unix()), t.model, t.version, role)
	return nil
}

// Baselines of the short windows: the production baseline at the hours of the last hour and of the last five minutes. They differ where the
// hour contains two slots of the season.
const (
	seasonHour    = "season"
	seasonMinutes = "season_5m"
)

// seasonEvery is the interval at which the baselines of the short windows are computed.
const seasonEvery = time.Minute

// publishSeason publishes the present baselines of the short windows.
func (k *Keeper) publishSeason(t *Tracker, now time.Time) {
	c := t.counters.Load()
	if c == nil || len(t.learned) == 0 || now.Sub(t.seasonAt) < seasonEvery {
		return
	}
	t.seasonAt = now
	var mixed []Mixture
	for _, l := range t.learned {
		mixed = append(mixed, l.mix(t, c, seasonHour, time.Hour, now)...)
		mixed = append(mixed, l.mix(t, c, seasonMinutes, 5*time.Minute, now)...)
	}
	k.mixed.set(t.seasonKey(), mixed)
}

// publishCounts publishes one baseline, for the fields that are counted.
func (k *Keeper) publishCounts(t *Tracker, counts baseline.Counts, name string, out *exporter.Metrics) {
	c := t.counters.Load()
	for field, bins := range counts.Fields {
		if c == nil || c.all[field] == nil {
			continue
		}
		values := total(bins)
		label, role := labels(field)
		out.Gauge(k.descs.baselineValues, float64(values), t.model, t.version, label, role, name)
		for _, bin := range c.all[field].bins {
			out.Gauge(k.descs.ratio, float64(bins[bin])/float64(max(values, 1)), t.model, t.version, label, role, reveal.Name(c.all[field].hidden, bin), name)
		}
	}
}

// publishSwing publishes by how much the days of a production baseline differ from all of it, for the fields that are counted.
func (k *Keeper) publishSwing(t *Tracker, l learned, out *exporter.Metrics) {
	c := t.counters.Load()
	if l.season == nil || c == nil {
		return
	}
	for field := range l.counts.Fields {
		if c.all[field] == nil || !l.settledDay(field) {
			continue
		}
		if swing, ok := l.season.DaySwing(field); ok {
			label, role := labels(field)
			out.Gauge(k.descs.swing, swing, t.model, t.version, label, role, baseline.EdgesProduction)
		}
	}
}

// labels returns the values of the labels field and role.
func labels(field string) (name, role string) {
	role, name, _ = strings.Cut(field, "/")
	return name, role
}
