package dataquality

import (
	"database/sql"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// The tests of a dbt project, as `sightglass import` prints them, run on a real PostgreSQL.
func TestImportedTestsRun(t *testing.T) {
	dsn := testtools.Postgres(t)
	t.Setenv("DSN", dsn)
	db, err := sql.Open("pgx", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range []string{
		"CREATE SCHEMA analytics", "CREATE SCHEMA raw",
		"CREATE TABLE analytics.customers (id int)", "INSERT INTO analytics.customers VALUES (1), (2)",
		"CREATE TABLE raw.people (id int)", "INSERT INTO raw.people VALUES (1), (2), (3)",
		"CREATE TABLE analytics.orders (order_id int, line int, status text, customer_id int, amount numeric)",
		`INSERT INTO analytics.orders VALUES (1, 1, 'new', 1, 5), (1, 1, 'paid', 3, 5), (1, 2, 'lost', 2, -1), (NULL, 1, NULL, 1, 20000), (4, 1, 'refund', 4, -3), (5, 1, '7', 1, 0)`,
	} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	imported, err := os.ReadFile("imports/testdata/schema.imported.yaml")
	require.NoError(t, err)
	w := newWorld(t, "sources: {warehouse: {type: postgres, dsn: {env: DSN}}}\n"+string(imported))
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
