package tables

import (
	"context"
	"regexp"
	"slices"
	"time"
)

// SpreadDays returns the outlines of up to spreadDays days of a table, in ascending order: pairs of successive days, evenly spread over
// the days with rows. They show which columns have their values replaced by others over time. Without a timestamp column there are none.
func (s *Source) SpreadDays(ctx context.Context, r Relation, schema []Column, choice Choice) ([]Outline, error) {
	if _, err := timeColumn(r, schema); err != nil {
		return nil, nil //nolint:nilerr // Training data can have a column of that name that is not a time.
	}
	// Times beyond, such as infinite ones, are not those of rows.
	sensible := Window{From: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}
	rows, err := s.RowsBy(ctx, r, schema, sensible, 24*time.Hour)
	if err != nil {
		return nil, err
	}
	var days []time.Time
	for day, n := range rows {
		if n >= minValuesToCompare {
			days = append(days, day)
		}
	}
	slices.SortFunc(days, time.Time.Compare)
	if n := len(days); n > spreadDays {
		all := days
		days = nil
		for i := range spreadDays / 2 {
			first := i * (n - 2) / (spreadDays/2 - 1)
			days = append(days, all[first], all[first+1])
		}
	}
	outlines := make([]Outline, len(days))
	for i, day := range days {
		if outlines[i], err = s.Outline(ctx, r, schema, Window{From: day, To: day.Add(24 * time.Hour)}, choice, nil); err != nil {
			return nil, err
		}
	}
	return outlines, nil
}

const spreadDays = 10

// turnsOver reports whether the values of a column are replaced by others over time, like those of a key, a clock, a batch or a
// partition. Such a column cannot be compared with earlier windows. A column whose values return, such as the day of the week, can.
func turnsOver(class Class, windows []ColumnOutline) bool {
	windows = withValues(windows)
	if len(windows) == 0 {
		return false
	}
	var apart int
	listed, few, periods := true, true, true
	for i, w := range windows {
		listed = listed && w.Categories != nil && !w.More
		few = few && len(w.Categories) <= 2 // Before and after the change.
		for category := range w.Categories {
			periods = periods && period.MatchString(category)
		}
		if i > 0 && w.differsFrom(windows[i-1]) {
			apart++
		}
	}
	returning, brief := 0.0, 0.0
	if listed {
		returning, brief = recurrence(windows)
	}
	switch {
	case apart > 0 && apart*10 >= (len(windows)-1)*9:
		return returning < 0.9
	case !listed || returning > 0.1 || class != Text && !few: // Several numbers at a time are a measurement.
		return false
	case few && periods:
		return true
	}
	return brief >= 0.9 && successiveSets(windows) >= minSets
}

// period matches the names of weeks, months, quarters and days: 2026-W45, 202645, 2026-11, 2026-11-01, 20261101. A column of these with
// one value at a time needs no turnover to be recognized as a key: a baseline of 30 days can lie within a month.
var period = regexp.MustCompile(`^20\d\d([-_/. ]?[WwQqMm]\d\d?|[-_/. ]\d\d?|0[1-9]|[1-4]\d|5[0-3]|[-/.]?(0[1-9]|1[0-2])[-/.]?(0[1-9]|[12]\d|3[01]))$`)

// minSets is the number of successive sets of values without a common value that tells a key from a category that was renamed.
const minSets = 3

// recurrence returns the share of values whose category occurs again after a window without it, and the share of values whose category
// occurs in no more than half of the time.
func recurrence(windows []ColumnOutline) (returning, brief float64) {
	type span struct {
		first, last int
		values      int64
		returns     bool
	}
	spans := make(map[string]*span)
	var total int64
	for i, w := range windows {
		for category, n := range w.Categories {
			s := spans[category]
			if s == nil {
				s = &span{first: i, last: i}
				spans[category] = s
			}
			s.returns = s.returns || i > s.last+1
			s.last = i
			s.values += n
			total += n
		}
	}
	var again, short int64
	for _, s := range spans {
		if s.returns {
			again += s.values
		}
		if (s.last-s.first+1)*2 <= len(windows) {
			short += s.values
		}
	}
	return float64(again) / float64(total), float64(short) / float64(total)
}

// successiveSets returns the number of windows, from the first on, of which each has hardly a value of the one before.
func successiveSets(windows []ColumnOutline) int {
	sets, last := 1, windows[0]
	for _, w := range windows[1:] {
		if w.hardlySharesWith(last) {
			sets, last = sets+1, w
		}
	}
	return sets
}

// withValues returns the windows with enough values to compare.
func withValues(windows []ColumnOutline) []ColumnOutline {
	return slices.DeleteFunc(slices.Clone(windows), func(w ColumnOutline) bool { return w.Values < minValuesToCompare })
}

// minValuesToCompare is the minimum number of values in a window for the comparison with the window before.
const minValuesToCompare = 20

// differsFrom reports whether hardly a value of the window occurs in the other window or, for numbers, whether the ranges of the two
// windows (without the outer twentieths) do not overlap.
func (w ColumnOutline) differsFrom(other ColumnOutline) bool {
	if n := len(w.Quantiles); n > 0 && len(other.Quantiles) > 0 {
		low, high := other.Quantiles[len(other.Quantiles)/20], other.Quantiles[len(other.Quantiles)-1-len(other.Quantiles)/20]
		return w.Quantiles[n/20] > high || w.Quantiles[n-1-n/20] < low
	}
	if w.Categories == nil || other.Categories == nil || w.More || other.More {
		return false
	}
	return w.hardlySharesWith(other)
}

// hardlySharesWith reports whether fewer than a tenth of the window's values occur in the other window.
func (w ColumnOutline) hardlySharesWith(other ColumnOutline) bool {
	var again int64
	for category, n := range w.Categories {
		if other.Categories[category] > 0 {
			again += n
		}
	}
	return again*10 < w.Values
}
