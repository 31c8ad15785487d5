package dataquality

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// noon is when the tests take place.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world is a configuration, its baseline store and a clock.
type world struct {
	t           *testing.T
	dir         string
	now         time.Time
	connections *connections
	cfg         Config
	logs        strings.Builder
	kept        *dataset // of all
}

// newWorld loads a configuration that reads files from the returned folder.
func newWorld(t *testing.T, yaml string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: noon}
	w.load(yaml)
	return w
}

// load replaces the configuration, as a restart with a new one would.
func (w *world) load(yaml string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "dataquality.yaml")
	require.NoError(w.t, os.WriteFile(path, []byte(yaml), 0o600))
	cfg, err := Load(path)
	require.NoError(w.t, err)
	w.cfg = cfg
	w.connections, err = openConnections(cfg, slog.New(slog.NewTextHandler(&w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		baseline.WithClock(func() time.Time { return w.now }))
	require.NoError(w.t, err)
	connections := w.connections
	w.t.Cleanup(func() { require.NoError(w.t, connections.close()) })
}

func (w *world) dataset(i int) *dataset {
	w.t.Helper()
	columns := limit.New("columns", 2*w.cfg.Datasets[i].Columns.Max, limit.NewDropped())
	d := w.connections.dataset(w.cfg.Datasets[i], columns, func() time.Time { return w.now })
	require.NoError(w.t, w.connections.resolve(d))
	return d
}

// file writes the result of a DuckDB query to a Parquet file of the world.
func (w *world) file(name, query string) {
	w.t.Helper()
	db, err := sql.Open("duckdb", "")
	require.NoError(w.t, err)
	defer db.Close()
	_, err = db.Exec(fmt.Sprintf("COPY (%s) TO '%s' (FORMAT parquet)", query, filepath.Join(w.dir, name)))
	require.NoError(w.t, err)
}

// metrics renders what one run publishes.
func metrics(t *testing.T, d *dataset, c *cycle, err error) string {
	t.Helper()
	return text(t, d.metrics(newDescs(newCatalogue()), c, 1500*time.Millisecond, err))
}

type constant []prometheus.Metric

func (constant) Describe(chan<- *prometheus.Desc) {}
func (c constant) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c {
		ch <- m
	}
}

func text(t testing.TB, ms []prometheus.Metric) string {
	t.Helper()
	reg := prometheus.NewRegistry()
	require.NoError(t, reg.Register(constant(ms)))
	families, err := reg.Gather()
	require.NoError(t, err)
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	require.NoError(t, err)
	for _, p := range problems {
		// Days of a baseline are counted; they are not a duration.
		require.Contains(t, []string{"ml_dataset_baseline_days", "ml_dataset_baseline_wanted_days"}, p.Metric, p.Text)
	}
	var b strings.Builder
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&b, f)
		require.NoError(t, err)
	}
	return b.String()
}

// series picks the samples of some metrics, without comments.
func series(exposition string, names ...string) []string {
	var found []string
	for line := range strings.Lines(exposition) {
		for _, n := range names {
			if strings.HasPrefix(line, n+"{") {
				found = append(found, strings.TrimSpace(line))
			}
		}
	}
	return found
}

const ordersYAML = `
sources:
  files: {type: duckdb, memory_limit: 512MiB}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    owner: payments
    labels: {tier: gold}
    timestamp_column: ordered_at
    columns: {bins: 4}
    upstream:
      - {name: cart, files: cart.parquet, timestamp_column: at}
    comparisons:
      - against: feature_store
        query: SELECT 100 AS compared_rows, 3 AS mismatched_rows WHERE :window_start < :window_end
    thresholds:
      null_ratio: 0.2
      freshness: 1h
      columns:
        coupon: {null_ratio: 0.6}
    baselines:
      training: {files: training.parquet}
      production: {days: 2, first_day: 2026-11-23}
`

// orders is a query for n orders before the given time, a minute apart.
func orders(n int, before time.Time) string {
	return fmt.Sprintf(`SELECT i AS order_id, TIMESTAMP '%s' - to_minutes(i + 1) AS ordered_at,
		(i %% 8)::DOUBLE AS amount, ['CA', 'US', 'FR'][1 + i %% 3] AS country,
		CASE WHEN i %% 2 = 0 THEN 'SAVE10' END AS coupon, i %% 5 = 0 AS gift,
		TIMESTAMP '%[1]s' - to_minutes(i + 31) AS seen_at
		FROM range(%d) AS t(i)`, before.Format(time.DateTime), n)
}

