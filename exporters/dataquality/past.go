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

// past is how many rows the table has of each minute of the last weeks. The table is asked for all of them once, and for the
// last hours each hour.
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

// windowRecent is the kind of a recent window: rows of a load that comes every quarter of an hour are there in another share of
// half an hour than of a quarter.
func windowRecent(length time.Duration) string { return recentPrefix + length.String() }

const recentPrefix = "recent "

// recentOf is the length of a recent window of that kind.
func recentOf(kind string) (time.Duration, bool) {
	text, ok := strings.CutPrefix(kind, recentPrefix)
	length, err := time.ParseDuration(text)
	return length, ok && err == nil
}

const (
	pastWeeks = 4
	// longestWindow is the longest window whose past is counted.
	longestWindow = 8 * 24 * time.Hour
	// recount is how much of the past is counted again each hour, and each day, for records that came late.
	recountHourly, recountDaily = 3 * time.Hour, 3 * 24 * time.Hour
	// retryAfter a failure: the table may be too large for its timeout.
	retryAfter = 6 * time.Hour
	// fewestSeen is how many windows must have ended an hour ago to say how complete they are when they end.
	fewestSeen = 6
)

// lookBack counts what is new of the past. A failure leaves the past unknown and the profile as it is: the rules then compare
// with what Prometheus has kept. It reports whether anything was counted.
func (d *dataset) lookBack(ctx context.Context, c *cycle) bool {
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
		// A past that takes too long must not cost the present its profile. Deadlines are of the process's clock.
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

// noteArrived takes note of which share of a window's rows is there when it ends. It reports whether there is anything new to store.
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

// replace takes the counts of minutes in place of what was known of them.
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

// of is how many rows a minute since 1970 has.
func (p *past) of(minute int64) int64 { return p.upTo(minute+1) - p.upTo(minute) }

// rows is how many rows a window of the past has; false where the table does not reach back so far.
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
		return float64(p.of(last)) * time.Duration(end-begin).Minutes(), true
	}
	sum := float64(p.upTo(last) - p.upTo(first))
	if part := first*minute - begin; part > 0 {
		sum += float64(p.of(first-1)) * time.Duration(part).Minutes()
	}
	if part := end - last*minute; part > 0 {
		sum += float64(p.of(last)) * time.Duration(part).Minutes()
	}
	return sum, true
}

// empty tells of a minute since 1970 whether it has no rows.
func (p *past) empty(minute int64) bool { return p.of(minute) == 0 }

// gap is the longest time without a record that is in part within an hour of the moment; false where that is not known.
func (p *past) gap(around time.Time) (time.Duration, bool) {
	const reach, farthest = 60, 3 * 24 * 60 // Minutes.
	at := around.Unix() / 60
	from, to := at-reach, at+reach
	if first := p.first.Unix() / 60; p.first.IsZero() || from < first || time.Unix(to*60, 0).After(p.through) {
		return 0, false
	}
	for first := p.first.Unix() / 60; from > first && p.empty(from) && at-from < farthest; {
		from--
	}
	longest, run, through := int64(0), int64(0), p.through.Unix()
	for m := from; m*60 < through && m-at < farthest; m++ {
		if p.empty(m) {
			run++
			longest = max(longest, run)
			continue
		}
		run = 0
		if m >= to {
			break
		}
	}
	return time.Duration(longest) * time.Minute, true
}

// noteSeen takes note of the windows of a profile.
func (d *dataset) noteSeen(c *cycle) {
	p := &d.past
	if p.seen == nil {
		p.seen = make(map[string][]seen)
	}
	p.see(windowFull, seen{c.window.From, c.now, c.profile.Rows})
	if c.recent.Nulls != nil {
		p.see(windowRecent(c.now.Sub(c.recentFrom)), seen{c.recentFrom, c.now, c.recent.Rows})
	}
}

func (p *past) see(kind string, w seen) {
	p.seen[kind] = append(slices.DeleteFunc(p.seen[kind], func(old seen) bool { return w.to.Sub(old.to) > 25*time.Hour }), w)
}

// arrived is which share of a window's rows is there when the window ends: the rest comes late. Of recent windows it is what
// nine of ten have, since a load every quarter of an hour leaves some windows empty.
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
	if len(shares) < fewestSeen {
		return 0, false
	}
	slices.Sort(shares)
	if kind == windowFull {
		return shares[len(shares)/2], true
	}
	return shares[len(shares)/10], true
}

// Shifts of the past, for the change of clocks.
var shifts = []struct {
	name string
	by   time.Duration
}{{"same", 0}, {"earlier", -time.Hour}, {"later", time.Hour}}

// shift is by how much the last half day fits its past better when that is moved by an hour: a feed that keeps local time is
// an hour away from its past for weeks after clocks change, where the dataset's time zone is not its own.
func (p *past) shift(now time.Time) time.Duration {
	best, least := time.Duration(0), -1.0
	for _, s := range shifts {
		misfit := 0.0
		for hours := range 12 {
			to := now.Add(-time.Duration(hours) * time.Hour).Truncate(time.Minute)
			is, ok := p.rows(to.Add(-time.Hour), to)
			if !ok { // The last hour is not there yet.
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

// eachPast calls with the end of each window of days and weeks before that the volume is compared with.
func (d *dataset) eachPast(c *cycle, each func(ago, shift string, at time.Time)) {
	local, by := c.end().In(d.cfg.zone()), shifts
	if c.days > 0 { // Dates have no clock that changes.
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

// pastMetrics are the samples of earlier windows.
func (d *dataset) pastMetrics(m descs, c *cycle, gauge func(desc *prometheus.Desc, v float64, labels ...string)) {
	p := &d.past
	if p.first.IsZero() || c.window.From.IsZero() {
		return
	}
	full, recent := c.length(), c.now.Sub(c.recentFrom)
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
		if rows, ok := p.rows(at.Add(-full), at); ok {
			gauge(m.pastRows, rows*all, ago, shift)
		}
		if shift == "same" && c.days == 0 && c.recent.Nulls != nil && known {
			if rows, ok := p.rows(at.Add(shifted-recent), at.Add(shifted)); ok {
				gauge(m.recentPastRows, rows*arrived, ago)
			}
		}
	})
	if gap, ok := d.usualGap(c); ok {
		gauge(m.usualGap, gap.Seconds())
	}
}

// usualGap is the longest time without a record around this time of the day, in three or more of the days and weeks before.
func (d *dataset) usualGap(c *cycle) (usual time.Duration, ok bool) {
	if c.gapKnown {
		return c.gap, c.hasGap
	}
	known := 0
	d.eachPast(c, func(_, shift string, at time.Time) {
		if gap, ok := d.past.gap(at); ok && shift == "same" {
			usual, known = max(usual, gap), known+1
		}
	})
	c.gap, c.hasGap, c.gapKnown = usual, known >= 3 && c.days == 0, true
	return c.gap, c.hasGap
}

// freshnessLimit is how old the latest record of a good snapshot may be, in seconds: the limit of the configuration, or else that
// of the rules before they have seen how late records come.
func (d *dataset) freshnessLimit(c *cycle) float64 {
	if v, ok := d.overrides[override{signalFreshness, ""}]; ok {
		return v
	}
	limit := d.defaults[signalFreshness]
	if c.days > 0 {
		limit = max(limit, (2 * day).Seconds()) // The day before comes in the course of the next.
	}
	gap, _ := d.usualGap(c)
	return max(limit, d.defaults[signalGapFactor]*gap.Seconds()+d.defaults[signalGrace])
}
