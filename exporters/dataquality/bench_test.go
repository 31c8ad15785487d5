package dataquality

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// The file of the benchmark: 20 million rows of 12 columns. BENCH_ROWS makes it
// smaller for a quick look.
const (
	benchRows    = 20_000_000
	benchColumns = 12
	// benchMemory is the memory limit of DuckDB in the benchmark.
	benchMemory = 1 << 30
)

func rowsOfBench(b *testing.B) int {
	b.Helper()
	n, err := strconv.Atoi(os.Getenv("BENCH_ROWS"))
	if err != nil {
		return benchRows
	}
	return n
}

func benchFile(b testing.TB, rows int) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "bench.parquet")
	b.Logf("writing %d rows of %d columns", rows, benchColumns)
	db, err := sql.Open("duckdb", "")
	require.NoError(b, err)
	defer db.Close()
	_, err = db.Exec(fmt.Sprintf(`COPY (SELECT
		TIMESTAMP '2026-11-01' + to_milliseconds(i * 100) AS event_time,
		exp(random() * 5) AS amount, random() * 100 AS score, random()::FLOAT AS probability,
		(random() * 1000)::INT AS quantity, (random() * 1000000)::BIGINT AS duration_ms,
		CASE WHEN random() > 0.05 THEN random() * 50 END AS discount, round(random() * 100, 2)::DECIMAL(9,2) AS price,
		'category ' || (random() * 12)::INT AS merchant_category, 'provider ' || (random() * random() * 40)::INT AS provider,
		random() < 0.3 AS gift, ['CA', 'US', 'FR', 'DE'][1 + (random() * 3)::INT] AS country
		FROM range(%d) AS t(i)) TO '%s' (FORMAT parquet)`, rows, path))
	require.NoError(b, err)
	return path
}

// BenchmarkProfile runs our profile and a hand-written query of the same
// aggregates in turn, on one core, and reports the ratio of their processor times.
func BenchmarkProfile(b *testing.B) {
	rows := rowsOfBench(b)
	path := benchFile(b, rows)
	profile, layouts := benchProfile(b, path, rows, 1, true)
	whole, _ := benchProfile(b, path, rows, 1, false)
	ctx := b.Context()

	db, err := sql.Open("duckdb", fmt.Sprintf("?threads=1&memory_limit=%dB", benchMemory))
	require.NoError(b, err)
	defer db.Close()
	byHand := handWritten(path, layouts)

	took := func(run func()) time.Duration {
		start := cpuTime(b)
		run()
		return cpuTime(b) - start
	}
	floor := func() { require.NoError(b, drain(ctx, db, byHand)) }
	// Once each to warm the page cache.
	requireByHand(b, db, byHand, layouts, profile())
	requireByHand(b, db, byHand, layouts, whole())
	var ours, alone, theirs time.Duration
	for b.Loop() {
		ours += took(func() { profile() })
		alone += took(func() { whole() })
		theirs += took(floor)
	}
	cells := float64(rows) * benchColumns * float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours.Seconds()/float64(b.N), "profile-s")
	b.ReportMetric(alone.Seconds()/float64(b.N), "one-window-s")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "by-hand-s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
	b.ReportMetric(cells/ours.Seconds()/1e6, "Mcells/s/core")
	b.ReportMetric(peakMemory(b)/(1<<20), "peak-MiB")
}

