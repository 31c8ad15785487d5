package tables_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// asOf is the moment of counting in all tests.
var asOf = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

// engine is a real database and how it spells the types of the test's table.
type engine struct {
	name    string
	open    func(t *testing.T) *tables.Source
	columns []string // SQL types of record's columns, in their order
	// store, if set, makes a table of a query's result, and returns its name. Other engines read the rows from the query each time.
	store func(t *testing.T, query string) string
}

func engines() []engine {
	return []engine{
		{
			name: "duckdb",
			open: func(t *testing.T) *tables.Source { return open(t, tables.Options{Type: tables.DuckDB}) },
			columns: []string{
				"DOUBLE", "INTEGER", "DECIMAL(18,3)", "VARCHAR", "BOOLEAN", "TIMESTAMP", "TIMESTAMPTZ", "DATE",
			},
		},
		{
			name: "postgres",
			open: func(t *testing.T) *tables.Source {
				return open(t, tables.Options{Type: tables.PostgreSQL, DSN: testtools.Postgres(t)})
			},
			columns: []string{
				"DOUBLE PRECISION", "INTEGER", "NUMERIC(18,3)", "TEXT", "BOOLEAN", "TIMESTAMP", "TIMESTAMPTZ", "DATE",
			},
		},
		{
			name: "clickhouse",
			open: func(t *testing.T) *tables.Source {
				return open(t, tables.Options{Type: tables.ClickHouse, DSN: testtools.ClickHouse(t)})
			},
			columns: []string{
				"Nullable(Float64)", "Nullable(Int32)", "Nullable(Decimal(18,3))", "LowCardinality(Nullable(String))", "Nullable(Bool)", "DateTime64(6, 'UTC')",
				"Nullable(DateTime('UTC'))", "Nullable(Date32)",
			},
		},
		trino(),
		{
			name: "mysql",
			open: func(t *testing.T) *tables.Source {
				return open(t, tables.Options{Type: tables.MySQL, DSN: testtools.MariaDB(t)})
			},
			columns: []string{
				"DOUBLE", "SIGNED", "DECIMAL(18,3)", "CHAR", "SIGNED", "DATETIME(6)", "DATETIME", "DATE",
			},
		},
	}
}

// trino takes seconds to plan a query in which thousands of rows stand, so it reads them once.
func trino() engine {
	var dsn string
	var stored int
	return engine{
		name: "trino",
		open: func(t *testing.T) *tables.Source {
			dsn = testtools.Trino(t)
			return open(t, tables.Options{Type: tables.Trino, DSN: dsn})
		},
		columns: []string{
			"DOUBLE", "INTEGER", "DECIMAL(18,3)", "VARCHAR", "BOOLEAN", "TIMESTAMP(6)", "TIMESTAMP(3) WITH TIME ZONE", "DATE",
		},
		store: func(t *testing.T, query string) string {
			t.Helper()
			db, err := sql.Open("trino", dsn)
			require.NoError(t, err)
			defer db.Close()
			stored++
			table := fmt.Sprint("memory.default.records", stored)
			_, err = db.ExecContext(t.Context(), "CREATE TABLE "+table+" AS "+query)
			require.NoError(t, err)
			return table
		},
	}
}

// truth is how the engine writes a boolean.
func (e engine) truth(b bool) string {
	switch {
	case e.name != "mysql":
		return fmt.Sprint(b)
	case b:
		return "1"
	}
	return "0"
}

// records are the test's records as far as the engine can hold them: MySQL has neither NaN nor infinity.
func (e engine) records(n int) []record {
	rs := records(n)
	for i, r := range rs {
		if e.name == "mysql" && r.amount != nil && *r.amount-*r.amount != 0 {
			rs[i].amount = nil
		}
	}
	return rs
}

// layouts are those of the test with the engine's booleans and numbers.
func (e engine) layouts(ls map[string]binning.Layout) map[string]binning.Layout {
	ls = maps.Clone(ls)
	if price, ok := ls["price"]; ok && e.name == "postgres" {
		// NUMERIC can be NaN in PostgreSQL.
		price.Float = true
		ls["price"] = price
	}
	if e.name == "mysql" {
		amount, flag := ls["amount"], ls["flag"]
		amount.Float = false
		for i, v := range flag.Top {
			flag.Top = slices.Clone(flag.Top)
			flag.Top[i] = e.truth(v == "true")
		}
		ls["amount"], ls["flag"] = amount, flag
	}
	return ls
}

