package tables

import (
	"time"
)

// Virtual is a table that the program makes itself, row by row, in place of a database: a replay has months of rows, of which
// it counts each once and adds up the counts. What it counts must be what SQL would count of the same rows; a test of package
// replay/world holds the two together.
type Virtual interface {
	// Schema returns the columns that the table has now.
	Schema() []Column
	// Count counts what Source.Count does. Fields are of columns of the schema, with layouts that fit their class.
	Count(w Window, fields Fields) (Profile, error)
	// RowsBy counts what Source.RowsBy does.
	RowsBy(w Window, every time.Duration) (map[time.Time]int64, error)
	// Sample returns the values of the columns in the rows of the window, or in every so many of them if there are more than atMost.
	Sample(w Window, columns []Column, atMost int) ([]VirtualValues, error)
}

// VirtualValues are the values of one column.
type VirtualValues struct {
	Null []bool
	// Numbers are those of a number or a point in time, whatever they are where the value is missing.
	Numbers []float64
	// Texts are the indices in Names of a text or a boolean; Names is nil for others.
	Texts []int32
	Names []string
}

// OpenVirtual makes a source of virtual tables.
func OpenVirtual(tables map[string]Virtual) (*Source, error) {
	s, err := Open(Options{Type: DuckDB})
	if err != nil {
		return nil, err
	}
	s.virtual = tables
	return s, nil
}

// virtualProfile counts a virtual table.
func virtualProfile(v Virtual, schema []Column, w Window, fields Fields) (Profile, error) {
	fitting := make(Fields, len(fields))
	for _, c := range schema {
		layout, ok := fields[c.Name]
		if ok && layout != nil && !fits(layout.Kind, c.Class) {
			layout = nil
		}
		if ok {
			fitting[c.Name] = layout
		}
	}
	return v.Count(w, fitting)
}

// virtualHours counts each hour of a virtual table that has rows.
func virtualHours(v Virtual, schema []Column, w Window, fields Fields) (map[time.Time]Profile, error) {
	profiles := make(map[time.Time]Profile)
	for from := w.From.UTC().Truncate(time.Hour); from.Before(w.To); from = from.Add(time.Hour) {
		hour := Window{From: from, To: from.Add(time.Hour)}
		if hour.From.Before(w.From) {
			hour.From = w.From
		}
		if hour.To.After(w.To) {
			hour.To = w.To
		}
		p, err := virtualProfile(v, schema, hour, fields)
		if err != nil {
			return nil, err
		}
		if p.Rows > 0 {
			profiles[from] = p
		}
	}
	return profiles, nil
}
