package baseline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// Moments summarize the finite values of a numeric field.
type Moments = binning.Moments

// Refined reports whether the bins were chosen from all learned days. Before that, they are provisional: chosen from the data that
// existed when the dataset was first profiled.
func (d Definition) Refined() bool { return len(d.Learned) > 0 }

// Refine replaces a provisional definition, once, by one whose bins were chosen from d.Learned, all days of the production baseline.
// The days are then counted again with these bins. Existing objects stay in the store.
func (b *Subject) Refine(ctx context.Context, d Definition) error {
	v, err := b.View(ctx)
	if err != nil {
		return err
	}
	current, err := v.Definition(ctx)
	if err != nil {
		return err
	}
	if current.Refined() {
		return nil
	}
	if len(d.Learned) == 0 {
		return errors.New("no learned days to refine the bins from")
	}
	d.Kept = len(v.acceptances(current.ID))
	_, err = create(ctx, v, v.gens.refined(current.ID), kindRefined, d)
	return err
}

// AddOutline stores the outline of a learned day. The refined bins are chosen from these outlines.
func (b *Subject) AddOutline(ctx context.Context, definition string, day Day, outline any) error {
	v, err := b.viewFor(ctx, Counts{Definition: definition})
	if err != nil {
		return err
	}
	_, err = create(ctx, v, v.gens.outline(definition, day), kindOutline, outline)
	return err
}

// WithoutOutline returns the days that have no outline in the store.
func (v *View) WithoutOutline(definition string, days []Day) []Day {
	return slices.DeleteFunc(slices.Clone(days), func(d Day) bool { return v.has(v.gens.outline(definition, d)) })
}

// Outline reads the outline of a day into outline, or returns ErrNotFound.
func (v *View) Outline(ctx context.Context, definition string, d Day, outline any) error {
	stem := v.gens.outline(definition, d)
	if !v.has(stem) {
		return fmt.Errorf("outline of %s of %s is %w", d, v.subject.id, ErrNotFound)
	}
	_, err := v.subject.read(ctx, v.objects[stem].winner, kindOutline, stem, outline)
	return err
}