func open(t *testing.T, o tables.Options) *tables.Source {
	t.Helper()
	s, err := tables.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// The same tests run on every real engine, which starts once for all of them.
func TestEngines(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			s := e.open(t)
			for name, test := range map[string]func(*testing.T, engine, *tables.Source){
				"the same rows give the counts of a count by hand":       countEqualsCountByHand,
				"one scan by hour finds what a scan of each hour does":   hourlyEqualsHours,
				"one scan counts the window and the last of it":          recentEqualsCount,
				"one scan counts all parts of a split":                   partsEqualTheirOwnCounts,
				"rows are counted by minute":                             rowsByEqualsCount,
				"a sample of all rows has the counts of all rows":        sampleEqualsCount,
				"bins are cut where the values are":                      cutChoosesBins,
				"hostile column names are names":                         hostileColumnNames,
				"texts and numbers are times":                            textsAndNumbersAreTimes,
				"labels are counted as by hand":                          labelsAreCounted,
				"without a time of their own, records have an age as of": ageWithoutTimeColumn,
			} {
				t.Run(name, func(t *testing.T) { test(t, e, s) })
			}
		})
	}
}

// record is a row of the test's table. A nil pointer is NULL.
type record struct {
	amount   *float64
	quantity *int
	price    *float64
	provider *string
	flag     *bool
	at       time.Time
	seen     *time.Time
	born     *time.Time
}

var names = []string{"amount", "quantity", "price", "provider", "flag", "at", "seen", "born"}

func records(n int) []record {
	r := rand.New(rand.NewPCG(1, 2))
	some := func(share float64) bool { return r.Float64() >= share }
	providers := []string{"visa", "amex", "O'Brien & Co", `back\slash`, "Ünïcode 日本", `"quoted"`, "null", "", "-- drop", "tab\there"}
	rs := make([]record, n)
	for i := range rs {
		rs[i].at = asOf.Add(-time.Duration(r.IntN(48*3600)) * time.Second)
		if some(0.1) {
			rs[i].amount = new(math.Round(r.NormFloat64()*1000) / 10)
			switch r.IntN(40) {
			case 0:
				*rs[i].amount = math.NaN()
			case 1:
				*rs[i].amount = math.Inf(1)
			case 2:
				*rs[i].amount = math.Inf(-1)
			case 3, 4, 5, 6, 7, 8, 9, 10, 11, 12:
				*rs[i].amount = 0
			}
		}
		if some(0.05) {
			rs[i].quantity = new(r.IntN(500) - 20)
		}
		if some(0.02) {
			rs[i].price = new(float64(r.IntN(100_000)) / 1000)
		}
		if some(0.08) {
			rs[i].provider = new(providers[min(r.IntN(len(providers)), r.IntN(len(providers)))])
		}
		if some(0.5) {
			rs[i].flag = new(some(0.3))
		}
		if some(0.1) {
			rs[i].seen = new(rs[i].at.Add(-time.Duration(r.ExpFloat64()*40*3600) * time.Second).Add(time.Hour))
		}
		if some(0.1) {
			rs[i].born = new(asOf.Truncate(24*time.Hour).AddDate(0, 0, -r.IntN(1000)+1))
		}
	}
	return rs
}

// texts writes a record's columns as texts, without the NULLs.
func (e engine) texts(r record) []*string {
	text := func(v any) *string {
		switch v := v.(type) {
		case *float64:
			if v != nil {
				return new(strings.Replace(strings.TrimPrefix(fmt.Sprint(*v), "+"), "Inf", "Infinity", 1))
			}
		case *int:
			if v != nil {
				return new(fmt.Sprint(*v))
			}
		case *bool:
			if v != nil {
				return new(e.truth(*v))
			}
		case *time.Time:
			if v != nil {
				return new(v.Format("2006-01-02 15:04:05"))
			}
		}
		return nil
	}
	var born *string
	if r.born != nil {
		born = new(r.born.Format("2006-01-02"))
	}
	return []*string{text(r.amount), text(r.quantity), text(r.price), r.provider, text(r.flag), text(&r.at), text(r.seen), born}
}

// relation writes the records as a query, which makes the same table for every
// engine without a right to create one.
func (e engine) relation(t *testing.T, s *tables.Source, rs []record) tables.Relation {
	t.Helper()
	casts := make([]string, len(names))
	for i, n := range names {
		casts[i] = fmt.Sprintf(`CAST(v."%s" AS %s) AS "%s"`, n, e.columns[i], n)
	}
	columns := func(format, separator string) string {
		all := make([]string, len(names))
		for i, n := range names {
			all[i] = fmt.Sprintf(format, n)
		}
		return strings.Join(all, separator)
	}
	var with, from string
	switch e.name {
	case "clickhouse":
		from = "values('" + columns("%s Nullable(String)", ", ") + "', " + e.rows(rs) + ") AS v"
	case "mysql":
		with, from = "WITH v("+columns("%s", ", ")+") AS (VALUES "+e.rows(rs)+") ", "v"
		for i, c := range casts {
			casts[i] = strings.ReplaceAll(c, `"`, "`")
		}
	case "trino": // It is quick to read one text.
		texts := make([][]*string, len(rs))
		for i, r := range rs {
			texts[i] = e.texts(r)
		}
		text, err := json.Marshal(texts)
		require.NoError(t, err)
		from = "UNNEST(CAST(json_parse('" + strings.ReplaceAll(string(text), "'", "''") + "') AS ARRAY(ROW(" + columns(`"%s" VARCHAR`, ", ") + ")))) AS v(" + columns(`"%s"`, ", ") + ")"
	default:
		from = "(VALUES " + e.rows(rs) + ") AS v(" + columns(`"%s"`, ", ") + ")"
	}
	query := with + "SELECT " + strings.Join(casts, ", ") + " FROM " + from
	if e.store != nil {
		query = "SELECT * FROM " + e.store(t, query)
	}
	return s.Query(query, "at")
}

