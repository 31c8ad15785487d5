package dataquality

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// past has the row counts of the table by minute for the last weeks. All of them are counted once; the last hours are counted
// again each hour.
type past struct {
	hours   []pastHour // from base on, an hour since 1970
	base    int64
	through time.Time // counted up to here
	swept   time.Time // when the last days were counted again
	retry   time.Time // not before, after a failure
	first   time.Time // of the first row
	// seen are the windows of the last day, as they were when they ended: by kind of window.
	seen map[string][]seen
}

// pastHour is an hour of the past. Its counts are cumulative: a profile asks for a thousand windows.
type pastHour struct {
	before int64 // rows of the hours before it
	rows   int64
	// minutes are the rows of the hour up to the end of each minute; nil if there are none.
	minutes *[60]uint32
}

// seen is a window and how many rows it had when it ended.
type seen struct {
	from, to time.Time
	rows     int64
}

// windowFull is the kind of the profiled window.
const windowFull = "full"

// windowRecent returns the kind of a recent window of this length. Each length is a kind, since late rows are another share
// of it: a 15-minute window of a table loaded every 15 minutes lacks more than a 30-minute window.
func windowRecent(length time.Duration) string { return recentPrefix + length.String() }

const recentPrefix = "recent "

// recentOf returns the length of a recent window of that kind.
func recentOf(kind string) (time.Duration, bool) {
	text, ok := strings.CutPrefix(kind, recentPrefix)
	length, err := time.ParseDuration(text)
	return length, ok && err == nil
}

const (
	pastWeeks = 4
	// longestWindow is the longest window for which the past is counted.
	longestWindow = 8 * 24 * time.Hour
	// recountHourly and recountDaily are the periods that are counted again each hour and each day, to include late records.
	recountHourly, recountDaily = 3 * time.Hour, 3 * 24 * time.Hour
	// retryAfter is the wait after a failed count. The table may be too large for its timeout.
	retryAfter = 6 * time.Hour
	// minSeenWindows is the minimum number of windows, ended an hour ago or earlier, to compute how complete windows are at their
	// end.
	minSeenWindows = 6
)

