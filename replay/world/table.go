package world

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// table is a table that a feed fills. Each row is counted once, by the minute of its event, in the bins that the exporter uses. The count
// of a window is the sum of its hours and minutes. Only one goroutine may use it at a time.
type table struct {
	feed  *feed
	time  string
	types []tables.Column // without the timestamp column
	now   func() time.Time

	// through is the first minute whose arrivals are not counted yet.
	through int64
	started bool
	rows    *counter // of all rows
	nulls   []*counter
	values  []*counter
	latest  hourly[*minutes]
	batch   *batch
}

var _ tables.Virtual = (*table)(nil)

// minutes has the latest event and the number of rows of each minute of an hour.
type minutes struct {
	latest [60]int64
	rows   [60]int32
}

// keepMinutes is the time for which an hour's counts by minute are kept. A window that starts within an older hour counts that hour's rows
// again.
const keepMinutes = 27 * 60

// counter counts rows: by the bins of one column, or the nulls of one column, or all rows.
type counter struct {
	col    int // or -1
	layout binning.Layout
	finder *binning.Finder // nil for nulls and rows
	bins   int
	ofText []int32 // bins of the dictionary's texts
	found  []int32 // bins of the last rows
	// from is the first minute whose arrivals are counted.
	from int64
	// totals are counts by hour and bin, minutes by hour, minute and bin.
	totals  hourly[[]int64]
	minutes hourly[[]int32]
	// sums are sums of the values of a numeric column, after subtracting near.
	measured   bool
	sums       hourly[*sums]
	minuteSums hourly[*[60]sums]
	near       float64
}

func newCounter(col int, finder *binning.Finder) *counter {
	c := &counter{col: col, finder: finder, bins: 1}
	if finder != nil {
		c.bins = len(finder.Bins())
	}
	return c
}

func newTable(f *feed, timeColumn string, now func() time.Time) *table {
	t := &table{
		feed: f, time: timeColumn, now: now, rows: newCounter(-1, nil), batch: newBatch(f.columns(), f.dicts),
	}
	for i, c := range f.columns() {
		t.types = append(t.types, tables.Column{Name: c.name, Type: c.sqlType, Class: classes[c.class]})
		t.nulls = append(t.nulls, newCounter(i, nil))
	}
	return t
}

var classes = map[class]tables.Class{
	classNumber: tables.Float, classInteger: tables.Integer, classText: tables.Text, classBool: tables.Boolean, classTime: tables.Timestamp,
}

// Schema implements tables.Virtual.
func (t *table) Schema() []tables.Column {
	all := []tables.Column{{Name: t.time, Type: "TIMESTAMP", Class: tables.Timestamp}}
	m := minuteOf(t.now())
	for _, c := range t.types {
		removed := slices.ContainsFunc(t.feed.faults, func(w *fault) bool {
			return w.Kind == scenario.SchemaChange && w.Column == c.Name && w.progress(m) > 0
		})
		if !removed {
			all = append(all, c)
		}
	}
	return all
}

// Count implements tables.Virtual.
func (t *table) Count(w tables.Window, fields tables.Fields) (tables.Profile, error) {
	p := tables.Profile{Nulls: make(map[string]int64), Values: make(map[string]map[string]int64), Numbers: make(map[string]tables.Moments)}
	var requested []*counter
	var nulls []*counter
	for name, layout := range fields {
		col := t.column(name)
		if name == t.time {
			p.Nulls[name] = 0
		}
		if col < 0 {
			continue
		}
		nulls = append(nulls, t.nulls[col])
		if layout != nil {
			requested = append(requested, t.counter(col, *layout))
		}
	}
	from, to := t.window(w)
	t.count(floor(from, minute), slices.Concat(nulls, requested)...)
	var latest int64
	p.Rows, latest = t.sum(t.rows, from, to, nil), t.last(from, to)
	if latest > 0 {
		p.Latest = time.UnixMicro(latest).UTC()
	}
	for _, c := range nulls {
		p.Nulls[t.types[c.col].Name] = t.sum(c, from, to, nil)
	}
	for _, c := range requested {
		counts := make([]int64, c.bins)
		t.sum(c, from, to, counts)
		bins := make(map[string]int64, c.bins)
		for b, name := range c.finder.Bins() {
			bins[name] = counts[b]
		}
		p.Values[t.types[c.col].Name] = bins
		if m := t.moments(c, from, to); m.Valid() {
			p.Numbers[t.types[c.col].Name] = m
		}
	}
	return p, nil
}

