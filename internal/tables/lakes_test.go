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

// Tables of Iceberg and Delta Lake through Trino: their columns, counts, and the snapshot to replay from.
func TestLakesThroughTrino(t *testing.T) {
	dsn := testtools.Trino(t)
	db, err := sql.Open("trino", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for catalog, c := range map[string]struct{ connector, partition, time, snapshot string }{
		"iceberg": {"iceberg", "partitioning", "timestamp(6) with time zone", `SELECT snapshot_id FROM iceberg.shop."orders$snapshots" ORDER BY committed_at DESC LIMIT 1`},
		"delta":   {"delta_lake", "partitioned_by", "timestamp(3) with time zone", `SELECT max(version) FROM delta.shop."orders$history"`},
	} {
		t.Run(catalog, func(t *testing.T) {
			testtools.NeedsTrino(t, c.connector)
			execute := func(statement string) {
				t.Helper()
				_, err := db.ExecContext(t.Context(), statement)
				require.NoError(t, err, statement)
			}
			s := open(t, tables.Options{Type: tables.Trino, DSN: dsn})
			version := func() string {
				t.Helper()
				v, err := s.Text(t.Context(), c.snapshot)
				require.NoError(t, err)
				require.NotEmpty(t, v)
				return v
			}
			execute("CREATE SCHEMA " + catalog + ".shop")
			execute("CREATE TABLE " + catalog + ".shop.orders WITH (" + c.partition + " = ARRAY['country']) AS SELECT CAST(at AS " + c.time + `) AS at, amount, country FROM (VALUES
				(TIMESTAMP '2026-11-24 05:30:00 UTC', 1.5e0, 'CA'), (TIMESTAMP '2026-11-24 05:40:00 UTC', nan(), 'US'),
				(TIMESTAMP '2026-11-20 05:50:00 UTC', 9e0, 'CA'), (NULL, 1e0, 'CA')) AS v(at, amount, country)`)
			if before := version(); catalog == "iceberg" { // Trino adds nothing to a table of Delta Lake on a local disk.
				execute("INSERT INTO iceberg.shop.orders VALUES (TIMESTAMP '2026-11-24 05:50:00 UTC', NULL, 'FR')")
				execute("DELETE FROM iceberg.shop.orders WHERE country = 'FR'")
				require.NotEqual(t, before, version(), "a change is another snapshot")
			}

			r := s.Table(catalog+".shop.orders", "at")
			schema, err := s.Schema(t.Context(), r)
			require.NoError(t, err)
			w := tables.Window{From: asOf.Add(-time.Hour), To: asOf}
			p, err := s.Count(t.Context(), r, schema, w, fields(map[string]binning.Layout{
				"amount": binning.NewNumeric([]float64{0, 1, 2}, true), "country": binning.NewCategorical([]string{"CA"}, 5, false),
			}), asOf)
			require.NoError(t, err)
			require.EqualValues(t, 2, p.Rows, "neither those that were deleted nor those of other days")
			require.Equal(t, map[string]int64{"null": 0, "nan": 1, "inf": 0, "(-Inf,1]": 0, "(1,2]": 1, "(2,+Inf)": 0}, p.Values["amount"])
			require.Equal(t, map[string]int64{"null": 0, "unseen": 1, "CA": 1}, p.Values["country"])
			outside, err := s.Outside(t.Context(), r, schema, w)
			require.NoError(t, err)
			require.EqualValues(t, 1, outside.Untimed)
		})
	}
}
