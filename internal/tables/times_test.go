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
	half := time.Date(2026, 11, 24, 5, 30, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		typ     string
		reading tables.Reading
		times   []string // each is within the second after half past five
		others  []string // none is a time
	}{
		"ISO 8601 text, with and without a zone": {
			text,
			tables.Reading{},
			[]string{"'2026-11-24T05:30:00.5Z'", "'2026-11-24 00:30:00-05:00'", "'2026-11-24T11:00:00+05:30'", "'2026-11-24 05:30:00'", "'2026-11-24T05:30:00.123456'"},
			[]string{"'24/11/2026 05:30'", "'2026-02-30'", "'2026-13-01 00:00:00'", "'2026-11-24 25:00:00'", "'soon'", "''", "NULL"},
		},
		"text in a format": {
			text,
			tables.Reading{TimestampFormat: "%d/%m/%Y %H:%M"},
			[]string{"'24/11/2026 05:30'"},
			[]string{"'2026-11-24 05:30'", "'soon'", "'24/13/2026 05:30'", "'24/11/2026 25:30'", "NULL"},
		},
		"numbers since 1970, each by its size": {
			number,
			tables.Reading{},
			[]string{"1795498200", "1795498200500", "1795498200500000", "1795498200500000000"},
			[]string{"NULL"},
		},
		"numbers of a unit": {
			number,
			tables.Reading{TimestampUnit: tables.UnitSecond},
			[]string{"1795498200"},
			[]string{"NULL", "9223372036854775000"},
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
			w := tables.Window{From: half, To: half.Add(time.Second)}
			p, err := s.Count(t.Context(), r, schema, w, tables.Fields{}, asOf)
			require.NoError(t, err)
			require.EqualValues(t, len(tc.times), p.Rows)
			require.Equal(t, half, p.Latest.Truncate(time.Second))
			outside, err := s.Outside(t.Context(), r, schema, w)
			require.NoError(t, err)
			require.EqualValues(t, len(tc.others), outside.Untimed)
		})
	}
}
