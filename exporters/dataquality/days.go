package dataquality

import (
	"context"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

const day = 24 * time.Hour

// dated reports whether the timestamp column has no time of day: it holds dates, or only midnights. The zone is that of the
// midnights: UTC for dates, which sources return as midnight UTC, or the zone of the dataset.
func (d *dataset) dated(schema []tables.Column) (zone *time.Location, ok bool) {
	for _, c := range schema {
		switch {
		case c.Name != d.relation.Time:
		case c.Class == tables.Date || d.past.midnights(time.UTC):
			return time.UTC, true
		case d.past.midnights(d.cfg.zone()):
			return d.cfg.zone(), true
		}
	}
	return nil, false
}

// midnights reports whether all rows of the past lie at midnight in the zone, on three days or more.
func (p *past) midnights(zone *time.Location) bool {
	const fewest = 3
	days := 0
	for i, of := range p.hours {
		if of.rows == 0 {
			continue
		}
		hour := time.Unix((p.base+int64(i))*3600, 0)
		year, month, date := hour.Add(59 * time.Minute).In(zone).Date()
		midnight := startOfDay(year, month, date, zone) // Within the hour if the hour contains one.
		if midnight.Before(hour) || p.rowsInMinute(midnight.Unix()/60) != of.rows {
			return false
		}
		days++
	}
	return days >= fewest
}

// startOfDay returns the start of a day in a zone.
func startOfDay(year int, month time.Month, date int, zone *time.Location) time.Time {
	start := time.Date(year, month, date, 0, 0, 0, 0, zone)
	if start.Hour() == 23 { // Clocks skip midnight, and the day begins at one.
		start = start.Add(time.Hour)
	}
	return start
}

// wholeDays sets the window of a table with dates to whole days: the last complete ones that the table has. Today is
// incomplete, and yesterday's data may not have arrived. The age of the dataset is the time since the end of its last day.
func (d *dataset) wholeDays(ctx context.Context, c *cycle) error {
	zone, dated := d.dated(c.schema)
	if d.cfg.TimestampColumn == "" || d.cfg.Window <= 0 || !dated {
		return nil
	}
	year, month, date := c.now.In(d.cfg.zone()).Date()
	last, err := d.source.Latest(ctx, d.relation, startOfDay(year, month, date, zone))
	if err != nil || last.IsZero() {
		return err
	}
	c.days = int(max(1, time.Duration(d.cfg.Window).Round(day)/day))
	year, month, date = last.In(zone).Date()
	c.window = tables.Window{From: startOfDay(year, month, date+1-c.days, zone), To: startOfDay(year, month, date+1, zone)}
	c.dayEnd = startOfDay(year, month, date+1, d.cfg.zone())
	return nil
}

// length returns the length of the window.
func (c *cycle) length() time.Duration {
	if c.days > 0 {
		return time.Duration(c.days) * day
	}
	return c.now.Sub(c.window.From)
}

// end returns the end of the window without the clock skew.
func (c *cycle) end() time.Time {
	if c.days > 0 {
		return c.window.To
	}
	return c.now
}

// startOf returns the start of a window that is like the cycle's and ends at the given time. On a clock change a day has 23 or
// 25 hours.
func (c *cycle) startOf(end time.Time) time.Time {
	if c.days > 0 {
		return end.AddDate(0, 0, -c.days)
	}
	return end.Add(-c.length())
}

// noteEmpty logs when a window starts to have no rows although the table has rows.
func (d *dataset) noteEmpty(c *cycle) {
	c.empty = c.profile.Rows == 0 && !c.latest.IsZero()
	if c.empty && !d.empty {
		d.logger.Warn("The table has records, and none of them is in the window. Its load has stopped, or the window is shorter than the time between two loads, or timestamp_column is another one.",
			"window", time.Duration(d.cfg.Window), "from", c.window.From, "to", c.window.To, "latest", c.latest)
	}
	d.empty = c.empty
}

// validateDue checks the time of day by which the previous day's data has to be in the table.
func (d *DatasetConfig) validateDue(at config.At) {
	if d.Due == "" {
		return
	}
	_, err := time.Parse("15:04", d.Due)
	switch {
	case err != nil:
		at.Errorf("due", "%q; want a time of the day such as 07:00", d.Due)
	case d.TimestampColumn == "":
		at.Errorf("due", "without timestamp_column there is no time to measure by; want both or neither")
	case d.Thresholds.Freshness != nil:
		at.Errorf("due", "thresholds.freshness is a limit of the age, too; want one of both")
	}
}

// limitByDue sets the limit of the age that due implies for the latest record. The table has data of the record's day. It may
// lack the next day's until due on the day after that.
func (d *dataset) limitByDue(c *cycle) {
	by, err := time.Parse("15:04", d.cfg.Due)
	if err != nil || c.latest.IsZero() {
		return
	}
	latest := c.latest
	if c.days > 0 && latest.Equal(c.dayEnd) {
		latest = latest.Add(-time.Nanosecond) // The end of a day belongs to that day.
	}
	year, month, date := latest.In(d.cfg.zone()).Date()
	due := time.Date(year, month, date+2, by.Hour(), by.Minute(), 0, 0, d.cfg.zone())
	d.overrides[override{signalFreshness, ""}] = due.Sub(c.latest).Seconds()
}
