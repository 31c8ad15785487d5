package world

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/sqltext"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// maxValues limits the values of a file in memory, to about a gigabyte.
const maxValues = 120_000_000

// keptAround is how long before or after the replay an event may be. Nothing reads events from further away, and a file may have
// placeholder times such as 1900-01-01 and 9999-12-31.
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

// readFile reads the events of a file with the requested columns, all if none are requested. The positions of the columns in the
// scenario are for errors.
func readFile(ctx context.Context, d *scenario.Data, columns []requestedColumn, start, end time.Time) (_ *recording, err error) {
	if err := checkFile(d); err != nil {
		return nil, err
	}
	f, err := openFile(ctx, d)
	if err != nil {
		return nil, err
	}
	defer f.db.Close()
	if len(columns) == 0 {
		for _, n := range f.names {
			if n != d.Time {
				columns = append(columns, requestedColumn{name: n, pos: d.At("columns")})
			}
		}
	}
	at, err := f.timeExpr(ctx)
	if err != nil {
		return nil, err
	}
	r := &recording{}
	exprs := []string{at}
	for _, c := range columns {
		sqlType, ok := f.types[c.name]
		if !ok {
			return nil, c.pos.Errorf("%s has no column %q; it has %q", d.File, c.name, f.names)
		}
		col, dictionary, expr := columnOf(c.name, sqlType)
		exprs = append(exprs, expr)
		r.cols, r.dicts = append(r.cols, col), append(r.dicts, dictionary)
	}
	query := "SELECT " + strings.Join(exprs, ", ") + " FROM " + f.from + " WHERE " + sqltext.Identifier(d.Time) + " IS NOT NULL ORDER BY 1"
	if err := r.read(ctx, f.db, d, query, start, end); err != nil {
		return nil, err
	}
	return r, nil
}

// requestedColumn is a column that the scenario names, with its position there.
type requestedColumn struct {
	name string
	pos  config.Pos
}

// columnOf returns the column of a DuckDB type, its dictionary if it has one, and the expression that reads it.
func columnOf(name, sqlType string) (column, *dict, string) {
	c, expr := column{name: name, sqlType: sqlType}, sqltext.Identifier(name)
	base, _, _ := strings.Cut(sqlType, "(")
	switch base {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
		c.class, c.sqlType = classInteger, "BIGINT"
		return c, nil, "CAST(" + expr + " AS DOUBLE)"
	case "FLOAT", "DOUBLE", "DECIMAL", "HUGEINT", "UBIGINT":
		c.class, c.sqlType = classNumber, "DOUBLE"
		return c, nil, "CAST(" + expr + " AS DOUBLE)"
	case "TIMESTAMP", "DATE", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		c.class, c.sqlType = classTime, "TIMESTAMP"
		return c, nil, "CAST(epoch_us(CAST(" + expr + " AS TIMESTAMP)) AS DOUBLE)"
	case "BOOLEAN":
		c.class = classBool
	default:
		c.class, c.sqlType = classText, "VARCHAR"
	}
	return c, newDict(), "CAST(" + expr + " AS VARCHAR)"
}

func (r *recording) read(ctx context.Context, db *sql.DB, d *scenario.Data, query string, start, end time.Time) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return readError(d, err)
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
			return readError(d, err)
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
			return d.At("file").Errorf("%s has more than %d values; want fewer rows, or data.columns with the necessary ones", d.File, maxValues)
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
		return readError(d, err)
	}
	if err := r.within(d, start, end, seen); err != nil {
		return err
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

// within checks that the replay has events. seen are the first and the last event of the file.
func (r *recording) within(d *scenario.Data, start, end time.Time, seen [2]int64) error {
	day := func(us int64) string { return time.UnixMicro(us).UTC().Format(time.DateTime) }
	if r.all.n > math.MaxInt32 {
		return d.At("file").Errorf("%s has %d events; want fewer", d.File, r.all.n)
	}
	if r.all.n == 0 && seen == [2]int64{} {
		return d.At("file").Errorf("%s has no rows with a time in column %q; want the events of the replay", d.File, d.Time)
	}
	first := sort.Search(r.all.n, func(i int) bool { return r.all.time[i] >= start.UnixMicro() })
	if first < r.all.n && r.all.time[first] < end.UnixMicro() {
		return nil
	}
	moved := ""
	if n := r.all.n; n > 0 && r.all.time[n-1] != seen[1] {
		moved = fmt.Sprintf(", in the replay from %s to %s", day(r.all.time[0]), day(r.all.time[n-1]))
	}
	return d.At("file").Errorf("no event of %s is in the replay, from %s to %s: those of the file are from %s to %s%s; want data.anchor, the time of the file at which the replay starts, or another start",
		d.File, day(start.UnixMicro()), day(end.UnixMicro()), day(seen[0]), day(seen[1]), moved)
}

// firstTime and lastTime return the times of the first and of the last event.
func (r *recording) firstTime() time.Time { return time.UnixMicro(r.all.time[0]).UTC() }
func (r *recording) lastTime() time.Time  { return time.UnixMicro(r.all.time[r.all.n-1]).UTC() }

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
