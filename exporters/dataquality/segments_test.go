package dataquality

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
)

// all returns the metrics of one profile of the first dataset and its segments, and the names of the segments.
func (w *world) all() (exposition string, segments []string) {
	w.t.Helper()
	if w.kept == nil {
		w.kept = w.dataset(0)
	}
	require.NoError(w.t, w.connections.resolve(w.kept))
	c, err := w.kept.run(w.t.Context())
	require.NoError(w.t, err)
	m := newDescs(newCatalogue())
	var samples []prometheus.Metric
	samples = append(samples, w.kept.metrics(m, c, time.Second, err)...)
	profiles, err := w.kept.profileSegments(w.t.Context(), c)
	require.NoError(w.t, err)
	for _, s := range profiles {
		samples = append(samples, s.dataset.metrics(m, s.cycle, s.took, s.err)...)
		segments = append(segments, s.dataset.cfg.Name)
	}
	return text(w.t, samples), segments
}

const segmentsYAML = `
sources: {files: {type: duckdb, memory_limit: 512MiB}}
datasets:
  - name: orders
    source: files
    files: orders.csv
    owner: payments
    timestamp_column: at
    segments:
      - {column: country, values: [CA, US, "007"]}
      - {column: country, values: [CA, US], by: {column: device, values: [app]}}
    keys: [[id]]
    checks: [{column: amount, not_null: true}]
    upstream: [{name: cart, query: SELECT 1}]
    baselines: {production: {days: 0}, training: {files: training.csv}}
`

// One country without amounts does not hide in the whole.
func TestSegmentsAreDatasetsOfTheirOwn(t *testing.T) {
	w := newWorld(t, segmentsYAML)
	w.write("training.csv", "country,device,amount\nCA,app,1\nCA,web,2\nUS,app,1\n007,app,3\n")
	w.write("orders.csv", "at,id,country,device,amount\n2026-11-24 11:00:00,1,CA,app,\n2026-11-24 11:00:00,2,CA,web,\n2026-11-24 11:00:00,1,US,app,1\n2026-11-24 11:00:00,1,US,app,2\n2026-11-24 11:00:00,5,FR,app,2\n2026-11-25 11:00:00,6,CA,app,2\n")
	all, names := w.all()
	require.Equal(t, []string{"orders/country=CA", "orders/country=US", "orders/country=007", "orders/country=CA,device=app", "orders/country=US,device=app"}, names)
	w.expect(all,
		`ml_dataset_rows{dataset="orders"} 5`, `ml_dataset_rows{dataset="orders/country=CA"} 2`, `ml_dataset_rows{dataset="orders/country=US"} 2`, `ml_dataset_rows{dataset="orders/country=007"} 0`,
		`ml_dataset_column_nulls{column="amount",dataset="orders"} 2`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=CA"} 2`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=US"} 0`,
		`ml_dataset_rows{dataset="orders/country=CA,device=app"} 1`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=CA,device=app"} 1`, `ml_dataset_rows{dataset="orders/country=US,device=app"} 2`,
		`ml_dataset_column_baseline_rows{baseline="training",column="amount",dataset="orders/country=CA,device=app"} 1`,
		`ml_dataset_check_failed_rows{check="amount not_null",dataset="orders/country=CA"} 2`,
		`ml_dataset_duplicate_keys{dataset="orders",key="id"} 2`, `ml_dataset_duplicate_keys{dataset="orders/country=CA",key="id"} 0`, `ml_dataset_duplicate_keys{dataset="orders/country=US",key="id"} 1`,
		`ml_dataset_future_rows{dataset="orders"} 1`, `ml_dataset_future_rows{dataset="orders/country=CA"} 1`, `ml_dataset_future_rows{dataset="orders/country=US"} 0`,
		`ml_dataset_column_baseline_rows{baseline="training",column="amount",dataset="orders"} 4`, `ml_dataset_column_baseline_rows{baseline="training",column="amount",dataset="orders/country=CA"} 2`,
		`ml_dataset_upstream_rows{dataset="orders",upstream="cart"} 1`,
		`ml_dataset_column_sum_of_values{column="amount",dataset="orders/country=US"} 3`,
		`ml_dataset_owner_info{dataset="orders",owner="payments"} 1`, `ml_dataset_owner_info{dataset="orders/country=US",owner="payments"} 1`,
	)
	require.NotContains(t, all, `ml_dataset_upstream_rows{dataset="orders/`, "its rows are not of the segment alone")
}

const foundSegmentsYAML = `
sources: {files: {type: duckdb, memory_limit: 512MiB}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    columns: {bins: 4}
    segments: %s
    baselines: {production: {days: 2, first_day: 2026-11-22}}
`

