package dataquality

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const segmentsYAML = `
sources: {files: {type: duckdb, memory_limit: 512MiB}}
datasets:
  - name: orders
    source: files
    files: orders.csv
    timestamp_column: at
    segments:
      - {column: country, values: [CA, US, "007"]}
      - {column: country, values: [CA, US], by: {column: device, values: [app]}}
    checks: [{column: amount, not_null: true}]
    upstream: [{name: cart, query: SELECT 1}]
    baselines: {production: {days: 0}, training: {files: training.csv}}
`

// One country without amounts does not hide in the whole.
func TestSegmentsAreDatasetsOfTheirOwn(t *testing.T) {
	w := newWorld(t, segmentsYAML)
	w.write("training.csv", "country,device,amount\nCA,app,1\nCA,web,2\nUS,app,1\n007,app,3\n")
	w.write("orders.csv", "at,country,device,amount\n2026-11-24 11:00:00,CA,app,\n2026-11-24 11:00:00,CA,web,\n2026-11-24 11:00:00,US,app,1\n2026-11-24 11:00:00,US,app,2\n2026-11-24 11:00:00,FR,app,2\n2026-11-25 11:00:00,CA,app,2\n")
	var names []string
	var all string
	for i, d := range w.cfg.Datasets {
		names = append(names, d.Name)
		run := w.dataset(i)
		c, err := run.run(t.Context())
		require.NoError(t, err)
		all += metrics(t, run, c, err)
	}
	require.Equal(t, []string{"orders", "orders/country=CA", "orders/country=US", "orders/country=007", "orders/country=CA,device=app", "orders/country=US,device=app"}, names)
	w.expect(all,
		`ml_dataset_rows{dataset="orders"} 5`, `ml_dataset_rows{dataset="orders/country=CA"} 2`, `ml_dataset_rows{dataset="orders/country=US"} 2`, `ml_dataset_rows{dataset="orders/country=007"} 0`,
		`ml_dataset_column_nulls{column="amount",dataset="orders"} 2`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=CA"} 2`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=US"} 0`,
		`ml_dataset_rows{dataset="orders/country=CA,device=app"} 1`, `ml_dataset_column_nulls{column="amount",dataset="orders/country=CA,device=app"} 1`, `ml_dataset_rows{dataset="orders/country=US,device=app"} 2`,
		`ml_dataset_column_baseline_rows{baseline="training",column="amount",dataset="orders/country=CA,device=app"} 1`,
		`ml_dataset_check_failed_rows{check="amount not_null",dataset="orders/country=CA"} 2`,
		`ml_dataset_future_rows{dataset="orders/country=CA"} 1`, `ml_dataset_future_rows{dataset="orders/country=US"} 0`,
		`ml_dataset_column_baseline_rows{baseline="training",column="amount",dataset="orders"} 4`, `ml_dataset_column_baseline_rows{baseline="training",column="amount",dataset="orders/country=CA"} 2`,
		`ml_dataset_upstream_rows{dataset="orders",upstream="cart"} 1`,
	)
	require.NotContains(t, all, `ml_dataset_upstream_rows{dataset="orders/`, "its rows are not of the segment alone")
}
