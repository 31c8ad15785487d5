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
	// maxIncidents limits the concurrent incidents of a version.
	maxIncidents = 30
	// maxSearches limits the searches of an incident. Later searches have more inferences. The interval doubles with each search.
	maxSearches = 8
	// sureLead is the factor by which a cause must be more likely than the next one. It applies to the first sureSearches searches, when
	// few inferences have changed.
	sureLead, sureSearches = 20, 4
	// fewestOfValue is the smallest number of rows of a value without its own bin.
	fewestOfValue = 10
	// fieldVersion is the name of the cause field if the cause is a version.
	fieldVersion = "version"
)

// incident is a breach from its start until half a window after its end, with the causes found.
type incident struct {
	last   time.Time
	causes []foundCause
	// searches is the number of searches so far; next is the time of the next one.
	searches int
	next     time.Time
}

// foundCause is a probable cause as it is published.
type foundCause struct {
	field, value          string // two fields or values are separated by a comma
	explained, rows, lead float64
	onset                 cause.Onset
	with, of              int // affected replicas, all replicas
}

// CausesEvery is the interval of searches. It is short, so that the cause of a sudden change is known when its alert fires.
func (c Causes) CausesEvery() time.Duration { return c.Window / 120 }

// Explain searches the samples of recent inferences for causes of new changes. It repeats the search at increasing intervals, because more
// inferences give more evidence. A cause stays published until the change is over.
func (k *Keeper) Explain(context.Context) error {
	k.cycles.Lock()
	defer k.cycles.Unlock()
	now := k.Now()
	for _, m := range k.models {
		for _, t := range m.trackers {
			if c := t.counters.Load(); c != nil {
				c.mu.Lock()
				c.recent.Rotate(now.UnixNano(), c.rows)
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
		i.next = now.Add(k.Causes.CausesEvery() << i.searches)
		i.searches++
		isNew := len(found) > 0 && !slices.EqualFunc(found, i.causes, sameCause)
		if isNew || len(found) == 0 && len(i.causes) == 0 && i.searches == sureSearches {
			k.logCause(t, b, found)
		}
		if len(found) > 0 {
			i.causes = found
		}
	}
	maps.DeleteFunc(t.incidents, func(_ incidentKey, i *incident) bool { return now.Sub(i.last) > k.Causes.Window/2 })
	k.published.set(t.key(), t.publishedCauses())
}

func sameCause(a, b foundCause) bool { return a.field == b.field && a.value == b.value }

func (k *Keeper) logCause(t *Tracker, b breach, causes []foundCause) {
	name, role := labels(b.field)
	logger := k.Logger.With("model", t.model, "version", t.version, "field", name, "role", role, "signal", b.signal)
	if len(causes) == 0 {
		logger.Info("No single segment explains a change of a model's values.")
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

// searchInput is the sample of a version as input of the search.
type searchInput struct {
	rows    recent.Rows
	in      cause.Sample
	columns []column
}

// column is a field that may be the cause.
type column struct {
	sampledField
	values []recent.Value
}

// rowsOf reads the sample of a version for a breach, with the fields at candidates as possible causes.
func (k *Keeper) rowsOf(c *counters, b breach, candidates []int, now time.Time) searchInput {
	c.mu.Lock()
	l := searchInput{rows: c.recent.Rows(now.Add(-2 * k.Causes.Window).UnixNano())}
	c.mu.Unlock()
	l.in = cause.Sample{Size: b.size, Baseline: b.baseline, Values: b.values}
	for row, bin := range l.rows.Bins(b.column) {
		l.in.Bins, l.in.Now = append(l.in.Bins, b.bins[bin]), append(l.in.Now, l.rows.Times[row] >= b.since)
	}
	for _, i := range candidates {
		codes, values := l.rows.Values(i, fewestOfValue)
		l.in.Columns = append(l.in.Columns, cause.Column{Name: c.sampled[i].name, Codes: codes})
		l.columns = append(l.columns, column{c.sampled[i], values})
	}
	return l
}

// candidates returns the fields that may be the cause: origin first, then categories, then numbers. Outputs are excluded, because they
// depend on inputs. A number that has changed itself is another symptom of a changed input, but can be the cause of a changed output.
func (k *Keeper) candidates(c *counters, b breach, all []breach) []int {
	var origin, categories, numbers []int
	for i, f := range c.sampled {
		switch {
		case i == b.column || f.field != nil && !isInput(f.name):
		case f.field == nil:
			origin = append(origin, i)
		case f.field.categorical:
			categories = append(categories, i)
		case isInput(b.field) && slices.ContainsFunc(all, func(o breach) bool { return o.column == i }):
		default:
			numbers = append(numbers, i)
		}
	}
	found := slices.Concat(origin, categories, numbers)
	return found[:min(len(found), k.Causes.Fields)]
}

// search searches for the causes of one breach.
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
			if _, share, ok := k.compareVersions(m, t, c, b, l, in, f.Terms, now); ok {
				names, values = append([]string{fieldVersion}, names...), append([]string{t.version}, values...)
				fc.rows *= share
			}
		}
		fc.field, fc.value = strings.Join(names, ", "), strings.Join(values, ", ")
		fc.describe(l, in, finding.Rose, c)
		// Two hidden values can have the same published name.
		if !slices.ContainsFunc(causes, func(o foundCause) bool { return o.field == fc.field && o.value == fc.value }) {
			causes = append(causes, fc)
		}
	}
	if len(causes) == 0 {
		in := rowsIn(l.in, nil)
		if apart, share, ok := k.compareVersions(m, t, c, b, l, in, nil, now); ok {
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

// onlyRows returns the wanted rows of a sample, without their columns.
func onlyRows(of cause.Sample, wanted []bool) cause.Sample {
	p := cause.Sample{Size: of.Size, Baseline: of.Baseline, Values: of.Values}
	for row, w := range wanted {
		if w {
			p.Bins, p.Now = append(p.Bins, of.Bins[row]), append(p.Now, of.Now[row])
		}
	}
	return p
}

// describe sets since when the rows of a cause are affected, and how many replicas.
func (f *foundCause) describe(l searchInput, in, rose []bool, c *counters) {
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

// compareVersions compares this version with the other versions of the model in rows with the same values. apart is the share of the change that
// the others do not have. share is this version's share of all inferences in the window.
func (k *Keeper) compareVersions(m *model, t *Tracker, c *counters, b breach, l searchInput, in []bool, terms []cause.Term, now time.Time) (apart, share float64, ok bool) {
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
		at := slices.IndexFunc(oc.sampled, func(f sampledField) bool { return f.name == b.field })
		if at < 0 || oc.sampled[at].field == nil || !slices.Equal(oc.sampled[at].field.bins, c.sampled[b.column].field.bins) {
			continue
		}
		others += counts(oc)
		ob := b
		ob.column = at
		var candidates []int
		for _, term := range terms {
			if i := slices.IndexFunc(oc.sampled, func(f sampledField) bool { return f.name == l.columns[term.Column].name }); i >= 0 {
				candidates = append(candidates, i)
			}
		}
		if len(candidates) < len(terms) {
			continue
		}
		ol := k.rowsOf(oc, ob, candidates, now)
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
	apart, ok = cause.Apart(onlyRows(l.in, in), theirNow, theirBefore)
	return apart, seen / max(seen+others, 1), ok
}
