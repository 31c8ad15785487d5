package tables

import (
	"time"
)

// Virtual is a table that the program computes row by row, without a database. A replay has months of rows; it counts each row once and
// adds up the counts. The counts must equal what SQL would count for the same rows. A test in package replay/world compares the two.
type Virtual interface {
	// Schema returns the current columns of the table.
	Schema() []Column
	// Count counts like Source.Count. All fields are columns of the schema, with layouts that fit their class.
	Count(w Window, fields Fields) (Profile, error)
	// RowsBy counts like Source.RowsBy.
	RowsBy(w Window, every time.Duration) (map[time.Time]int64, error)
	// Sample returns the values of the columns in the rows of the window. If there are more than atMost rows, it returns every nth row.
	Sample(w Window, columns []Column, atMost int) ([]VirtualValues, error)
}

// VirtualValues are the values of one column.
type VirtualValues struct {
	Null []bool
	// Numbers are the values of a number or a point in time. Where the value is missing, the number is arbitrary.
	Numbers []float64
	// Texts are the values of a text or a boolean, as indices in Names. Names is nil for other columns.
	Texts []int32
	Names []string
}

// OpenVirtual returns a source of virtual tables.
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

// virtualHours counts a virtual table for each hour that has rows.
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
