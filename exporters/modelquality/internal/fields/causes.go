package fields

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
	"github.com/sightglass-ml/sightglass/internal/cause"
)

const (
	// maxIncidents bounds the incidents of a version that are told at the same time.
	maxIncidents = 30
	// maxSearches bounds the searches of an incident. More inferences say more: each is as long after the one before as all of them took.
	maxSearches = 8
	// sureLead is how much more likely than the next a cause has to be in the first searches, when few inferences have changed.
	sureLead, sureSearches = 8, 4
	// fewestOfValue is how many rows of the sample a value has to have that has no bin of its own.
	fewestOfValue = 10
	// fieldVersion is the cause that is a version.
	fieldVersion = "version"
)

// incident is a breach from its beginning until it has been over for a while, with what was found.
type incident struct {
	last   time.Time
	causes []foundCause
	// searches were made, the next one is not before next.
	searches int
	next     time.Time
}

// foundCause is a probable cause as it is published.
type foundCause struct {
	field, value          string // of a pair both, with a comma
	explained, rows, lead float64
	onset                 cause.Onset
	with, of              int // replicas
}

// CausesEvery is how often causes are looked for: so that those of a sudden change are there when its alert is.
func (c Causes) CausesEvery() time.Duration { return c.Window / 120 }

// Explain looks for the causes of the changes that have begun, in the samples of recent inferences. It looks
// again, ever more rarely, since more inferences say more; a cause that was found stays until the change is over.
func (k *Keeper) Explain(context.Context) error {
	k.cycles.Lock()
	defer k.cycles.Unlock()
	now := k.Now()
	for _, m := range k.models {
		for _, t := range m.trackers {
			if c := t.counters.Load(); c != nil {
				c.mu.Lock()
				c.recent.Turn(now.UnixNano(), c.rows)
				c.mu.Unlock()
				k.explain(m, t, c, now)
			}
		}
	}
	return nil
}

func (k *Keeper) explain(m *model, t *Tracker, c *counters, now time.Time) {
	breaches := k.breaches(t, c, now)
	if t.incidents == nil {
		t.incidents = make(map[incidentKey]*incident)
	}
	for _, b := range breaches {
		i := t.incidents[b.incidentKey]
		if i == nil && len(t.incidents) < maxIncidents {
			i = new(incident)
			t.incidents[b.incidentKey] = i
		}
		if i == nil {
			continue
		}
		if i.last = now; i.searches == maxSearches || now.Before(i.next) {
			continue
		}
		found := k.search(m, t, c, b, breaches, now)
		found = slices.DeleteFunc(found, func(f foundCause) bool { return f.lead < sureLead && i.searches < sureSearches })
		if i.searches == 0 || !slices.EqualFunc(found, i.causes, sameCause) {
			k.sayCause(t, b, found)
		}
		if len(found) > 0 {
			i.causes = found
		}
		i.next = now.Add(k.Causes.CausesEvery() << i.searches)
		i.searches++
	}
	maps.DeleteFunc(t.incidents, func(_ incidentKey, i *incident) bool { return now.Sub(i.last) > k.Causes.Window/2 })
	k.told.set(t.key(), t.tellCauses())
}

func sameCause(a, b foundCause) bool { return a.field == b.field && a.value == b.value }

func (k *Keeper) sayCause(t *Tracker, b breach, causes []foundCause) {
	name, role := labels(b.field)
	logger := k.Logger.With("model", t.model, "version", t.version, "field", name, "role", role, "signal", b.signal)
	if len(causes) == 0 {
		logger.Info("No single segment explains a change of a model's values so far.")
	}
	for _, f := range causes {
		attributes := []any{"cause_field", f.field, "cause_value", f.value, "explained", f.explained, "rows", f.rows}
		if !f.onset.Since.IsZero() {
			attributes = append(attributes, "since", f.onset.Since, "gradual", f.onset.Gradual)
		}
		if f.of > 1 {
			attributes = append(attributes, "instances", f.of, "affected_instances", f.with)
		}
		logger.Warn("A probable cause of a change of a model's values was found.", attributes...)
	}
}

// looked is the sample of a version as the search sees it.
type looked struct {
	rows    recent.Rows
	in      cause.Sample
	columns []column
}

// column is a field that may have the cause.
type column struct {
	sampledField
	values []recent.Value
}

// rowsOf reads the sample of a version for a breach, with the fields that may have its cause.
func (k *Keeper) rowsOf(c *counters, b breach, places []int, now time.Time) looked {
	c.mu.Lock()
	l := looked{rows: c.recent.Rows(now.Add(-2 * k.Causes.Window).UnixNano())}
	c.mu.Unlock()
	l.in = cause.Sample{Size: b.size, Baseline: b.baseline, Values: b.values}
	for row, bin := range l.rows.Bins(b.place) {
		l.in.Bins, l.in.Now = append(l.in.Bins, b.bins[bin]), append(l.in.Now, l.rows.Times[row] >= b.since)
	}
	for _, i := range places {
		codes, values := l.rows.Values(i, fewestOfValue)
		l.in.Columns = append(l.in.Columns, cause.Column{Name: c.sampled[i].name, Codes: codes})
		l.columns = append(l.columns, column{c.sampled[i], values})
	}
	return l
}

