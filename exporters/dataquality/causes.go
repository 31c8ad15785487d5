package dataquality

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/cause"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// CausesConfig bounds what the search for causes asks of the database.
type CausesConfig struct {
	// PerHour is the number of statements in an hour; 0 switches the search off.
	PerHour int `yaml:"per_hour"`
	// Columns is the number of columns that may have the cause.
	Columns int `yaml:"columns"`
	// Partition is a column that tells loads or partitions apart; by default the first one whose values are names of folders.
	Partition string `yaml:"partition,omitempty"`
}

// SetDefaults implements config.Defaulter.
func (c *CausesConfig) SetDefaults() { c.PerHour, c.Columns = 4, 50 }

// Validate implements config.Validator.
func (c *CausesConfig) Validate(at config.At) {
	if c.PerHour < 0 || c.PerHour > 60 {
		at.Errorf("per_hour", "%d; want 1 to 60 statements an hour, or 0 for no search", c.PerHour)
	}
	if c.Columns < 1 || c.Columns > 200 {
		at.Errorf("columns", "%d; want 1 to 200", c.Columns)
	}
}

const (
	// sampledRows is about how many rows of both windows are looked at: a value that a hundredth of the rows have is there 250 times.
	sampledRows = 50_000
	// listedRows is how many rows the statement for people lists.
	listedRows = 100
	// valuesOfColumn bounds the values of a column that may be the cause, those with the most rows; fewestOfValue have to have it.
	valuesOfColumn, fewestOfValue = 500, 10
	// maxListedValues bounds the values in a statement.
	maxListedValues = 20
)

// explanation is what was found when an incident began.
type explanation struct {
	causes []foundCause
	// compared says what with: an earlier window, or the baseline.
	compared string
	// err says why nothing was looked for, if so.
	err error
}

// foundCause is a probable cause in words.
type foundCause struct {
	column, value   string // what is published: of a pair both, with a comma
	text            string // payment_provider = newpay
	explained, rows float64
	onset           cause.Onset
	statement       string
	// affected are the partitions of all that have affected rows.
	affected, partitions int
}

// explainBreaches keeps the incidents of a dataset, and looks for the causes of those that begin: in one statement for all of a
// window. A failure leaves them unexplained, and the profile as it is.
func (d *dataset) explainBreaches(ctx context.Context, c *cycle) {
	if d.cfg.segment != nil || d.cfg.Causes.PerHour == 0 || c.definition.ID == "" || c.profile.Nulls == nil {
		return
	}
	all := d.breaches(c)
	if d.incidents == nil {
		d.incidents = make(map[incidentKey]*incident)
	}
	var begun []breach
	for _, b := range all {
		i := d.incidents[b.incidentKey]
		if i == nil {
			i = &incident{}
			d.incidents[b.incidentKey] = i
		}
		if i.last = c.now; i.result == nil || errors.Is(i.result.err, errBudget) {
			begun = append(begun, b)
		}
	}
	for key, i := range d.incidents {
		if c.now.Sub(i.last) > incidentOver {
			delete(d.incidents, key)
		}
	}
	for key, found := range d.explain(ctx, c, begun) {
		if was := d.incidents[key].result; was == nil || !errors.Is(found.err, errBudget) {
			d.sayCause(key, found)
		}
		d.incidents[key].result = found
	}
}

// explain looks for the causes of breaches.
func (d *dataset) explain(ctx context.Context, c *cycle, begun []breach) map[incidentKey]*explanation {
	results := make(map[incidentKey]*explanation, len(begun))
	for _, recent := range []bool{false, true} {
		var asked []breach
		for _, b := range begun {
			switch {
			case b.window.recent != recent:
			case b.signal == signalVolume:
				results[b.incidentKey] = d.explainVolume(c, b)
			default:
				asked = append(asked, b)
			}
		}
		if len(asked) == 0 {
			continue
		}
		sample, err := d.sample(ctx, c, asked)
		for _, b := range asked {
			if err != nil {
				results[b.incidentKey] = &explanation{err: err}
			} else {
				results[b.incidentKey] = d.explainBreach(c, b, sample)
			}
		}
	}
	return results
}

var errBudget = errors.New("causes.per_hour statements were asked in the last hour")