// countPast counts new rows of the past and reports whether it counted any. A failure does not fail the profile: the past
// stays unknown, and the rules compare with the history in Prometheus.
func (d *dataset) countPast(ctx context.Context, c *cycle) bool {
	p := &d.past
	window := time.Duration(d.cfg.Window)
	if window <= 0 || window > longestWindow || d.cfg.TimestampColumn == "" || c.now.Before(p.retry) {
		return false
	}
	end := c.now.Truncate(time.Minute)
	var from time.Time
	switch {
	case p.hours == nil:
		from = end.AddDate(0, 0, -7*pastWeeks).Add(-window - 2*time.Hour)
	case c.now.Sub(p.swept) >= 24*time.Hour:
		from = end.Add(-recountDaily)
	case c.now.Sub(p.through) >= time.Hour:
		from = end.Add(-max(recountHourly, 2*time.Duration(d.cfg.Baselines.Production.Lateness)))
	default:
		return false
	}
	from = from.Truncate(time.Hour)
	if deadline, ok := ctx.Deadline(); ok {
		// A slow count must leave time for the profile. Context deadlines use the real clock.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	counts, err := d.source.RowsBy(ctx, d.relation, c.schema, tables.Window{From: from, To: end}, time.Minute)
	if err != nil {
		p.retry = c.now.Add(retryAfter)
		d.logger.Warn("The rows of the past weeks cannot be counted: the volume is compared with what Prometheus has kept. It is tried again in six hours.", "err", err)
		return false
	}
	p.replace(from, end, counts)
	p.through = end
	if p.swept.IsZero() || c.now.Sub(p.swept) >= 24*time.Hour {
		p.swept = c.now
		p.forget(end.AddDate(0, 0, -7*pastWeeks).Add(-window - 26*time.Hour))
	}
	return true
}

// begins reports whether the first row of the table is within the window. Such a window has more rows at every profile: the few rows of the
// first profile would be the volume that all of the next week is compared with, and no later snapshot would be a good one.
func (d *dataset) begins(c *cycle) bool {
	p := &d.past
	return !c.window.From.IsZero() && p.hours != nil && (p.first.IsZero() || p.first.After(c.window.From))
}

// noteArrived updates the share of a window's rows that are there when the window ends. It reports whether there is anything
// new to store.
func (d *dataset) noteArrived(c *cycle) (changed bool) {
	if c.days > 0 || c.window.From.IsZero() {
		return false
	}
	d.noteSeen(c)
	if !c.counted {
		return false
	}
	for kind, windows := range d.past.seen {
		if share, ok := d.past.arrived(windows, c.now, kind); ok {
			c.good.setArrived(kind, share)
			changed = true
		}
	}
	return changed
}

// replace replaces the counts of the minutes from from to to.
func (p *past) replace(from, to time.Time, counts map[time.Time]int64) {
	first, end := from.Unix()/3600, (to.Unix()+3599)/3600
	switch {
	case len(p.hours) == 0:
		p.base, p.hours = first, make([]pastHour, 0, end-first)
	case first < p.base:
		p.hours = append(make([]pastHour, p.base-first), p.hours...)
		p.base = first
	}
	for p.base+int64(len(p.hours)) < end {
		p.hours = append(p.hours, pastHour{})
	}
	clear(p.hours[first-p.base : end-p.base])
	for minute, n := range counts {
		i := minute.Unix()/3600 - p.base
		if n <= 0 || i < first-p.base || i >= end-p.base {
			continue
		}
		of := &p.hours[i]
		if of.minutes == nil {
			of.minutes = new([60]uint32)
		}
		of.minutes[minute.Unix()/60%60] = uint32(min(n, math.MaxUint32/60))
		if p.first.IsZero() || minute.Before(p.first) {
			p.first = minute
		}
	}
	p.addUp(int(first-p.base), int(end-p.base))
}

// addUp makes cumulative counts of those of hours that were replaced.
func (p *past) addUp(from, to int) {
	for i := from; i < len(p.hours); i++ {
		of := &p.hours[i]
		if of.minutes != nil && i < to {
			for m := 1; m < len(of.minutes); m++ {
				of.minutes[m] += of.minutes[m-1]
			}
			of.rows = int64(of.minutes[len(of.minutes)-1])
		}
		of.before = 0
		if i > 0 {
			of.before = p.hours[i-1].before + p.hours[i-1].rows
		}
	}
}

func (p *past) forget(before time.Time) {
	drop := min(max(before.Unix()/3600-p.base, 0), int64(len(p.hours)))
	p.hours, p.base = slices.Clone(p.hours[drop:]), p.base+drop
}

// upTo is how many rows there are before a minute since 1970.
func (p *past) upTo(minute int64) int64 {
	i, m := minute/60-p.base, minute%60
	switch {
	case i < 0 || len(p.hours) == 0:
		return 0
	case i >= int64(len(p.hours)):
		last := &p.hours[len(p.hours)-1]
		return last.before + last.rows
	}
	of := &p.hours[i]
	if m == 0 || of.minutes == nil {
		return of.before
	}
	return of.before + int64(of.minutes[m-1])
}

// rowsInMinute returns the number of rows of a minute since 1970.
func (p *past) rowsInMinute(minute int64) int64 { return p.upTo(minute+1) - p.upTo(minute) }

// rows returns the number of rows of a past window; false if the table does not reach back that far.
func (p *past) rows(from, to time.Time) (float64, bool) {
	if p.first.IsZero() || from.Before(p.first.Add(-time.Minute)) || to.After(p.through) {
		return 0, false
	}
	const minute = int64(time.Minute)
	begin, end := from.UnixNano(), to.UnixNano()
	first, last := (begin+minute-1)/minute, end/minute // Whole minutes of the window.
	switch {
	case begin >= end:
		return 0, true
	case first > last:
		return float64(p.rowsInMinute(last)) * time.Duration(end-begin).Minutes(), true
	}
	sum := float64(p.upTo(last) - p.upTo(first))
	if part := first*minute - begin; part > 0 {
		sum += float64(p.rowsInMinute(first-1)) * time.Duration(part).Minutes()
	}
	if part := end - last*minute; part > 0 {
		sum += float64(p.rowsInMinute(last)) * time.Duration(part).Minutes()
	}
	return sum, true
}

// empty tells of a minute since 1970 whether it has no rows.
func (p *past) empty(minute int64) bool { return p.rowsInMinute(minute) == 0 }

// gap returns the longest time without a record that overlaps the hours before and after the moment, and false if that is
// unknown. A gap that has not ended does not count: the limit of a silent table would grow with its age.
func (p *past) gap(around time.Time) (time.Duration, bool) {
	const reach, farthest = 60, 3 * 24 * 60 // in minutes
	at := around.Unix() / 60
	from, to := at-reach, at+reach
	if first := p.first.Unix() / 60; p.first.IsZero() || from < first || time.Unix(to*60, 0).After(p.through) {
		return 0, false
	}
	for first := p.first.Unix() / 60; from > first && p.empty(from) && at-from < farthest; {
		from--
	}
	longest, run, through := int64(0), int64(0), p.through.Unix()
	for m := from; m*60 < through; m++ {
		if p.empty(m) && m-at < farthest {
			run++
			continue
		}
		longest, run = max(longest, run), 0
		if m >= to {
			break
		}
	}
	return time.Duration(longest) * time.Minute, true
}

// noteSeen stores the windows of a profile with their present counts.
func (d *dataset) noteSeen(c *cycle) {
	p := &d.past
	if p.seen == nil {
		p.seen = make(map[string][]seen)
	}
	p.see(windowFull, seen{c.window.From, c.now, c.profile.Rows})
	if c.recent.Nulls != nil {
		p.see(windowRecent(c.now.Sub(c.recentFrom)), seen{c.recentFrom, c.now, c.recent.Rows})
	}
	if !c.volumeFrom.IsZero() && !c.volumeFrom.Equal(c.recentFrom) {
		p.see(windowRecent(c.now.Sub(c.volumeFrom)), seen{c.volumeFrom, c.now, c.volumeRows})
	}
}

func (p *past) see(kind string, w seen) {
	p.seen[kind] = append(slices.DeleteFunc(p.seen[kind], func(old seen) bool { return w.to.Sub(old.to) > 25*time.Hour }), w)
}

// arrived returns the share of a window's rows that are there when the window ends; the rest arrives late. It is the median
// for full windows and the tenth percentile for recent ones, since a load every 15 minutes leaves some recent windows empty.
func (p *past) arrived(windows []seen, now time.Time, kind string) (float64, bool) {
	var shares []float64
	for _, w := range windows {
		if now.Sub(w.to) < time.Hour {
			continue
		}
		if rows, ok := p.rows(w.from, w.to); ok && rows > 0 {
			shares = append(shares, min(float64(w.rows)/rows, 1))
		}
	}
	if len(shares) < minSeenWindows {
		return 0, false
	}
	slices.Sort(shares)
	if kind == windowFull {
		return shares[len(shares)/2], true
	}
	return shares[len(shares)/10], true
}

// shifts are the shifts of past windows that compensate for a clock change.
var shifts = []struct {
	name string
	by   time.Duration
}{{"same", 0}, {"earlier", -time.Hour}, {"later", time.Hour}}

// shift returns the shift by an hour with which the last twelve hours match the past better, or 0. A feed with local time
// differs by an hour from its past for weeks after a clock change if the dataset's time zone is another one.
func (p *past) shift(now time.Time) time.Duration {
	best, least := time.Duration(0), -1.0
	for _, s := range shifts {
		misfit := 0.0
		for hours := range 12 {
			to := now.Add(-time.Duration(hours) * time.Hour).Truncate(time.Minute)
			is, ok := p.rows(to.Add(-time.Hour), to)
			if !ok { // The last hour is not counted yet.
				continue
			}
			for week := 1; week <= pastWeeks; week++ {
				at := to.AddDate(0, 0, -7*week).Add(s.by)
				if was, ok := p.rows(at.Add(-time.Hour), at); ok {
					misfit += math.Abs(is - was)
				}
			}
		}
		if least < 0 || misfit < least/2 {
			best, least = s.by, misfit
		}
	}
	return best
}

// eachPast calls each with the end of every past window that the volume is compared with.
func (d *dataset) eachPast(c *cycle, each func(ago, shift string, at time.Time)) {
	local, by := c.end().In(d.cfg.zone()), shifts
	if c.days > 0 { // Whole days do not depend on clock changes.
		local, by = c.end(), shifts[:1]
	}
	for days := 1; days < 7; days++ {
		each(strconv.Itoa(days)+"d", "same", local.AddDate(0, 0, -days))
	}
	for week := 1; week <= pastWeeks; week++ {
		for _, s := range by {
			each(strconv.Itoa(week)+"w", s.name, local.AddDate(0, 0, -7*week).Add(s.by))
		}
	}
}

// pastMetrics publishes the row counts of past windows.
func (d *dataset) pastMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	p := &d.past
	if gap, ok := d.longestPastGap(c); ok {
		gauge(m.usualGap, gap.Seconds())
	}
	if p.first.IsZero() || c.window.From.IsZero() {
		return
	}
	recent := c.now.Sub(c.volumeFrom)
	arrived, known := c.recentArrived(recent)
	all, allKnown := c.good.Arrived[windowFull]
	if !allKnown || c.days > 0 {
		all = 1
	}
	var shifted time.Duration
	if c.days == 0 {
		shifted = p.shift(c.now)
		local := c.now.In(d.cfg.zone())
		midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, local.Location())
		gauge(m.dayElapsed, local.Sub(midnight).Seconds())
	}
	d.eachPast(c, func(ago, shift string, at time.Time) {
		if rows, ok := p.rows(c.startOf(at), at); ok {
			gauge(m.pastRows, rows*all, ago, shift)
		}
		if shift == "same" && !c.volumeFrom.IsZero() && known {
			if rows, ok := p.rows(at.Add(shifted-recent), at.Add(shifted)); ok {
				gauge(m.recentPastRows, rows*arrived, ago)
			}
		}
	})
}

// longestPastGap returns the longest time without a record around this time of day in the days and weeks before. It needs three of
// them. A table with dates has at least a day between its records.
func (d *dataset) longestPastGap(c *cycle) (longest time.Duration, ok bool) {
	if c.gapKnown {
		return c.gap, c.hasGap
	}
	known := 0
	d.eachPast(c, func(_, shift string, at time.Time) {
		if gap, ok := d.past.gap(at); ok && shift == "same" {
			longest, known = max(longest, gap), known+1
		}
	})
	if c.days > 0 {
		longest, known = max(longest, day), 3
	}
	c.gap, c.hasGap, c.gapKnown = longest, known >= 3, true
	return c.gap, c.hasGap
}

// freshnessLimit is the maximum age in seconds of a good snapshot's latest record. It is the configured limit or, without
// one, the limit that the rules use before they know how late records arrive.
func (d *dataset) freshnessLimit(c *cycle) float64 {
	if v, ok := d.overrides[override{signalFreshness, ""}]; ok {
		return v
	}
	gap, _ := d.longestPastGap(c)
	return max(d.defaults[signalFreshness], d.defaults[signalGapFactor]*gap.Seconds()+d.defaults[signalGrace])
}
