package dataquality

import (
	"database/sql"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// A ratio to a query that answers less would say nothing.
func TestTheQueryByHandAnswersTheSameAsAProfile(t *testing.T) {
	t.Parallel()
	const rows = 50_000 // The last hour is 36,000 of them.
	path := benchFile(t, rows)
	db, err := sql.Open("duckdb", "?threads=1")
	require.NoError(t, err)
	defer db.Close()
	for _, recent := range []bool{false, true} {
		profile, layouts := benchProfile(t, path, rows, 1, recent)
		requireByHand(t, db, handWritten(path, layouts), layouts, profile())
	}
}

// requireByHand runs the query written by hand and requires the results of the profile: rows, latest time, nulls,
// every bin, and minimum, maximum, sum, standard deviation and zeros.
func requireByHand(t testing.TB, db *sql.DB, query string, layouts map[string]binning.Layout, p tables.Profile) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	require.NoError(t, err)
	require.True(t, rows.Next())
	values, to := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		to[i] = &values[i]
	}
	require.NoError(t, rows.Scan(to...))
	require.False(t, rows.Next())
	require.NoError(t, rows.Err())
	next := func() any {
		v := values[0]
		values = values[1:]
		return v
	}
	require.EqualValues(t, next(), p.Rows)
	require.Equal(t, next().(time.Time).UTC(), p.Latest)
	for _, name := range slices.Sorted(maps.Keys(layouts)) {
		l := layouts[name]
		counts := map[string]int64{binning.Null: p.Rows - integer(t, next())}
		if l.Kind == binning.Categorical {
			outside := p.Rows - counts[binning.Null]
			counts[binning.Unseen] = 0
			known := map[string]int64{}
			for i, n := range next().([]any)[:len(l.Top)+len(l.Rest)] {
				known[knownTo(l)[i]] = integer(t, n)
				outside -= integer(t, n)
			}
			counts[binning.Unseen] = outside
			for _, c := range l.Top {
				counts[binning.CategoryBin(c)] = known[c]
			}
			for _, c := range l.Rest {
				counts[binning.Other] += known[c]
			}
			require.Equal(t, counts, p.Values[name], name)
			continue
		}
		nan := integer(t, next())
		require.Zero(t, nan, "the file has none")
		m := p.Numbers[name]
		require.Equal(t, p.Rows-counts[binning.Null], m.Values, name)
		require.Equal(t, next(), m.Min, name)
		require.Equal(t, next(), m.Max, name)
		require.InEpsilon(t, next(), m.Sum, 1e-9, name)
		require.InEpsilon(t, next(), m.Stddev, 1e-9, name)
		require.Equal(t, integer(t, next()), m.Zeros, name)
		bins := l.Bins()
		intervals := bins[len(bins)-len(l.Edges)-1:]
		for i, n := range next().([]any) {
			counts[intervals[i]] = integer(t, n)
		}
		for _, bin := range bins {
			counts[bin] += 0
		}
		require.Equal(t, counts, p.Values[name], name)
	}
	require.Empty(t, values)
}

// integer converts a count of any type that DuckDB returns.
func integer(t testing.TB, v any) int64 {
	t.Helper()
	switch v := v.(type) {
	case int32:
		return int64(v)
	case int64:
		return v
	case uint64:
		return int64(v)
	case interface{ Int64() int64 }: // 128 bits wide.
		return v.Int64()
	}
	require.Failf(t, "no count", "%v (%T)", v, v)
	return 0
}
