// Package baseline keeps what later data is compared with.
//
// Input: the bins of a dataset or model (a Definition) and counts by those
// bins: one Counts of the training data, one of each production day. Output:
// the same things, the production days added up and, after enough of them,
// frozen. The state belongs to a Store, a folder or an object store that any
// number of replicas share; this package holds nothing but a cache of it.
//
// Everything but the last good snapshot is written once and never changed:
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
// The bins of production are cut twice: provisional ones to begin with, and, once all
// days are learned, refined ones from the outlines of these days, by which the days
// are counted again. A refined definition has a checksum of its own.
//
// The number is a generation. A reset does not touch what is there; it adds a
// reset object, and with it the next generation begins, empty. <definition> is
// the start of the definition's checksum: counts by other bins have other names
// and can never be added to each other. A day is an object, so a day that two
// replicas counted, or one replica twice, is there once.
//
// The first writer of an object wins, and all replicas agree on who that was.
// In a folder the kernel decides: a file is written under a temporary name,
// synced, and linked to its own name, which fails if the name is taken. Object
// stores have no such operation that all of them offer; see Subject.create for
// what is done there, why it is right, and what it assumes.
//
// A file that is damaged, foreign or newer than this program is refused with an
// *ObjectError and left as it is.
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

// Which data the bins of a definition were cut from.
const (
	EdgesTraining   = "training"
	EdgesProduction = "production"
)

// Column is one column of a schema.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Definition is what is counted, and how.
type Definition struct {
	// ID and Created are set by the store. Counts name the ID of the
	// definition whose bins they were counted by.
	ID      string    `json:"-"`
	Created time.Time `json:"-"`

	// Edges says which data the bins were cut from: EdgesTraining or
	// EdgesProduction.
	Edges string `json:"edges"`
	// Schema is the schema that is expected from now on.
	Schema []Column `json:"schema"`
	// Fields are the bins by field.
	Fields map[string]binning.Layout `json:"fields"`
	// Left says of fields without bins why they have none.
	Left map[string]string `json:"left,omitempty"`
	// Numbers are the moments of the numeric fields in what the bins were cut from.
	Numbers map[string]Moments `json:"numbers,omitempty"`
	// Learned are the days of a refined definition; see Subject.Refine.
	Learned []Day `json:"learned,omitempty"`
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

// Counts are how many rows there were, and how many values of each field fell
// into each bin.
type Counts struct {
	// Definition is the ID of the definition that the bins are from.
	Definition string                      `json:"definition"`
	Rows       int64                       `json:"rows"`
	Fields     map[string]map[string]int64 `json:"fields"`
}

// maxCount is the largest count that every reader of the JSON, and Prometheus,
// can tell from its neighbours: 2^53. It also keeps sums from overflowing.
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

// Production is the baseline that production itself set.
type Production struct {
	// FrozenAt is when the baseline was frozen; zero while it is learning.
	FrozenAt time.Time `json:"-"`
	// Days are the days that Counts holds, in order.
	Days []Day `json:"days"`
	// Counts is shared with later callers. Do not change its maps.
	Counts Counts `json:"counts"`
}

// Frozen says that the baseline will not change any more.
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
