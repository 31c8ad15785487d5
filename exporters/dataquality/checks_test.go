package dataquality

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// checksYAML configures keys and checks of a table of orders, for a source of any type.
const checksYAML = `
    keys: [[order_id], [order_id, line]]
    checks:
      - {column: status, not_null: true}
      - {name: status known, column: status, in: [new, paid, "it's"], severity: critical}
      - {column: amount, between: [0, 100.5], max_ratio: 0.5}
      - {name: not above, column: line, at_most: 2}
      - {name: since, column: at, at_least: 2026-11-24T10:30:00Z}
      - {name: three letters, column: status, matches: "^[a-z]{3}$"}
      - {name: refund, sql: "amount >= 0 or status = 'paid' -- negative ones are refunds"}
      - {name: gift or not, column: gift, in: [true]}
      - {name: customer exists, column: customer, references: {dataset: customers, to: id}}
      - {name: wrong, sql: no_such_column > 1}
      - {name: at is there, column: at, not_null: true}
  - name: customers
    source: s
    %s
    baselines: {production: {days: 0}}
`

// Ten orders; what breaks each check was counted by hand.
const tenOrders = `SELECT * FROM (VALUES
	(1, 1, 'new', 10.0, true, 7), (1, 2, 'paid', -5.0, false, 7), (2, 1, 'new', 100.5, true, 8), (2, 1, 'new', 100.6, NULL, 9), (3, 1, NULL, NULL, true, NULL),
	(4, 3, 'lost', -1.0, true, 7), (5, 1, 'it''s', 0.0, true, 8), (NULL, 1, 'new', 1.0, false, 8), (NULL, 1, 'NEW', 2.0, true, 10), (6, 1, 'paid', 3.0, true, 7)
) AS v(order_id, line, status, amount, gift, customer)`

var checksOfTenOrders = []string{
	`ml_dataset_duplicate_keys{dataset="orders",key="order_id"} 2`,       // 1 and 2 are there twice.
	`ml_dataset_duplicate_keys{dataset="orders",key="order_id, line"} 1`, // (2, 1)
	`ml_dataset_duplicate_keys_sample_ratio{dataset="orders",key="order_id"} 1`,
	`ml_dataset_check_failed_rows{check="status not_null",dataset="orders"} 1`,
	`ml_dataset_check_failed_rows{check="status known",dataset="orders"} 2`,   // lost, NEW
	`ml_dataset_check_failed_rows{check="amount between",dataset="orders"} 3`, // -5, 100.6, -1
	`ml_dataset_check_failed_rows{check="not above",dataset="orders"} 1`,
	`ml_dataset_check_failed_rows{check="since",dataset="orders"} 0`,
	`ml_dataset_check_failed_rows{check="three letters",dataset="orders"} 5`, // paid, lost, it's, NEW, paid
	`ml_dataset_check_failed_rows{check="refund",dataset="orders"} 1`,        // -1
	`ml_dataset_check_failed_rows{check="gift or not",dataset="orders"} 2`,
	`ml_dataset_check_failed_rows{check="customer exists",dataset="orders"} 2`, // 9, 10
	`ml_dataset_check_failed_rows{check="at is there",dataset="orders"} 0`,
	`ml_dataset_check_limit_ratio{check="status known",dataset="orders",severity="critical"} 0`,
	`ml_dataset_check_limit_ratio{check="amount between",dataset="orders",severity="warning"} 0.5`,
}