// RowsBy implements tables.Virtual.
func (t *table) RowsBy(w tables.Window, every time.Duration) (map[time.Time]int64, error) {
	from, to := t.window(w)
	length := int64(every / time.Microsecond)
	if from%minute != 0 || !w.To.IsZero() && to%minute != 0 || length%minute != 0 {
		return nil, errors.New("a virtual table counts the rows of whole minutes")
	}
	t.count(from / minute)
	// Map keys are interval numbers, because hashing times takes three times as long.
	sums := make(map[int64]int64)
	for h := floor(from, hour); h <= floor(min(to-1, t.through*minute+hour*24), hour); h++ {
		l := t.latest.at(h)
		if l == nil {
			continue
		}
		for m, n := range l.rows {
			if at := (h*60 + int64(m)) * minute; n > 0 && at >= from && at < to {
				sums[floor(at, length)] += int64(n)
			}
		}
	}
	counts := make(map[time.Time]int64, len(sums))
	for span, n := range sums {
		counts[time.UnixMicro(span*length).UTC()] = n
	}
	return counts, nil
}

// window returns the limits of a window in microseconds.
func (t *table) window(w tables.Window) (from, to int64) {
	begin, _ := t.feed.bounds()
	from, to = begin*minute, int64(1)<<62
	if !w.From.IsZero() {
		from = max(from, w.From.UnixMicro())
	}
	if !w.To.IsZero() {
		to = w.To.UnixMicro()
	}
	return from, to
}

func (t *table) column(name string) int {
	return slices.IndexFunc(t.types, func(c tables.Column) bool { return c.Name == name })
}

// counter returns the counter of a column for a layout.
func (t *table) counter(col int, layout binning.Layout) *counter {
	for _, c := range t.values {
		if c.col == col && sameLayout(c.layout, layout) {
			return c
		}
	}
	c := newCounter(col, binning.NewFinder(layout, t.types[col].Class == tables.Float))
	c.layout, c.from = layout, t.through
	if class := t.types[col].Class; class == tables.Integer || class == tables.Decimal || class == tables.Float {
		c.measured, c.near = true, near(layout)
	}
	t.values = append(t.values, c)
	return c
}

func sameLayout(a, b binning.Layout) bool {
	return a.Kind == b.Kind && a.Float == b.Float && a.NaNMissing == b.NaNMissing && a.Open == b.Open && slices.Equal(a.Edges, b.Edges) && slices.Equal(a.Top, b.Top) && slices.Equal(a.Rest, b.Rest)
}

// count counts all new arrivals. For the requested counters it also counts earlier arrivals, from a minute on. Rows with older events cannot
// arrive later.
func (t *table) count(from int64, requested ...*counter) {
	now := minuteOf(t.now())
	if !t.started {
		t.started, t.through = true, now
		for _, c := range t.all() {
			c.from = now
		}
	}
	all := t.all()
	for ; t.through < now; t.through++ {
		t.arrive(t.through, all)
	}
	behind := make(map[int64][]*counter)
	for _, c := range append(requested, t.rows) {
		if c.from > from {
			behind[c.from] = append(behind[c.from], c)
			c.from = from
		}
	}
	for until, counters := range behind {
		for m := from; m < until; m++ {
			t.arrive(m, counters)
		}
	}
	for _, c := range all {
		c.minutes.forget(floor(now-keepMinutes, 60))
		c.minuteSums.forget(floor(now-keepMinutes, 60))
	}
}

func (t *table) all() []*counter { return slices.Concat([]*counter{t.rows}, t.nulls, t.values) }

// arrive counts the rows that arrive in a minute.
func (t *table) arrive(m int64, counters []*counter) {
	b := t.batch
	b.reset()
	if len(counters) == 1 && counters[0] == t.rows {
		t.feed.times(m, b)
	} else {
		t.feed.arrivals(m, b)
	}
	for from := 0; from < b.n; {
		// Rows that arrive together mostly have the same hour.
		h := floor(b.time[from], hour)
		to := from + 1
		for to < b.n && b.time[to] >= h*hour && b.time[to] < (h+1)*hour {
			to++
		}
		b.minute = append(b.minute[:from], make([]uint8, to-from)...)
		for i := from; i < to; i++ {
			b.minute[i] = uint8((b.time[i] - h*hour) / minute)
		}
		for _, c := range counters {
			if c == t.rows {
				t.see(h, from, to)
			}
			c.add(b, h, from, to, h >= floor(minuteOf(t.now())-keepMinutes, 60))
		}
		from = to
	}
}

