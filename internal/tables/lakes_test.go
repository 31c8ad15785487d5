package tables_test

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// Tables of Iceberg and Delta Lake through Trino: their columns, counts, and the snapshot to replay from.
func TestLakesThroughTrino(t *testing.T) {
	dsn := testtools.Trino(t)
	db, err := sql.Open("trino", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for catalog, snapshot := range map[string]string{
		"iceberg": `SELECT snapshot_id FROM iceberg.shop."orders$snapshots" ORDER BY committed_at DESC LIMIT 1`,
		"delta":   `SELECT max(version) FROM delta.shop."orders$history"`,
	} {
		t.Run(catalog, func(t *testing.T) {
			testtools.NeedsTrino(t, map[string]string{"iceberg": "iceberg", "delta": "delta_lake"}[catalog])
			execute := func(statement string) {
				t.Helper()
				_, err := db.ExecContext(t.Context(), strings.ReplaceAll(statement, "CATALOG", catalog))
				require.NoError(t, err, statement)
			}
			partition := map[string]string{"iceberg": "partitioning = ARRAY['country']", "delta": "partitioned_by = ARRAY['country']"}[catalog]
			execute("CREATE SCHEMA CATALOG.shop")
			execute("CREATE TABLE CATALOG.shop.orders (at timestamp(6) with time zone, amount double, quantity bigint, country varchar) WITH (" + partition + ")")
			s := open(t, tables.Options{Type: tables.Trino, DSN: dsn})
			version := func() string {
				t.Helper()
				v, err := s.Text(t.Context(), snapshot)
				require.NoError(t, err)
				require.NotEmpty(t, v)
				return v
			}
			execute(`INSERT INTO CATALOG.shop.orders VALUES (TIMESTAMP '2026-11-24 05:30:00 UTC', 1.5, 1, 'CA'), (TIMESTAMP '2026-11-24 05:40:00 UTC', nan(), 2, 'US'),
				(TIMESTAMP '2026-11-24 05:50:00 UTC', NULL, NULL, 'FR'), (TIMESTAMP '2026-11-20 05:50:00 UTC', 9, 9, 'CA'), (NULL, 1, 1, 'CA')`)
			before := version()
			execute("DELETE FROM CATALOG.shop.orders WHERE country = 'FR'")
			require.NotEqual(t, before, version(), "a change is another snapshot")

			r := s.Table(catalog+".shop.orders", "at")
			schema, err := s.Schema(t.Context(), r)
			require.NoError(t, err)
			w := tables.Window{From: asOf.Add(-time.Hour), To: asOf}
			p, err := s.Count(t.Context(), r, schema, w, fields(map[string]binning.Layout{
				"amount": binning.NewNumeric([]float64{0, 1, 2}, true), "country": binning.NewCategorical([]string{"CA"}, 5, false),
			}), asOf)
			require.NoError(t, err)
			require.EqualValues(t, 2, p.Rows, "rows that were deleted do not count")
			require.Equal(t, map[string]int64{"null": 0, "nan": 1, "inf": 0, "(-Inf,1]": 0, "(1,2]": 1, "(2,+Inf)": 0}, p.Values["amount"])
			require.Equal(t, map[string]int64{"null": 0, "unseen": 1, "CA": 1}, p.Values["country"])
			outside, err := s.Outside(t.Context(), r, schema, w)
			require.NoError(t, err)
			require.EqualValues(t, 1, outside.Untimed)
		})
	}
}
