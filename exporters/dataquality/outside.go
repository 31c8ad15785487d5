package dataquality

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// countOutsideWindow counts the records outside the window because their time is missing or in the future. Records without a time
// are the missing values of the timestamp column, since the window has none.
func (d *dataset) countOutsideWindow(ctx context.Context, c *cycle, future time.Time) error {
	if d.cfg.TimestampColumn == "" {
		return nil
	}
	if len(c.segments) == 0 { // With segments, countOfSegments has set the sum.
		var err error
		if c.outside, err = d.source.Outside(ctx, d.relation, c.schema, tables.Window{From: c.window.From, To: future}); err != nil {
			return err
		}
	}
	if _, counted := c.profile.Nulls[d.cfg.TimestampColumn]; counted {
		c.profile.Nulls[d.cfg.TimestampColumn] = c.outside.Untimed
	}
	if o := c.outside; o.Unread > 0 && c.profile.Rows == 0 {
		return fmt.Errorf("none of the %d values of timestamp column %q is a time, such as %q; expected ISO 8601 text or a number since 1970: give timestamp_format, such as %%d/%%m/%%Y %%H:%%M, or timestamp_unit; %s",
			o.Unread, d.cfg.TimestampColumn, o.Example, folderOfDate)
	}
	return nil
}

// folderOfDate is the remedy for a timestamp column that is a part of a date.
const folderOfDate = "for folders named year=, month= and day= give a query that makes a date"

// checkEpoch returns an error if the latest time is one of 1970 or before and comes from a number whose unit is not configured.
// Such a number is a part of a date, or counts something else.
func (d *dataset) checkEpoch(c *cycle) error {
	if c.latest.IsZero() || c.latest.Year() > 1970 || !slices.ContainsFunc(timeColumns(c.schema, d.relation.Time), tables.Column.SinceEpoch) {
		return nil
	}
	return fmt.Errorf("the latest value of timestamp column %q would be %s; expected dates such as 20261124 or times since 1970: give timestamp_format or timestamp_unit; %s",
		d.cfg.TimestampColumn, c.latest.UTC().Format(time.RFC3339), folderOfDate)
}

// dropColumn counts and logs a column beyond the limit, once.
func (d *dataset) dropColumn(name string) {
	d.leftOut[name] = true
	if len(d.leftOut) > maxListed {
		return
	}
	d.logger.Warn("A column is past columns.max: neither its values nor its nulls are counted. Exclude columns that do not matter, or raise columns.max.",
		"column", name)
}

// maxListed bounds the log lines about columns beyond the limit.
const maxListed = 500

// typed returns the expected schema, in which untyped columns have no type, and the columns to cut bins of: those with a
// type, and the timestamp column, which a window needs.
func typed(schema []tables.Column, untyped []string, timestamp string) (expected, known []tables.Column) {
	for _, c := range schema {
		if !slices.Contains(untyped, c.Name) {
			expected, known = append(expected, c), append(known, c)
			continue
		}
		expected = append(expected, tables.Column{Name: c.Name})
		if c.Name == timestamp {
			known = append(known, c)
		}
	}
	return expected, known
}

// noteUnreadable logs which files are skipped, each time the list changes.
func (d *dataset) noteUnreadable(names []string) {
	if slices.Equal(names, d.unreadable) {
		return
	}
	d.unreadable = names
	if len(names) > 0 {
		d.logger.Warn("Files cannot be read and are left out, as on_unreadable says. Repair or remove them.", "files", listed(names))
	}
}

// listed formats file names for the log.
func listed(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
