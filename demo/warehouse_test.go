package demo

import (
	"bytes"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/internal/drift"
	"github.com/sightglass-ml/sightglass/internal/sqltext"
	"github.com/sightglass-ml/sightglass/rules"
)

var testNow = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newWarehouse(t *testing.T) *warehouse {
	t.Helper()
	w, err := openWarehouse(t.TempDir(), 3*time.Second, shop())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.close()) })
	require.NoError(t, w.prepare(t.Context(), testNow))
	return w
}

func damage(t *testing.T, w *warehouse, dataset string) {
	t.Helper()
	for _, i := range (&data{warehouse: w}).incidents() {
		if i.object == dataset {
			require.NoError(t, i.apply(t.Context(), testNow))
			return
		}
	}
	t.Fatalf("no incident about %s", dataset)
}

// number runs a query of one number; {dataset} in it stands for the files of a dataset.
func queryNumber(t *testing.T, w *warehouse, query string) float64 {
	t.Helper()
	for _, table := range w.tables {
		query = strings.ReplaceAll(query, "{"+table.name+"}", sqltext.Literal(w.current(table)))
	}
	var n float64
	require.NoError(t, w.db.QueryRowContext(t.Context(), query).Scan(&n), query)
	return n
}

func counts(t *testing.T, w *warehouse, query string) map[string]int64 {
	t.Helper()
	rows, err := w.db.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	found := make(map[string]int64)
	for rows.Next() {
		var bin sql.NullString
		var n int64
		require.NoError(t, rows.Scan(&bin, &n))
		found[bin.String] = n
	}
	require.NoError(t, rows.Err())
	return found
}

func TestTheSameMomentGivesTheSameRows(t *testing.T) {
	digest := func(w *warehouse, name string) float64 {
		return queryNumber(t, w, "SELECT sum(hash(r) % 1000000007)::DOUBLE FROM {"+name+"} AS r")
	}
	a, b := newWarehouse(t), newWarehouse(t)
	for _, table := range a.tables {
		require.Equal(t, digest(a, table.name), digest(b, table.name), table.name)
		require.NotZero(t, digest(a, table.name), table.name)
	}
}

func TestNullsAreExactlyAtTheThresholdBeforeTheIncident(t *testing.T) {
	w := newWarehouse(t)
	const nulls = `SELECT count(*) FILTER (household_income IS NULL) / count(*) FROM {customers}`
	threshold, ok := rules.Default("null_ratio")
	require.True(t, ok)
	require.Equal(t, threshold, queryNumber(t, w, nulls))
	damage(t, w, "customers")
	require.Equal(t, 0.08, queryNumber(t, w, nulls))
}

func TestUnmappedProviderGivesTheDocumentedPSI(t *testing.T) {
	w := newWarehouse(t)
	threshold := func(signal string) float64 {
		v, ok := rules.Default(signal)
		require.True(t, ok)
		return v
	}
	distribution := func(path string) map[string]int64 {
		return counts(t, w, fmt.Sprintf("SELECT merchant_category, count(*) FROM %s GROUP BY 1", sqltext.Literal(path)))
	}
	payments := w.tables[0]
	training := distribution(w.trainingFile(payments))
	before, ok := drift.Compare(distribution(w.current(payments)), training)
	require.True(t, ok)
	require.Less(t, before.PSI, 0.005)

	damage(t, w, "payments")
	after, ok := drift.Compare(distribution(w.current(payments)), training)
	require.True(t, ok)
	require.InDelta(t, 0.31, after.PSI, 0.005)
	require.True(t, after.Exceeds(drift.Limits{
		PSI: threshold("drift_psi"), Z: threshold("drift_significance_z"), Values: threshold("drift_min_rows"), Noise: threshold("drift_noise_psi"),
	}))
}

