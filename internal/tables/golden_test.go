package tables

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

var update = flag.Bool("update", false, "write the golden files")

// recorder is a database that keeps the statements and runs none.
type recorder struct{ statements []string }

var errRecorded = errors.New("recorded")

func (r *recorder) Connect(context.Context) (driver.Conn, error) { return r, nil }
func (r *recorder) Driver() driver.Driver                        { return nil }
func (r *recorder) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }

func (r *recorder) Begin() (driver.Tx, error) { return nil, errors.ErrUnsupported }
func (r *recorder) Close() error              { return nil }

func (r *recorder) QueryContext(_ context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	r.statements = append(r.statements, query)
	return nil, errRecorded
}

// The SQL of every construct in every dialect, to be read in a diff. That it is
// right is verified by the tests with the real engines.
func TestGoldenSQL(t *testing.T) {
	types := map[Type]struct {
		dialect dialect
		types   map[Class]string
	}{
		DuckDB:     {duckDB{}, map[Class]string{Float: "DOUBLE", Integer: "BIGINT", Text: "VARCHAR", Boolean: "BOOLEAN", Timestamp: "TIMESTAMP", TimestampTZ: "TIMESTAMPTZ", Date: "DATE"}},
		PostgreSQL: {postgreSQL{}, map[Class]string{Float: "FLOAT8", Integer: "INT8", Text: "TEXT", Boolean: "BOOL", Timestamp: "TIMESTAMP", TimestampTZ: "TIMESTAMPTZ", Date: "DATE"}},
		ClickHouse: {clickHouse{}, map[Class]string{Float: "Nullable(Float64)", Integer: "Int64", Text: "LowCardinality(Nullable(String))", Boolean: "Bool", TimestampTZ: "DateTime64(3)", Date: "Date32"}},
		MySQL:      {mySQL{}, map[Class]string{Float: "DOUBLE", Integer: "UNSIGNED BIGINT", Text: "ENUM", Boolean: "TINYINT", Timestamp: "DATETIME", TimestampTZ: "TIMESTAMP", Date: "DATE"}},
		BigQuery:   {bigQuery{}, map[Class]string{Float: "FLOAT", Integer: "INTEGER", Text: "STRING", Boolean: "BOOLEAN", Timestamp: "DATETIME", TimestampTZ: "TIMESTAMP", Date: "DATE"}},
		Trino:      {trino{}, map[Class]string{Float: "double", Integer: "bigint", Text: "varchar(10)", Boolean: "boolean", Timestamp: "timestamp(3)", TimestampTZ: "timestamp(3) with time zone", Date: "date"}},
	}
	asOf := time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	window := Window{From: asOf.Add(-time.Hour), To: asOf}
	classes := []Class{Float, Integer, Text, Boolean, Timestamp, TimestampTZ, Date}
	names := map[Class]string{Float: "amount", Integer: "quantity", Text: "provider", Boolean: "gift", Timestamp: "seen", TimestampTZ: "at", Date: "born"}
	fields := Fields{
		"amount":   new(binning.NewNumeric([]float64{0, 0, 12.5}, true)),
		"quantity": new(binning.NewNumeric([]float64{0, 10, 1e6}, false)),
		"provider": new(binning.NewCategorical([]string{"visa", "O'Brien", `back\slash`, ""}, 2, false)),
		"gift":     new(binning.NewCategorical([]string{"true", "false"}, 20, false)),
		"seen":     new(binning.NewAged()),
		"born":     new(binning.NewAged()),
		"notes":    nil,
	}
	for typ, tc := range types {
		t.Run(string(typ), func(t *testing.T) {
			r := &recorder{}
			s := &Source{db: sql.OpenDB(r), dialect: tc.dialect, typ: typ, secrets: redactor("")}
			t.Cleanup(func() { require.NoError(t, s.Close()) })
			var schema []Column
			for _, class := range classes {
				column := names[class]
				if name, ok := tc.types[class]; ok {
					if typ == MySQL {
						class = tc.dialect.class(name) // It has no NaN and no boolean.
					} else {
						require.Equal(t, class, tc.dialect.class(name), name)
					}
					c := Column{Name: column, Type: name, Class: class}
					(&Reading{}).interpret(tc.dialect, &c, column == "at", false)
					schema = append(schema, c)
				}
			}
			schema = append(schema, Column{Name: "notes", Type: "JSON", Class: Opaque})
			orders := s.Table("shop.orders", "at")
			source := orders.from + " AS t"

			record := func(what string, f func() error) {
				from := len(r.statements)
				require.ErrorIs(t, f(), errRecorded, what)
				for i := from; i < len(r.statements); i++ {
					r.statements[i] = "-- " + what + "\n" + r.statements[i] + ";\n"
				}
				if n := len(r.statements); n == from+2 && r.statements[from] == r.statements[from+1] {
					r.statements = r.statements[:from+1] // DuckDB gets a second try.
				}
			}
			record("schema", func() error { _, err := s.Schema(t.Context(), orders); return err })
			record("profile of a window", func() error { _, err := s.Count(t.Context(), orders, schema, window, fields, asOf); return err })
			record("profile of a table without a timestamp column", func() error {
				_, err := s.Count(t.Context(), s.Query("SELECT * FROM shop.orders;", ""), schema, Window{}, Fields{"born": fields["born"]}, asOf)
				return err
			})
			record("latest record", func() error {
				_, err := s.Count(t.Context(), orders, schema, Window{To: asOf}, Fields{}, asOf)
				return err
			})
			record("statistics that choose bins", func() error { _, err := s.statistics(t.Context(), source, schema[:4]); return err })
			record("quantiles", func() error { return s.quantiles(t.Context(), source, schema[:2], Outline{}) })
			record("categories", func() error { return s.categories(t.Context(), source, schema[3], Outline{}) })
			record("comparison", func() error {
				_, err := s.Numbers(t.Context(), "SELECT 1 WHERE at >= :window_start AND at < :window_end", window)
				return err
			})

			record("hours of a window", func() error {
				_, err := s.Hourly(t.Context(), orders, schema, window, Fields{"amount": nil})
				return err
			})
			split := Split{{"provider", []string{"visa", "O'Brien"}}, {"quantity", []string{"1"}}}
			record("parts of a window", func() error {
				_, _, err := s.CountParts(t.Context(), orders, schema, window, Starts{Recent: asOf.Add(-2 * time.Minute), Newest: asOf.Add(-time.Minute)}, split, Fields{"amount": nil}, asOf)
				return err
			})
			record("the rest of a split", func() error {
				_, err := s.Count(t.Context(), orders.Part(s, split, 5), schema, window, Fields{}, asOf)
				return err
			})
			record("duplicates of parts", func() error {
				_, err := s.DuplicateParts(t.Context(), orders, schema, window, split, []string{"born"}, 10, 10)
				return err
			})
			record("sample of two windows", func() error {
				var asked []SampleField
				for _, c := range schema {
					asked = append(asked, SampleField{Column: c.Name, Layout: fields[c.Name]})
				}
				_, err := s.Sample(t.Context(), orders, schema, []Window{window, {From: window.From.AddDate(0, 0, -7), To: window.To.AddDate(0, 0, -7)}}, asked, 0.25, 1000, asOf)
				return err
			})
			record("records outside the window", func() error { _, err := s.Outside(t.Context(), orders, schema, window); return err })
			record("duplicates of many rows", func() error {
				_, err := s.Duplicates(t.Context(), orders, schema, window, []string{"quantity", "provider"}, 100, 10)
				return err
			})
			record("checks", func() error {
				results, err := s.Check(t.Context(), orders, schema, window, []Check{
					{Column: "provider", In: []string{"visa", "O'Brien"}},
					{Column: "quantity", AtLeast: "0", AtMost: "10"},
					{Column: "provider", Matches: `^\w+$`},
					{Column: "born", AtLeast: "2026-11-24"},
					{Column: "amount", NotNull: true},
					{SQL: "amount >= 0"},
				})
				require.NoError(t, err)
				return results[0].Err
			})

			record("classes against their labels", func() error {
				_, err := s.labelled(t.Context(), orders, schema, window, Labels{Prediction: "provider", Label: "gift", Model: "provider", Version: "quantity", Segment: "born", LabelTime: "born"}, 1000)
				return err
			})
			record("quantities against their labels", func() error {
				_, err := s.labelled(t.Context(), orders, schema, Window{}, Labels{Prediction: "amount", Label: "quantity", Numeric: true}, 1000)
				return err
			})

			path, got := "testdata/"+string(typ)+".sql", strings.Join(r.statements, "\n")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), got)
		})
	}
}