// rows writes the records as literals of texts.
func (e engine) rows(rs []record) string {
	rows := make([]string, len(rs))
	for i, r := range rs {
		var values []string
		for _, text := range e.texts(r) {
			if text == nil {
				values = append(values, "NULL")
				continue
			}
			quoted := strings.ReplaceAll(*text, "'", "''")
			if e.name == "clickhouse" || e.name == "mysql" {
				quoted = strings.ReplaceAll(quoted, `\`, `\\`)
			}
			values = append(values, "'"+quoted+"'")
		}
		rows[i] = "(" + strings.Join(values, ", ") + ")"
	}
	return strings.Join(rows, ",\n")
}

// want counts the records one by one, by the definition of the bins and without
// any of the code under test.
func (e engine) want(rs []record, w tables.Window, layouts map[string]binning.Layout) tables.Profile {
	p := tables.Profile{Nulls: map[string]int64{}, Values: map[string]map[string]int64{}, Numbers: map[string]tables.Moments{}}
	for name, l := range layouts {
		p.Nulls[name] = 0
		p.Values[name] = map[string]int64{}
		for _, bin := range l.Bins() {
			p.Values[name][bin] = 0
		}
	}
	for _, r := range rs {
		if r.at.Before(w.From) || !r.at.Before(w.To) {
			continue
		}
		p.Rows++
		if r.at.After(p.Latest) {
			p.Latest = r.at
		}
		count := func(name, bin string) { p.Values[name][bin]++ }
		null := func(name string) { p.Nulls[name]++; count(name, binning.Null) }
		number := func(name string, v float64) {
			zeros := int64(0)
			if v == 0 {
				zeros = 1
			}
			p.Numbers[name] = p.Numbers[name].Plus(tables.Moments{Values: 1, Min: v, Max: v, Mean: v, Sum: v, Zeros: zeros})
		}
		interval := func(name string, v float64) {
			l := layouts[name]
			if l.Kind == binning.Numeric {
				number(name, v)
			}
			bins := l.Bins()
			bins = bins[len(bins)-len(l.Edges)-1:]
			for i, e := range l.Edges {
				if v <= e {
					count(name, bins[i])
					return
				}
			}
			count(name, bins[len(bins)-1])
		}
		category := func(name, v string) {
			l := layouts[name]
			switch {
			case slices.Contains(l.Top, v):
				count(name, binning.CategoryBin(v))
			case l.Open || slices.Contains(l.Rest, v):
				count(name, binning.Other)
			default:
				count(name, binning.Unseen)
			}
		}
		age := func(name string, at time.Time) {
			if at.After(r.at) {
				count(name, binning.Future)
				return
			}
			interval(name, r.at.Sub(at).Seconds())
		}
		switch v := r.amount; {
		case v == nil:
			null("amount")
		case math.IsNaN(*v):
			count("amount", binning.NaN)
		case math.IsInf(*v, 0):
			count("amount", binning.Inf)
		default:
			interval("amount", *v)
		}
		if r.quantity == nil {
			null("quantity")
		} else {
			interval("quantity", float64(*r.quantity))
		}
		if r.price == nil {
			null("price")
		} else {
			interval("price", *r.price)
		}
		if r.provider == nil {
			null("provider")
		} else {
			category("provider", *r.provider)
		}
		if r.flag == nil {
			null("flag")
		} else {
			category("flag", e.truth(*r.flag))
			if e.name == "mysql" { // Its truths are numbers.
				number("flag", map[bool]float64{true: 1}[*r.flag])
			}
		}
		if r.seen == nil {
			null("seen")
		} else {
			age("seen", *r.seen)
		}
		if r.born == nil {
			null("born")
		} else {
			age("born", *r.born)
		}
	}
	return p
}

func fields(layouts map[string]binning.Layout) tables.Fields {
	f := make(tables.Fields)
	for name, l := range layouts {
		f[name] = &l
	}
	return f
}

// sameProfile compares all but the last digits of moments, which databases sum up in orders of their own.
func sameProfile(t *testing.T, want, got tables.Profile, message string, args ...any) {
	t.Helper()
	message = fmt.Sprintf(message, args...)
	require.ElementsMatch(t, slices.Collect(maps.Keys(want.Numbers)), slices.Collect(maps.Keys(got.Numbers)), message)
	for name, w := range want.Numbers {
		g := got.Numbers[name]
		require.Equal(t, []any{w.Values, w.Min, w.Max, w.Zeros}, []any{g.Values, g.Min, g.Max, g.Zeros}, "%s: %s", message, name)
		require.InDelta(t, w.Sum, g.Sum, 1e-9*float64(w.Values)*(math.Abs(w.Max)+math.Abs(w.Min)), "%s: %s", message, name)
		require.InDeltaSlice(t, []float64{w.Mean, w.Stddev}, []float64{g.Mean, g.Stddev}, 1e-9*(math.Abs(w.Max)+math.Abs(w.Min)), "%s: %s", message, name)
	}
	want.Numbers, got.Numbers = nil, nil
	require.Equal(t, want, got, message)
}

// The same rows give the same counts on every database, and they are those of
// a count by hand. The layouts exercise every kind of bin.
func countEqualsCountByHand(t *testing.T, e engine, s *tables.Source) {
	rs := e.records(2000)
	window := tables.Window{From: asOf.Add(-24 * time.Hour), To: asOf}
	layouts := map[string]binning.Layout{
		"amount":   binning.NewNumeric([]float64{-200, -50, 0, 0, 0, 30.5, 120}, true),
		"quantity": binning.NewNumeric([]float64{0, 10, 100, 333}, false),
		"price":    binning.NewNumeric([]float64{0, 12.345, 50, 99.999}, false),
		"provider": binning.NewCategorical([]string{"visa", "", "O'Brien & Co", `back\slash`, "null", `"quoted"`, "-- drop"}, 5, false),
		"flag":     binning.NewCategorical([]string{"true"}, 5, false),
		"seen":     binning.NewAged(),
		"born":     binning.NewAged(),
	}
	open := maps.Clone(layouts)
	open["provider"] = binning.NewCategorical([]string{"visa", "tab\there"}, 2, true)
	open["amount"] = binning.NewNumeric(nil, true)
	open["flag"] = binning.NewCategorical(nil, 5, false)

	r := e.relation(t, s, rs)
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	for name, ls := range map[string]map[string]binning.Layout{"closed": layouts, "open": open} {
		ls = e.layouts(ls)
		for _, w := range []tables.Window{window, {From: asOf.Add(-time.Minute), To: asOf}, {From: asOf.Add(-72 * time.Hour), To: asOf.Add(-71 * time.Hour)}} {
			got, err := s.Count(t.Context(), r, schema, w, fields(ls), asOf)
			require.NoError(t, err)
			sameProfile(t, e.want(rs, w, ls), got, "%s layouts, window %v", name, w)
		}
	}
}

// One scan by hour finds what a scan of each hour does.
func hourlyEqualsHours(t *testing.T, e engine, s *tables.Source) {
	r := e.relation(t, s, e.records(300))
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	layouts := someLayouts()
	// A window that begins and ends within an hour, with an hour before the first record.
	layouts = e.layouts(layouts)
	window := tables.Window{From: asOf.Add(-49*time.Hour - 10*time.Minute), To: asOf.Add(-44*time.Hour + 20*time.Minute)}
	hourly, err := s.Hourly(t.Context(), r, schema, window, fields(layouts))
	require.NoError(t, err)
	require.Greater(t, len(hourly), 3)
	for hour := window.From.Truncate(time.Hour); hour.Before(window.To); hour = hour.Add(time.Hour) {
		w := tables.Window{From: hour, To: hour.Add(time.Hour)}
		if w.From.Before(window.From) {
			w.From = window.From
		}
		if w.To.After(window.To) {
			w.To = window.To
		}
		of, err := s.Count(t.Context(), r, schema, w, fields(layouts), w.To)
		require.NoError(t, err)
		if of.Rows == 0 {
			require.NotContains(t, hourly, hour)
			continue
		}
		sameProfile(t, of, hourly[hour], "%s", hour)
	}
}

// someLayouts are of some columns of record.
func someLayouts() map[string]binning.Layout {
	return map[string]binning.Layout{
		"amount":   binning.NewNumeric([]float64{-200, -50, 0, 0, 0, 30.5, 120}, true),
		"quantity": binning.NewNumeric([]float64{0, 10, 100, 333}, false),
		"provider": binning.NewCategorical([]string{"visa", "", "O'Brien & Co", `back\slash`}, 2, false),
		"flag":     binning.NewCategorical([]string{"true"}, 5, false),
		"seen":     binning.NewAged(),
	}
}

func recentEqualsCount(t *testing.T, e engine, s *tables.Source) {
	r := e.relation(t, s, records(300))
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	asked := fields(someLayouts())
	asked["price"] = nil
	window := tables.Window{From: asOf.Add(-30 * time.Hour), To: asOf.Add(time.Minute)}
	for name, recent := range map[string]time.Time{
		"six hours":       asOf.Add(-6 * time.Hour),
		"all of it":       window.From,
		"none of it":      window.To,
		"a millisecond":   window.To.Add(-time.Millisecond),
		"within a minute": asOf.Add(-90*time.Minute - 7*time.Second),
	} {
		whole, err := s.Count(t.Context(), r, schema, window, asked, asOf)
		require.NoError(t, err)
		last, err := s.Count(t.Context(), r, schema, tables.Window{From: recent, To: window.To}, asked, asOf)
		require.NoError(t, err)
		newest := recent.Add(window.To.Sub(recent) / 3)
		got, err := s.CountRecent(t.Context(), r, schema, window, tables.Starts{Recent: recent, Newest: newest}, asked, asOf)
		require.NoError(t, err)
		// The moments of parts are those of the whole, but for what doubles round.
		sameProfile(t, whole, got.Full, "%s", name)
		sameProfile(t, last, got.Recent, "%s", name)
		rows, err := s.Rows(t.Context(), r, tables.Window{From: newest, To: window.To})
		require.NoError(t, err)
		require.Equal(t, rows, got.Newest, name)
		alone, err := s.CountRecent(t.Context(), r, schema, window, tables.Starts{Newest: newest}, tables.Fields{}, asOf)
		require.NoError(t, err)
		require.Equal(t, []int64{whole.Rows, 0, rows}, []int64{alone.Full.Rows, alone.Recent.Rows, alone.Newest}, name)
	}
	empty := tables.Window{From: asOf.Add(24 * time.Hour), To: asOf.Add(48 * time.Hour)}
	want, err := s.Count(t.Context(), r, schema, empty, asked, asOf)
	require.NoError(t, err)
	got, err := s.CountRecent(t.Context(), r, schema, empty, tables.Starts{Recent: empty.From.Add(time.Hour), Newest: empty.From.Add(2 * time.Hour)}, asked, asOf)
	require.NoError(t, err)
	require.Equal(t, tables.Windows{Full: want, Recent: want}, got, "a window without rows")
}

func rowsByEqualsCount(t *testing.T, e engine, s *tables.Source) {
	rs := records(300)
	r := e.relation(t, s, rs)
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	window := tables.Window{From: asOf.Add(-9 * time.Hour), To: asOf.Add(-8 * time.Hour)}
	want, rows := map[time.Time]int64{}, int64(0)
	for _, record := range rs {
		if !record.at.Before(window.From) && record.at.Before(window.To) {
			want[record.at.Truncate(time.Minute)]++
			rows++
		}
	}
	require.NotEmpty(t, want)
	got, err := s.RowsBy(t.Context(), r, schema, window, time.Minute)
	require.NoError(t, err)
	require.Equal(t, want, got)
	counted, err := s.Rows(t.Context(), r, window)
	require.NoError(t, err)
	require.Equal(t, rows, counted)
}

func cutChoosesBins(t *testing.T, e engine, s *tables.Source) {
	rs := e.records(2000)
	choice := tables.Choice{Bins: 4, Top: 5, MaxColumns: 100}
	r := e.relation(t, s, rs)
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	var steps []string
	cut, err := s.Cut(t.Context(), r, schema, tables.Window{}, choice, func(done, total int) { steps = append(steps, fmt.Sprint(done, "/", total)) })
	require.NoError(t, err)
	require.EqualValues(t, len(rs), cut.Rows)
	require.Equal(t, []string{"1/4", "2/4", "3/4", "4/4"}, steps)
	require.Equal(t, map[string]string{"at": "the timestamp column; its freshness is watched"}, cut.Left)
	require.ElementsMatch(t, []string{"amount", "quantity", "price", "provider", "flag", "seen", "born"}, slices.Collect(maps.Keys(cut.Layouts)))

	require.Equal(t, binning.NewCategorical([]string{e.truth(true), e.truth(false)}, 5, false), cut.Layouts["flag"])
	provider := cut.Layouts["provider"]
	require.Equal(t, []string{"visa", "amex", "O'Brien & Co", `back\slash`, "Ünïcode 日本"}, provider.Top)
	require.ElementsMatch(t, []string{`"quoted"`, "null", "", "-- drop", "tab\there"}, provider.Rest)

	// Quarters of the values fall into each interval, as near as
	// the database's quantiles are exact.
	p, err := s.Count(t.Context(), r, schema, tables.Window{}, fields(cut.Layouts), asOf)
	require.NoError(t, err)
	var bins []int64
	for _, b := range cut.Layouts["quantity"].Bins()[1:] {
		if b != binning.NaN && b != binning.Inf {
			bins = append(bins, p.Values["quantity"][b])
		}
	}
	// The last quarter is divided near the 99th percentile, and nothing lies beyond the extremes.
	require.Len(t, bins, 7)
	require.Equal(t, []int64{0, 0}, []int64{bins[0], bins[6]})
	for _, n := range []int64{bins[1], bins[2], bins[3], bins[4] + bins[5]} {
		require.InDelta(t, float64(p.Rows-p.Nulls["quantity"])/4, float64(n), 60)
	}
	require.InDelta(t, float64(p.Rows-p.Nulls["quantity"])/100, float64(bins[5]), 25)
	m := p.Numbers["quantity"]
	require.Equal(t, p.Rows-p.Nulls["quantity"], m.Values)
	require.LessOrEqual(t, m.Min, m.Mean)
	require.LessOrEqual(t, m.Mean, m.Max)
	require.Positive(t, m.Stddev)
	require.Zero(t, p.Values["provider"][binning.Unseen])
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func cutOf(t *testing.T, s *tables.Source, query string, choice tables.Choice) (tables.Cut, tables.Profile) {
	t.Helper()
	r := s.Query(query, "")
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	cut, err := s.Cut(t.Context(), r, schema, tables.Window{}, choice, nil)
	require.NoError(t, err)
	p, err := s.Count(t.Context(), r, schema, tables.Window{}, fields(cut.Layouts), asOf)
	require.NoError(t, err)
	return cut, p
}

func TestUnusualColumns(t *testing.T) {
	choice := tables.Choice{Bins: 10, Top: 20, MaxColumns: 100}
	s := open(t, tables.Options{Type: tables.DuckDB})
	for name, tc := range map[string]struct {
		column string // an expression over i = 0 … 999 999
		left   string
		values map[string]int64
	}{
		"a constant number is counted below, at and above itself": {
			column: "5.0::DOUBLE",
			values: map[string]int64{"null": 0, "nan": 0, "inf": 0, "(-Inf,5)": 0, "[5,5]": 1e6, "(5,+Inf)": 0},
		},
		"a constant text is one category": {
			column: "'CA'", values: map[string]int64{"null": 0, "unseen": 0, "CA": 1e6},
		},
		"a number that is always null has one empty interval": {
			column: "NULL::DOUBLE", values: map[string]int64{"null": 1e6, "nan": 0, "inf": 0, "(-Inf,+Inf)": 0},
		},
		"a text that is always null takes any value as unseen": {
			column: "NULL::VARCHAR", values: map[string]int64{"null": 1e6, "unseen": 0},
		},
		"nine zeros of ten leave the zeros an interval": {
			column: "CASE WHEN i % 10 = 0 THEN i ELSE 0 END::DOUBLE",
			values: map[string]int64{"null": 0, "nan": 0, "inf": 0, "(-Inf,0)": 0, "[0,0]": 900001, "(0,+Inf)": 99999},
		},
		"a million different texts look like an identifier": {
			column: "'order-' || i", left: "looks like an identifier: nearly every value is different",
		},
		"a hundred thousand different texts look like free text": {
			column: "'note-' || (i % 100000)", left: "looks like free text: too many different values",
		},
		"an integer with few values is counted by category": {
			column: "i % 2", values: map[string]int64{"null": 0, "unseen": 0, "0": 5e5, "1": 5e5},
		},
		"only NaN and infinities leave no edge": {
			column: "CASE i % 4 WHEN 0 THEN 'nan' WHEN 1 THEN 'inf' WHEN 2 THEN '-inf' END::DOUBLE",
			values: map[string]int64{"null": 25e4, "nan": 25e4, "inf": 5e5, "(-Inf,+Inf)": 0},
		},
		"a list has its nulls counted and nothing else": {
			column: "[i]", left: "of a type without bins",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cut, p := cutOf(t, s, "SELECT "+tc.column+" AS c FROM range(1000000) AS t(i)", choice)
			if tc.left != "" {
				require.Equal(t, map[string]string{"c": tc.left}, cut.Left)
				return
			}
			if name == "nine zeros of ten leave the zeros an interval" {
				// The quantiles are of a sample; their places are not the point. The others have nine parts of their own, and
				// the last of those is divided.
				top := cut.Layouts["c"]
				require.Len(t, top.Edges, 2+8+1+1)
				require.EqualValues(t, 900001, p.Values["c"]["[0,0]"])
				require.Zero(t, p.Values["c"]["(-Inf,0)"])
				beyond, ok := top.OutOfRange(p.Values["c"])
				require.True(t, ok)
				require.Zero(t, beyond)
				return
			}
			require.Equal(t, tc.values, p.Values["c"])
		})
	}
	t.Run("an identifier named by the configuration gets bins all the same", func(t *testing.T) {
		choice := choice
		choice.Include = []string{"order_*"}
		cut, p := cutOf(t, s, "SELECT 'o-' || i AS order_ref, i AS customer_id, i AS amount_cents FROM range(100000) AS t(i)", choice)
		require.True(t, cut.Layouts["order_ref"].Open)
		require.EqualValues(t, 100000-20, p.Values["order_ref"][binning.Other])
		require.Equal(t, map[string]string{"customer_id": "looks like an identifier: nearly every value is different"}, cut.Left)
		require.Equal(t, binning.Numeric, cut.Layouts["amount_cents"].Kind)
	})
	t.Run("ten thousand columns are counted in one scan, and bins go to the first ones", func(t *testing.T) {
		columns := make([]string, 10_000)
		for i := range columns {
			columns[i] = fmt.Sprintf("(i * %d) %% 97 AS c%d", i+1, i)
		}
		r := s.Query("SELECT "+strings.Join(columns, ", ")+" FROM range(50) AS t(i)", "")
		schema, err := s.Schema(t.Context(), r)
		require.NoError(t, err)
		require.Len(t, schema, 10_000)
		cut, err := s.Cut(t.Context(), r, schema, tables.Window{}, choice, nil)
		require.NoError(t, err)
		require.Len(t, cut.Layouts, 100)
		require.Len(t, cut.Left, 9_900)
		f := fields(cut.Layouts)
		for name := range cut.Left {
			f[name] = nil
		}
		p, err := s.Count(t.Context(), r, schema, tables.Window{}, f, asOf)
		require.NoError(t, err)
		require.Len(t, p.Nulls, 10_000)
	})
}

func hostileColumnNames(t *testing.T, e engine, s *tables.Source) {
	hostile := []string{
		`a"b`, "a'b", "a`b", `a\b`, "new\nline", "日本語", "count(*)", "x; DROP TABLE orders; --", "select", " ", strings.Repeat("n", 60),
	}
	quote := func(name string) string {
		if e.name == "mysql" {
			return "`" + strings.ReplaceAll(name, "`", "``") + "`"
		}
		if e.name == "clickhouse" {
			return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
		}
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	if e.name == "mysql" {
		hostile = slices.DeleteFunc(hostile, func(name string) bool { return name == " " }) // It takes none that ends in a space.
	}
	columns := make([]string, len(hostile))
	for i, name := range hostile {
		columns[i] = fmt.Sprintf("%d AS %s", i, quote(name))
	}
	r := s.Query("SELECT "+strings.Join(columns, ", "), "")
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	cut, err := s.Cut(t.Context(), r, schema, tables.Window{}, tables.Choice{Bins: 4, Top: 5, MaxColumns: 100}, nil)
	require.NoError(t, err)
	p, err := s.Count(t.Context(), r, schema, tables.Window{}, fields(cut.Layouts), asOf)
	require.NoError(t, err)
	for i, name := range hostile {
		require.EqualValues(t, 1, p.Values[name][fmt.Sprint(i)], name)
	}
}

func TestFiles(t *testing.T) {
	s := open(t, tables.Options{Type: tables.DuckDB})
	for name, content := range map[string]string{
		"orders.csv":    "id,country\n1,CA\n2,\n3,US\n",
		"orders.ndjson": `{"id":1,"country":"CA"}` + "\n" + `{"id":2}` + "\n" + `{"id":3,"country":"US"}` + "\n",
		"ord'ers.CSV":   "id,country\n1,CA\n2,\n3,US\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, err := s.Files(write(t, name, content), "")
			require.NoError(t, err)
			schema, err := s.Schema(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, []tables.Column{{Name: "id", Type: "BIGINT", Class: tables.Integer}, {Name: "country", Type: "VARCHAR", Class: tables.Text}}, schema)
			p, err := s.Count(t.Context(), r, schema, tables.Window{}, tables.Fields{"country": nil}, asOf)
			require.NoError(t, err)
			require.Equal(t, tables.Profile{Rows: 3, Nulls: map[string]int64{"country": 1}, Values: map[string]map[string]int64{}, Numbers: map[string]tables.Moments{}}, p)
		})
	}
	t.Run("files with different columns are read by the union of their columns", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "1.csv"), []byte("id,country\n1,CA\n"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "2.csv"), []byte("id,land\n2,CA\n"), 0o600))
		r, err := s.Files(filepath.Join(dir, "*.csv"), "")
		require.NoError(t, err)
		schema, err := s.Schema(t.Context(), r)
		require.NoError(t, err)
		require.Len(t, schema, 3)
	})
	t.Run("another ending is refused", func(t *testing.T) {
		_, err := s.Files("orders.xlsx", "")
		require.EqualError(t, err, `"orders.xlsx" does not end in .parquet, .arrow, .feather, .ipc, .csv, .tsv, .json, .ndjson or .jsonl (.gz and .zst may follow those of text); want a folder, or a file or glob with such a name`)
	})
}

