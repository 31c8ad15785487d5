package dataquality

import (
	"context"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

const day = 24 * time.Hour

// dated reports whether the timestamp column has no time of day: it holds dates, or only midnights.
func (d *dataset) dated(schema []tables.Column) bool {
	for _, c := range schema {
		if c.Name == d.relation.Time {
			return c.Class == tables.Date || d.past.midnights()
		}
	}
	return false
}

// midnights reports whether all rows of the past lie at midnight, on three days or more.
func (p *past) midnights() bool {
	const fewest = 3
	days := 0
	for i, of := range p.hours {
		switch {
		case of.rows == 0:
		case (p.base+int64(i))%24 != 0 || int64(of.minutes[0]) != of.rows:
			return false
		default:
			days++
		}
	}
	return days >= fewest
}

// wholeDays sets the window of a table with dates to whole days: the last complete ones that the table has. Today is
// incomplete, and yesterday's data may not have arrived. The age of the dataset is the time since the end of its last day.
func (d *dataset) wholeDays(ctx context.Context, c *cycle) error {
	if d.cfg.TimestampColumn == "" || d.cfg.Window <= 0 || !d.dated(c.schema) {
		return nil
	}
	local := c.now.In(d.cfg.zone())
	// Sources return dates as midnight UTC.
	today := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, time.UTC)
	last, err := d.source.Latest(ctx, d.relation, today)
	if err != nil || last.IsZero() {
		return err
	}
	end := last.UTC().Truncate(day).Add(day)
	c.days = int(max(1, time.Duration(d.cfg.Window).Round(day)/day))
	c.window = tables.Window{From: end.AddDate(0, 0, -c.days), To: end}
	c.dayEnd = time.Date(end.Year(), end.Month(), end.Day(), 0, 0, 0, 0, d.cfg.zone())
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

// noteEmpty logs when a window starts to have no rows although the table has rows.
func (d *dataset) noteEmpty(c *cycle) {
	c.empty = c.profile.Rows == 0 && !c.latest.IsZero()
	if c.empty && !d.empty {
		d.logger.Warn("The table has records, and none of them is in the window. Its load has stopped, or the window is shorter than the time between two loads, or timestamp_column is another one.",
			"window", time.Duration(d.cfg.Window), "from", c.window.From, "to", c.window.To, "latest", c.latest)
	}
	d.empty = c.empty
}

// due returns the limit of the age that due implies: the data of a day has to be in the table by that time of the next day.
func (d *DatasetConfig) due(at config.At) (limit time.Duration, ok bool) {
	if d.Due == "" {
		return 0, false
	}
	by, err := time.Parse("15:04", d.Due)
	switch {
	case err != nil:
		at.Errorf("due", "%q; want a time of the day such as 07:00", d.Due)
	case d.TimestampColumn == "":
		at.Errorf("due", "without timestamp_column there is no time to measure by; want both or neither")
	case d.Thresholds.Freshness != nil:
		at.Errorf("due", "thresholds.freshness is a limit of the age, too; want one of both")
	}
	return day + time.Duration(by.Hour())*time.Hour + time.Duration(by.Minute())*time.Minute, true
}