// The golden file is what a scrape looks like; review its diff as a user would.
func TestGoldenMetrics(t *testing.T) {
	w := newWorld(t, ordersYAML)
	w.file("orders.parquet", orders(2000, noon))
	w.file("training.parquet", orders(800, noon.AddDate(-1, 0, 0)))
	w.file("cart.parquet", "SELECT TIMESTAMP '2026-11-24 11:00:00' AS at FROM range(1500)")
	d := w.dataset(0)
	c, err := d.run(t.Context())
	require.NoError(t, err)
	golden(t, "testdata/metrics.prom", metrics(t, d, c, err))
}

func TestCatalogueHasEveryMetric(t *testing.T) {
	golden, err := os.ReadFile("testdata/metrics.prom")
	require.NoError(t, err)
	known := make(map[string]bool)
	for _, m := range Catalogue().Metrics {
		known[m.Name] = true
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(golden)))
	require.NoError(t, err)
	for name := range families {
		require.True(t, known[name], "%s is not in the catalogue", name)
	}
}

func TestFailures(t *testing.T) {
	source := func(rest string) string {
		return "sources:\n  files: {type: duckdb}\ndatasets:\n  - name: orders\n    source: files\n" + rest
	}
	for name, tc := range map[string]struct {
		config  string
		prepare func(w *world)
		timeout time.Duration
		err     string // a part of the error
		series  []string
		absent  []string
	}{
		"a missing file": {
			config: source("    files: orders.parquet\n    owner: payments\n"),
			err:    "No files found that match the pattern",
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`, `ml_dataset_owner_info{dataset="orders",owner="payments"} 1`},
			absent: []string{"ml_dataset_rows", "ml_dataset_column_values", "ml_dataset_snapshot_info", "ml_dataset_baseline_days", "ml_dataset_baseline_frozen"},
		},
		"a file that is not Parquet": {
			config: source("    files: orders.parquet\n"),
			prepare: func(w *world) {
				require.NoError(w.t, os.WriteFile(filepath.Join(w.dir, "orders.parquet"), []byte("PAR1 not really PAR1"), 0o600))
			},
			err:    "orders.parquet",
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`},
			absent: []string{"ml_dataset_rows"},
		},
		"a query that takes too long": {
			config:  source("    query: SELECT a.i + b.i AS x FROM range(10000000) AS a(i), range(10000000) AS b(i)\n"),
			timeout: 300 * time.Millisecond,
			err:     "INTERRUPT",
			series:  []string{`ml_dataset_profile_success{dataset="orders"} 0`},
			absent:  []string{"ml_dataset_rows"},
		},
		"a missing timestamp column": {
			config: source("    query: SELECT 1 AS x\n    timestamp_column: ordered_at\n"),
			err:    `timestamp column "ordered_at": no such column`,
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`},
			absent: []string{"ml_dataset_rows"},
		},
		"records in the future are neither counted nor fresh": {
			config: source("    query: SELECT unnest([TIMESTAMP '2026-11-24 11:30:00', TIMESTAMP '2099-01-01 00:00:00']) AS at\n    timestamp_column: at\n"),
			series: []string{
				`ml_dataset_latest_record_timestamp_seconds{dataset="orders"} 1.7955198e+09`,
				`ml_dataset_rows{dataset="orders"} 1`,
			},
		},
		"a clock that is a little ahead is forgiven": {
			config: source("    query: SELECT TIMESTAMP '2026-11-24 12:00:30' AS at\n    timestamp_column: at\n    clock_skew: 1m\n"),
			series: []string{`ml_dataset_rows{dataset="orders"} 1`},
		},
		"a clock that is far ahead is not": {
			config: source("    query: SELECT TIMESTAMP '2026-11-24 12:05:00' AS at\n    timestamp_column: at\n    clock_skew: 1m\n"),
			series: []string{`ml_dataset_rows{dataset="orders"} 0`},
			absent: []string{"ml_dataset_latest_record_timestamp_seconds"},
		},
		"an empty window has zero rows and the time of the last record": {
			config: source("    query: SELECT TIMESTAMP '2026-11-01 00:00:00' AS at, 'CA' AS country\n    timestamp_column: at\n"),
			series: []string{
				`ml_dataset_column_nulls{column="country",dataset="orders"} 0`,
				`ml_dataset_latest_record_timestamp_seconds{dataset="orders"} 1.7934912e+09`,
				`ml_dataset_profile_success{dataset="orders"} 1`,
				`ml_dataset_rows{dataset="orders"} 0`,
			},
			absent: []string{"ml_dataset_column_values", "ml_dataset_last_good_snapshot_info"},
		},
		"an empty table": {
			config: source("    query: SELECT 'CA' AS country WHERE false\n"),
			series: []string{`ml_dataset_profile_success{dataset="orders"} 1`, `ml_dataset_rows{dataset="orders"} 0`},
			absent: []string{"ml_dataset_latest_record_timestamp_seconds", "ml_dataset_window_seconds"},
		},
		"a comparison that fails leaves the rest": {
			config: source("    query: SELECT 'CA' AS country\n    comparisons: [{against: feature_store, query: SELECT 1 AS compared_rows}]\n"),
			err:    `comparison with "feature_store": the query returns no column "mismatched_rows"`,
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`, `ml_dataset_rows{dataset="orders"} 1`},
			absent: []string{"ml_dataset_compared_rows", "ml_dataset_profile_timestamp_seconds"},
		},
		"an upstream that fails leaves the rest": {
			config: source("    query: SELECT 'CA' AS country\n    upstream: [{name: cart, table: cart}]\n"),
			err:    `upstream "cart": `,
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`, `ml_dataset_rows{dataset="orders"} 1`},
			absent: []string{"ml_dataset_upstream_rows"},
		},
		"training data that is not there leaves what needs no baseline": {
			config: source("    query: SELECT 'CA' AS country\n    baselines: {training: {files: training.parquet}}\n"),
			err:    "baseline: training data: read schema: ",
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`, `ml_dataset_rows{dataset="orders"} 1`},
			absent: []string{"ml_dataset_column_values", "ml_dataset_column_baseline_ratio"},
		},
		"a damaged baseline is refused by name and not changed": {
			config: source("    query: SELECT 'CA' AS country\n"),
			prepare: func(w *world) {
				_, err := w.dataset(0).run(w.t.Context())
				require.NoError(w.t, err)
				path := filepath.Join(w.dir, "baselines", "dataset", "orders", "definition-00000.json")
				data, err := os.ReadFile(path)
				require.NoError(w.t, err)
				require.NoError(w.t, os.WriteFile(path, []byte(strings.Replace(string(data), "CA", "XX", 1)), 0o600))
				w.load(source("    query: SELECT 'CA' AS country\n"))
			},
			err:    "dataset/orders/definition-00000.json",
			series: []string{`ml_dataset_profile_success{dataset="orders"} 0`, `ml_dataset_rows{dataset="orders"} 1`},
			absent: []string{"ml_dataset_column_values"},
		},
		"a column with a name that no label could have": {
			config: source("    query: |\n      SELECT 1 AS \"new\n      line \"\"quoted\"\" 日本\"\n"),
			series: []string{`ml_dataset_column_nulls{column="new\nline \"quoted\" 日本",dataset="orders"} 0`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.config)
			if tc.prepare != nil {
				tc.prepare(w)
			}
			ctx := t.Context()
			if tc.timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tc.timeout)
				defer cancel()
			}
			d := w.dataset(0)
			c, err := d.run(ctx)
			if tc.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.err)
			}
			exposition := metrics(t, d, c, err)
			for _, s := range tc.series {
				require.Contains(t, exposition, s+"\n")
			}
			for _, name := range tc.absent {
				require.Empty(t, series(exposition, name))
			}
		})
	}
}