func TestTimeColumn(t *testing.T) {
	s := open(t, tables.Options{Type: tables.DuckDB})
	window := tables.Window{From: asOf.Add(-time.Hour), To: asOf}
	for name, tc := range map[string]struct{ query, want string }{
		"a truth is refused":  {"SELECT true AS at", `timestamp column "at" has type BOOLEAN, expected a date, a timestamp, a number since 1970 or a text`},
		"a missing one is":    {"SELECT 1 AS x", `timestamp column "at": no such column; the columns are ["x"]`},
		"a text is read":      {"SELECT 'yesterday' AS at", ""},
		"a date is accepted":  {"SELECT DATE '2026-11-24' AS at", ""},
		"a time zone as well": {"SELECT TIMESTAMPTZ '2026-11-24 05:30:00+00' AS at", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Rows(t.Context(), s.Query(tc.query, "at"), window)
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.want)
		})
	}
	t.Run("the latest record before an instant is not fooled by the future", func(t *testing.T) {
		r := s.Query("SELECT unnest([TIMESTAMP '2026-11-20 10:00:00', TIMESTAMP '2099-01-01 00:00:00']) AS at", "at")
		latest, err := s.Latest(t.Context(), r, asOf)
		require.NoError(t, err)
		require.Equal(t, time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), latest)
		none, err := s.Latest(t.Context(), r, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
		require.NoError(t, err)
		require.True(t, none.IsZero())
	})
}