// sample draws rows of the window and of an earlier one: the same time a week ago or, where the table does not have that, a day ago.
func (d *dataset) sample(ctx context.Context, c *cycle, asked []breach) (*tables.Sampled, error) {
	d.asked = slices.DeleteFunc(d.asked, func(at time.Time) bool { return c.now.Sub(at) >= time.Hour })
	if len(d.asked) >= d.cfg.Causes.PerHour {
		return nil, errBudget
	}
	d.asked = append(d.asked, c.now)
	if deadline, ok := ctx.Deadline(); ok {
		// What the profile found is published, however long this takes. Deadlines are of the process's clock.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*3/4)
		defer cancel()
	}
	w := asked[0].window
	windows, rows := []tables.Window{w.window}, w.rows()
	if !w.window.From.IsZero() {
		before, n := d.earlier(w)
		windows, rows = append(windows, before), rows+n
	}
	var fields []tables.SampleField
	for _, b := range asked {
		fields = append(fields, d.sampleField(c, b.column))
	}
	for _, column := range d.candidates(c, w) {
		fields = append(fields, d.sampleField(c, column))
	}
	if partition := d.partition(c); partition != "" {
		fields = append(fields, tables.SampleField{Column: partition, Group: true})
	}
	fields = unique(fields)
	return d.source.Sample(ctx, d.relation, c.schema, windows, fields, sampledRows/max(rows, 1), 2*sampledRows, c.now)
}

// partition is the column that tells the partitions apart; empty if there is none.
func (d *dataset) partition(c *cycle) string {
	if d.cfg.Causes.Partition != "" {
		return d.cfg.Causes.Partition
	}
	if i := slices.IndexFunc(c.schema, tables.Column.Partition); i >= 0 {
		return c.schema[i].Name
	}
	return ""
}

func unique(fields []tables.SampleField) []tables.SampleField {
	seen := make(map[string]bool)
	return slices.DeleteFunc(fields, func(f tables.SampleField) bool {
		was := seen[f.Column]
		seen[f.Column] = true
		return was
	})
}

func (d *dataset) sampleField(c *cycle, column string) tables.SampleField {
	if layout, ok := c.definition.Fields[column]; ok {
		return tables.SampleField{Column: column, Layout: &layout}
	}
	return tables.SampleField{Column: column}
}

// earlier is the window to compare with, and about how many rows it has.
func (d *dataset) earlier(w countedWindow) (tables.Window, float64) {
	weeks := int(math.Ceil(w.window.To.Sub(w.window.From).Hours() / (7 * 24)))
	for _, days := range []int{7 * weeks, 1} {
		of := tables.Window{From: w.window.From.AddDate(0, 0, -days), To: w.window.To.AddDate(0, 0, -days)}
		if of.To.After(w.window.From) {
			of.To = w.window.From // By the skew of clocks.
		}
		if rows, ok := d.past.rows(of.From, of.To); ok && rows > 0 {
			return of, rows
		}
	}
	return tables.Window{From: w.window.From.AddDate(0, 0, -7*weeks), To: w.window.To.AddDate(0, 0, -7*weeks)}, w.rows()
}

// candidates are the columns that may have the cause: those by category, and numbers by their bins. A number that drifts itself is
// another symptom: its bins go with those of whatever changed.
func (d *dataset) candidates(c *cycle, w countedWindow) []string {
	var categories, numbers []string
	for _, column := range c.schema {
		switch layout, ok := c.definition.Fields[column.Name]; {
		case !ok:
		case layout.Kind == binning.Categorical:
			categories = append(categories, column.Name)
		case layout.Kind == binning.Numeric:
			if _, _, drifts := w.drift(column.Name); !drifts {
				numbers = append(numbers, column.Name)
			}
		}
	}
	all := append(categories, numbers...)
	return all[:min(len(all), d.cfg.Causes.Columns)]
}

