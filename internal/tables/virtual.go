package tables

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/duckdb/duckdb-go/v2"
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
	// Rows calls add with the values of each row of the window, in the order of the schema. An error of add ends it.
	Rows(w Window, add func(values []any) error) error
}

// OpenVirtual makes a source of virtual tables. What needs the rows themselves, such as quantiles, is computed by DuckDB.
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

// copies numbers the copies of virtual tables.
var copies atomic.Int64

// materialize copies the window of a virtual table into DuckDB, and returns the relation of the copy.
func (s *Source) materialize(ctx context.Context, r Relation, w Window) (_ Relation, drop func() error, err error) {
	name := "virtual_" + strconv.FormatInt(copies.Add(1), 10)
	schema := r.virtual.Schema() // The caller may ask for some of the columns.
	columns := make([]string, len(schema))
	for i, c := range schema {
		columns[i] = s.dialect.identifier(c.Name) + " " + c.Type
	}
	if _, err := s.db.ExecContext(ctx, "CREATE TABLE "+name+" ("+strings.Join(columns, ", ")+")"); err != nil {
		return r, nil, fmt.Errorf("copy a virtual table: %w", err)
	}
	drop = func() error {
		_, err := s.db.ExecContext(context.WithoutCancel(ctx), "DROP TABLE "+name)
		return err
	}
	if err := s.appendRows(ctx, name, func(add func([]any) error) error { return sampleOf(r.virtual, w, add) }); err != nil {
		return r, nil, errors.Join(fmt.Errorf("copy a virtual table: %w", err), drop())
	}
	return Relation{from: name, Time: r.Time}, drop, nil
}

// sampleRows is the number of rows from which on a copy is a sample. Bins are cut from copies, and the quantiles of a column
// are of a hundred thousand values in any case.
const sampleRows = 200_000

// sampleOf passes on the rows of a window, or every so many of them where they are many.
func sampleOf(v Virtual, w Window, add func([]any) error) error {
	p, err := v.Count(w, Fields{})
	if err != nil {
		return err
	}
	every := uint64(p.Rows/sampleRows + 1)
	var i uint64
	return v.Rows(w, func(values []any) error {
		i++
		// Fibonacci hashing: no pattern of the rows has the step of the sample.
		if (i*11400714819323198485)>>32%every != 0 {
			return nil
		}
		return add(values)
	})
}

// appendRows appends what produce adds to a table of DuckDB.
func (s *Source) appendRows(ctx context.Context, table string, produce func(add func([]any) error) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // It goes back to the pool; the appender says whether all rows arrived.
	return conn.Raw(func(raw any) error {
		driverConn, ok := raw.(driver.Conn)
		if !ok {
			return fmt.Errorf("a connection of type %T, expected one of DuckDB", raw)
		}
		appender, err := duckdb.NewAppenderFromConn(driverConn, "", table)
		if err != nil {
			return err
		}
		var row []driver.Value
		err = produce(func(values []any) error {
			row = row[:0]
			for _, v := range values {
				row = append(row, v)
			}
			return appender.AppendRow(row...)
		})
		return errors.Join(err, appender.Close())
	})
}
