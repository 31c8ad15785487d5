package fields

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Training is the training data of a version.
type Training struct {
	Source   *tables.Source
	Relation tables.Relation
	// Prediction and Confidence are the columns of the outputs; empty if there are none.
	Prediction, Confidence string
	// Done, if not nil, ends the use of the data. The error is nil if reading it succeeded.
	Done func(error)
}

// training is the training data during one cycle of a version. It is opened on first use, because it can be a download.
type training struct {
	ask       func() (Training, bool, error)
	asked, ok bool
	data      Training
	err       error
}

func (t *training) open() (Training, bool, error) {
	if !t.asked {
		t.asked = true
		t.data, t.ok, t.err = t.ask()
	}
	return t.data, t.ok, t.err
}

func (t *training) close(err error) {
	if t.data.Done != nil {
		t.data.Done(err)
	}
}

// column returns the column of a field in the training data.
func (t Training) column(field string) string {
	switch field {
	case prediction:
		return t.Prediction
	case confidence:
		return t.Confidence
	}
	return strings.TrimPrefix(field, input)
}

// cut cuts bins for the fields that the training data has, and returns the reasons of those that have no distribution.
func (t Training) cut(ctx context.Context, served []string, choice tables.Choice) (layouts map[string]binning.Layout, left map[string]string, err error) {
	schema, err := t.Source.Schema(ctx, t.Relation)
	if err != nil {
		return nil, nil, err
	}
	fields := make(map[string]string) // by column
	for _, field := range served {
		if column := t.column(field); column != "" {
			fields[column] = field
		}
	}
	schema = slices.DeleteFunc(schema, func(c tables.Column) bool { return fields[c.Name] == "" })
	cut, err := t.Source.Cut(ctx, t.Relation, schema, tables.Window{}, choice, nil)
	if err != nil {
		return nil, nil, err
	}
	if cut.Rows == 0 {
		return nil, nil, errors.New("no rows")
	}
	layouts, left = make(map[string]binning.Layout), make(map[string]string)
	for column, layout := range cut.Layouts {
		// The age of a time in training data depends on when it was written, not on how old the feature is when it is used.
		if layout.Kind != binning.Aged {
			layouts[fields[column]] = layout
		}
	}
	for column, reason := range cut.Left {
		left[fields[column]] = reason
	}
	return layouts, left, nil
}

// count counts the training data by the bins of a definition.
func (t Training) count(ctx context.Context, d baseline.Definition, now time.Time) (baseline.Counts, error) {
	schema, err := t.Source.Schema(ctx, t.Relation)
	if err != nil {
		return baseline.Counts{}, err
	}
	layouts := make(tables.Fields)
	for name, layout := range d.Fields {
		if column := t.column(name); column != "" && layout.Centroid == nil { // Embeddings are not read from tables.
			layouts[column] = &layout
		}
	}
	p, err := t.Source.Count(ctx, t.Relation, schema, tables.Window{}, layouts, now)
	if err != nil {
		return baseline.Counts{}, err
	}
	counts := baseline.Counts{Definition: d.ID, Rows: p.Rows, Fields: make(map[string]map[string]int64)}
	for name := range d.Fields {
		if bins, ok := p.Values[t.column(name)]; ok && d.Fields[name].Centroid == nil {
			counts.Fields[name] = bins
		}
	}
	return counts, nil
}
