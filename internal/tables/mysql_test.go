package tables_test

import (
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// Properties of tables that only MariaDB and MySQL have.
func TestMySQLTables(t *testing.T) {
	dsn := testtools.MariaDB(t)
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	for _, statement := range []string{
		"SET sql_mode = ''", // As servers run that hold zero dates.
		"SET time_zone = '-05:00'",
		"SET GLOBAL time_zone = '-05:00'",
		`CREATE TABLE orders (at DATETIME(3), status ENUM('new', 'paid'), country VARCHAR(20) COLLATE utf8mb4_general_ci, old VARCHAR(20) CHARACTER SET latin1,
			big BIGINT UNSIGNED, price DECIMAL(40, 4), stamp TIMESTAMP NULL, day DATE, flag TINYINT(1), bits BIT(4), doc JSON, body BLOB, y YEAR)`,
		`INSERT INTO orders VALUES
			('2026-11-24 05:30:00.123', 'new', 'CA', 'Münze', 18446744073709551615, 1234567890123456789012345678901234.5, '2026-11-24 00:30:00', '2026-11-23', 1, b'1', '{}', 'x', 2026),
			('2026-11-24 05:40:00', 'paid', 'ca', 'münze', 0, 0.1, '2026-11-23 23:40:00', '0000-00-00', 0, b'1', '{}', 'x', 2026),
			('2026-11-24 05:50:00', 'paid', 'ca ', 'munze', 5, -0.1, NULL, '2026-00-00', NULL, NULL, NULL, NULL, NULL),
			('0000-00-00 00:00:00', 'new', 'US', NULL, 5, 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
			(NULL, 'new', 'US', NULL, 5, 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
			('2027-11-24 05:50:00', 'new', 'US', NULL, 5, 7, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	s := open(t, tables.Options{Type: tables.MySQL, DSN: dsn})
	r := s.Table("test.orders", "at").ReadAs(tables.Reading{}, s)
	schema, err := s.Schema(t.Context(), r)
	require.NoError(t, err)
	classes := make(map[string]tables.Class)
	for _, c := range schema {
		classes[c.Name] = c.Class
	}
	require.Equal(t, map[string]tables.Class{
		"at": tables.Timestamp, "status": tables.Text, "country": tables.Text, "old": tables.Text, "big": tables.Integer, "price": tables.Decimal,
		"stamp": tables.TimestampTZ, "day": tables.Date, "flag": tables.Integer, "bits": tables.Opaque, "doc": tables.Text, "body": tables.Opaque, "y": tables.Integer,
	}, classes)

	w := tables.Window{From: asOf.Add(-time.Hour), To: asOf}
	p, err := s.Count(t.Context(), r, schema, w, fields(map[string]binning.Layout{
		"status":  binning.NewCategorical([]string{"new"}, 5, false),
		"country": binning.NewCategorical([]string{"CA"}, 5, false),
		"old":     binning.NewCategorical([]string{"Münze"}, 5, false),
		"big":     binning.NewNumeric([]float64{-5, 0, 10}, false),
		"price":   binning.NewNumeric([]float64{-1, -0.1, 0.1}, false),
		"stamp":   binning.NewAged(),
		"day":     binning.NewAged(),
	}), asOf)
	require.NoError(t, err)
	require.EqualValues(t, 3, p.Rows)
	require.Equal(t, time.Date(2026, 11, 24, 5, 50, 0, 0, time.UTC), p.Latest)
	require.Equal(t, map[string]int64{"null": 0, "unseen": 2, "new": 1}, p.Values["status"])
	require.Equal(t, map[string]int64{"null": 0, "unseen": 2, "CA": 1}, p.Values["country"], "whatever the collation, CA, ca and 'ca ' are different categories")
	require.Equal(t, map[string]int64{"null": 0, "unseen": 2, "Münze": 1}, p.Values["old"])
	require.Equal(t, map[string]int64{"null": 0, "(-Inf,0]": 1, "(0,10]": 1, "(10,+Inf)": 1}, p.Values["big"])
	require.Equal(t, map[string]int64{"null": 0, "(-Inf,-0.1]": 1, "(-0.1,0.1]": 1, "(0.1,+Inf)": 1}, p.Values["price"])
	require.EqualValues(t, 1, p.Nulls["stamp"])
	require.EqualValues(t, 1, p.Values["stamp"]["(0s,1m]"]+p.Values["stamp"]["[0s,1m]"]+p.Values["stamp"]["(-Inf,1m]"], "5:30 in UTC, whatever the server's time zone: %v", p.Values["stamp"])
	require.EqualValues(t, 2, p.Nulls["day"], "a zero date and a date without a month are missing")

	outside, err := s.Outside(t.Context(), r, schema, w)
	require.NoError(t, err)
	require.EqualValues(t, 2, outside.Untimed, "NULL and the zero date")
	require.EqualValues(t, 1, outside.Future)

	duplicates, err := s.Duplicates(t.Context(), r, schema, w, []string{"country"}, 3, 100)
	require.NoError(t, err)
	require.EqualValues(t, 2, duplicates.Rows, "keys compare as a unique index of the column does")
	sampled, err := s.Duplicates(t.Context(), r, schema, w, []string{"country", "big"}, 3, 1)
	require.NoError(t, err)
	require.EqualValues(t, 0, sampled.Rows)

	checked, err := s.Check(t.Context(), r, schema, w, []tables.Check{
		{Column: "country", Matches: "^c"},
		{Column: "status", In: []string{"new"}},
		{Column: "big", AtMost: "10"},
		{Column: "day", AtLeast: "2026-01-01"},
		{SQL: "price >= 0 or status = 'PAID'"},
		{Column: "country", References: new(s.Table("orders", "")), ReferencedColumn: "country"},
	})
	require.NoError(t, err)
	require.Equal(t, []tables.Checked{{BrokenRows: 1}, {BrokenRows: 2}, {BrokenRows: 1}, {}, {}, {}}, checked)

	split := tables.Split{{Column: "country", Values: []string{"ca", "CA"}}}
	rows, err := s.Rows(t.Context(), r.Part(s, split, 0), w)
	require.NoError(t, err)
	require.EqualValues(t, 1, rows)
	outsideParts, err := s.OutsideParts(t.Context(), r, schema, w, split)
	require.NoError(t, err)
	require.Len(t, outsideParts, 3)
}
