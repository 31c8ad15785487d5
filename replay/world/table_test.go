package world

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// everything has a column of each kind, and rows that are late or doubled, or have nulls or unknown categories.
const everything = `
name: everything
start: 2026-03-02
length: 4d
datasets:
- name: orders
  rows_per_hour: 600
  history: 2d
  load: {lateness: 3m, every: 5m}
  columns:
  - {name: amount, lognormal: {median: 40, sigma: 1.2}, nulls: 0.04, zeros: 0.07, daily: 0.3}
  - {name: items, exponential: {mean: 300}, type: bigint}
  - {name: country, categories: {count: 60, zipf: 1.1}, daily: 0.5, nulls: 0.01}
  - {name: returning, categories: {values: ["true", "false"]}, type: boolean}
  - {name: channel, categories: {values: [web, app, "", "null", unseen]}}
  - {name: constant, uniform: {from: 0, to: 3}, type: bigint, wander: 0.1}
  - {name: opened, age_seconds: {mean: 5000}}
  - {name: order_id, sequence: true}
incidents:
- {kind: late_data, dataset: orders, at: 1d2h, for: 3h, size: 0.5, delay: 4h}
- {kind: duplicated_load, dataset: orders, at: 1d10h, for: 2h, size: 0.7}
- {kind: unit_change, dataset: orders, column: amount, at: 2d, for: 1h}
- {kind: unmapped_category, dataset: orders, column: country, at: 2d, for: 5h, size: 0.1}
- {kind: null_surge, dataset: orders, column: items, at: 2d1h, for: 5h, size: 0.2}
- {kind: wrong_snapshot, dataset: orders, at: 2d12h, for: 1h, delay: 1d}
- {kind: renamed_category, dataset: orders, column: channel, at: 3d, for: 1h, category: phone}
`

func load(t *testing.T, text string) *scenario.Scenario {
	t.Helper()
	s, err := scenario.Parse("scenario.yaml", []byte(text))
	require.NoError(t, err)
	return s
}

