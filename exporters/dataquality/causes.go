package dataquality

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// CausesConfig bounds the load that the search for causes puts on the database.
type CausesConfig struct {
	// PerHour is the maximum number of statements an hour; 0 disables the search.
	PerHour int `yaml:"per_hour"`
	// Columns is the maximum number of columns that are searched.
	Columns int `yaml:"columns"`
	// Partition is a column that identifies loads or partitions; by default the first one whose values are names of folders.
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
	// sampledRows is the approximate number of sampled rows of both windows together. A value in 1 % of the rows has about
	// 250 sampled rows in each window.
	sampledRows = 50_000
	// listedRows is the row limit of the statement that lists affected rows.
	listedRows = 100
	// valuesOfColumn bounds the candidate values of a column; the most frequent ones are taken. fewestOfValue is the minimum
	// number of sampled rows of a candidate value.
	valuesOfColumn, fewestOfValue = 500, 10
	// maxListedValues bounds the values in a statement.
	maxListedValues = 20
)

// explanation is the result of the search for the causes of one incident.
type explanation struct {
	causes []foundCause
	// compared names the comparison: an earlier window, or the baseline.
	compared string
	// statement lists affected rows if no single segment explains the change of a column.
	statement string
	// err is the reason why no search was made.
	err error
}

// foundCause is a probable cause, formatted for logs and metrics.
type foundCause struct {
	column, value   string // as published; a pair has both, separated by a comma
	text            string // such as payment_provider = newpay
	explained, rows float64
	onset           cause.Onset
	statement       string
	// affected is the number of partitions with affected rows, of all partitions of the window.
	affected, partitions int
}

// explainBreaches updates the incidents of a dataset and searches for the causes of new ones. It needs one statement for each
// window. A failure leaves the incidents without causes and does not fail the profile.
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
			d.logCause(key, found)
		}
		d.incidents[key].result = found
	}
}

// explain searches for the causes of breaches.
func (d *dataset) explain(ctx context.Context, c *cycle, begun []breach) map[incidentKey]*explanation {
	results := make(map[incidentKey]*explanation, len(begun))
	for _, recent := range []bool{false, true} {
		var asked []breach
		for _, b := range begun {
			switch {
			case b.window.recent != recent:
			case b.signal == signalVolume:
				results[b.incidentKey] = d.explainVolume(ctx, c, b)
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

// sample draws rows of the window and of an earlier one: the same time a week ago or, if the table does not have that, a day
// ago.
func (d *dataset) sample(ctx context.Context, c *cycle, asked []breach) (*tables.Sampled, error) {
	d.asked = slices.DeleteFunc(d.asked, func(at time.Time) bool { return c.now.Sub(at) >= time.Hour })
	if len(d.asked) >= d.cfg.Causes.PerHour {
		return nil, errBudget
	}
	d.asked = append(d.asked, c.now)
	if deadline, ok := ctx.Deadline(); ok {
		// The search leaves a quarter of the time for publishing the profile. Context deadlines use the real clock, not
		// d.now.
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

// partition returns the column that identifies the partitions; empty if there is none.
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

// earlier returns the window for comparison and its approximate number of rows.
func (d *dataset) earlier(w countedWindow) (tables.Window, float64) {
	weeks := int(math.Ceil(w.window.To.Sub(w.window.From).Hours() / (7 * 24)))
	for _, days := range []int{7 * weeks, 1} {
		of := tables.Window{From: w.window.From.AddDate(0, 0, -days), To: w.window.To.AddDate(0, 0, -days)}
		if of.To.After(w.window.From) {
			of.To = w.window.From // The windows overlap by the clock skew.
		}
		if rows, ok := d.past.rows(of.From, of.To); ok && rows > 0 {
			return of, rows
		}
	}
	return tables.Window{From: w.window.From.AddDate(0, 0, -7*weeks), To: w.window.To.AddDate(0, 0, -7*weeks)}, w.rows()
}

// candidates returns the columns that may contain the cause: categorical columns, and numeric columns by their bins. It
// leaves out a numeric column that drifts itself: such drift is another symptom, and its bins correlate with any cause.
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

// explainBreach searches for the causes of one breach in a sample.
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
			if shown[i], hides = d.publishedName(c, sample.Fields[fields[t.Column]], code, values[i]); !hides && code >= 0 {
				conditions = append(conditions, tables.Among{Field: fields[t.Column], Codes: []int32{code}})
			}
			fc.text += columns[i] + " = " + shown[i]
		}
		fc.value = strings.Join(shown, ", ")
		inCause := rowsOf(in, f.Terms)
		conditions = append(conditions, d.risenValues(c, sample, of, binOf, found.Rose, inCause)...)
		fc.statement = sample.Statement(0, listedRows, conditions...)
		fc.onset = onset(sample, in, inCause, found.Rose)
		fc.affected, fc.partitions = d.spread(c, sample, in, inCause, found.Rose)
		e.causes = append(e.causes, fc)
	}
	if len(e.causes) == 0 {
		if affected := d.risenValues(c, sample, of, binOf, found.Rose, rowsOf(in, nil)); affected != nil {
			e.statement = sample.Statement(0, listedRows, affected...)
		}
	}
	return e
}

// changeOf returns the bins that measure the change of a column, and the bin of each code. For nulls and unseen values there
// are two bins: affected or not. For drift they are all bins of the column.
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
				bin = other // Such a baseline cannot tell unseen values from other; see foldUnseen.
			}
			binOf[code] = int32(bin)
		}
	default:
		in.Size = 2
	}
	return in, binOf
}

