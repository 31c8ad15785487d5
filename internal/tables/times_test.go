package tables_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Every engine reads texts and numbers as times. Other values are missing and do not cause an error.
func textsAndNumbersAreTimes(t *testing.T, e engine, s *tables.Source) {
	text := map[string]string{"duckdb": "VARCHAR", "postgres": "TEXT", "clickhouse": "Nullable(String)", "trino": "VARCHAR", "mysql": "CHAR"}[e.name]
	number := map[string]string{"duckdb": "BIGINT", "postgres": "BIGINT", "clickhouse": "Nullable(Int64)", "trino": "BIGINT", "mysql": "SIGNED"}[e.name]
	fraction := map[string]string{"duckdb": "DOUBLE", "postgres": "DOUBLE PRECISION", "clickhouse": "Nullable(Float64)", "trino": "DOUBLE", "mysql": "DOUBLE"}[e.name]
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	half := time.Date(2026, 11, 24, 5, 30, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		typ     string
		reading tables.Reading
		at      time.Time
		times   []string // each is within the second after at
		others  []string // none is a time
	}{
		"ISO 8601 text, with and without a zone": {
			text,
			tables.Reading{},
			half,
			[]string{"'2026-11-24T05:30:00.5Z'", "'2026-11-24 00:30:00-05:00'", "'2026-11-24T11:00:00+05:30'", "'2026-11-24 05:30:00'", "'2026-11-24T05:30:00.123456'"},
			[]string{"'24/11/2026 05:30'", "'2026-02-30'", "'2026-13-01 00:00:00'", "'2026-11-24 25:00:00'", "'soon'", "''", "NULL"},
		},
		"ISO 8601 dates": {
			text,
			tables.Reading{},
			midnight,
			[]string{"'2026-11-24'"},
			[]string{"'2026-02-30'", "NULL"},
		},
		"text in a format": {
			text,
			tables.Reading{TimestampFormat: "%d/%m/%Y %H:%M"},
			half,
			[]string{"'24/11/2026 05:30'"},
			[]string{"'2026-11-24 05:30'", "'soon'", "'24/13/2026 05:30'", "'24/11/2026 25:30'", "'31/02/2026 05:30'", "'31/4/2026 05:30'", "'29/02/2026 05:30'", "NULL"},
		},
		"leap day in a format": {
			text,
			tables.Reading{TimestampFormat: "%y-%m-%d"},
			time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
			[]string{"'24-02-29'"},
			[]string{"'27-02-29'", "'24-02-30'", "'24-09-31'", "NULL"},
		},
		"name of a month in a format": {
			text,
			tables.Reading{TimestampFormat: "%b %d %Y"},
			midnight,
			[]string{"'Nov 24 2026'"},
			[]string{"'Feb 30 2026'", "'Nov 31 2026'", "'Feb 29 1900'", "NULL"},
		},
		"text without separators in a format": {
			text,
			tables.Reading{TimestampFormat: "%Y%m%d"},
			midnight,
			[]string{"'20261124'"},
			[]string{"'20260231'", "'2026311'", "NULL"},
		},
		"numbers since 1970, each by its size": {
			number,
			tables.Reading{},
			half,
			[]string{"1795498200", "1795498200500", "1795498200500000", "1795498200500000000"},
			[]string{"NULL"},
		},
		"numbers of a unit": {
			number,
			tables.Reading{TimestampUnit: tables.UnitSecond},
			half,
			[]string{"1795498200"},
			[]string{"NULL", "9223372036854775000"},
		},
		"numbers that are dates": {
			number,
			tables.Reading{},
			midnight,
			[]string{"20261124", "1795478400"},
			[]string{"20260230", "20261324", "NULL"},
		},
		"numbers of a unit that are no dates": {
			number,
			tables.Reading{TimestampUnit: tables.UnitSecond},
			time.Unix(20261124, 0).UTC(),
			[]string{"20261124"},
			[]string{"NULL"},
		},
		"numbers in a format": {
			number,
			tables.Reading{TimestampFormat: "%Y%m%d"},
			midnight,
			[]string{"20261124"},
			[]string{"20261324", "20260231", "202611", "1795478400", "-20261124", "NULL"},
		},
		"numbers that lost their leading zero": {
			number,
			tables.Reading{TimestampFormat: "%d%m%Y"},
			time.Date(2026, 11, 3, 0, 0, 0, 0, time.UTC),
			[]string{"3112026"},
			[]string{"NULL"},
		},
		"numbers to the minute": {
			number,
			tables.Reading{TimestampFormat: "%Y%m%d%H%M"},
			half,
			[]string{"202611240530"},
			[]string{"202611242530", "NULL"},
		},
		"doubles in a format": {
			fraction,
			tables.Reading{TimestampFormat: "%Y%m%d"},
			midnight,
			[]string{"20261124"},
			[]string{"NULL"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var selects []string
			for _, v := range append(append([]string{}, tc.times...), tc.others...) {
				selects = append(selects, "SELECT CAST("+v+" AS "+tc.typ+") AS at")
			}
			r := s.Query(strings.Join(selects, " UNION ALL "), "at").ReadAs(tc.reading, s)
			schema, err := s.Schema(t.Context(), r)
			require.NoError(t, err)
			w := tables.Window{From: tc.at, To: tc.at.Add(time.Second)}
			p, err := s.Count(t.Context(), r, schema, w, tables.Fields{}, asOf)
			require.NoError(t, err)
			require.EqualValues(t, len(tc.times), p.Rows)
			require.Equal(t, tc.at, p.Latest.Truncate(time.Second))
			outside, err := s.Outside(t.Context(), r, schema, w)
			require.NoError(t, err)
			require.EqualValues(t, len(tc.others), outside.Untimed)
		})
	}
}