// Accepted is a column whose change was accepted as intended, in place of what the definition has. All other columns keep their
// baseline.
type Accepted struct {
	Column Column `json:"column"`
	// Removed means that the column is intentionally gone.
	Removed bool `json:"removed,omitempty"`
	// Layout defines how the column is counted. If it is nil, the column has no bins and Left is the reason.
	Layout *binning.Layout `json:"layout,omitempty"`
	Left   string          `json:"left,omitempty"`
	// Learning means that an added column has too few days with values for a baseline. Since is the time from which its values are
	// complete, or zero if it has none yet.
	Learning bool      `json:"learning,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	// Counts are the column's production baseline, and Moments the moments of its values.
	Counts  map[string]int64 `json:"counts,omitempty"`
	Moments *Moments         `json:"moments,omitempty"`
	// Hours are the same counts by hour, if the rows have a time of day.
	Hours []AcceptedHour `json:"hours,omitempty"`
	// At is the time of the acceptance, by the store's clock.
	At time.Time `json:"-"`
}

// AcceptedHour has the counts of one hour in the order of the layout's bins.
type AcceptedHour struct {
	Start  time.Time `json:"start"`
	Counts []int64   `json:"counts,omitempty"`
}

func (a Accepted) validate() error {
	if a.Column.Name == "" || !utf8.ValidString(a.Column.Name) || !utf8.ValidString(a.Column.Type) {
		return fmt.Errorf("column (%q %q), expected UTF-8 text", a.Column.Name, a.Column.Type)
	}
	if a.Layout != nil {
		if err := a.Layout.Validate(); err != nil {
			return err
		}
	}
	for _, h := range a.Hours {
		if slices.ContainsFunc(h.Counts, func(n int64) bool { return n < 0 || n > maxCount }) {
			return fmt.Errorf("hour %s has the counts %d, expected 0 to 2^53", h.Start, h.Counts)
		}
	}
	return Counts{Fields: map[string]map[string]int64{a.Column.Name: a.Counts}}.validate()
}

// Accept stores an accepted column. The last acceptance of a column is in force.
func (b *Subject) Accept(ctx context.Context, definition string, a Accepted) error {
	v, err := b.viewFor(ctx, Counts{Definition: definition})
	if err != nil {
		return err
	}
	stems := v.acceptances(definition)
	next := 0
	if len(stems) > 0 {
		if _, err := fmt.Sscanf(stems[len(stems)-1][len(v.gens.accepted(definition)):], "%d", &next); err != nil {
			return fmt.Errorf("accepted columns of %s: %w", b.id, err)
		}
		next++
	}
	won, err := create(ctx, v, fmt.Sprintf("%s%04d", v.gens.accepted(definition), next), kindAccepted, a)
	if err == nil && !won {
		err = fmt.Errorf("another process accepts a column of %s at the same time; try again", b.id)
	}
	return err
}

// acceptances returns the stems of the accepted columns in order.
func (v *View) acceptances(definition string) []string {
	prefix := v.gens.accepted(definition)
	var stems []string
	for stem := range v.objects {
		if strings.HasPrefix(stem, prefix) {
			stems = append(stems, stem)
		}
	}
	slices.Sort(stems)
	return stems
}

// inForce returns the stems of the accepted columns of a definition, those that it keeps of the provisional one first.
func (v *View) inForce(ctx context.Context, definition string) ([]string, error) {
	stems := v.acceptances(definition)
	provisional, err := v.Provisional(ctx)
	if err != nil || !v.has(v.gens.refined(provisional.ID)) || provisional.ID == definition {
		return stems, err
	}
	refined, err := fetch(ctx, v, v.gens.refined(provisional.ID), kindRefined, &v.subject.refined)
	if err != nil {
		return nil, err
	}
	before := v.acceptances(provisional.ID)
	return append(before[:min(len(before), refined.value.Kept)], stems...), nil
}

// Provisional returns the definition before its refinement, without accepted columns.
func (v *View) Provisional(ctx context.Context) (Definition, error) {
	r, err := fetch(ctx, v, v.gens.definition(), kindDefinition, &v.subject.definition)
	r.value.ID, r.value.Created = r.header.Sum, r.header.Created
	return r.value, err
}

// accepted reads the accepted columns of a definition.
func (v *View) accepted(ctx context.Context, definition string) ([]Accepted, error) {
	stems, err := v.inForce(ctx, definition)
	if err != nil || len(stems) == 0 {
		return nil, err
	}
	b := v.subject
	objects := make([]string, len(stems))
	for i, stem := range stems {
		objects[i] = v.objects[stem].winner
	}
	b.mu.Lock()
	last := b.accepted
	b.mu.Unlock()
	if slices.Equal(last.objects, objects) {
		return last.columns, nil
	}
	columns := make([]Accepted, len(stems))
	for i, stem := range stems {
		h, err := b.read(ctx, objects[i], kindAccepted, stem, &columns[i])
		if err != nil {
			return nil, err
		}
		columns[i].At = h.Created
	}
	b.mu.Lock()
	b.accepted = acceptedOf{objects, columns}
	b.mu.Unlock()
	return columns, nil
}

type acceptedOf struct {
	objects []string
	columns []Accepted
}

// with returns the definition with its accepted columns. It keeps its ID, so that the counts of the other columns stay valid.
func (d Definition) with(columns []Accepted) Definition {
	if len(columns) == 0 {
		return d
	}
	d.Schema, d.Fields, d.Left, d.Numbers = slices.Clone(d.Schema), maps.Clone(d.Fields), maps.Clone(d.Left), maps.Clone(d.Numbers)
	d.Learning = make(map[string]time.Time)
	if d.Fields == nil {
		d.Fields = make(map[string]binning.Layout)
	}
	if d.Left == nil {
		d.Left = make(map[string]string)
	}
	if d.Numbers == nil {
		d.Numbers = make(map[string]Moments)
	}
	for _, a := range columns {
		name := a.Column.Name
		i := slices.IndexFunc(d.Schema, func(c Column) bool { return c.Name == name })
		delete(d.Fields, name)
		delete(d.Left, name)
		delete(d.Numbers, name)
		delete(d.Learning, name)
		switch {
		case a.Removed && i >= 0:
			d.Schema = slices.Delete(d.Schema, i, i+1)
		case a.Removed:
		case i >= 0:
			d.Schema[i] = a.Column
		default:
			d.Schema = append(d.Schema, a.Column)
		}
		if a.Layout != nil {
			d.Fields[name] = *a.Layout
		}
		if a.Left != "" {
			d.Left[name] = a.Left
		}
		if a.Learning {
			d.Learning[name] = a.Since
		}
		if a.Moments != nil {
			d.Numbers[name] = *a.Moments
		}
	}
	return d
}

// with returns the counts in which accepted columns have the counts that they were accepted with.
func (c Counts) with(columns []Accepted) Counts {
	if len(columns) == 0 {
		return c
	}
	c.Fields = maps.Clone(c.Fields)
	if c.Fields == nil {
		c.Fields = make(map[string]map[string]int64)
	}
	for _, a := range columns {
		delete(c.Fields, a.Column.Name)
		if len(a.Counts) > 0 {
			c.Fields[a.Column.Name] = a.Counts
		}
	}
	return c
}