// valuesOf returns the codes of a candidate column, the names of its values, and their codes in the sample. All infrequent
// values share one code, which has the sample's code -1.
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
			break // They keep code 0, all infrequent values.
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

// risenValues returns a condition for the values of the column that increased among the rows of the cause. It returns none if one
// of these values is hidden.
func (d *dataset) risenValues(c *cycle, sample *tables.Sampled, field int, binOf []int32, rose, inCause []bool) []tables.Among {
	f := sample.Fields[field]
	counts := make(map[int32]int)
	for row, code := range f.Codes {
		if inCause[row] && sample.Window[row] == 0 && rose[binOf[code]] {
			counts[code]++
		}
	}
	codes := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(codes, func(a, b int32) int { return counts[b] - counts[a] })
	codes = codes[:min(len(codes), maxListedValues)]
	for _, code := range codes {
		if f.Values && code > 0 {
			if _, hides := d.publishedValue(c, f.Column, f.Names[code]); hides {
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

// onset estimates when rows of the cause began to be affected.
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

// explainVolume searches for the cause of more or fewer rows in the bin counts of the profile. It reads no rows.
func (d *dataset) explainVolume(ctx context.Context, c *cycle, b breach) *explanation {
	baselines := d.volumeShares(c, b.window)
	var columns []cause.Counted
	var names [][]string
	for _, column := range d.candidates(c, b.window) {
		bins, of := b.window.profile.Values[column], baselines[column]
		if of.values == 0 || len(bins) == 0 {
			continue
		}
		counted := cause.Counted{Name: column}
		sorted := slices.Sorted(maps.Keys(bins))
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
		e.causes = append(e.causes, foundCause{
			column: column, value: value, text: column + " = " + value, explained: min(f.Explained, 1), rows: f.Rows,
			statement: d.listVolume(ctx, c, b, column, bin),
		})
	}
	return e
}

// listVolume returns the SQL that lists rows of a bin: those of the window if it has too many rows, those of an earlier window if
// it has too few. It returns none if the SQL would reveal a private value.
func (d *dataset) listVolume(ctx context.Context, c *cycle, b breach, column, bin string) string {
	layout := c.definition.Fields[column]
	values, _ := layout.CategoriesOf(bin)
	for _, value := range values {
		if _, hides := d.publishedValue(c, column, value); hides {
			return ""
		}
	}
	window := b.window.window
	if b.window.rows() < b.expected {
		if window.From.IsZero() {
			return ""
		}
		window, _ = d.earlier(b.window)
	}
	statement, err := d.source.Listing(ctx, d.relation, c.schema, window, tables.SampleField{Column: column, Layout: &layout}, bin, listedRows, c.now)
	if err != nil {
		d.logger.Info("There is no statement that lists the rows of a cause.", "signal", b.signal, "cause", column, "err", err)
		return ""
	}
	return statement
}

// volumeShares returns, for each column, the baseline's bin shares that the window is compared with.
func (d *dataset) volumeShares(c *cycle, w countedWindow) map[string]shares {
	if w.recent {
		return c.seasonRecent
	}
	for _, b := range slices.Backward(c.baselines) {
		if !b.notJudged && !b.learning {
			return b.shares
		}
	}
	return nil
}
