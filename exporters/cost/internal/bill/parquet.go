package bill

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/sightglass-ml/sightglass/internal/sqltext"
)

// open opens the database on first use, because opening it takes longer than reading a small CSV file.
func (r *Reader) open() error {
	if r.db != nil {
		return nil
	}
	settings := url.Values{
		"memory_limit": {fmt.Sprintf("%dB", max(r.options.MemoryLimit, 128<<20))},
		"threads":      {fmt.Sprint(max(r.options.Threads, 1))},
		// The order of rows does not matter for a sum, and preserving it costs memory.
		"preserve_insertion_order": {"false"},
	}
	if r.options.TempDir != "" {
		settings.Set("temp_directory", r.options.TempDir)
	}
	connector, err := duckdb.NewConnector("?"+settings.Encode(), func(conn driver.ExecerContext) error {
		_, err := conn.ExecContext(context.Background(), "SET TimeZone = 'UTC'", nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("open the database that reads Parquet: %w", err)
	}
	r.db = sql.OpenDB(connector)
	return nil
}

// readParquet lets the database read the required columns and add up rows that are equal in them. The values are
// interpreted here, as for CSV.
func (r *Reader) readParquet(ctx context.Context, path string) (Sheet, error) {
	if err := r.open(); err != nil {
		return Sheet{}, err
	}
	header, types, err := r.describe(ctx, path)
	if err != nil {
		return Sheet{}, err
	}
	l, err := r.layoutOf(header)
	if err != nil {
		return Sheet{}, err
	}
	totals, err := r.hasTotals(ctx, path, l, header)
	if err != nil {
		return Sheet{}, err
	}
	query, kept := r.parquetQuery(path, l, header, types, totals)
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return Sheet{}, err
	}
	defer rows.Close()
	t := newTally(r, path, kept, func(b []byte) []byte { return b })
	var line, count int64
	var total any
	texts := make([]sql.RawBytes, columnCount)
	fields := make([][]byte, columnCount)
	scan := []any{&line, &count, &total}
	for i := range texts {
		scan = append(scan, &texts[i])
	}
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return Sheet{}, err
		}
		for i := range texts {
			fields[i] = texts[i]
		}
		cost := amount{}
		if total != nil {
			d, ok := total.(duckdb.Decimal)
			if !ok {
				return Sheet{}, fmt.Errorf("a sum is a %T, expected a decimal", total)
			}
			cost = fromBig(d.Value)
		}
		t.add(fields, line, cost, total != nil, count)
	}
	if err := rows.Err(); err != nil {
		return Sheet{}, err
	}
	return t.result(), nil
}

// describe returns the columns of a file and their types.
func (r *Reader) describe(ctx context.Context, path string) (header, types []string, err error) {
	rows, err := r.db.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet("+sqltext.Literal(path)+"))")
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var column, typ string
		if err := rows.Scan(&column, &typ); err != nil {
			return nil, nil, err
		}
		header, types = append(header, column), append(types, typ)
	}
	return header, types, rows.Err()
}

// hasTotals reports whether a file has running totals. To tell them apart, more columns are needed.
func (r *Reader) hasTotals(ctx context.Context, path string, l layout, header []string) (bool, error) {
	account, unit := l[colBillingAccountType], l[colUnit]
	if account < 0 || unit < 0 {
		return false, nil
	}
	var rows int64
	err := r.db.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM read_parquet(%s) WHERE lower(CAST(%s AS VARCHAR)) = lower(%s) AND lower(CAST(%s AS VARCHAR)) = lower(%s)",
		sqltext.Literal(path), sqltext.Identifier(header[account]), sqltext.Literal(totalsAccountType), sqltext.Identifier(header[unit]), sqltext.Literal(totalsUnit))).Scan(&rows)
	return rows > 0, err
}

// parquetQuery selects the first row, the number of rows, the sum, and the columns as text, in their order. The layout
// has the columns that exist. A cost that is not a number is in a group of its own, with its text.
func (r *Reader) parquetQuery(path string, l layout, header, types []string, totals bool) (string, layout) {
	var kept layout
	selected := make([]string, columnCount)
	for c := range columnCount {
		kept[c], selected[c] = -1, "NULL"
		if i := l[c]; i >= 0 && (r.rules.reads(c) || totals) {
			kept[c], selected[c] = int(c), textOf(header[i], types[i])
		}
		selected[c] += fmt.Sprintf(" AS c%d", c)
	}
	groups := make([]string, 0, columnCount)
	for c := colCost + 1; c < columnCount; c++ {
		groups = append(groups, fmt.Sprintf("c%d", c))
	}
	by := strings.Join(groups, ", ")
	// Most costs have at most six digits before the point. Reading those is several times as fast.
	return fmt.Sprintf(`
SELECT min(n), count(*), sum(cost), CASE WHEN (cost IS NULL) THEN any_value(c0) END, %[1]s
FROM (
  SELECT *, coalesce(CAST(TRY_CAST(c0 AS DECIMAL(18, 12)) AS DECIMAL(38, 12)), TRY_CAST(c0 AS DECIMAL(38, 12))) AS cost
  FROM (SELECT file_row_number + 1 AS n, %[2]s FROM read_parquet(%[3]s, file_row_number = true))
)
GROUP BY cost IS NULL, %[1]s`, by, strings.Join(selected, ", "), sqltext.Literal(path)), kept
}

// textOf is a column as text. Tags that are a map, a struct, or a list of structs become JSON.
func textOf(column, typ string) string {
	name := sqltext.Identifier(column)
	if strings.HasPrefix(typ, "MAP") || strings.HasPrefix(typ, "STRUCT") || strings.HasSuffix(typ, "[]") {
		name = "to_json(" + name + ")"
	}
	return "trim(CAST(" + name + " AS VARCHAR))"
}