// stored copies all rows of a table that have arrived into a file of DuckDB, and opens it as a user's source.
func stored(t *testing.T, virtual *table) *tables.Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rows.db")
	db, err := sql.Open("duckdb", file)
	require.NoError(t, err)
	var columns []string
	for _, c := range virtual.Schema() {
		columns = append(columns, fmt.Sprintf("%q %s", c.Name, c.Type))
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE rows ("+strings.Join(columns, ", ")+")")
	require.NoError(t, err)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	require.NoError(t, conn.Raw(func(raw any) error {
		appender, err := duckdb.NewAppenderFromConn(raw.(driver.Conn), "", "rows")
		if err != nil {
			return err
		}
		schema, b := virtual.Schema(), newBatch(virtual.feed.columns(), virtual.feed.dicts)
		from, _ := virtual.feed.bounds()
		for m := from; m < minuteOf(virtual.now()); m++ {
			b.reset()
			virtual.feed.arrivals(m, b)
			for i := range b.n {
				row := []driver.Value{time.UnixMicro(b.time[i]).UTC()}
				for _, c := range schema[1:] {
					col := virtual.column(c.Name)
					row = append(row, b.cols[col].value(i, virtual.feed.columns()[col].class))
				}
				if err := appender.AppendRow(row...); err != nil {
					return err
				}
			}
		}
		return appender.Close()
	}))
	require.NoError(t, conn.Close())
	require.NoError(t, db.Close())
	s, err := tables.Open(tables.Options{Type: tables.DuckDB, DSN: file})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// value is a value as DuckDB's appender takes it.
func (v *vector) value(i int, class class) any {
	switch {
	case v.null[i]:
		return nil
	case class == classTime:
		return time.UnixMicro(int64(v.num[i])).UTC()
	case class == classBool:
		return v.dict.names[v.text[i]] == "true"
	case v.dict != nil:
		return v.dict.names[v.text[i]]
	case class == classInteger:
		return int64(v.num[i])
	}
	return v.num[i]
}

// TestSumsOfMinutesEqualSQL holds the two ways of counting together: for every number that a profile has.
func TestSumsOfMinutesEqualSQL(t *testing.T) {
	s := load(t, everything)
	w := &World{scenario: s, seed: 7}
	now := s.From()
	f, column, err := w.datasetFeed(t.Context(), &s.Datasets[0])
	require.NoError(t, err)
	virtual := newTable(f, column, func() time.Time { return now })
	source, err := tables.OpenVirtual(map[string]tables.Virtual{"orders": virtual})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	relation := source.Table("orders", column)
	schema, err := source.Schema(t.Context(), relation)
	require.NoError(t, err)
	cut, err := source.Cut(t.Context(), relation, schema, tables.Window{}, tables.Choice{Bins: 10, Top: 20, MaxColumns: 100, Include: []string{"order_id"}}, nil)
	require.NoError(t, err)
	require.Len(t, cut.Layouts, 8)
	fields := tables.Fields{column: nil}
	for name, l := range cut.Layouts {
		fields[name] = &l
	}

	for day := range 4 {
		// The tables are asked at many times, as an exporter does, and compared at some.
		for ; now.Before(s.From().Add(time.Duration(day)*24*time.Hour + 17*time.Hour)); now = now.Add(5 * time.Minute) {
			_, err := source.Count(t.Context(), relation, schema, tables.Window{From: now.Add(-24 * time.Hour), To: now.Add(time.Minute)}, fields, now)
			require.NoError(t, err)
		}
		rows := stored(t, virtual)
		actual := rows.Table("rows", column)
		for name, window := range map[string]tables.Window{
			"the exporter's window":              {From: now.Add(-24 * time.Hour), To: now.Add(time.Minute)},
			"fifteen minutes":                    {From: now.Add(-15 * time.Minute), To: now},
			"a day of a baseline":                {From: s.From().AddDate(0, 0, day-1), To: s.From().AddDate(0, 0, day)},
			"from within an hour long ago":       {From: s.From().Add(-20*time.Hour - 17*time.Minute), To: now},
			"from and to within minutes":         {From: now.Add(-90*time.Minute - 7*time.Second), To: now.Add(-11 * time.Second)},
			"all rows there are":                 {},
			"what has come before a moment":      {To: now.Add(-3 * time.Hour)},
			"nothing, since it is in the future": {From: now.Add(time.Hour), To: now.Add(2 * time.Hour)},
		} {
			t.Run(fmt.Sprintf("day %d: %s", day, name), func(t *testing.T) {
				want, err := rows.Count(t.Context(), actual, schema, window, fields, now)
				require.NoError(t, err)
				got, err := source.Count(t.Context(), relation, schema, window, fields, now)
				require.NoError(t, err)
				require.Len(t, got.Numbers, len(want.Numbers))
				for column, m := range want.Numbers {
					n := got.Numbers[column]
					require.Equal(t, []any{m.Values, m.Min, m.Max, m.Zeros}, []any{n.Values, n.Min, n.Max, n.Zeros}, column)
					// Sums in another order.
					require.InEpsilon(t, m.Mean, n.Mean, 1e-9, column)
					require.InEpsilon(t, m.Sum, n.Sum, 1e-9, column)
					require.InEpsilon(t, m.Stddev+1, n.Stddev+1, 1e-6, column)
				}
				want.Numbers, got.Numbers = nil, nil
				require.Equal(t, want, got)
			})
		}
		now = now.Add(5 * time.Minute)
	}
}

// Rows are counted by their times alone, where no values are asked for: these must be the times that rows with values have.
func TestGeneratedTimesEqualTheRows(t *testing.T) {
	s := load(t, everything)
	w := &World{scenario: s, seed: 7}
	f, _, err := w.datasetFeed(t.Context(), &s.Datasets[0])
	require.NoError(t, err)
	values, times := newBatch(f.columns(), f.dicts), newBatch(f.columns(), f.dicts)
	rows := 0
	for m := minuteOf(s.From()) - 24*60; m < minuteOf(s.From())+4*24*60; m++ {
		values.reset()
		times.reset()
		f.arrivals(m, values)
		f.times(m, times)
		require.Equal(t, values.n, times.n, "minute %d", m)
		require.Equal(t, values.time, times.time, "minute %d", m)
		rows += times.n
	}
	require.Positive(t, rows)
}

func TestRecordedTimesEqualTheRows(t *testing.T) {
	s := load(t, recorded(t))
	w := &World{scenario: s, recordings: make(map[string]*recording)}
	f, _, err := w.datasetFeed(t.Context(), &s.Datasets[0])
	require.NoError(t, err)
	values, times := newBatch(f.columns(), f.dicts), newBatch(f.columns(), f.dicts)
	for m := minuteOf(s.From()) - 2; m < minuteOf(s.From())+5; m++ {
		f.arrivals(m, values)
		f.times(m, times)
	}
	require.Equal(t, 3, times.n)
	require.Equal(t, values.time, times.time)
}

func TestTimesOfEveryForm(t *testing.T) {
	first := time.Date(2026, 1, 5, 0, 0, 10, 0, time.UTC)
	for name, c := range map[string]struct{ times, data, err string }{
		"a timestamp":                      {times: "2026-01-05 00:00:10", data: "time: at"},
		"one with an offset":               {times: "2026-01-05T02:00:10+02:00", data: "time: at"},
		"seconds":                          {times: "1767571210", data: "time: at"},
		"seconds with a fraction":          {times: "1767571210.0", data: "time: at"},
		"milliseconds":                     {times: "1767571210000", data: "time: at"},
		"microseconds":                     {times: "1767571210000000", data: "time: at"},
		"nanoseconds":                      {times: "1767571210000000000", data: "time: at"},
		"a form that is given":             {times: "05/01/2026 00.00.10", data: "time: at, time_format: '%d/%m/%Y %H.%M.%S'"},
		"one with an offset that is given": {times: "05/01/2026 02:00:10 +0200", data: "time: at, time_format: '%d/%m/%Y %H:%M:%S %z'"},
		"a day that may be a month":        {times: "05.01.2026 00:00:10", data: "time: at, time_format: '%d.%m.%Y %H:%M:%S'"},
		"times that mean a missing value":  {times: "9999-12-31 00:00:00,0\n2026-01-05 00:00:10,1\n,2\n0001-01-01 00:00:00", data: "time: at"},
		"another year":                     {times: "2001-06-01 00:00:10", data: "time: at, anchor: 2001-06-01"},
		"events long before the start alone": {
			times: "2025-12-01 00:00:10", data: "time: at",
			err: "no event of",
		},
		"events after the end alone": {
			times: "2026-02-01 00:00:10", data: "time: at, shift: 1d",
			err: "those of the file are from 2026-02-01 00:00:10 to 2026-02-01 00:00:10, in the replay from 2026-02-02 00:00:10 to 2026-02-02 00:00:10; want data.anchor",
		},
		"another year without an anchor": {
			times: "2001-06-01 00:00:10", data: "time: at",
			err: "events.csv is in the replay, from 2026-01-05 00:00:00 to 2026-01-06 00:00:00: those of the file are from 2001-06-01 00:00:10 to 2001-06-01 00:00:10; want data.anchor, the time of the file at which the replay starts, or another start",
		},
		"no time": {
			times: "2026-01-05 00:00:10,1\nn/a", data: "time: at",
			err: `events.csv has "n/a" in row 2, which is not a time; want a date and a time such as 2026-01-31 12:00:00, seconds or milliseconds since 1970, or data.time_format in the scenario, such as '%d/%m/%Y %H:%M'`,
		},
		"no time of the form": {
			times: "31/12/2025 10:00", data: "time: at, time_format: '%m/%d/%Y %H:%M'",
			err: `events.csv has "31/12/2025 10:00" in row 1, which is not a time; want the form of data.time_format, "%m/%d/%Y %H:%M"`,
		},
		"a day that may be a month and has no form": {
			times: "05/01/2026 12:00:10 AM", data: "time: at",
			err: `has "05/01/2026 12:00:10 AM" in row 1, which is not a time; want a date and a time such as 2026-01-31 12:00:00, seconds or milliseconds since 1970, or data.time_format in the scenario`,
		},
		"a date that may be another":       {times: "01/05/2026", data: "time: at", err: `has "01/05/2026" in row 1, which is not a time; want`},
		"a date that begins with its year": {times: "2026-01-05 00:00:10,1\n2026-01-06", data: "time: at"},
		"a column without times":           {times: "true", data: "time: at", err: `column "at" is BOOLEAN; want a date and a time`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "events.csv")
			require.NoError(t, os.WriteFile(file, []byte("at,amount\n"+c.times+",3\n"), 0o600))
			s := load(t, "name: recorded\nstart: 2026-01-05\nlength: 1d\ndatasets:\n- {name: orders, data: {file: "+file+", "+c.data+"}}\n")
			w := &World{scenario: s, recordings: make(map[string]*recording)}
			f, _, err := w.datasetFeed(t.Context(), &s.Datasets[0])
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			b := newBatch(f.columns(), f.dicts)
			f.arrivals(minuteOf(s.From()), b)
			require.Equal(t, []int64{first.UnixMicro()}, b.time)
		})
	}
}

