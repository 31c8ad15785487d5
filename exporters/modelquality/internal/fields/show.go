package fields

import (
	"reflect"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/reveal"
)

// production makes the series of the production baselines: of the features, which belong to the model, and of the outputs,
// which are the version's own once they are frozen and those of its predecessor until then.
func (k *Keeper) production(m *model, t *Tracker, out *exporter.Metrics) error {
	t.learned = nil
	show := func(l learned) {
		t.learned = append(t.learned, l)
		k.show(t, l.whole, baseline.EdgesProduction, out)
		k.showSwing(t, l, out)
	}
	first := m.books[0]
	if len(m.layouts()) > 0 {
		if err := k.state(t, "input", first, first.production.Frozen(), out); err != nil {
			return err
		}
	}
	for n, b := range m.books {
		// The state is that of the first book: what a later one has not learned yet is no measure.
		if b.production.Frozen() || !first.production.Frozen() {
			show(b.learned(func(field string) bool { return isInput(field) && lastBook(m.books, field) == n }))
		}
	}
	own := t.outputs
	if len(own.definition.Fields) == 0 {
		return nil
	}
	if p := t.predecessor; p != nil && p.enough && !own.production.Frozen() {
		same := newLearned(p.learned.season, only(p.learned.whole, func(field string) bool {
			return reflect.DeepEqual(own.definition.Fields[field], p.definition.Fields[field])
		}))
		if len(same.whole.Fields) > 0 {
			show(same)
			out.Gauge(k.descs.inherited, 1, t.model, t.version, p.version)
			return k.state(t, "output", own, true, out)
		}
	}
	show(own.learned(isOutput))
	return k.state(t, "output", own, own.production.Frozen(), out)
}

// state makes the series that say how far a production baseline is, and whether what is shown of it is frozen.
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

// Baselines of the short windows: what the production baseline was like at the time of the day of the last hour and of the
// last five minutes. The hour is not the five minutes: where a night becomes a day, they are of different hours.
const (
	seasonHour    = "season"
	seasonMinutes = "season_5m"
)

// seasonEvery is how often what the short windows are compared with is mixed anew.
const seasonEvery = time.Minute

// showSeason makes the series of what the short windows are compared with now.
func (k *Keeper) showSeason(t *Tracker, now time.Time) {
	c := t.counters.Load()
	if c == nil || len(t.learned) == 0 || now.Sub(t.shown) < seasonEvery {
		return
	}
	t.shown = now
	var mixed []Mixture
	for _, l := range t.learned {
		mixed = append(mixed, l.mix(t, c, seasonHour, time.Hour, now)...)
		mixed = append(mixed, l.mix(t, c, seasonMinutes, 5*time.Minute, now)...)
	}
	k.mixed.set(t.seasonKey(), mixed)
}

// show makes the series of one baseline, for the fields that are counted.
func (k *Keeper) show(t *Tracker, counts baseline.Counts, name string, out *exporter.Metrics) {
	c := t.counters.Load()
	for field, bins := range counts.Fields {
		if c == nil || c.all[field] == nil {
			continue
		}
		var total int64
		for _, n := range bins {
			total += n
		}
		label, role := labels(field)
		out.Gauge(k.descs.baselineValues, float64(total), t.model, t.version, label, role, name)
		for _, bin := range c.all[field].bins {
			out.Gauge(k.descs.ratio, float64(bins[bin])/float64(max(total, 1)), t.model, t.version, label, role, reveal.Name(c.all[field].hidden, bin), name)
		}
	}
}

// showSwing makes the series of how much the days of a production baseline differ, for the fields that are counted.
func (k *Keeper) showSwing(t *Tracker, l learned, out *exporter.Metrics) {
	c := t.counters.Load()
	if l.season == nil || c == nil {
		return
	}
	for field := range l.whole.Fields {
		if c.all[field] == nil {
			continue
		}
		if swing, ok := l.season.DaySwing(field); ok {
			label, role := labels(field)
			out.Gauge(k.descs.swing, swing, t.model, t.version, label, role, baseline.EdgesProduction)
		}
	}
}

// labels are the values of the labels field and role.
func labels(field string) (name, role string) {
	role, name, _ = strings.Cut(field, "/")
	return name, role
}
