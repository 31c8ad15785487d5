// Package baseline stores the baselines that new data is compared with.
//
// Input: the bins of a dataset or model (a Definition) and counts with these bins: one Counts of the training data, and one of each
// production day. Output: the same objects, and the sum of the production days, which is frozen after enough days. State: a Store,
// which is a folder or an object store shared by any number of replicas. The package itself keeps only a cache. It never deletes a
// baseline.
//
// All objects except the last good snapshot are written once and never changed:
//
//	<kind>/<name>/definition-00000.json
//	<kind>/<name>/outline-00000-<definition>-2026-01-05.json
//	<kind>/<name>/refined-00000-<definition>.json
//	<kind>/<name>/accepted-00000-<definition>-0000.json
//	<kind>/<name>/training-00000-<definition>.json
//	<kind>/<name>/day-00000-<definition>-2026-01-05.json
//	<kind>/<name>/hours-00000-<definition>-2026-01-05.json
//	<kind>/<name>/frozen-00000-<definition>.json
//	<kind>/<name>/reset-00001-production.json
//	<kind>/<name>/last_good-00000.json
//
// The bins of production are chosen twice. The first bins are provisional. After all days are learned, refined bins are chosen from the
// outlines of these days, and the days are counted again with them. A refined definition has its own checksum.
//
// The number is a generation. A reset does not change existing objects. It adds a reset object, which starts the next, empty
// generation. <definition> is the beginning of the definition's checksum. Counts with other bins have other names and can never be
// added up. Each day is one object, so a day is stored once, even if two replicas count it, or one replica counts it twice.
//
// The first writer of an object wins, and all replicas agree on the winner. In a folder the kernel decides: a file is written with a
// temporary name, synced, and linked to its final name, which fails if that name exists. The library for object stores has no
// such operation; Subject.put explains the method used there, why it is correct, and what it assumes.
//
// A file that is damaged, foreign or newer than this program is refused with an *ObjectError and not changed.
package baseline

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// The data that the bins of a definition were chosen from.
const (
	EdgesTraining   = "training"
	EdgesProduction = "production"
)

// Column is one column of a schema.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Definition defines what is counted, and how.
type Definition struct {
	// ID and Created are set by the store. Counts refer to the ID of the definition that they were counted with.
	ID      string    `json:"-"`
	Created time.Time `json:"-"`

	// Edges is the data that the bins were chosen from: EdgesTraining or EdgesProduction.
	Edges string `json:"edges"`
	// Schema is the expected schema.
	Schema []Column `json:"schema"`
	// Fields are the bins by field.
	Fields map[string]binning.Layout `json:"fields"`
	// Left has, for each field without bins, the reason.
	Left map[string]string `json:"left,omitempty"`
	// Numbers are the moments of the numeric fields in the data that the bins were chosen from.
	Numbers map[string]Moments `json:"numbers,omitempty"`
	// Learning are the accepted columns that have no bins yet, with Accepted.Since.
	Learning map[string]time.Time `json:"-"`
	// Untrained are the fields that training data lacks. Their bins are chosen from production.
	Untrained []string `json:"untrained,omitempty"`
	// Kept is the number of acceptances of the provisional definition that are in force in a refined one.
	Kept int `json:"kept,omitempty"`
	// Learned are the days of a refined definition; see Subject.Refine.
	Learned []Day `json:"learned,omitempty"`
}

// Trained reports whether the bins of a field were chosen from training data.
func (d Definition) Trained(field string) bool {
	return d.Edges == EdgesTraining && !slices.Contains(d.Untrained, field)
}