func TestPostgresFailures(t *testing.T) {
	dsn := testtools.Postgres(t)
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	exec := func(statement string) {
		t.Helper()
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	config := func(t *testing.T, dsn string) *world {
		t.Setenv("ORDERS_DSN", dsn)
		return newWorld(t, `
sources:
  warehouse: {type: postgres, dsn: {env: ORDERS_DSN}}
datasets:
  - {name: orders, source: warehouse, table: public.orders}
`)
	}
	reset := func() {
		exec("DROP TABLE IF EXISTS orders")
		exec("CREATE TABLE orders AS SELECT i AS quantity, 'CA' AS country FROM generate_series(1, 50) AS t(i)")
	}
	t.Run("a dropped table fails, and recovers when it is back", func(t *testing.T) {
		reset()
		d := config(t, dsn).dataset(0)
		_, err := d.run(t.Context())
		require.NoError(t, err)
		exec("DROP TABLE orders")
		_, err = d.run(t.Context())
		require.ErrorContains(t, err, `relation "public.orders" does not exist`)
		reset()
		_, err = d.run(t.Context())
		require.NoError(t, err)
	})
	t.Run("a column dropped between schema and count is a schema change, not a failure", func(t *testing.T) {
		reset()
		d := config(t, dsn).dataset(0)
		c, err := d.run(t.Context())
		require.NoError(t, err)
		exec("ALTER TABLE orders DROP COLUMN country")
		stale := &cycle{now: noon, schema: c.schema}
		p, err := d.count(t.Context(), stale, nil)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"quantity": 0}, p.Nulls)
		require.Len(t, stale.schema, 1)
		c, err = d.run(t.Context())
		require.NoError(t, err)
		require.Equal(t, []change{{"country", removed, "TEXT", ""}}, c.changes)
	})
	t.Run("a table that may not be read", func(t *testing.T) {
		reset()
		exec("DROP ROLE IF EXISTS reader")
		exec("CREATE ROLE reader LOGIN PASSWORD 'battery-staple'")
		_, err := config(t, strings.Replace(dsn, "sightglass:correct-horse", "reader:battery-staple", 1)).dataset(0).run(t.Context())
		require.ErrorContains(t, err, "permission denied for table orders")
	})
	t.Run("a server that is down is named without its password", func(t *testing.T) {
		w := config(t, "postgres://sightglass:correct-horse@127.0.0.1:1/postgres?sslmode=disable")
		d := w.dataset(0)
		c, err := d.run(t.Context())
		require.ErrorContains(t, err, "connection refused")
		for _, output := range []string{err.Error(), w.logs.String(), metrics(t, d, c, err), fmt.Sprintf("%+v", w.cfg)} {
			require.NotContains(t, output, "correct-horse")
		}
	})
	t.Run("a wrong password is not shown", func(t *testing.T) {
		_, err := config(t, strings.Replace(dsn, "correct-horse", "wrong-horse", 1)).dataset(0).run(t.Context())
		require.ErrorContains(t, err, "password authentication failed")
		require.NotContains(t, err.Error(), "wrong-horse")
	})
	t.Run("a statement that takes too long is cancelled at the server", func(t *testing.T) {
		t.Setenv("ORDERS_DSN", dsn)
		w := newWorld(t, `
sources:
  warehouse: {type: postgres, dsn: {env: ORDERS_DSN}}
datasets:
  - {name: orders, source: warehouse, query: "SELECT pg_sleep(60) IS NULL AS slow"}
`)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := w.dataset(0).run(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Eventually(t, func() bool {
			var n int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()").Scan(&n))
			return n == 0
		}, 20*time.Second, 50*time.Millisecond)
	})
}

