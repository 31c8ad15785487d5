package dataquality

import (
	"database/sql"
	"fmt"
	"math"
	"regexp"
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
	`ml_dataset_column_min{column="delay",dataset="flights"}`:                      "SELECT delay FROM '%[1]s' WHERE delay IS NOT NULL ORDER BY delay LIMIT 1",
	`ml_dataset_column_max{column="delay",dataset="flights"}`:                      "SELECT delay FROM '%[1]s' WHERE delay IS NOT NULL ORDER BY delay DESC LIMIT 1",
	`ml_dataset_column_sum_of_values{column="delay",dataset="flights"}`:            "SELECT sum(n * delay) FROM (SELECT delay, count(*) AS n FROM '%[1]s' GROUP BY delay)",
	`ml_dataset_column_mean{column="delay",dataset="flights"}`:                     "SELECT avg(delay) FROM '%[1]s'",
	`ml_dataset_column_zeros{column="delay",dataset="flights"}`:                    "SELECT count(*) FROM '%[1]s' WHERE delay = 0",
	`ml_dataset_column_sum_of_values{column="distance",dataset="flights"}`:         "SELECT sum(n * distance) FROM (SELECT distance, count(*) AS n FROM '%[1]s' GROUP BY distance)",
	`ml_dataset_column_mean{column="distance",dataset="flights"}`:                  "SELECT sum(distance) / count(distance) FROM '%[1]s'",
	`ml_dataset_column_max{column="distance",dataset="flights"}`:                   "SELECT distance FROM '%[1]s' WHERE distance IS NOT NULL ORDER BY distance DESC LIMIT 1",
	`ml_dataset_column_zeros{column="distance",dataset="flights"}`:                 "SELECT count(*) FROM '%[1]s' WHERE distance = 0",
	`ml_dataset_column_nulls{column="distance",dataset="flights"}`:                 "SELECT count(*) FROM '%[1]s' WHERE distance IS NULL",
	`ml_dataset_column_nulls{column="destination",dataset="flights"}`:              "SELECT count(*) FROM '%[1]s' WHERE destination IS NULL",
	`ml_dataset_column_nulls{column="delay",dataset="flights"}`:                    "SELECT count(*) FROM '%[1]s' WHERE delay IS NULL",
	`ml_dataset_column_nulls{column="origin",dataset="flights"}`:                   "SELECT count(*) FROM '%[1]s' WHERE origin IS NULL",
}

// A profile counts what SQL counts that was written apart from it: exactly. Standard deviations are computed in an order that
// changes, and their last digits with it.
func flightsEqualSQL(t testing.TB, scraped, path string) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer db.Close()
	value := func(series string) float64 {
		got := math.NaN()
		for line := range strings.Lines(scraped) {
			if value, ok := strings.CutPrefix(line, series+" "); ok {
				got, err = strconv.ParseFloat(strings.TrimSpace(value), 64)
				require.NoError(t, err)
			}
		}
		return got
	}
	for series, query := range flightCounts {
		var want float64
		require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf(query, path)).Scan(&want), series)
		require.Equal(t, want, value(series), series) // Exactly: they are counts and sums of whole numbers, and their quotients.
	}
	for _, column := range []string{"delay", "distance"} {
		var want float64
		require.NoError(t, db.QueryRowContext(t.Context(), fmt.Sprintf("SELECT sqrt(avg((%[2]s - (SELECT avg(%[2]s) FROM '%[1]s')) ** 2)) FROM '%[1]s'", path, column)).Scan(&want))
		require.InEpsilon(t, want, value(fmt.Sprintf("ml_dataset_column_stddev{column=%q,dataset=\"flights\"}", column)), 1e-12)
	}
	// All bins of all columns, each counted by what its name says.
	binned := 0
	for _, line := range series(scraped, "ml_dataset_column_values") {
		labels := regexp.MustCompile(`bin="(.*)",column="(.*)",dataset="flights"} (.*)$`).FindStringSubmatch(line)
		require.NotNil(t, labels, line)
		var want int64
		query := "SELECT count(*) FROM '" + path + "' WHERE " + binCondition(labels[2], labels[1], scraped)
		require.NoError(t, db.QueryRowContext(t.Context(), query).Scan(&want), query)
		got, err := strconv.ParseFloat(labels[3], 64)
		require.NoError(t, err)
		require.EqualValues(t, want, got, line)
		binned++
	}
	require.Greater(t, binned, 40)
}

// binCondition is the SQL of a bin of flight records, read from its name.
func binCondition(column, bin, scraped string) string {
	switch {
	case bin == "null":
		return column + " IS NULL"
	case bin == "other" || bin == "unseen":
		var named []string
		for _, m := range regexp.MustCompile(`bin="(.*)",column="`+column+`",dataset="flights"}`).FindAllStringSubmatch(scraped, -1) {
			named = append(named, "'"+m[1]+"'")
		}
		// Bins are cut from the same rows: none is unseen.
		return fmt.Sprintf("%t AND %s NOT IN (%s)", bin == "other", column, strings.Join(named, ", "))
	case strings.ContainsAny(bin, ",") && (column == "delay" || column == "distance"):
		low, high, _ := strings.Cut(strings.Trim(bin, "[]()"), ",")
		lower, upper := column+" > ", column+" <= "
		if bin[0] == '[' {
			lower = column + " >= "
		}
		if bin[len(bin)-1] == ')' {
			upper = column + " < "
		}
		return lower + "'" + low + "'::DOUBLE AND " + upper + "'" + strings.TrimPrefix(high, "+") + "'::DOUBLE"
	}
	return "CAST(" + column + " AS VARCHAR) = '" + bin + "'"
}

func TestCountsEqualIndependentSQL(t *testing.T) {
	w := newWorld(t, fmt.Sprintf(flightsYAML, "flights.parquet"))
	w.file("flights.parquet", `SELECT TIMESTAMP '2026-11-20' + to_minutes((i // 3)::BIGINT) AS date, CASE WHEN i % 97 = 0 THEN NULL ELSE (i * 7919 % 400) - 70 END AS delay, i * 104729 % 4000 AS distance,
		CASE WHEN i % 89 = 0 THEN NULL ELSE ['ATL', 'ORD', 'LAX', 'SEA', 'xx'][1 + i % 5] END AS origin, ['ATL', 'ORD', 'LAX', 'SEA'][1 + i % 4] AS destination FROM range(5000) AS r(i)`)
	flightsEqualSQL(t, w.scrape(), w.dir+"/flights.parquet")
}