// BenchmarkFlights profiles the file of BENCH_FLIGHTS (columns date, delay, distance, origin, destination), with summaries, a
// key and ten checks, and runs hand-written queries of the same aggregates in turn, on one core. It reports the ratio of
// their processor times, and fails if a count is not that of SQL written apart from the exporter's.
func BenchmarkFlights(b *testing.B) {
	path := os.Getenv("BENCH_FLIGHTS")
	if path == "" {
		b.Skip("BENCH_FLIGHTS names no file")
	}
	path, err := filepath.Abs(path)
	require.NoError(b, err)
	config := filepath.Join(b.TempDir(), "dataquality.yaml")
	require.NoError(b, os.WriteFile(config, []byte(strings.Replace(fmt.Sprintf(flightsYAML, path), "type: duckdb", "type: duckdb, threads: 1", 1)), 0o600))
	cfg, err := Load(config)
	require.NoError(b, err)
	r, err := openConnections(cfg, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	defer r.close() //nolint:errcheck // It was read only.
	segmented := cfg.Datasets[0]
	segmented.Segments = []SegmentConfig{{SegmentColumn: SegmentColumn{Column: "origin", Top: topSegments}}}
	columns := limit.New("columns", 400, limit.NewDropped())
	whole, parts := r.dataset(cfg.Datasets[0], columns, time.Now), r.dataset(segmented, columns, time.Now)
	var c *cycle
	run := func(d *dataset) time.Duration {
		start := cpuTime(b)
		require.NoError(b, r.resolve(d))
		c, err = d.run(b.Context())
		require.NoError(b, err)
		_, err = d.profileSegments(b.Context(), c)
		require.NoError(b, err)
		return cpuTime(b) - start
	}
	run(parts)
	require.Len(b, c.segments[0].counts, topSegments+1)
	run(whole) // It has cut the bins, and counts by them.
	d := whole
	flightsEqualSQL(b, text(b, d.metrics(newDescs(newCatalogue()), c, time.Second, nil)), path)

	db, err := sql.Open("duckdb", fmt.Sprintf("?threads=1&memory_limit=%dB", benchMemory))
	require.NoError(b, err)
	defer db.Close()
	byHand := flightsByHand(path, c.definition.Fields)
	floor := func() (took time.Duration) {
		for _, query := range byHand {
			start := cpuTime(b)
			require.NoError(b, drain(b.Context(), db, query))
			took += cpuTime(b) - start
		}
		return took
	}
	floor()
	var ours, withSegments, theirs time.Duration
	for b.Loop() {
		ours += run(whole)
		theirs += floor()
		withSegments += run(parts)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(withSegments.Seconds()/float64(b.N), "11-segments-s")
	b.ReportMetric(ours.Seconds()/float64(b.N), "profile-s")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "by-hand-s")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}

// cpuTime returns the processor time of the process. Unlike wall time, it excludes other processes.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// flightsByHand are the queries that somebody who knows DuckDB well would write for the bins, summaries, key and checks of
// flightsYAML: one scan for all that one scan can count.
func flightsByHand(path string, layouts map[string]binning.Layout) []string {
	profile := strings.Replace(handWritten(path, layouts), "max(event_time)", "max(date)", 1)
	checks := []string{
		"count_if(delay IS NULL)", "count_if(delay < -60 OR delay > 120)", "count_if(delay < 0)", "count_if(distance > 2000)",
		"count_if(origin NOT IN ('ATL', 'ORD', 'LAX', 'DFW'))", "count_if(NOT regexp_matches(destination, '^[A-Z]{3}$'))",
		"count_if(NOT regexp_matches(destination, '^[AEIOU]'))", "count_if(NOT (origin <> destination))", "count_if(NOT (delay < 60 OR distance < 500))",
	}
	from := " FROM '" + path + "'"
	return []string{
		strings.Replace(profile, from, ", "+strings.Join(checks, ", ")+from, 1),
		"SELECT sum(n - 1) FROM (SELECT count(*) AS n" + from + " WHERE date IS NOT NULL AND origin IS NOT NULL AND destination IS NOT NULL GROUP BY date, origin, destination HAVING count(*) > 1)",
		"SELECT count(*)" + from + " WHERE origin NOT IN (SELECT destination" + from + " WHERE destination IS NOT NULL)",
	}
}

// benchProfile cuts the bins of the file and returns a profile by them; recent says whether the last hour is counted apart.
func benchProfile(b testing.TB, path string, rows, threads int, recent bool) (profile func() tables.Profile, layouts map[string]binning.Layout) {
	b.Helper()
	source, err := tables.Open(tables.Options{Type: tables.DuckDB, Threads: threads, MemoryLimit: benchMemory})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, source.Close()) })
	ctx := b.Context()
	relation, err := source.Files(path, "event_time")
	require.NoError(b, err)
	schema, err := source.Schema(ctx, relation)
	require.NoError(b, err)
	cut, err := source.Cut(ctx, relation, schema, tables.Window{}, tables.Choice{Bins: 10, Top: 20, MaxColumns: 100}, nil)
	require.NoError(b, err)
	require.Len(b, cut.Layouts, benchColumns-1)
	fields := make(tables.Fields)
	for name, layout := range cut.Layouts {
		fields[name] = &layout
	}
	lastHour := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rows)*100*time.Millisecond - time.Hour)
	return func() (p tables.Profile) {
		if recent {
			var windows tables.Windows
			windows, err = source.CountRecent(ctx, relation, schema, tables.Window{}, tables.Starts{Recent: lastHour, Newest: lastHour.Add(30 * time.Minute)}, fields, lastHour)
			p = windows.Full
		} else {
			p, err = source.Count(ctx, relation, schema, tables.Window{}, fields, lastHour)
		}
		require.NoError(b, err)
		require.EqualValues(b, rows, p.Rows)
		return p
	}, cut.Layouts
}

