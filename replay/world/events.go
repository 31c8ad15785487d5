package world

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	_ "github.com/duckdb/duckdb-go/v2" // The driver registers itself.

	"github.com/sightglass-ml/sightglass/internal/sqltext"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// events is an open file of events.
type events struct {
	data  *scenario.Data
	db    *sql.DB
	from  string // the table function that reads the file
	names []string
	types map[string]string // SQL types by column
}

// checkFile checks what DuckDB's errors do not say clearly.
func checkFile(d *scenario.Data) error {
	const want = "want a Parquet or CSV file, relative to the scenario, or --data NAME=FILE relative to the working directory"
	info, err := os.Stat(string(d.File))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return d.At("file").Errorf("%q does not exist; %s", d.File, want)
	case err != nil:
		return d.At("file").Errorf("%q: %v; %s", d.File, err, want)
	case info.IsDir():
		return d.At("file").Errorf("%q is a folder; %s", d.File, want)
	case info.Size() == 0:
		return d.At("file").Errorf("%q is empty; want a header and rows", d.File)
	}
	return nil
}

func openFile(ctx context.Context, d *scenario.Data) (_ *events, err error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = db.Close() // The first error counts.
		}
	}()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "SET TimeZone = 'UTC'; SET memory_limit = '600MB'; SET threads = 2"); err != nil {
		return nil, err
	}
	f := &events{data: d, db: db, types: map[string]string{}}
	reader, csv := "read_parquet", strings.HasSuffix(strings.TrimSuffix(strings.ToLower(string(d.File)), ".gz"), ".csv")
	if csv {
		reader = "read_csv"
	}
	f.from = reader + "(" + sqltext.Literal(string(d.File)) + ")"
	if err := f.describe(ctx); err != nil {
		return nil, err
	}
	if f.types[d.Time] == "" {
		return nil, d.At("time").Errorf("%s has no column %q; it has %q", d.File, d.Time, f.names)
	}
	if csv && (d.TimeFormat != "" || isTime(f.types[d.Time])) {
		// A guess may take the day for the month, so texts are read as the scenario says, or as ISO 8601.
		f.from = reader + "(" + sqltext.Literal(string(d.File)) + ", types = {" + sqltext.Literal(d.Time) + ": 'VARCHAR'})"
		f.types[d.Time] = "VARCHAR"
	}
	return f, nil
}

// describe reads the names and types of the columns.
func (f *events) describe(ctx context.Context) error {
	described, err := f.db.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+f.from+")")
	if err != nil {
		return readError(f.data, err)
	}
	defer described.Close()
	for described.Next() {
		var name, sqlType string
		if err := described.Scan(&name, &sqlType); err != nil {
			return err
		}
		f.types[name] = sqlType
		f.names = append(f.names, name)
	}
	return described.Err()
}

// readError is an error of DuckDB about the file, in one line and without its query.
func readError(d *scenario.Data, err error) error {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "LINE 1:") || strings.HasPrefix(line, "Possible") {
			break
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	return d.At("file").Errorf("%s cannot be read: %s; want a Parquet file, or CSV in a file that ends in .csv or .csv.gz", d.File, strings.Join(lines, "; "))
}

func isTime(sqlType string) bool {
	return slices.Contains([]string{"TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}, sqlType)
}

// timeExpr is the time of an event in microseconds since 1970. Every value must be a time.
func (f *events) timeExpr(ctx context.Context) (string, error) {
	d, sqlType := f.data, f.types[f.data.Time]
	name := sqltext.Identifier(d.Time)
	var expr string
	want := "want a date and a time such as 2026-01-31 12:00:00, seconds or milliseconds since 1970, or data.time_format in the scenario, such as '%d/%m/%Y %H:%M'"
	switch base, _, _ := strings.Cut(sqlType, "("); {
	case d.TimeFormat != "" && base == "VARCHAR":
		expr = "epoch_us(CAST(try_strptime(" + name + ", " + sqltext.Literal(d.TimeFormat) + ") AS TIMESTAMP))"
		want = fmt.Sprintf("want the form of data.time_format, %q", d.TimeFormat)
	case d.TimeFormat != "":
		return "", d.At("time_format").Errorf("column %q is %s, which needs no format; remove data.time_format", d.Time, sqlType)
	case base == "VARCHAR":
		expr = "epoch_us(TRY_CAST(" + name + " AS TIMESTAMPTZ))" // As a TIMESTAMP it would lose its offset.
	case isTime(base):
		expr = "epoch_us(TRY_CAST(" + name + " AS TIMESTAMP))"
	case slices.Contains([]string{"INTEGER", "UINTEGER", "BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "DECIMAL"}, base):
		// Seconds, milliseconds, microseconds or nanoseconds since 1970: of times after 1973 the size of the number tells which.
		expr = "TRY_CAST(CASE WHEN abs(" + name + ") < 1e11 THEN round(" + name + " * 1e6) WHEN abs(" + name + ") < 1e14 THEN round(" + name + " * 1e3) WHEN abs(" + name + ") < 1e17 THEN " + name + " ELSE " + name + " / 1e3 END AS BIGINT)"
	default:
		return "", d.At("time").Errorf("column %q is %s; %s", d.Time, sqlType, want)
	}
	var row int64
	var invalid string
	err := f.db.QueryRowContext(ctx, "SELECT row, CAST("+name+" AS VARCHAR) FROM (SELECT row_number() OVER () AS row, * FROM "+f.from+") WHERE "+name+" IS NOT NULL AND ("+expr+") IS NULL LIMIT 1").Scan(&row, &invalid)
	switch {
	case err == nil:
		return "", d.At("time").Errorf("column %q of %s has %q in row %d, which is not a time; %s", d.Time, d.File, invalid, row, want)
	case !errors.Is(err, sql.ErrNoRows):
		return "", readError(d, err)
	}
	return expr, nil
}
