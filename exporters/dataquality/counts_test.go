package dataquality

import (
	"database/sql"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// flightsYAML is a dataset with keys, ten checks and bins, in the shape of flight records.
const flightsYAML = `
sources: {files: {type: duckdb, memory_limit: 1GiB}}
datasets:
  - name: flights
    source: files
    files: %s
    timestamp_column: date
    window: 0s
    timeout: 10m
    keys: [[date, origin, destination]]
    checks:
      - {name: delay given, column: delay, not_null: true}
      - {name: delay range, column: delay, between: [-60, 120]}
      - {name: early, column: delay, at_least: 0}
      - {name: short, column: distance, at_most: 2000}
      - {name: known, column: origin, in: [ATL, ORD, LAX, DFW]}
      - {name: form, column: destination, matches: '^[A-Z]{3}$'}
      - {name: vowel, column: destination, matches: '^[AEIOU]'}
      - {name: round trip, sql: origin <> destination}
      - {name: late and far, sql: "delay < 60 OR distance < 500"}
      - {name: from where one lands, column: origin, references: {dataset: flights, to: destination}}
    baselines: {production: {days: 0}}
`

// flightCounts are the series to expect and SQL written apart from the exporter's, over the file %[1]s.
var flightCounts = map[string]string{
	`ml_dataset_rows{dataset="flights"}`:                                           "SELECT count(*) FROM '%[1]s'",
	`ml_dataset_duplicate_keys{dataset="flights",key="date, origin, destination"}`: "SELECT (SELECT count(*) FROM '%[1]s' WHERE date IS NOT NULL AND origin IS NOT NULL AND destination IS NOT NULL) - (SELECT count(*) FROM (SELECT DISTINCT date, origin, destination FROM '%[1]s' WHERE date IS NOT NULL AND origin IS NOT NULL AND destination IS NOT NULL))",
	`ml_dataset_check_failed_rows{check="delay given",dataset="flights"}`:          "SELECT count(*) - count(delay) FROM '%[1]s'",
	`ml_dataset_check_failed_rows{check="delay range",dataset="flights"}`:          "SELECT sum(CASE WHEN delay NOT BETWEEN -60 AND 120 THEN 1 ELSE 0 END) FROM '%[1]s'",
	`ml_dataset_check_failed_rows{check="early",dataset="flights"}`:                "SELECT count(*) FROM '%[1]s' WHERE delay < 0",
	`ml_dataset_check_failed_rows{check="short",dataset="flights"}`:                "SELECT count(*) FROM '%[1]s' WHERE distance > 2000",
	`ml_dataset_check_failed_rows{check="known",dataset="flights"}`:                "SELECT count(*) FROM '%[1]s' WHERE origin <> 'ATL' AND origin <> 'ORD' AND origin <> 'LAX' AND origin <> 'DFW'",
	`ml_dataset_check_failed_rows{check="form",dataset="flights"}`:                 "SELECT count(*) FROM '%[1]s' WHERE length(destination) <> 3 OR upper(destination) <> destination",
	`ml_dataset_check_failed_rows{check="vowel",dataset="flights"}`:                "SELECT count(*) FROM '%[1]s' WHERE left(destination, 1) NOT IN ('A', 'E', 'I', 'O', 'U')",
	`ml_dataset_check_failed_rows{check="round trip",dataset="flights"}`:           "SELECT count(*) FROM '%[1]s' WHERE origin = destination",
	`ml_dataset_check_failed_rows{check="late and far",dataset="flights"}`:         "SELECT count(*) FROM '%[1]s' WHERE delay >= 60 AND distance >= 500",
	`ml_dataset_check_failed_rows{check="from where one lands",dataset="flights"}`: "SELECT count(*) FROM '%[1]s' AS a ANTI JOIN '%[1]s' AS b ON a.origin = b.destination WHERE a.origin IS NOT NULL",
	`ml_dataset_column_nulls{column="delay",dataset="flights"}`:                    "SELECT count(*) FROM '%[1]s' WHERE delay IS NULL",
	`ml_dataset_column_nulls{column="origin",dataset="flights"}`:                   "SELECT count(*) FROM '%[1]s' WHERE origin IS NULL",
}

// A profile counts what SQL counts that was written apart from it: exactly.
func flightsEqualSQL(t *testing.T, w *world, path string) {
	t.Helper()
	scraped := w.scrape()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer db.Close()
	for series, query := range flightCounts {
		var want float64
		require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf(query, path)).Scan(&want), series)
		got := math.NaN()
		for line := range strings.Lines(scraped) {
			if value, ok := strings.CutPrefix(line, series+" "); ok {
				got, err = strconv.ParseFloat(strings.TrimSpace(value), 64)
				require.NoError(t, err)
			}
		}
		require.Equal(t, want, got, series) // Exactly: both are counts or sums of whole numbers.
	}
}

func TestCountsEqualIndependentSQL(t *testing.T) {
	w := newWorld(t, fmt.Sprintf(flightsYAML, "flights.parquet"))
	w.file("flights.parquet", `SELECT TIMESTAMP '2026-11-20' + to_minutes((i // 3)::BIGINT) AS date, CASE WHEN i % 97 = 0 THEN NULL ELSE (i * 7919 % 400) - 70 END AS delay, i * 104729 % 4000 AS distance,
		CASE WHEN i % 89 = 0 THEN NULL ELSE ['ATL', 'ORD', 'LAX', 'SEA', 'xx'][1 + i % 5] END AS origin, ['ATL', 'ORD', 'LAX', 'SEA'][1 + i % 4] AS destination FROM range(5000) AS r(i)`)
	flightsEqualSQL(t, w, w.dir+"/flights.parquet")
}
