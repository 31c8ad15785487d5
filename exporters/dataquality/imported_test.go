package dataquality

import (
	"database/sql"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// imported is the world of an imported file beside a database in which the statements ran.
func imported(t *testing.T, file string, statements ...string) *world {
	t.Helper()
	dsn := testtools.Postgres(t)
	t.Setenv("DSN", dsn)
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	datasets, err := os.ReadFile("imports/testdata/" + file) // The tests of the package imports hold it to what is imported.
	require.NoError(t, err)
	return newWorld(t, "sources: {warehouse: {type: postgres, dsn: {env: DSN}}}\n"+string(datasets))
}

// The tests of a dbt project, as `sightglass import` prints them, run on a real PostgreSQL.
func TestImportedTestsRun(t *testing.T) {
	w := imported(t, "schema.imported.yaml",
		"CREATE SCHEMA analytics", "CREATE SCHEMA raw",
		"CREATE TABLE analytics.customers (id int)", "INSERT INTO analytics.customers VALUES (1), (2)",
		"CREATE TABLE raw.people (id int)", "INSERT INTO raw.people VALUES (1), (2), (3)",
		"CREATE TABLE analytics.orders (order_id int, line int, status text, customer_id int, amount numeric)",
		`INSERT INTO analytics.orders VALUES (1, 1, 'new', 1, 5), (1, 1, 'paid', 3, 5), (1, 2, 'lost', 2, -1), (NULL, 1, NULL, 1, 20000), (4, 1, 'refund', 4, -3), (5, 1, '7', 1, 0)`,
	)
	w.expect(w.scrape(),
		`ml_dataset_duplicate_keys{dataset="orders",key="order_id"} 2`,
		`ml_dataset_duplicate_keys{dataset="orders",key="order_id, line"} 1`,
		`ml_dataset_check_failed_rows{check="dbt_utils.expression_is_true",dataset="orders"} 1`, // -1 of the lost one
		`ml_dataset_check_failed_rows{check="order_id not_null",dataset="orders"} 1`,
		`ml_dataset_check_failed_rows{check="status accepted_values",dataset="orders"} 1`, // lost
		`ml_dataset_check_failed_rows{check="status_of_the_paid",dataset="orders"} 1`,
		`ml_dataset_check_failed_rows{check="customer_id relationships",dataset="orders"} 2`,   // 3, 4
		`ml_dataset_check_failed_rows{check="customer_id relationships 2",dataset="orders"} 1`, // 4
		`ml_dataset_check_failed_rows{check="amount dbt_utils.accepted_range",dataset="orders"} 3`,
	)
}

// The common expectations of a suite of Great Expectations, as they are imported, count what was planted.
func TestImportedExpectationsRun(t *testing.T) {
	w := imported(t, "suite.imported.yaml",
		`CREATE TABLE orders (order_id int, line int, coupon text, status text, amount numeric, currency text, "Country" text, shipped_at timestamptz, ordered_at timestamptz)`,
		// 100 orders as all expectations want them.
		`INSERT INTO orders SELECT i, 1, 'SAVE10', 'paid', 10, 'CAD', 'CA', '2026-11-24', '2026-11-23' FROM generate_series(1, 100) AS t(i)`,
		`INSERT INTO orders VALUES
			(NULL, 1, 'x', 'new', 1, 'CAD', 'CA', '2026-11-24', '2026-11-23'),
			(1, 1, 'x', 'it''s', 1, 'CAD', 'CA', '2026-11-24', '2026-11-23'),
			(1, 2, NULL, 'lost', -1, 'cad', 'C', '2026-11-24', '2026-11-25'),
			(102, 1, NULL, NULL, 10000.51, 'CADX', 'Canada', NULL, '2026-11-25'),
			(103, 1, NULL, 'LOST', 0, NULL, NULL, '2026-11-24', '2026-11-24')`,
	)
	w.expect(w.scrape(),
		`ml_dataset_rows{dataset="orders"} 105`,
		`ml_dataset_duplicate_keys{dataset="orders",key="order_id"} 2`,
		`ml_dataset_duplicate_keys{dataset="orders",key="order_id, line"} 1`,
		`ml_dataset_check_failed_rows{check="order_id not be null",dataset="orders"} 1`,
		`ml_dataset_check_failed_rows{check="coupon not be null",dataset="orders"} 3`,
		`ml_dataset_check_limit_ratio{check="coupon not be null",dataset="orders",severity="warning"} 0.05`,
		`ml_dataset_check_failed_rows{check="status be in set",dataset="orders"} 2`,     // lost, LOST
		`ml_dataset_check_failed_rows{check="status not be in set",dataset="orders"} 2`, // lost, it's
		`ml_dataset_check_failed_rows{check="amount be between",dataset="orders"} 2`,    // -1, 10000.51
		`ml_dataset_check_failed_rows{check="amount be between 2",dataset="orders"} 2`,  // -1, 0
		`ml_dataset_check_failed_rows{check="currency match regex",dataset="orders"} 2`, // cad, CADX
		`ml_dataset_check_failed_rows{check="Country lengths to be between",dataset="orders"} 2`,
		`ml_dataset_check_failed_rows{check="currency lengths to equal",dataset="orders"} 1`,
		`ml_dataset_check_failed_rows{check="shipped_at >= ordered_at",dataset="orders"} 1`,
	)
}
