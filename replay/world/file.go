package world

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // The driver registers itself.

	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// maxValues limits the values of a file in memory, to about a gigabyte.
const maxValues = 120_000_000

// recording is a stream of the events of a file. They are in memory by column, sorted by time.
type recording struct {
	cols  []column
	dicts []*dict
	all   batch
	// first has the index of the first event of each minute. It starts with the minute of the first event.
	begin int64
	first []int32
}

// readFile reads the events of a file with the given columns; without columns, it reads all.
func readFile(ctx context.Context, d *scenario.Data, columns []string, start time.Time) (_ *recording, err error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "SET TimeZone = 'UTC'; SET memory_limit = '600MB'; SET threads = 2"); err != nil {
		return nil, err
	}
	reader := "read_parquet"
	if strings.HasSuffix(strings.TrimSuffix(strings.ToLower(string(d.File)), ".gz"), ".csv") {
		reader = "read_csv"
	}
	from := reader + "('" + strings.ReplaceAll(string(d.File), "'", "''") + "')"
	r := &recording{}
	// DESCRIBE returns SQL type names.
	described, err := db.QueryContext(ctx, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+from+")")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.File, err)
	}
	defer described.Close()
	types := map[string]string{}
	var names []string
	for described.Next() {
		var name, sqlType string
		if err := described.Scan(&name, &sqlType); err != nil {
			return nil, err
		}
		types[name] = sqlType
		names = append(names, name)
	}
	if err := described.Err(); err != nil {
		return nil, err
	}
	if len(columns) == 0 {
		columns = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == d.Time })
	}
	if types[d.Time] == "" {
		return nil, fmt.Errorf("%s has no column %q; it has %q", d.File, d.Time, names)
	}
	quote := func(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
	exprs := []string{"epoch_us(CAST(" + quote(d.Time) + " AS TIMESTAMP))"}
	for _, name := range columns {
		sqlType, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("%s has no column %q; it has %q", d.File, name, names)
		}
		c := column{name: name, sqlType: sqlType}
		base, _, _ := strings.Cut(sqlType, "(")
		expr := quote(name)
		var dictionary *dict
		switch base {
		case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
			c.class, c.sqlType = classInteger, "BIGINT"
			expr = "CAST(" + expr + " AS DOUBLE)"
		case "FLOAT", "DOUBLE", "DECIMAL", "HUGEINT", "UBIGINT":
			c.class, c.sqlType = classNumber, "DOUBLE"
			expr = "CAST(" + expr + " AS DOUBLE)"
		case "TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
			c.class, c.sqlType = classTime, "TIMESTAMP"
			expr = "CAST(epoch_us(CAST(" + expr + " AS TIMESTAMP)) AS DOUBLE)"
		case "BOOLEAN":
			c.class, dictionary = classBool, newDict()
			expr = "CAST(" + expr + " AS VARCHAR)"
		default:
			c.class, c.sqlType, dictionary = classText, "VARCHAR", newDict()
			expr = "CAST(" + expr + " AS VARCHAR)"
		}
		exprs = append(exprs, expr)
		r.cols, r.dicts = append(r.cols, c), append(r.dicts, dictionary)
	}
	if err := r.read(ctx, db, d, "SELECT "+strings.Join(exprs, ", ")+" FROM "+from+" WHERE "+quote(d.Time)+" IS NOT NULL ORDER BY 1", start); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.File, err)
	}
	return r, nil
}

func (r *recording) read(ctx context.Context, db *sql.DB, d *scenario.Data, query string, start time.Time) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	r.all = *newBatch(r.cols, r.dicts)
	var at int64
	numbers, texts := make([]sql.NullFloat64, len(r.cols)), make([]sql.NullString, len(r.cols))
	targets := []any{&at}
	for i := range r.cols {
		if r.dicts[i] != nil {
			targets = append(targets, &texts[i])
		} else {
			targets = append(targets, &numbers[i])
		}
	}
	anchor := start
	if !d.Anchor.IsZero() {
		anchor = d.Anchor.From(start)
	}
	shift := start.Add(time.Duration(d.Shift)).UnixMicro()
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		moved := shift + int64(float64(at-anchor.UnixMicro())/d.Speedup)
		r.all.time = append(r.all.time, moved)
		r.all.n++
		if r.all.n*(len(r.cols)+1) > maxValues {
			return fmt.Errorf("more than %d values; want fewer rows, or columns that name those that matter", maxValues)
		}
		for i := range r.cols {
			v := &r.all.cols[i]
			if v.dict != nil {
				v.null = append(v.null, !texts[i].Valid)
				v.text = append(v.text, v.dict.id(texts[i].String))
				continue
			}
			n := numbers[i].Float64
			if r.cols[i].class == classTime {
				n = float64(shift) + (n-float64(anchor.UnixMicro()))/d.Speedup
			}
			v.null = append(v.null, !numbers[i].Valid)
			v.num = append(v.num, n)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if r.all.n == 0 {
		return fmt.Errorf("no events")
	}
	if r.all.n > math.MaxInt32 {
		return fmt.Errorf("%d events; want fewer", r.all.n)
	}
	r.begin = floor(r.all.time[0], minute)
	last := floor(r.all.time[r.all.n-1], minute)
	r.first = make([]int32, last-r.begin+2)
	i := 0
	for m := range r.first {
		for i < r.all.n && floor(r.all.time[i], minute) < r.begin+int64(m) {
			i++
		}
		r.first[m] = int32(i)
	}
	return nil
}

func (r *recording) columns() []column { return r.cols }

func (r *recording) bounds() (from, to int64) { return r.begin, r.begin + int64(len(r.first)) - 1 }

func (r *recording) minute(m int64, to *batch) {
	from, end := r.bounds()
	if m < from || m >= end {
		return
	}
	for i := r.first[m-from]; i < r.first[m-from+1]; i++ {
		to.copyRow(&r.all, int(i))
	}
}

func (r *recording) times(m int64, to *batch) {
	from, end := r.bounds()
	if m < from || m >= end {
		return
	}
	times := r.all.time[r.first[m-from]:r.first[m-from+1]]
	to.time = append(to.time, times...)
	to.n += len(times)
}