// twoWeeks are orders of 14 days until the 24th at noon, 1000 a day: of five countries, CA the most, one row in a hundred without.
const twoWeeks = `SELECT TIMESTAMP '2026-11-24 11:59:00' - to_seconds((i * 86.4)::BIGINT) AS at, CASE WHEN i %% 100 = 99 THEN NULL ELSE ['CA', 'CA', 'CA', 'CA', 'US', 'US', 'US', 'FR', 'FR', 'DE'][1 + i %% 10] END AS country,
	CASE WHEN i %% 2 = 0 THEN 'app' ELSE 'web' END AS device, (i * 7919 %% 100)::DOUBLE AS amount, %s AS status FROM range(14000) AS r(i)`

func TestSegmentsAreFoundByTheExporter(t *testing.T) {
	w := newWorld(t, fmt.Sprintf(foundSegmentsYAML, "[{column: country, top: 3}]"))
	w.file("orders.parquet", fmt.Sprintf(twoWeeks, "CASE WHEN i % 4 = 0 THEN 'new' ELSE 'paid' END"))
	w.all()
	var all string
	var names []string
	for range 4 { // The whole dataset refines its bins, and the segments follow it.
		all, names = w.all()
	}
	require.Equal(t, []string{"orders/country=CA", "orders/country=US", "orders/country=FR", "orders/country=other"}, names, "the most frequent ones, and the rest")
	w.expect(all, `ml_dataset_rows{dataset="orders"} 1000`, `ml_dataset_rows{dataset="orders/country=CA"} 400`, `ml_dataset_rows{dataset="orders/country=US"} 300`,
		`ml_dataset_rows{dataset="orders/country=FR"} 200`, `ml_dataset_rows{dataset="orders/country=other"} 100`,
		`ml_dataset_column_nulls{column="country",dataset="orders/country=other"} 10`,
		`ml_dataset_baseline_frozen{dataset="orders/country=CA"} 1`, `ml_dataset_baseline_days{dataset="orders/country=CA"} 2`,
		`ml_dataset_column_baseline_rows{baseline="production",column="status",dataset="orders/country=CA"} 800`,
		`ml_dataset_schema_changes{change="added",dataset="orders/country=CA"} 0`,
	)
	for _, bins := range series(all, "ml_dataset_column_values") {
		if strings.Contains(bins, `dataset="orders"`) && strings.Contains(bins, `column="amount"`) {
			require.Contains(t, all, strings.Split(strings.Replace(bins, `dataset="orders"`, `dataset="orders/country=FR"`, 1), "} ")[0], "a segment has the bins of the whole")
		}
	}

	// France alone breaks: a column without values, and another that drifts.
	w.file("orders.parquet", "SELECT * REPLACE (CASE WHEN country = 'FR' AND t.at > '2026-11-23 12:00:00' THEN NULL ELSE amount END AS amount, CASE WHEN country = 'FR' AND t.at > '2026-11-23 12:00:00' THEN 'lost' ELSE status END AS status) FROM ("+
		fmt.Sprintf(twoWeeks, "CASE WHEN i % 4 = 0 THEN 'new' ELSE 'paid' END")+") AS t")
	all, _ = w.all()
	w.expect(all, `ml_dataset_column_nulls{column="amount",dataset="orders"} 200`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=FR"} 200`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=CA"} 0`,
		`ml_dataset_column_values{bin="unseen",column="status",dataset="orders/country=FR"} 200`, `ml_dataset_column_values{bin="unseen",column="status",dataset="orders/country=US"} 0`)

	// What is stored holds: whichever are frequent now, and in another process.
	w.file("orders.parquet", "SELECT * REPLACE ('JP' AS country) FROM ("+fmt.Sprintf(twoWeeks, "'new'")+")")
	w.kept = nil
	all, names = w.all()
	require.Equal(t, []string{"orders/country=CA", "orders/country=US", "orders/country=FR", "orders/country=other"}, names)
	w.expect(all, `ml_dataset_rows{dataset="orders/country=other"} 1000`, `ml_dataset_rows{dataset="orders/country=CA"} 0`)
}

func TestFoundSegmentsAreBoundedAndCrossed(t *testing.T) {
	w := newWorld(t, fmt.Sprintf(foundSegmentsYAML, "[device, {column: country, top: 4, by: device}]"))
	w.file("orders.parquet", fmt.Sprintf(twoWeeks, "'new'"))
	all, names := w.all()
	require.Len(t, names, 3+5*3, "two devices, four countries, and the rest of each")
	w.expect(all, `ml_dataset_rows{dataset="orders/device=app"} 500`, `ml_dataset_rows{dataset="orders/device=other"} 0`,
		`ml_dataset_rows{dataset="orders/country=CA,device=app"} 200`, `ml_dataset_rows{dataset="orders/country=other,device=web"} 10`)

	w = newWorld(t, fmt.Sprintf(foundSegmentsYAML, "[code]"))
	w.file("orders.parquet", "SELECT TIMESTAMP '2026-11-24 11:00:00' AS at, CASE WHEN i < 5000 THEN i % 40 ELSE 0 END::VARCHAR AS code FROM range(10000) AS r(i)")
	_, names = w.all()
	require.Len(t, names, 11, "the ten most frequent ones and the rest")
	require.Contains(t, names, "orders/code=0")
}

func TestDatasetIsProfiledWhenItsSegmentsCannotBeFound(t *testing.T) {
	for column, want := range map[string]string{
		"amount":  `segments: column "amount" has no bins by category whose values could be segments; list its values`,
		"nowhere": `segments: column "nowhere" has no bins by category`,
		"at":      `segments: column "at" has no bins by category whose values could be segments (the timestamp column`,
	} {
		w := newWorld(t, fmt.Sprintf(foundSegmentsYAML, "["+column+"]"))
		w.file("orders.parquet", fmt.Sprintf(twoWeeks, "'new'"))
		d := w.dataset(0)
		c, err := d.run(t.Context())
		require.ErrorContains(t, err, want)
		w.expect(metrics(t, d, c, err), `ml_dataset_rows{dataset="orders"} 1000`, `ml_dataset_profile_success{dataset="orders"} 0`)
		profiles, err := d.profileSegments(t.Context(), c)
		require.NoError(t, err)
		require.Empty(t, profiles)
	}
}

// A column that is accepted for the dataset is accepted for its segments, and a reset of its bins resets theirs.
func TestAcceptAndResetOfADatasetApplyToItsSegments(t *testing.T) {
	w := newWorld(t, fmt.Sprintf(foundSegmentsYAML, "[{column: device}]"))
	w.file("orders.parquet", fmt.Sprintf(twoWeeks, "'new'"))
	for range 5 {
		w.all()
	}
	w.file("orders.parquet", "SELECT *, i % 3 AS lines FROM ("+strings.Replace(fmt.Sprintf(twoWeeks, "'new'"), " FROM range", ", i FROM range", 1)+")")
	b, err := OpenBaselines(w.cfg, w.kept.logger, func() time.Time { return w.now })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	_, err = b.Accept(t.Context(), w.cfg.Datasets[0], "lines")
	require.NoError(t, err)
	all, _ := w.all()
	w.expect(all, `ml_dataset_column_baseline_rows{baseline="production",column="lines",dataset="orders/device=app"} 3500`, `ml_dataset_column_baseline_rows{baseline="production",column="amount",dataset="orders/device=app"} 1000`,
		`ml_dataset_baseline_frozen{dataset="orders/device=app"} 1`)

	named, err := b.Datasets(t.Context(), "orders/device=web")
	require.NoError(t, err)
	status, err := b.Status(t.Context(), named[0])
	require.NoError(t, err)
	require.True(t, status.Production.Frozen())
	_, err = b.Datasets(t.Context(), "orders/device=fax")
	require.ErrorContains(t, err, `unknown dataset "orders/device=fax"; want one of ["orders" "orders/device=app" "orders/device=other" "orders/device=web"]`)

	require.NoError(t, b.Reset(t.Context(), w.cfg.Datasets[0], baseline.PartDefinition))
	all, _ = w.all()
	w.expect(all, `ml_dataset_baseline_frozen{dataset="orders/device=app"} 1`)
	w.file("orders.parquet", "SELECT * REPLACE (amount * 10 AS amount, status || 2 AS status, country || 2 AS country) FROM ("+fmt.Sprintf(twoWeeks, "'new'")+")")
	require.NoError(t, b.Reset(t.Context(), w.cfg.Datasets[0], baseline.PartDefinition))
	all, _ = w.all()
	require.NotContains(t, all, `ml_dataset_baseline_frozen{dataset="orders/device=app"} 1`)
}

// The segments of a table without a timestamp column follow its bins, which all learned days extend.
func TestSegmentsWithoutATimestampColumn(t *testing.T) {
	w := newWorld(t, strings.NewReplacer("    timestamp_column: at\n", "", ", first_day: 2026-11-22", "").Replace(fmt.Sprintf(foundSegmentsYAML, "[{column: country, values: [CA]}]")))
	rows := func(most int) {
		w.file("orders.parquet", fmt.Sprintf("SELECT ['CA', 'US'][1 + i %% 2] AS country, (i %% %d)::DOUBLE AS amount FROM range(1000) AS t(i)", most))
	}
	rows(100)
	w.all()
	w.now = w.now.AddDate(0, 0, 1)
	rows(200)
	var all string
	for range 4 {
		all, _ = w.all()
	}
	w.expect(all,
		`ml_dataset_baseline_frozen{dataset="orders"} 1`, `ml_dataset_baseline_frozen{dataset="orders/country=CA"} 1`, `ml_dataset_baseline_days{dataset="orders/country=CA"} 2`,
		`ml_dataset_column_values{bin="(99,199]",column="amount",dataset="orders/country=CA"} 250`,
		`ml_dataset_column_baseline_ratio{baseline="production",bin="(99,199]",column="amount",dataset="orders/country=CA"} 0.25`,
	)
}