// handWritten is what somebody who knows DuckDB well would write to count the
// same bins of the same file.
func handWritten(path string, layouts map[string]binning.Layout) string {
	aggregates := []string{"count(*)", "max(event_time)"}
	for _, name := range slices.Sorted(maps.Keys(layouts)) {
		l := layouts[name]
		aggregates = append(aggregates, "count("+name+")")
		switch {
		case name == "gift":
			aggregates = append(aggregates, "[count_if(NOT gift), count_if(gift)]")
		case l.Kind == binning.Categorical:
			known := make([]string, 0, len(l.Top)+len(l.Rest))
			for _, c := range knownTo(l) {
				known = append(known, "'"+c+"'")
			}
			aggregates = append(aggregates, fmt.Sprintf("map_values(histogram_exact(%s, [%s]))", name, strings.Join(known, ", ")))
		default:
			edges := make([]string, len(l.Edges))
			for i, e := range l.Edges {
				edges[i] = strconv.FormatFloat(e, 'e', -1, 64) // Other forms are decimals to DuckDB, and lose the last digit.
			}
			nan := "0"
			if l.Float {
				nan = "count_if(isnan(" + name + "))"
			}
			aggregates = append(aggregates, nan)
			for _, moment := range []string{"min", "max", "sum", "stddev_pop"} {
				aggregates = append(aggregates, moment+"("+name+"::DOUBLE)")
			}
			aggregates = append(aggregates, "count_if("+name+" = 0)")
			aggregates = append(aggregates, fmt.Sprintf("map_values(histogram(%s::DOUBLE, [%s]::DOUBLE[]))", name, strings.Join(edges, ", ")))
		}
	}
	return "SELECT " + strings.Join(aggregates, ", ") + " FROM '" + path + "'"
}

// knownTo are the categories of a layout in the order in which DuckDB counts them.
func knownTo(l binning.Layout) []string {
	return slices.Sorted(slices.Values(slices.Concat(l.Top, l.Rest)))
}

func drain(ctx context.Context, db *sql.DB, query string) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
	}
	return rows.Err()
}

// peakMemory is the largest resident size the process ever had, in bytes.
func peakMemory(b *testing.B) float64 {
	b.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(b, err)
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	require.NoError(b, err)
	return kib * 1024
}

// BenchmarkEvidently gives the same data to Evidently, which users of Python
// would take. It needs the interpreter of `make bench-dataquality`, and takes
// the first two million rows, since all of them do not fit into memory.
func BenchmarkEvidently(b *testing.B) {
	python := os.Getenv("BENCH_PYTHON")
	if _, err := os.Stat(python); err != nil {
		b.Skip("BENCH_PYTHON names no interpreter with pandas and Evidently")
	}
	rows := min(rowsOfBench(b), 2_000_000)
	path := benchFile(b, rows)
	b.ResetTimer()
	output, err := exec.CommandContext(b.Context(), python, "bench/evidently_drift.py", path).Output()
	require.NoError(b, err)
	read, drift, ok := strings.Cut(strings.TrimSpace(string(output)), " ")
	require.True(b, ok, "%s", output)
	readSeconds, err := strconv.ParseFloat(read, 64)
	require.NoError(b, err)
	driftSeconds, err := strconv.ParseFloat(drift, 64)
	require.NoError(b, err)

	// What we do instead: read and count the file by bins that were cut
	// before, on as many cores.
	profile, _ := benchProfile(b, path, rows, 0, true)
	start := time.Now()
	profile()
	ours := time.Since(start).Seconds()

	b.ReportMetric(0, "ns/op")
	b.ReportMetric(readSeconds, "pandas-read-s")
	b.ReportMetric(driftSeconds, "evidently-s")
	b.ReportMetric(ours, "profile-s")
	b.ReportMetric((readSeconds+driftSeconds)/ours, "times-faster")
}
