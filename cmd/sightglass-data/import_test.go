package main

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// A dbt project's properties, of the shape since dbt 1.10.5 and of the one before 1.8.
const dbtSchema = `version: 2
models:
  - name: orders
    description: One row an order.
    config: {materialized: table}
    columns:
      - name: order_id
        data_type: integer
        description: Key of the order.
        data_tests:
          - unique
          - not_null:
              config: {severity: error}
      - name: status
        data_tests:
          - accepted_values:
              name: known_status
              arguments:
                values: ['placed', 'shipped', 'returned']
      - name: customer_id
        data_tests:
          - relationships:
              arguments:
                to: ref('customers')
                field: customer_id
              config:
                where: "status <> 'returned'"
  - name: customers
    columns:
      - name: customer_id
        tests:
          - unique
          - not_null
      - name: tier
        tests:
          - accepted_values:
              values: [gold, silver]
`

// A suite as Great Expectations 1.x stores it.
const gxSuite = `{
  "expectations": [
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e01", "kwargs": {"column": "payment_id"}, "meta": {}, "severity": "critical", "type": "expect_column_values_to_be_unique"},
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e02", "kwargs": {"column": "order_id", "mostly": 0.9}, "meta": {}, "severity": "warning", "type": "expect_column_values_to_not_be_null"},
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e03", "kwargs": {"column": "method", "value_set": ["card", "transfer"]}, "meta": {}, "severity": "critical", "type": "expect_column_values_to_be_in_set"},
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e04", "kwargs": {"column": "amount", "max_value": 1000, "min_value": 0, "strict_max": false, "strict_min": true}, "meta": {}, "severity": "critical", "type": "expect_column_values_to_be_between"},
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e05", "kwargs": {"column": "currency", "regex": "^[A-Z]{3}$"}, "meta": {}, "severity": "critical", "type": "expect_column_values_to_match_regex"},
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e06", "kwargs": {"column": "currency", "value": 3}, "meta": {}, "severity": "critical", "type": "expect_column_value_lengths_to_equal"},
    {"id": "5f0f0b4e-7a6c-4b6e-9d2f-0a1b2c3d4e07", "kwargs": {"max_value": 100000, "min_value": 1}, "meta": {}, "severity": "critical", "type": "expect_table_row_count_to_be_between"}
  ],
  "id": "0a6d1f5e-0f2b-4f8c-8d4e-6f7a8b9c0d1e",
  "meta": {"great_expectations_version": "1.9.0"},
  "name": "payments",
  "notes": null
}
`

// Imported tests and expectations run through the command and the exporter. The metrics have the numbers of planted rows.
func TestImportedDatasetsAreProfiled(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	db, err := sql.Open("duckdb", path("shop.duckdb"))
	require.NoError(t, err)
	for _, statement := range []string{
		"CREATE SCHEMA analytics",
		"CREATE TABLE analytics.customers AS SELECT i AS customer_id, CASE WHEN i % 2 = 0 THEN 'gold' ELSE 'silver' END AS tier FROM range(100) AS r(i)",
		"INSERT INTO analytics.customers VALUES (7, 'gold'), (NULL, 'bronze')",
		"CREATE TABLE analytics.orders AS SELECT i AS order_id, 'placed' AS status, i % 100 AS customer_id FROM range(1000) AS r(i)",
		// One key twice, one row without a key, two unknown states, three customers that are not there, one of them of a returned order.
		"INSERT INTO analytics.orders VALUES (5, 'placed', 1), (NULL, 'shipped', 1), (2001, 'lost', 1), (2002, 'Placed', 1), (2003, 'placed', 500), (2004, 'shipped', 501), (2005, 'returned', 502)",
		"CREATE TABLE analytics.payments AS SELECT i AS payment_id, i AS order_id, 'card' AS method, 10.5::DECIMAL(9,2) AS amount, 'CAD' AS currency FROM range(200) AS r(i)",
		"INSERT INTO analytics.payments VALUES (0, NULL, 'cash', 0, 'cad'), (201, NULL, 'card', 1000, 'CADX'), (202, 1, NULL, 1001, NULL), (203, 1, 'transfer', NULL, 'EUR')",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err, statement)
	}
	require.NoError(t, db.Close())
	require.NoError(t, os.WriteFile(path("schema.yml"), []byte(dbtSchema), 0o600))
	require.NoError(t, os.WriteFile(path("payments.json"), []byte(gxSuite), 0o600))

	status, dbt, stderr := call("import", "--schema=analytics", "dbt", path("schema.yml"))
	require.Zero(t, status, stderr)
	status, gx, stderr := call("import", "--schema=analytics", "gx", path("payments.json"))
	require.Zero(t, status, stderr)
	require.Contains(t, gx, "MLDatasetVolumeAnomaly", "what has no counterpart is said")
	config := "sources: {warehouse: {type: duckdb, database: shop.duckdb}}\n" + dbt + strings.TrimPrefix(gx, "datasets:\n")
	require.NoError(t, os.WriteFile(path("dataquality.yaml"), []byte(config), 0o600))

	metrics := scrapeOnce(t, path("dataquality.yaml"), "orders", "customers", "payments")
	for _, line := range []string{
		`ml_dataset_duplicate_keys{dataset="orders",key="order_id"} 1`,
		`ml_dataset_check_failed_rows{check="order_id not_null",dataset="orders"} 1`,
		`ml_dataset_check_limit_ratio{check="order_id not_null",dataset="orders",severity="critical"} 0`,
		`ml_dataset_check_failed_rows{check="known_status",dataset="orders"} 2`,
		`ml_dataset_check_failed_rows{check="customer_id relationships",dataset="orders"} 2`,
		`ml_dataset_duplicate_keys{dataset="customers",key="customer_id"} 1`,
		`ml_dataset_check_failed_rows{check="customer_id not_null",dataset="customers"} 1`,
		`ml_dataset_check_failed_rows{check="tier accepted_values",dataset="customers"} 1`,
		`ml_dataset_duplicate_keys{dataset="payments",key="payment_id"} 1`,
		`ml_dataset_check_failed_rows{check="order_id not be null",dataset="payments"} 2`,
		`ml_dataset_check_limit_ratio{check="order_id not be null",dataset="payments",severity="warning"} 0.1`,
		`ml_dataset_check_failed_rows{check="method be in set",dataset="payments"} 1`,
		`ml_dataset_check_failed_rows{check="amount be between",dataset="payments"} 2`,
		`ml_dataset_check_failed_rows{check="currency match regex",dataset="payments"} 2`,
		`ml_dataset_check_failed_rows{check="currency lengths to equal",dataset="payments"} 1`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			t.Errorf("%s is not there, but %q", line, regexp.MustCompile("(?m)^"+name+`{.*$`).FindAllString(metrics, -1))
		}
	}
}

// scrapeOnce runs the exporter until it has profiled the datasets, and returns what it publishes.
func scrapeOnce(t *testing.T, config string, datasets ...string) string {
	t.Helper()
	address := testtools.FreeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	var logs bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- exporter.RunContext(ctx, dataquality.Spec(), []string{"--config.file", config, "--web.listen-address", address}, &logs, &logs)
	}()
	defer func() {
		cancel()
		require.Zero(t, <-code, "%s", &logs)
	}()
	var metrics string
	require.Eventually(t, func() bool {
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		metrics = string(body)
		for _, d := range datasets {
			if !strings.Contains(metrics, `ml_dataset_profile_success{dataset="`+d+`"} 1`) {
				return false
			}
		}
		return err == nil
	}, time.Minute, 50*time.Millisecond, "the datasets are profiled")
	return metrics
}