// recorded is a scenario of a file with three events.
func recorded(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "events.csv")
	require.NoError(t, os.WriteFile(file, []byte("at,amount\n2026-01-05 00:00:10,1\n2026-01-05 00:00:20,2\n2026-01-05 00:02:30,3\n"), 0o600))
	return "name: recorded\nstart: 2026-01-05\nlength: 1d\ndatasets:\n- {name: orders, data: {file: " + file + ", time: at}}\n"
}

// TestOutlineEqualsSQL holds the outlines that bins are cut from together: of fewer rows than are sampled, by DuckDB or here.
func TestOutlineEqualsSQL(t *testing.T) {
	s := load(t, everything)
	w, now := &World{scenario: s, seed: 7}, s.From().Add(60*time.Hour)
	f, column, err := w.datasetFeed(t.Context(), &s.Datasets[0])
	require.NoError(t, err)
	virtual := newTable(f, column, func() time.Time { return now })
	source, err := tables.OpenVirtual(map[string]tables.Virtual{"orders": virtual})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	rows := stored(t, virtual)
	relation, actual := source.Table("orders", column), rows.Table("rows", column)
	schema, err := source.Schema(t.Context(), relation)
	require.NoError(t, err)
	choice := tables.Choice{Bins: 10, Top: 20, MaxColumns: 100, Include: []string{"order_id"}}
	for name, window := range map[string]tables.Window{
		"a day":           {From: s.From().Add(24 * time.Hour), To: s.From().Add(48 * time.Hour)},
		"all rows":        {},
		"within a minute": {From: s.From().Add(24*time.Hour + 10*time.Second), To: s.From().Add(24*time.Hour + 50*time.Second)},
		"no rows":         {From: now.Add(time.Hour), To: now.Add(2 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := rows.Outline(t.Context(), actual, schema, window, choice, nil)
			require.NoError(t, err)
			got, err := source.Outline(t.Context(), relation, schema, window, choice, nil)
			require.NoError(t, err)
			require.Equal(t, want.Rows, got.Rows)
			require.Len(t, got.Columns, len(want.Columns))
			for name, c := range want.Columns {
				o := got.Columns[name]
				require.Equal(t, c.Values, o.Values, name)
				require.InEpsilon(t, c.Distinct+1, o.Distinct+1, 0.3, name) // DuckDB estimates it.
				require.Equal(t, c.Categories, o.Categories, name)
				require.Equal(t, c.More, o.More, name)
				require.InDeltaSlice(t, c.Quantiles, o.Quantiles, 1e-9, name)
				require.Equal(t, c.Moments == nil, o.Moments == nil, name)
				if m := c.Moments; m != nil {
					require.Equal(t, []any{m.Values, m.Min, m.Max}, []any{o.Moments.Values, o.Moments.Min, o.Moments.Max}, name)
					require.InEpsilon(t, m.Mean, o.Moments.Mean, 1e-9, name)
					require.InDelta(t, m.Stddev, o.Moments.Stddev, 1e-9*m.Stddev, name)
				}
			}
		})
	}
}