// explainBreach looks for the cause of one breach in a sample.
func (d *dataset) explainBreach(c *cycle, b breach, sample *tables.Sampled) *explanation {
	of := slices.IndexFunc(sample.Fields, func(f tables.SampledField) bool { return f.Column == b.column })
	if of < 0 {
		return &explanation{err: fmt.Errorf("column %q: %w", b.column, tables.ErrNoColumn)}
	}
	now := make([]bool, len(sample.Window))
	for row, w := range sample.Window {
		now[row] = w == 0
	}
	in, binOf := changeOf(b, sample.Fields[of])
	in.Now = now
	for _, code := range sample.Fields[of].Codes {
		in.Bins = append(in.Bins, binOf[code])
	}
	var names [][]string
	var originals [][]int32
	var fields []int
	candidates := d.candidates(c, b.window)
	for i, f := range sample.Fields {
		if i == of || f.Layout == nil || f.Layout.Kind == binning.Aged || !slices.Contains(candidates, f.Column) {
			continue
		}
		column, values, codes := valuesOf(f)
		in.Columns = append(in.Columns, column)
		names, originals, fields = append(names, values), append(originals, codes), append(fields, i)
	}
	found := cause.Find(in)
	e := &explanation{compared: "the baseline"}
	if found.Compared {
		e.compared = "the same time before"
	}
	for _, f := range found.Causes {
		fc := foundCause{explained: min(f.Explained, 1), rows: f.Rows}
		var columns, values []string
		var conditions []tables.Among
		for _, t := range f.Terms {
			name := names[t.Column][t.Code]
			columns, values = append(columns, in.Columns[t.Column].Name), append(values, name)
		}
		fc.column = strings.Join(columns, ", ")
		shown := make([]string, len(values))
		for i, t := range f.Terms {
			var hides bool
			if i > 0 {
				fc.text += " and "
			}
			code := originals[t.Column][t.Code]
			if shown[i], hides = d.shownName(c, sample.Fields[fields[t.Column]], code, values[i]); !hides && code >= 0 {
				conditions = append(conditions, tables.Among{Field: fields[t.Column], Codes: []int32{code}})
			}
			fc.text += columns[i] + " = " + shown[i]
		}
		fc.value = strings.Join(shown, ", ")
		inCause := rowsOf(in, f.Terms)
		conditions = append(conditions, d.risen(c, sample, of, binOf, found.Rose, inCause)...)
		fc.statement = sample.Statement(0, listedRows, conditions...)
		fc.onset = onset(sample, in, inCause, found.Rose)
		fc.affected, fc.partitions = d.spread(c, sample, in, inCause, found.Rose)
		e.causes = append(e.causes, fc)
	}
	return e
}

// changeOf are the bins by which the change of a column is judged, and the bin of each of its codes: whether a value is missing or
// unseen, or all bins of the column.
func changeOf(b breach, f tables.SampledField) (in cause.Sample, binOf []int32) {
	binOf = make([]int32, len(f.Names))
	finder := func() func(code int) int {
		if !f.Values {
			return func(code int) int { return code }
		}
		find := binning.NewFinder(*f.Layout, false)
		return func(code int) int {
			if code == 0 {
				return binning.NullBin
			}
			return find.Category(f.Names[code])
		}
	}
	share := func(bin string) []float64 {
		s := b.baseline.bins[bin]
		return []float64{1 - s, s}
	}
	in.Values = b.baseline.values
	switch {
	case b.signal == signalNulls:
		in.Size, in.Baseline = 2, share(binning.Null)
		binOf[0] = 1
	case b.signal == signalUnseen && f.Layout != nil:
		in.Size, in.Baseline = 2, share(binning.Unseen)
		bins, of := f.Layout.Bins(), finder()
		for code := range binOf {
			if bins[of(code)] == binning.Unseen {
				binOf[code] = 1
			}
		}
	case f.Layout != nil:
		bins, of := f.Layout.Bins(), finder()
		in.Size, in.Baseline = len(bins), make([]float64, len(bins))
		other := slices.Index(bins, binning.Other)
		_, known := b.baseline.bins[binning.Unseen]
		for i, bin := range bins {
			in.Baseline[i] = b.baseline.bins[bin]
		}
		for code := range binOf {
			bin := of(code)
			if bins[bin] == binning.Unseen && !known && other >= 0 {
				bin = other // It says nothing of the values, see foldUnseen.
			}
			binOf[code] = int32(bin)
		}
	default:
		in.Size = 2
	}
	return in, binOf
}

// valuesOf are the codes of a column that may have the cause, the names of its values, and their codes in the sample: of the frequent ones,
// and of all others as one, which has the code -1.
func valuesOf(f tables.SampledField) (of cause.Column, names []string, originals []int32) {
	counts := make([]int, len(f.Names))
	for _, code := range f.Codes {
		counts[code]++
	}
	order := make([]int, len(counts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return counts[b] - counts[a] })
	to := make([]int32, len(counts))
	names, originals = []string{binning.Other}, []int32{-1}
	for i, code := range order {
		if f.Values && (i >= valuesOfColumn || counts[code] < fewestOfValue) {
			break // The code 0 is all of these.
		}
		name := f.Names[code]
		if f.Values && code > 0 {
			name = binning.CategoryBin(name)
		}
		to[code] = int32(len(names))
		names, originals = append(names, name), append(originals, int32(code))
	}
	codes := make([]int32, len(f.Codes))
	for row, code := range f.Codes {
		codes[row] = to[code]
	}
	return cause.Column{Name: f.Column, Codes: codes}, names, originals
}