func TestSchemaChanges(t *testing.T) {
	column := func(name, typ string) tables.Column { return tables.Column{Name: name, Type: typ} }
	for name, tc := range map[string]struct {
		expected []baseline.Column
		actual   []tables.Column
		want     []change
	}{
		"the same columns in another order are no change": {
			[]baseline.Column{{Name: "a", Type: "INT"}, {Name: "b", Type: "TEXT"}},
			[]tables.Column{column("b", "text"), column("a", "INT")},
			nil,
		},
		"a renamed column is one removed and one added": {
			[]baseline.Column{{Name: "country", Type: "TEXT"}},
			[]tables.Column{column("land", "TEXT")},
			[]change{{"land", added, "", "TEXT"}, {"country", removed, "TEXT", ""}},
		},
		"a changed type is reported with both types": {
			[]baseline.Column{{Name: "amount", Type: "DOUBLE"}},
			[]tables.Column{column("amount", "VARCHAR")},
			[]change{{"amount", typeChanged, "DOUBLE", "VARCHAR"}},
		},
		"an expected column without a type accepts any": {
			[]baseline.Column{{Name: "amount"}},
			[]tables.Column{column("amount", "VARCHAR")},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, changes(tc.expected, tc.actual)) })
	}
	t.Run("a table that changed entirely describes a bounded number of changes and counts all", func(t *testing.T) {
		w := newWorld(t, "sources: {files: {type: duckdb}}\ndatasets: [{name: wide, source: files, files: wide.parquet, columns: {max: 20}}]\n")
		wide := func(prefix string) string {
			columns := make([]string, 10_000)
			for i := range columns {
				columns[i] = fmt.Sprintf("1 AS %s%d", prefix, i)
			}
			return "SELECT " + strings.Join(columns, ", ")
		}
		w.file("wide.parquet", wide("a"))
		d := w.dataset(0)
		c, err := d.run(t.Context())
		require.NoError(t, err)
		require.Len(t, c.profile.Values, 20)
		w.file("wide.parquet", wide("b"))
		c, err = d.run(t.Context())
		require.NoError(t, err)
		exposition := metrics(t, d, c, err)
		require.Contains(t, exposition, `ml_dataset_schema_changes{change="added",dataset="wide"} 10000`)
		require.Contains(t, exposition, `ml_dataset_schema_changes{change="removed",dataset="wide"} 10000`)
		require.Len(t, series(exposition, "ml_dataset_schema_change_info"), maxChangeInfos)
		require.LessOrEqual(t, len(series(exposition, "ml_dataset_column_nulls")), 40)
		require.LessOrEqual(t, len(series(exposition, "ml_dataset_column_without_bins_info")), 40)
	})
}

