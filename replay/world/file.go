package world

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // The driver registers itself.

	"github.com/sightglass-ml/sightglass/internal/sqltext"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// maxValues limits the values of a file in memory, to about a gigabyte.
const maxValues = 120_000_000

// keptAround is how long before or after the replay an event may be: nothing looks farther, and a file may have times that stand
// for none, such as 1900-01-01 and 9999-12-31.
const keptAround = 400 * 24 * time.Hour

// recording is a stream of the events of a file. They are in memory by column, in the order of time.
type recording struct {
	cols  []column
	dicts []*dict
	all   batch
	// first has the index of the first event of each minute. It starts with the minute of the first event.
	begin int64
	first []int32
}

// readFile reads the events of a file with the columns that are asked for; all if there are none.
func readFile(ctx context.Context, d *scenario.Data, columns []string, start, end time.Time) (_ *recording, err error) {
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
	from := reader + "(" + sqltext.Literal(string(d.File))
	if reader == "read_csv" && d.TimeFormat != "" {
		from += ", types = {" + sqltext.Literal(d.Time) + ": 'VARCHAR'}" // A guess may take the day for the month.
	}
	from += ")"
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
	at, err := timeExpr(ctx, db, d, from, types[d.Time])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d.File, err)
	}
	exprs := []string{at}
	for _, name := range columns {
		sqlType, ok := types[name]
		if !ok {
			return nil, fmt.Errorf("%s has no column %q; it has %q", d.File, name, names)
		}
		c := column{name: name, sqlType: sqlType}
		base, _, _ := strings.Cut(sqlType, "(")
		expr := sqltext.Identifier(name)
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
	if err := r.read(ctx, db, d, "SELECT "+strings.Join(exprs, ", ")+" FROM "+from+" WHERE "+sqltext.Identifier(d.Time)+" IS NOT NULL ORDER BY 1", start, end); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.File, err)
	}
	return r, nil
}

func (r *recording) read(ctx context.Context, db *sql.DB, d *scenario.Data, query string, start, end time.Time) error {
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
	kept := [2]int64{start.Add(-keptAround).UnixMicro(), end.Add(keptAround).UnixMicro()}
	var seen [2]int64 // The first and the last event of the file.
	for n := 0; rows.Next(); n++ {
		if err := rows.Scan(targets...); err != nil {
			return err
		}
		moved := shift + int64(float64(at-anchor.UnixMicro())/d.Speedup)
		if seen[1] = at; n == 0 {
			seen[0] = at
		}
		if moved < kept[0] || moved >= kept[1] {
			continue
		}
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
	switch day := func(us int64) string { return time.UnixMicro(us).UTC().Format(time.DateTime) }; {
	case r.all.n == 0 && seen[1] == 0:
		return errors.New("no events")
	case r.all.n == 0 || r.all.time[0] >= end.UnixMicro():
		return fmt.Errorf("no event is in the replay or in the %d days before it, from %s to %s: the events of the file are from %s to %s; want data.anchor, the time of the file at which the replay starts, or another start",
			keptAround/(24*time.Hour), day(kept[0]), day(end.UnixMicro()), day(seen[0]), day(seen[1]))
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

// timeExpr is the time of an event in microseconds since 1970, of a column of that type.
func timeExpr(ctx context.Context, db *sql.DB, d *scenario.Data, from, sqlType string) (string, error) {
	name := sqltext.Identifier(d.Time)
	var expr string
	want := "want a date and a time such as 2026-01-31 12:00:00, seconds or milliseconds since 1970, or data.time_format in the scenario, such as '%d/%m/%Y %H:%M'"
	switch base, _, _ := strings.Cut(sqlType, "("); {
	case d.TimeFormat != "" && base == "VARCHAR":
		expr = "epoch_us(CAST(try_strptime(" + name + ", " + sqltext.Literal(d.TimeFormat) + ") AS TIMESTAMP))"
		want = fmt.Sprintf("want the form of data.time_format, %q", d.TimeFormat)
	case d.TimeFormat != "":
		return "", fmt.Errorf("column %q is %s, which has no form; want no data.time_format", d.Time, sqlType)
	case base == "VARCHAR":
		expr = "epoch_us(TRY_CAST(" + name + " AS TIMESTAMP))"
	case slices.Contains([]string{"TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"}, base):
		expr = "epoch_us(TRY_CAST(" + name + " AS TIMESTAMP))"
	case slices.Contains([]string{"INTEGER", "UINTEGER", "BIGINT", "UBIGINT", "HUGEINT", "DOUBLE", "DECIMAL"}, base):
		// Seconds, milliseconds, microseconds or nanoseconds since 1970: of times after 1973 the size of the number tells which.
		expr = "TRY_CAST(CASE WHEN abs(" + name + ") < 1e11 THEN round(" + name + " * 1e6) WHEN abs(" + name + ") < 1e14 THEN round(" + name + " * 1e3) WHEN abs(" + name + ") < 1e17 THEN " + name + " ELSE " + name + " / 1e3 END AS BIGINT)"
	default:
		return "", fmt.Errorf("column %q is %s; %s", d.Time, sqlType, want)
	}
	var odd string
	switch err := db.QueryRowContext(ctx, "SELECT CAST("+name+" AS VARCHAR) FROM "+from+" WHERE "+name+" IS NOT NULL AND ("+expr+") IS NULL LIMIT 1").Scan(&odd); {
	case err == nil:
		return "", fmt.Errorf("column %q has %q, which is no time; %s", d.Time, odd, want)
	case !errors.Is(err, sql.ErrNoRows):
		return "", err
	}
	return expr, nil
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