// candidates are the fields that may have the cause: where an inference comes from, categories, then numbers. Outputs follow from inputs. A
// number that has changed itself is another symptom of what changed an input, but may well be what changed an output.
func (k *Keeper) candidates(c *counters, b breach, all []breach) []int {
	var origin, categories, numbers []int
	for i, f := range c.sampled {
		switch {
		case i == b.place || f.field != nil && !isInput(f.name):
		case f.field == nil:
			origin = append(origin, i)
		case f.field.categorical:
			categories = append(categories, i)
		case isInput(b.field) && slices.ContainsFunc(all, func(o breach) bool { return o.place == i }):
		default:
			numbers = append(numbers, i)
		}
	}
	found := slices.Concat(origin, categories, numbers)
	return found[:min(len(found), k.Causes.Fields)]
}

// search looks for the causes of one breach.
func (k *Keeper) search(m *model, t *Tracker, c *counters, b breach, all []breach, now time.Time) []foundCause {
	l := k.rowsOf(c, b, k.candidates(c, b, all), now)
	finding := cause.Find(l.in)
	var causes []foundCause
	for n, f := range finding.Causes {
		var names, values []string
		for _, term := range f.Terms {
			name, value := k.nameOf(l.columns[term.Column], term.Code)
			names, values = append(names, name), append(values, value)
		}
		fc := foundCause{explained: min(f.Explained, 1), rows: f.Rows, lead: f.Lead}
		in := rowsIn(l.in, f.Terms)
		if n == 0 && len(f.Terms) == 1 {
			if _, share, ok := k.onlyHere(m, t, c, b, l, in, f.Terms, now); ok {
				names, values = append([]string{fieldVersion}, names...), append([]string{t.version}, values...)
				fc.rows *= share
			}
		}
		fc.field, fc.value = strings.Join(names, ", "), strings.Join(values, ", ")
		fc.describe(l, in, finding.Rose, c)
		if !slices.ContainsFunc(causes, func(o foundCause) bool { return o.field == fc.field && o.value == fc.value }) { // By the hash of a hidden value.
			causes = append(causes, fc)
		}
	}
	if len(causes) == 0 {
		in := rowsIn(l.in, nil)
		if apart, share, ok := k.onlyHere(m, t, c, b, l, in, nil, now); ok {
			fc := foundCause{field: fieldVersion, value: t.version, explained: min(apart, 1), rows: share, lead: sureLead}
			fc.describe(l, in, finding.Rose, c)
			causes = append(causes, fc)
		}
	}
	return causes
}

func rowsIn(in cause.Sample, terms []cause.Term) []bool {
	rows := make([]bool, len(in.Bins))
	for row := range rows {
		rows[row] = !slices.ContainsFunc(terms, func(t cause.Term) bool { return in.Columns[t.Column].Codes[row] != t.Code })
	}
	return rows
}

// part are the rows of a sample that are wanted, without their columns.
func part(of cause.Sample, wanted []bool) cause.Sample {
	p := cause.Sample{Size: of.Size, Baseline: of.Baseline, Values: of.Values}
	for row, w := range wanted {
		if w {
			p.Bins, p.Now = append(p.Bins, of.Bins[row]), append(p.Now, of.Now[row])
		}
	}
	return p
}

// describe says since when the rows of a cause are affected, and on which replicas.
func (f *foundCause) describe(l looked, in, rose []bool, c *counters) {
	times, affected := make([]time.Time, len(in)), make([]bool, len(in))
	for row := range in {
		times[row], affected[row] = time.Unix(0, l.rows.Times[row]), in[row] && rose[l.in.Bins[row]]
	}
	f.onset = cause.Since(times, affected)
	replicas, values := l.rows.Values(len(c.sampled)-1, 0)
	for row, v := range replicas {
		if values[v].Text == "" {
			replicas[row] = -1
		}
	}
	f.with, f.of = cause.Spread(replicas, l.in.Now, affected)
}

// onlyHere reports whether the other versions of the model, in rows with the same values, have not changed: how much of the change they do
// not have, and the share of this version in all inferences of the window.
func (k *Keeper) onlyHere(m *model, t *Tracker, c *counters, b breach, l looked, in []bool, terms []cause.Term, now time.Time) (apart, share float64, ok bool) {
	since, seen, others := b.since, 0.0, 0.0
	counts := func(c *counters) float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.rows - c.recent.Seen(since))
	}
	theirNow, theirBefore := make([]float64, b.size), make([]float64, b.size)
	for _, o := range m.trackers {
		oc := o.counters.Load()
		if oc == nil {
			continue
		}
		if o == t {
			seen = counts(oc)
			continue
		}
		place := slices.IndexFunc(oc.sampled, func(f sampledField) bool { return f.name == b.field })
		if place < 0 || oc.sampled[place].field == nil || !slices.Equal(oc.sampled[place].field.bins, c.sampled[b.place].field.bins) {
			continue
		}
		others += counts(oc)
		ob := b
		ob.place = place
		var places []int
		for _, term := range terms {
			if i := slices.IndexFunc(oc.sampled, func(f sampledField) bool { return f.name == l.columns[term.Column].name }); i >= 0 {
				places = append(places, i)
			}
		}
		if len(places) < len(terms) {
			continue
		}
		ol := k.rowsOf(oc, ob, places, now)
		for row, bin := range ol.in.Bins {
			same := true
			for n, term := range terms {
				theirs := ol.columns[n].values[ol.in.Columns[n].Codes[row]]
				same = same && ol.columns[n].raw(theirs) == l.columns[term.Column].raw(l.columns[term.Column].values[term.Code])
			}
			switch {
			case !same:
			case ol.in.Now[row]:
				theirNow[bin]++
			default:
				theirBefore[bin]++
			}
		}
	}
	apart, ok = cause.Apart(part(l.in, in), theirNow, theirBefore)
	return apart, seen / max(seen+others, 1), ok
}