// see records the latest rows.
func (t *table) see(h int64, from, to int) {
	l := t.latest.at(h)
	if l == nil {
		l = new(minutes)
		t.latest.set(h, l)
	}
	for _, at := range t.batch.time[from:to] {
		m := floor(at, minute) - h*60
		l.latest[m] = max(l.latest[m], at)
		l.rows[m]++
	}
}

// last returns the latest event of a window.
func (t *table) last(from, to int64) int64 {
	var latest int64
	first, end := t.latest.bounds()
	for h := max(first, floor(from, hour)); h < min(end, floor(to-1, hour)+1); h++ {
		l := t.latest.at(h)
		if l == nil {
			continue
		}
		for m, at := range l.latest {
			begin := (h*60 + int64(m)) * minute
			switch {
			case at == 0 || begin+minute <= from || begin >= to:
			case at >= from && at < to:
				latest = max(latest, at)
			default:
				latest = max(latest, t.lastAgain(h*60+int64(m), from, to))
			}
		}
	}
	return latest
}

// lastAgain searches for the latest event in a minute that is only partly in a window.
func (t *table) lastAgain(of, from, to int64) int64 {
	var latest int64
	b := t.batch
	for m := of; m < min(t.through, of+1+t.feed.slowest); m++ {
		b.reset()
		t.feed.times(m, b)
		for _, at := range b.time {
			if floor(at, minute) == of && at >= from && at < to {
				latest = max(latest, at)
			}
		}
	}
	return latest
}

// add counts rows of the batch that have the same hour.
func (c *counter) add(b *batch, h int64, from, to int, byMinute bool) {
	total := c.totals.at(h)
	if total == nil {
		total = make([]int64, c.bins)
		c.totals.set(h, total)
	}
	var minutes []int32
	if byMinute {
		if minutes = c.minutes.at(h); minutes == nil {
			minutes = make([]int32, 60*c.bins)
			c.minutes.set(h, minutes)
		}
	}
	if c.finder == nil {
		c.addPlain(b, from, to, total, minutes)
		return
	}
	c.found = c.find(c.found[:0], b, from, to)
	for _, bin := range c.found {
		total[bin]++
	}
	if minutes != nil {
		for i, bin := range c.found {
			minutes[int(b.minute[from+i])*c.bins+int(bin)]++
		}
	}
	if c.measured {
		c.measure(b, h, from, to, byMinute)
	}
}

// addPlain counts rows, or only those with null. Most columns have few nulls.
func (c *counter) addPlain(b *batch, from, to int, total []int64, minutes []int32) {
	for i := from; i < to; i++ {
		if c.col >= 0 && !b.cols[c.col].null[i] {
			continue
		}
		total[0]++
		if minutes != nil {
			minutes[b.minute[i]]++
		}
	}
}

// find appends the bins of rows.
func (c *counter) find(to []int32, b *batch, from, end int) []int32 {
	v := &b.cols[c.col]
	if v.dict == nil || len(v.dict.names) > len(c.ofText) {
		for i := from; i < end; i++ {
			to = append(to, int32(c.bin(b, i)))
		}
		return to
	}
	for i, text := range v.text[from:end] {
		bin := int32(binning.NullBin)
		if !v.null[from+i] {
			bin = c.ofText[text]
		}
		to = append(to, bin)
	}
	return to
}

// bin returns the bin of a row, or -1 if the row does not count.
func (c *counter) bin(b *batch, i int) int {
	if c.col < 0 {
		return 0
	}
	v := &b.cols[c.col]
	switch {
	case c.finder == nil && !v.null[i]:
		return -1
	case v.null[i]:
		return binning.NullBin
	case v.dict != nil:
		for id := len(c.ofText); id < len(v.dict.names); id++ {
			c.ofText = append(c.ofText, int32(c.finder.Category(v.dict.names[id])))
		}
		return int(c.ofText[v.text[i]])
	case c.layout.Kind == binning.Aged:
		return c.finder.Age(time.Duration(b.time[i]-int64(v.num[i])) * time.Microsecond)
	}
	return c.finder.Number(v.num[i])
}