func TestKeysAndChecksCountAsByHand(t *testing.T) {
	for name, source := range map[string]struct {
		yaml, orders, customers string
		dsn                     func(testing.TB) string
	}{
		"duckdb": {
			yaml:      "duckdb",
			orders:    `query: "SELECT *, TIMESTAMP '2026-11-24 11:00:00' AS at FROM (` + tenOrders + `)"`,
			customers: "query: SELECT unnest([7, 8, NULL]) AS id",
		},
		"postgres": {
			yaml: "postgres, dsn: {env: DSN}", dsn: testtools.Postgres,
			orders:    `query: "SELECT *, TIMESTAMPTZ '2026-11-24 11:00:00+00' AS at FROM (` + tenOrders + `) AS o"`,
			customers: "query: SELECT unnest(ARRAY[7, 8, NULL]) AS id",
		},
		"trino": {
			yaml: "trino, dsn: {env: DSN}", dsn: testtools.Trino,
			orders:    `query: "SELECT *, TIMESTAMP '2026-11-24 11:00:00 UTC' AS at FROM (` + tenOrders + `) AS o"`,
			customers: "query: SELECT id FROM UNNEST(ARRAY[7, 8, NULL]) AS u(id)",
		},
		"clickhouse": {
			yaml: "clickhouse, dsn: {env: DSN}", dsn: testtools.ClickHouse,
			orders: `query: "SELECT *, toDateTime('2026-11-24 11:00:00', 'UTC') AS at FROM values('order_id Nullable(Int32), line Int32, status Nullable(String), amount Nullable(Decimal(9,1)), gift Nullable(Bool), customer Nullable(Int32)',` +
				strings.ReplaceAll(tenOrders[strings.Index(tenOrders, "(1, 1"):strings.LastIndex(tenOrders, ") AS")], "\n", " ") + `)"`,
			customers: "query: SELECT arrayJoin([7, 8, NULL]) AS id",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if source.dsn != nil {
				t.Setenv("DSN", source.dsn(t))
			}
			w := newWorld(t, "sources: {s: {type: "+source.yaml+"}}\ndatasets:\n  - name: orders\n    source: s\n    "+strings.ReplaceAll(source.orders, "\n", " ")+
				"\n    timestamp_column: at\n    baselines: {production: {days: 0}}"+fmt.Sprintf(checksYAML, source.customers))
			d := w.dataset(0)
			c, err := d.run(t.Context())
			require.ErrorContains(t, err, `check "wrong"`, "the one that cannot be counted is named, and the others are counted")
			m := metrics(t, d, c, err)
			w.expect(m, checksOfTenOrders...)
			require.NotContains(t, m, `ml_dataset_check_failed_rows{check="wrong"`)
		})
	}
}

func TestManyKeysAreCountedFromASample(t *testing.T) {
	for name, rows := range map[string]struct {
		query    string
		from, to float64
	}{
		"without a copy there is none":  {"SELECT i AS id FROM range(100000) AS r(i)", 0, 0},
		"a fifth of copies is about it": {"SELECT i % 80000 AS id FROM range(100000) AS r(i)", 19_000, 21_000},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, table("t.parquet", ", keys: [[id]], keys_exact_rows: 99999"))
			w.file("t.parquet", rows.query)
			d := w.dataset(0)
			c, err := d.run(t.Context())
			require.NoError(t, err)
			require.InDelta(t, 1.0/16, c.duplicates[0].Sample, 0)
			require.GreaterOrEqual(t, float64(c.duplicates[0].Rows), rows.from)
			require.LessOrEqual(t, float64(c.duplicates[0].Rows), rows.to)
		})
	}
}

func TestSnapshotThatFailsACheckIsNotGood(t *testing.T) {
	for settings, why := range map[string]string{
		`keys: [[v]]`:                                        `rows repeat the key`,
		`checks: [{column: v, at_least: 5}]`:                 `rows break the check`,
		`checks: [{column: v, at_least: 5, max_ratio: 0.5}]`: ``,
	} {
		w := newWorld(t, table("t.parquet", ", "+settings))
		w.file("t.parquet", "SELECT 1 + i % 9 AS v FROM range(90) AS r(i)")
		c, err := w.dataset(0).run(t.Context())
		require.NoError(t, err)
		require.Equal(t, why == "", c.good.Snapshot.Name != "", settings)
		require.Contains(t, w.logs.String(), why)
	}
}