func (d Definition) validate() error {
	if d.Edges != EdgesTraining && d.Edges != EdgesProduction {
		return fmt.Errorf("edges is %q, expected %q or %q", d.Edges, EdgesTraining, EdgesProduction)
	}
	for i, c := range d.Schema {
		if !utf8.ValidString(c.Name) || !utf8.ValidString(c.Type) {
			return fmt.Errorf("column %d of the schema (%q %q) is not UTF-8 text", i, c.Name, c.Type)
		}
	}
	for field, reason := range d.Left {
		if !utf8.ValidString(field) || !utf8.ValidString(reason) {
			return fmt.Errorf("field %q without bins (%q) is not UTF-8 text", field, reason)
		}
	}
	for _, day := range d.Learned {
		if _, err := day.Start(); err != nil {
			return err
		}
	}
	for _, field := range slices.Sorted(maps.Keys(d.Fields)) {
		if !utf8.ValidString(field) {
			return fmt.Errorf("field %q is not UTF-8 text", field)
		}
		if err := d.Fields[field].Validate(); err != nil {
			return fmt.Errorf("field %q: %w", field, err)
		}
	}
	return nil
}

// Counts are the number of rows, and the number of values of each field in each bin.
type Counts struct {
	// Definition is the ID of the definition with the bins.
	Definition string                      `json:"definition"`
	Rows       int64                       `json:"rows"`
	Fields     map[string]map[string]int64 `json:"fields"`
}

// maxCount is 2^53, the largest count that every reader of the JSON, and Prometheus, represents exactly. It also prevents overflow of
// sums.
const maxCount = 1 << 53

func (c Counts) validate() error {
	if c.Rows < 0 || c.Rows > maxCount {
		return fmt.Errorf("%d rows, expected 0 to 2^53", c.Rows)
	}
	for _, field := range slices.Sorted(maps.Keys(c.Fields)) {
		if !utf8.ValidString(field) {
			return fmt.Errorf("field %q is not UTF-8 text", field)
		}
		for _, bin := range slices.Sorted(maps.Keys(c.Fields[field])) {
			if !utf8.ValidString(bin) {
				return fmt.Errorf("field %q: bin %q is not UTF-8 text", field, bin)
			}
			if n := c.Fields[field][bin]; n < 0 || n > maxCount {
				return fmt.Errorf("field %q: bin %q has %d values, expected 0 to 2^53", field, bin, n)
			}
		}
	}
	return nil
}

// Plus returns the sum of both and changes neither.
func (c Counts) Plus(o Counts) Counts {
	sum := Counts{Definition: o.Definition, Rows: c.Rows + o.Rows, Fields: maps.Clone(c.Fields)}
	if sum.Fields == nil {
		sum.Fields = make(map[string]map[string]int64, len(o.Fields))
	}
	for field, bins := range o.Fields {
		total := maps.Clone(sum.Fields[field])
		if total == nil {
			total = make(map[string]int64, len(bins))
		}
		for bin, n := range bins {
			total[bin] += n
		}
		sum.Fields[field] = total
	}
	return sum
}

// Day is a UTC calendar day, as in 2026-01-05.
type Day string

// DayOf returns the day that t falls on.
func DayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }

// Start returns the first moment of the day.
func (d Day) Start() (time.Time, error) {
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil || DayOf(t) != d {
		return time.Time{}, fmt.Errorf("%q is not a day, expected the form 2026-01-05", string(d))
	}
	return t, nil
}

// Production is the baseline learned from production.
type Production struct {
	// FrozenAt is the time at which the baseline was frozen; zero while it is learning.
	FrozenAt time.Time `json:"-"`
	// Days are the days that Counts includes, in ascending order.
	Days []Day `json:"days"`
	// Counts is shared with later callers, which must not change its maps.
	Counts Counts `json:"counts"`
}

// Frozen reports whether the baseline is frozen and will not change.
func (p Production) Frozen() bool { return !p.FrozenAt.IsZero() }

func (p Production) validate() error {
	if len(p.Days) == 0 {
		return errors.New("no days")
	}
	for i, d := range p.Days {
		if _, err := d.Start(); err != nil {
			return err
		}
		if i > 0 && d <= p.Days[i-1] {
			return fmt.Errorf("day %s follows %s", d, p.Days[i-1])
		}
	}
	return p.Counts.validate()
}