// sum returns the count of a window, and adds the count of each bin to bins.
func (t *table) sum(c *counter, from, to int64, bins []int64) (all int64) {
	if bins == nil {
		bins = make([]int64, c.bins)
	}
	first, last := floor(from, hour), floor(min(to-1, t.through*minute+hour*24), hour)
	for h := first; h <= last; h++ {
		total := c.totals.at(h)
		if total == nil {
			continue
		}
		if h*hour >= from && (h+1)*hour <= to {
			for bin, n := range total {
				bins[bin] += n
			}
			continue
		}
		minutes := c.minutes.at(h)
		if minutes == nil || from%minute != 0 && h == first || to%minute != 0 && h == last {
			t.recount(c, h, from, to, bins)
			continue
		}
		for m := range int64(60) {
			if at := (h*60 + m) * minute; at < from || at+minute > to {
				continue
			}
			for bin, n := range minutes[m*int64(c.bins) : (m+1)*int64(c.bins)] {
				bins[bin] += int64(n)
			}
		}
	}
	for _, n := range bins {
		all += n
	}
	return all
}

// recount counts the rows of an hour that are in a window once more.
func (t *table) recount(c *counter, h, from, to int64, bins []int64) {
	t.rowsOf(c, h, from, to, func(b *batch, i int) {
		if bin := c.bin(b, i); bin >= 0 {
			bins[bin]++
		}
	})
}

// rowsOf calls each for the rows of an hour that are in a window and that the counter counts.
func (t *table) rowsOf(c *counter, h, from, to int64, each func(b *batch, i int)) {
	b := t.batch
	for m := max(h*60, c.from); m < min(t.through, (h+1)*60+t.feed.slowest); m++ {
		b.reset()
		t.feed.arrivals(m, b)
		for i := range b.n {
			if at := b.time[i]; floor(at, hour) == h && at >= from && at < to {
				each(b, i)
			}
		}
	}
}

// Sample implements tables.Virtual.
func (t *table) Sample(w tables.Window, columns []tables.Column, atMost int) ([]tables.VirtualValues, error) {
	from, to := t.window(w)
	t.count(floor(from, minute))
	all := t.sum(t.rows, from, to, nil)
	every := uint64(all/int64(atMost) + 1)
	capacity := int(all) / int(every)
	out, of := make([]tables.VirtualValues, len(columns)), make([]int, len(columns))
	for i, c := range columns {
		if of[i] = t.column(c.Name); of[i] < 0 {
			return nil, fmt.Errorf("a virtual table has no column %q", c.Name)
		}
		out[i].Null = make([]bool, 0, capacity)
		if d := t.batch.cols[of[i]].dict; d != nil {
			out[i].Texts = make([]int32, 0, capacity)
		} else {
			out[i].Numbers = make([]float64, 0, capacity)
		}
	}
	b := t.batch
	n := uint64(0)
	var chosen []int
	last := min(t.through, floor(min(to-1, t.through*minute), minute)+1+t.feed.slowest)
	for m := floor(from, minute); m < last; m++ {
		b.reset()
		t.feed.arrivals(m, b)
		chosen = chosen[:0]
		for i := range b.n {
			if b.time[i] < from || b.time[i] >= to {
				continue
			}
			n++
			// Fibonacci hashing, so that a pattern in the rows cannot coincide with the step of the sample.
			if (n*11400714819323198485)>>32%every == 0 {
				chosen = append(chosen, i)
			}
		}
		for j := range out {
			b.cols[of[j]].sample(chosen, t.types[of[j]].Class == tables.Integer, &out[j])
		}
	}
	for i, col := range of {
		if d := b.cols[col].dict; d != nil {
			out[i].Names = d.names
		}
	}
	return out, nil
}

// sample appends the values of the chosen rows.
func (v *vector) sample(chosen []int, truncate bool, to *tables.VirtualValues) {
	for _, i := range chosen {
		to.Null = append(to.Null, v.null[i])
		switch {
		case v.dict != nil:
			to.Texts = append(to.Texts, v.text[i])
		case truncate:
			to.Numbers = append(to.Numbers, math.Trunc(v.num[i])) // As it is stored.
		default:
			to.Numbers = append(to.Numbers, v.num[i])
		}
	}
}