func rowsOf(in cause.Sample, terms []cause.Term) []bool {
	rows := make([]bool, len(in.Bins))
	for row := range rows {
		rows[row] = !slices.ContainsFunc(terms, func(t cause.Term) bool { return in.Columns[t.Column].Codes[row] != t.Code })
	}
	return rows
}

// risen is the condition of the values of the column that the cause's rows have more of than before; none of a value that is hidden.
func (d *dataset) risen(c *cycle, sample *tables.Sampled, field int, binOf []int32, rose, inCause []bool) []tables.Among {
	f := sample.Fields[field]
	counts := make(map[int32]int)
	for row, code := range f.Codes {
		if inCause[row] && sample.Window[row] == 0 && rose[binOf[code]] {
			counts[code]++
		}
	}
	codes := sortedKeys(counts)
	slices.SortStableFunc(codes, func(a, b int32) int { return counts[b] - counts[a] })
	codes = codes[:min(len(codes), maxListedValues)]
	for _, code := range codes {
		if f.Values && code > 0 {
			if _, hides := d.shownValue(c, f.Column, f.Names[code]); hides {
				return nil
			}
		}
	}
	if len(codes) == 0 {
		return nil
	}
	slices.Sort(codes)
	return []tables.Among{{Field: field, Codes: codes}}
}

// onset is when rows of the cause began to be affected.
func onset(sample *tables.Sampled, in cause.Sample, inCause, rose []bool) cause.Onset {
	if sample.Times == nil {
		return cause.Onset{}
	}
	var times []time.Time
	var affected []bool
	for row, at := range sample.Times {
		if in.Now[row] {
			times, affected = append(times, at), append(affected, inCause[row] && rose[in.Bins[row]])
		}
	}
	return cause.Since(times, affected)
}

// spread counts the partitions of the window, and those with affected rows.
func (d *dataset) spread(c *cycle, sample *tables.Sampled, in cause.Sample, inCause, rose []bool) (affected, partitions int) {
	of := slices.IndexFunc(sample.Fields, func(f tables.SampledField) bool { return f.Column == d.partition(c) })
	if of < 0 {
		return 0, 0
	}
	group, is := make([]int32, len(inCause)), make([]bool, len(inCause))
	for row, code := range sample.Fields[of].Codes {
		if group[row] = code; code == 0 {
			group[row] = -1
		}
		is[row] = inCause[row] && rose[in.Bins[row]]
	}
	return cause.Spread(group, in.Now, is)
}

// explainVolume looks for the cause of more or fewer rows in what the profile has counted: no statement is needed.
func (d *dataset) explainVolume(c *cycle, b breach) *explanation {
	baselines := d.volumeShares(c, b.window)
	var columns []cause.Counted
	var names [][]string
	for _, column := range d.candidates(c, b.window) {
		bins, of := b.window.profile.Values[column], baselines[column]
		if of.values == 0 || len(bins) == 0 {
			continue
		}
		counted := cause.Counted{Name: column}
		sorted := sortedKeys(bins)
		for _, bin := range sorted {
			counted.Now = append(counted.Now, float64(bins[bin]))
			counted.Expected = append(counted.Expected, of.bins[bin]*b.expected)
		}
		columns, names = append(columns, counted), append(names, sorted)
	}
	e := &explanation{compared: "the baseline"}
	for _, f := range cause.Volume(columns, b.window.rows(), b.expected) {
		t := f.Terms[0]
		column, bin := columns[t.Column].Name, names[t.Column][t.Code]
		value := reveal.Name(d.hidden(c, column), bin)
		e.causes = append(e.causes, foundCause{column: column, value: value, text: column + " = " + value, explained: min(f.Explained, 1), rows: f.Rows})
	}
	return e
}

// volumeShares are the shares of the bins of each column in what the window's rows are compared with.
func (d *dataset) volumeShares(c *cycle, w countedWindow) map[string]shares {
	if w.recent {
		return c.seasonRecent
	}
	for _, b := range slices.Backward(c.baselines) {
		if !b.replaced && !b.learning {
			return b.shares
		}
	}
	return nil
}
