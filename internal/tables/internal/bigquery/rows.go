package bigquery

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	bq "google.golang.org/api/bigquery/v2"
)

// rows is a result that is fetched page by page.
type rows struct {
	ctx    context.Context //nolint:containedctx // driver.Rows has no context of its own.
	conn   *conn
	job    *bq.JobReference
	schema *bq.TableSchema
	page   []*bq.TableRow
	token  string
}

// next fetches the next page. It reports whether the job is complete.
func (r *rows) next() (bool, error) {
	if r.job == nil {
		return false, errors.New("BigQuery named no job to wait for")
	}
	call := r.conn.jobs.GetQueryResults(r.job.ProjectId, r.job.JobId).Context(r.ctx).
		Location(r.job.Location).TimeoutMs(waitMs).FormatOptionsUseInt64Timestamp(true)
	if r.token != "" {
		call = call.PageToken(r.token)
	}
	response, err := call.Do()
	if err != nil {
		return false, err
	}
	if response.JobComplete {
		r.schema, r.page, r.token = response.Schema, response.Rows, response.PageToken
	}
	return response.JobComplete, nil
}

// cancel cancels a job whose result is no longer needed, so that it does not use slots.
func (r *rows) cancel() {
	if r.job == nil {
		return
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(r.ctx), 5*time.Second)
	defer stop()
	_, _ = r.conn.jobs.Cancel(r.job.ProjectId, r.job.JobId).Location(r.job.Location).Context(ctx).Do() // Otherwise the job runs to its end.
}

// Columns implements driver.Rows.
func (r *rows) Columns() []string {
	names := make([]string, len(r.schema.Fields))
	for i, f := range r.schema.Fields {
		names[i] = f.Name
	}
	return names
}

// ColumnTypeDatabaseTypeName implements driver.RowsColumnTypeDatabaseTypeName.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string {
	f := r.schema.Fields[i]
	if f.Mode == "REPEATED" {
		return "ARRAY<" + f.Type + ">"
	}
	return f.Type
}

// Close implements driver.Rows.
func (r *rows) Close() error { return nil }

// Next implements driver.Rows.
func (r *rows) Next(dest []driver.Value) error {
	for len(r.page) == 0 {
		if r.token == "" {
			return io.EOF
		}
		if _, err := r.next(); err != nil {
			return err
		}
	}
	row := r.page[0]
	r.page = r.page[1:]
	if len(row.F) != len(dest) {
		return fmt.Errorf("a row of %d values, expected %d", len(row.F), len(dest))
	}
	for i, cell := range row.F {
		var err error
		if dest[i], err = value(r.schema.Fields[i], cell.V); err != nil {
			return fmt.Errorf("column %q: %w", r.schema.Fields[i].Name, err)
		}
	}
	return nil
}

// value decodes a cell. Cells are text; arrays are lists of cells.
func value(f *bq.TableFieldSchema, v any) (driver.Value, error) {
	if f.Mode == "REPEATED" {
		cells, ok := v.([]any)
		if !ok {
			return nil, fmt.Errorf("%T, expected an array", v)
		}
		element := *f
		element.Mode = ""
		values := make([]any, len(cells))
		for i, c := range cells {
			cell, ok := c.(map[string]any)
			if !ok {
				return nil, fmt.Errorf("%T in an array, expected a cell", c)
			}
			var err error
			if values[i], err = value(&element, cell["v"]); err != nil {
				return nil, err
			}
		}
		return values, nil
	}
	text, ok := v.(string)
	switch {
	case v == nil:
		return nil, nil
	case !ok:
		return nil, fmt.Errorf("%T of type %s, expected a text", v, f.Type)
	}
	switch f.Type {
	case "INTEGER", "INT64":
		return strconv.ParseInt(text, 10, 64)
	case "FLOAT", "FLOAT64":
		return strconv.ParseFloat(text, 64)
	case "BOOLEAN", "BOOL":
		return strconv.ParseBool(text)
	case "TIMESTAMP":
		us, err := strconv.ParseInt(text, 10, 64)
		return time.UnixMicro(us).UTC(), err
	case "DATETIME":
		return time.Parse("2006-01-02T15:04:05.999999", text)
	case "DATE":
		return time.Parse(time.DateOnly, text)
	}
	return text, nil
}