func TestOneBrokenDatasetDoesNotStopTheOthers(t *testing.T) {
	w := newWorld(t, `
sources: {files: {type: duckdb}}
max_concurrent_profiles: 1
datasets:
  - {name: broken, source: files, files: missing.parquet, interval: 100ms}
  - {name: slow, source: files, query: "SELECT a.i + b.i AS x FROM range(10000000) AS a(i), range(10000000) AS b(i)", interval: 100ms, timeout: 200ms}
  - {name: well, source: files, query: SELECT 1 AS x, interval: 100ms}
`)
	scrape := startExporter(t, filepath.Join(w.dir, "dataquality.yaml"))
	require.Eventually(t, func() bool {
		exposition := scrape()
		return strings.Contains(exposition, `ml_dataset_profile_success{dataset="well"} 1`) &&
			strings.Contains(exposition, `ml_dataset_profile_success{dataset="broken"} 0`) &&
			strings.Contains(exposition, `ml_dataset_profile_success{dataset="slow"} 0`)
	}, 30*time.Second, 50*time.Millisecond)
}

func TestBooleansInOtherSpellingsAreTheSameCategories(t *testing.T) {
	for before, spellings := range map[string][]string{
		"i % 4 = 0": {
			"(i % 4 = 0)::INT", "(i % 4 = 0)::INT::DOUBLE", "(i % 4 = 0)::VARCHAR", "if(i % 4 = 0, 'True', 'False')", "if(i % 4 = 0, 'TRUE', 'FALSE')", "if(i % 4 = 0, 't', 'f')", "if(i % 4 = 0, '1', '0')",
		},
		"(i % 4 = 0)::INT":               {"i % 4 = 0", "if(i % 4 = 0, 'True', 'False')", "if(i % 4 = 0, '1.0', '0.0')"},
		"if(i % 4 = 0, 'True', 'False')": {"i % 4 = 0", "(i % 4 = 0)::INT"},
	} {
		t.Run(before, func(t *testing.T) {
			w := newWorld(t, `
sources: {files: {type: duckdb}}
datasets: [{name: orders, source: files, files: orders.parquet, baselines: {production: {days: 0}}}]
`)
			write := func(gift string) { w.file("orders.parquet", "SELECT "+gift+" AS gift FROM range(100) AS t(i)") }
			write(before)
			d := w.dataset(0)
			want := w.run(d).profile.Values["gift"]
			require.Zero(t, want[binning.Unseen])
			for _, after := range spellings {
				write(after)
				require.Equal(t, want, w.run(d).profile.Values["gift"], after)
			}
			write(spellings[0])
			c := w.run(d)
			require.Len(t, c.changes, 1)
			require.Equal(t, typeChanged, c.changes[0].kind)
			write("CASE i % 4 WHEN 0 THEN 'yes' ELSE 'f' END")
			require.EqualValues(t, 25, w.run(d).profile.Values["gift"][binning.Unseen])
		})
	}
}