func TestTheDailyLoadLoses62Percent(t *testing.T) {
	w := newWarehouse(t)
	const rows = `SELECT count(*) FROM {orders_daily_fact}`
	before := queryNumber(t, w, rows)
	damage(t, w, "orders_daily_fact")
	require.InDelta(t, 0.38, queryNumber(t, w, rows)/before, 0.01)
}

func TestOnlyTheWrongSnapshotDisagreesWithTheFeatureStore(t *testing.T) {
	w := newWarehouse(t)
	var table table
	for _, candidate := range w.tables {
		if candidate.against != "" {
			table = candidate
		}
	}
	mismatch := fmt.Sprintf("SELECT mismatched_rows / compared_rows FROM (%s)",
		fmt.Sprintf(table.comparison, sqltext.Literal(w.current(table)), sqltext.Literal(w.otherStore(table))))
	require.Equal(t, 0.004, queryNumber(t, w, mismatch), "late corrections")
	damage(t, w, table.name)
	require.Greater(t, queryNumber(t, w, mismatch), 0.9)
}

func TestAStoppedFeedIsNotLoadedAgain(t *testing.T) {
	w := newWarehouse(t)
	damage(t, w, "clickstream")
	const latest = `SELECT epoch(max(event_time::TIMESTAMP)) FROM {clickstream}`
	before := queryNumber(t, w, latest)
	require.NoError(t, w.loadAll(t.Context(), testNow.Add(time.Minute)))
	require.Equal(t, before, queryNumber(t, w, latest))
	require.Greater(t, queryNumber(t, w, `SELECT epoch(max(paid_at)) FROM {payments}`), before)
}

func TestBackfilledHistoryEqualsTheWindows(t *testing.T) {
	w := newWarehouse(t)
	var out bytes.Buffer
	require.NoError(t, w.history(t.Context(), &out, "rows", `namespace="shop",`, testNow))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Equal(t, "# TYPE rows gauge", lines[0])
	series := make(map[string]int)
	for _, line := range lines[1:] {
		name, sample, _ := strings.Cut(line, " ")
		series[name]++
		if name != `rows{namespace="shop",dataset="orders_daily_fact"}` || series[name]%1000 != 1 {
			continue
		}
		var rows int64
		var seconds float64
		_, err := fmt.Sscan(sample, &rows, &seconds)
		require.NoError(t, err)
		end := time.UnixMicro(int64(seconds * 1e6))
		window := w.rows(orders, end.Add(-w.compressed(24*time.Hour)), end)
		require.InDelta(t, queryNumber(t, w, "SELECT count(*) FROM ("+window+")"), rows, 1)
	}
	require.Equal(t, map[string]int{
		`rows{namespace="shop",dataset="orders_daily_fact"}`: 4045,
		`rows{namespace="shop",dataset="shipments"}`:         4045,
		`rows{namespace="shop",dataset="refunds"}`:           4045,
		`rows{namespace="shop",dataset="inventory"}`:         4045,
	}, series)
}

func TestExporterHasTheSpeedOfTheRules(t *testing.T) {
	w := newWarehouse(t)
	content, err := exporterConfig(w, w.tables, speedup.Factor(20), testNow)
	require.NoError(t, err)
	var config struct {
		Defaults struct{ Interval, Timeout string }
		Datasets []struct {
			Name, Window string
			Thresholds   struct{ Freshness string }
		}
	}
	require.NoError(t, yaml.Unmarshal(content, &config))
	require.Equal(t, "3s", config.Defaults.Interval)
	require.Equal(t, "2m0s", config.Defaults.Timeout, "a scan takes as long as it takes")
	windows := make(map[string]string)
	for _, d := range config.Datasets {
		windows[d.Name] = d.Window
		if d.Name == "clickstream" {
			require.Equal(t, "45s", d.Thresholds.Freshness)
		}
	}
	require.Equal(t, map[string]string{
		"payments": "3m", "customers": "0s", "orders_daily_fact": "1h12m", "shipments": "1h12m",
		"clickstream": "3m", "training_features": "", "refunds": "1h12m", "inventory": "1h12m",
	}, windows)
}