// Without a time of their own, records have an age at the moment of counting.
func ageWithoutTimeColumn(t *testing.T, e engine, s *tables.Source) {
	r := s.Query("SELECT CAST('2026-11-24 05:58:00' AS "+e.columns[5]+") AS seen", "")
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	p, err := s.Count(t.Context(), r, schema, tables.Window{}, fields(map[string]binning.Layout{"seen": binning.NewAged()}), asOf)
	require.NoError(t, err)
	require.EqualValues(t, 1, p.Values["seen"]["(1m,5m]"])
}

func TestNumbers(t *testing.T) {
	s := open(t, tables.Options{Type: tables.DuckDB})
	window := tables.Window{From: asOf.Add(-time.Hour), To: asOf}
	for name, tc := range map[string]struct {
		query, err string
		want       []int64
	}{
		"columns are found by name": {
			query: "SELECT 7 AS other, 3 AS mismatched_rows, 10::DECIMAL(10,2) AS compared_rows", want: []int64{10, 3},
		},
		"the window is filled in": {
			query: "SELECT count(*) AS compared_rows, sum((seen >= :window_start AND seen < :window_end)::INT) AS mismatched_rows FROM (SELECT unnest([TIMESTAMPTZ '2026-11-24 05:30:00+00', TIMESTAMPTZ '2026-11-24 06:00:00+00']) AS seen)",
			want:  []int64{2, 1},
		},
		"a sum of nothing is 0": {
			query: "SELECT 0 AS compared_rows, sum(1) AS mismatched_rows WHERE false", want: []int64{0, 0},
		},
		"a missing column is named":     {query: "SELECT 1 AS compared_rows", err: `the query returns no column "mismatched_rows"`},
		"a fraction is refused":         {query: "SELECT 1.5 AS compared_rows, 1 AS mismatched_rows", err: `column "compared_rows": 1.5, expected a whole number`},
		"two rows are refused":          {query: "SELECT 1 AS compared_rows, 1 AS mismatched_rows FROM range(2)", err: "the query returns more than one row"},
		"no row is refused":             {query: "SELECT 1 AS compared_rows, 1 AS mismatched_rows FROM range(0)", err: "the query returns no row, expected one"},
		"a text is refused by its text": {query: "SELECT 'many' AS compared_rows, 1 AS mismatched_rows", err: `column "compared_rows": strconv.ParseInt: parsing "many": invalid syntax`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Numbers(t.Context(), tc.query, window, "compared_rows", "mismatched_rows")
			if tc.err != "" {
				require.EqualError(t, err, tc.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

// A password that stands in a connection string must not be in an error,
// whichever form of it a driver quotes.
func TestErrorsHideCredentials(t *testing.T) {
	const password = "s3cr3t p@ss/word"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, o := range map[string]tables.Options{
		"postgres as URL":              {Type: tables.PostgreSQL, DSN: "postgres://user:s3cr3t%20p%40ss%2Fword@127.0.0.1:1/db?connect_timeout=1"},
		"postgres as keywords":         {Type: tables.PostgreSQL, DSN: "host=127.0.0.1 port=1 user=user password=s3cr3t connect_timeout=1"},
		"postgres with an invalid URL": {Type: tables.PostgreSQL, DSN: "postgres://user:s3cr3t p@ss/word@127.0.0.1:port/db"},
		"clickhouse":                   {Type: tables.ClickHouse, DSN: "clickhouse://user:s3cr3t%20p%40ss%2Fword@127.0.0.1:1/db?dial_timeout=1s"},
		"mysql":                        {Type: tables.MySQL, DSN: "user:s3cr3t p@ss/word@tcp(127.0.0.1:1)/db"},
		"trino":                        {Type: tables.Trino, DSN: "https://user:s3cr3t%20p%40ss%2Fword@127.0.0.1:1?catalog=c"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := tables.Open(o)
			if err == nil {
				defer func() { require.NoError(t, s.Close()) }()
				_, err = s.Rows(ctx, s.Table("public.orders", ""), tables.Window{})
			}
			require.Error(t, err)
			for _, secret := range []string{password, "s3cr3t"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}
