package dataquality

import (
	"database/sql"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/tables"
)

const causesYAML = `
sources: {files: {type: duckdb, memory_limit: 512MiB}}
datasets:
  - name: payments
    source: files
    files: payments.parquet
    timestamp_column: at
    interval: 5m
    columns: {bins: 4%s}
    causes: {%s}
    baselines: {production: {days: 3, first_day: 2026-11-18}}
`

// payments are those of eight days until the 24th at noon, 4000 a day, of three providers. Nine of ten are of Canada.
const payments = `SELECT TIMESTAMP '2026-11-24 11:59:30' - to_seconds((i * 21.6)::BIGINT) AS at, ['visa', 'mc', 'amex'][1 + (i * 7919) %% 3] AS provider,
	CASE WHEN (i * 104729) %% 10 = 0 THEN 'US' ELSE 'CA' END AS country, ['app', 'web'][1 + (i * 31) %% 2] AS channel, ((i * 7919) %% 100)::DOUBLE AS amount,
	['food', 'fuel', 'rent'][1 + (i * 13) %% 3] AS category FROM range(%d) AS r(i)`

// withNewpay adds an unmapped provider from 06:02 on: one in five payments since then, one in twenty of the day.
const withNewpay = `SELECT * EXCLUDE (new) REPLACE (CASE WHEN new THEN 'newpay' ELSE provider END AS provider, CASE WHEN new THEN 'ZX-9' ELSE category END AS category, CASE WHEN new THEN 'web' ELSE channel END AS channel) FROM (
	SELECT *, t.at >= '2026-11-24 06:02:00' AND (epoch(t.at)::BIGINT // 22) %% 5 = 0 AS new FROM (%s) AS t) AS t`

// statements opens the world's source so that its statements are kept.
func (w *world) statements() *[]string {
	w.t.Helper()
	var all []string
	s, err := tables.Open(tables.Options{Type: tables.DuckDB, OnStatement: func(statement string) { all = append(all, statement) }})
	require.NoError(w.t, err)
	w.connections.sources["files"] = s
	return &all
}

// quietWorld has learned payments.
func quietWorld(t *testing.T, reveal, causes string) *world {
	t.Helper()
	w := newWorld(t, fmt.Sprintf(causesYAML, reveal, causes))
	w.file("payments.parquet", fmt.Sprintf(payments, 32_000))
	for range 4 {
		w.all()
	}
	return w
}

// ofCause are the samples of causes.
func ofCause(exposition string) []string {
	return series(exposition, "ml_dataset_cause_info", "ml_dataset_cause_rows_ratio", "ml_dataset_cause_first_seen_timestamp_seconds", "ml_dataset_cause_statement_info")
}

func samples(statements []string) (n int) {
	for _, s := range statements {
		if strings.Contains(s, "LIMIT 100000") {
			n++
		}
	}
	return n
}

func TestCauseIsPublished(t *testing.T) {
	w := quietWorld(t, "", "")
	asked := w.statements()
	all, _ := w.all()
	require.Empty(t, ofCause(all))
	quiet := len(*asked)

	w.now = noon.Add(5 * time.Minute)
	w.file("payments.parquet", fmt.Sprintf(withNewpay, fmt.Sprintf(payments, 32_000)))
	*asked = nil
	all, _ = w.all()
	require.Len(t, *asked, quiet+1, "one statement for the incidents of both columns")
	require.Equal(t, 1, samples(*asked))
	found := ofCause(all)
	var names []string
	for _, line := range found {
		names = append(names, strings.Fields(line)[0])
	}
	of := func(metric, column, cause, value string) string {
		return fmt.Sprintf(`%s{cause_column=%q,cause_value=%q,column=%q,dataset="payments",signal="unseen_ratio"}`, metric, cause, value, column)
	}
	require.Contains(t, names, of("ml_dataset_cause_info", "category", "provider", "newpay"))
	require.Contains(t, names, of("ml_dataset_cause_rows_ratio", "category", "provider", "newpay"))
	require.Contains(t, names, of("ml_dataset_cause_first_seen_timestamp_seconds", "category", "provider", "newpay"))
	for _, line := range found {
		require.NotContains(t, line, `cause_column="channel"`, "it goes along with the cause")
		if strings.HasPrefix(line, of("ml_dataset_cause_first_seen_timestamp_seconds", "category", "provider", "newpay")) {
			var at float64
			_, err := fmt.Sscan(strings.Fields(line)[1], &at)
			require.NoError(t, err)
			require.WithinDuration(t, time.Date(2026, 11, 24, 6, 2, 0, 0, time.UTC), time.Unix(int64(at), 0), 5*time.Minute)
		}
	}

	// The statement lists the rows. Prometheus has the same as the log.
	require.Contains(t, strings.Join(found, "\n"), `ml_dataset_cause_statement_info{cause_column="provider",cause_value="newpay",column="category",dataset="payments",signal="unseen_ratio",statement="SELECT * FROM `)
	statement := regexp.MustCompile(`cause="provider = newpay".* statement="(SELECT .*) LIMIT 100"`).FindStringSubmatch(w.logs.String())
	require.NotNil(t, statement, w.logs.String())
	db, err := sql.Open("duckdb", "")
	require.NoError(t, err)
	defer db.Close()
	var rows, newpay int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*), count_if(provider = 'newpay') FROM ("+strings.ReplaceAll(statement[1], `\"`, `"`)+")").Scan(&rows, &newpay))
	require.Positive(t, rows)
	require.Equal(t, rows, newpay)

	// The report does the same, and stores nothing.
	b := &Baselines{cfg: w.cfg, connections: w.connections, now: func() time.Time { return w.now }}
	r, err := b.Report(t.Context(), w.cfg.Datasets[0])
	require.NoError(t, err)
	var page strings.Builder
	require.NoError(t, r.WriteHTML(&page))
	require.Contains(t, page.String(), "provider = newpay")
	require.Contains(t, page.String(), "SELECT * FROM ")

	// The incident goes on: it has its cause, and no statement more.
	for range 3 {
		w.now = w.now.Add(5 * time.Minute)
		*asked = nil
		all, _ = w.all()
		require.Zero(t, samples(*asked))
		require.NotEmpty(t, ofCause(all))
	}
	// It is over half an hour after the last breach.
	w.file("payments.parquet", fmt.Sprintf(payments, 32_000))
	all, _ = w.all()
	require.NotEmpty(t, ofCause(all))
	w.now = w.now.Add(31 * time.Minute)
	all, _ = w.all()
	require.Empty(t, ofCause(all))
}

func TestCauseSearchQueriesNothingWithoutAChange(t *testing.T) {
	with, without := quietWorld(t, "", ""), quietWorld(t, "", "per_hour: 0")
	asked, plain := with.statements(), without.statements()
	for range 5 {
		for _, w := range []*world{with, without} {
			w.now = w.now.Add(5 * time.Minute)
			w.all()
		}
	}
	require.Len(t, *asked, len(*plain))
}

func TestChangesWithoutASegmentHaveNoCause(t *testing.T) {
	w := quietWorld(t, "", "")
	w.file("payments.parquet", `SELECT * REPLACE (CASE WHEN t.at > '2026-11-23 12:00:00' AND hash(t.at) % 5 = 0 THEN NULL ELSE amount END AS amount) FROM (`+fmt.Sprintf(payments, 32_000)+") AS t")
	all, _ := w.all()
	require.Contains(t, ofCause(all), `ml_dataset_cause_info{cause_column="",cause_value="",column="amount",dataset="payments",signal="null_ratio"} 0`)
	for _, line := range ofCause(all) {
		require.Contains(t, line, `cause_column=""`)
	}
	require.Regexp(t, `ml_dataset_cause_statement_info{cause_column="",cause_value="",column="amount",dataset="payments",signal="null_ratio",statement="SELECT \* FROM .* AND .*amount.* IS NULL LIMIT 100"} 1`, all,
		"the affected rows can be listed all the same")
}

func TestHourlyBudgetOfCauseSearches(t *testing.T) {
	w := quietWorld(t, "", "per_hour: 1")
	asked := w.statements()
	replace := func(column string) {
		w.file("payments.parquet", `SELECT * REPLACE (`+column+`) FROM (`+fmt.Sprintf(payments, 32_000)+") AS t")
	}
	amount := "CASE WHEN t.at > '2026-11-23 12:00:00' AND country = 'US' THEN NULL ELSE amount END AS amount"
	replace(amount)
	w.all()
	require.Equal(t, 1, samples(*asked))
	replace(amount + ", CASE WHEN t.at > '2026-11-23 12:00:00' AND country = 'US' THEN NULL ELSE channel END AS channel")
	w.now = w.now.Add(5 * time.Minute)
	all, _ := w.all()
	require.Equal(t, 1, samples(*asked), "the budget is spent")
	require.Contains(t, all, `ml_dataset_cause_info{cause_column="country",cause_value="US",column="amount"`)
	require.NotContains(t, all, `ml_dataset_cause_info{cause_column="country",cause_value="US",column="channel"`)
	w.now = w.now.Add(time.Hour)
	all, _ = w.all()
	require.Equal(t, 2, samples(*asked))
	require.Contains(t, all, `ml_dataset_cause_info{cause_column="country",cause_value="US",column="channel"`)
}

// A value that is not shown in a bin is shown neither as a cause nor in the statement.
func TestPrivateValuesOfACause(t *testing.T) {
	broken := `SELECT * REPLACE (CASE WHEN t.at > '2026-11-23 12:00:00' AND country = 'US' THEN NULL ELSE amount END AS amount) RENAME (country AS surname) FROM (` + fmt.Sprintf(payments, 32_000) + ") AS t"
	for reveal, revealed := range map[string]bool{"": false, ", reveal: [surname]": true} {
		w := newWorld(t, fmt.Sprintf(causesYAML, reveal, ""))
		w.file("payments.parquet", broken)
		for range 4 {
			w.all()
		}
		w.kept = nil // Learned nulls are those of the 18th to the 20th.
		all, _ := w.all()
		info := series(all, "ml_dataset_cause_info")
		require.NotEmpty(t, info)
		require.Contains(t, info[0], `cause_column="surname"`)
		require.Equal(t, revealed, strings.Contains(info[0], `cause_value="US"`), info[0])
		require.Equal(t, revealed, strings.Contains(w.logs.String(), "IN ('US')"))
		require.Equal(t, revealed, strings.Contains(all, "IN ('US')"))
	}
}

// The profile's counts tell which rows are missing or too many, so no rows are read. Missing rows can't be listed: the statement
// lists the segment's rows at an earlier time. It names no private value.
func TestCauseOfAVolumeChangeNeedsNoRows(t *testing.T) {
	const lost, doubled = "SELECT * FROM (%s) AS t WHERE NOT (channel = '%s' AND t.at > '2026-11-23 12:00:00')",
		"SELECT t.* FROM (%s) AS t, range(2) AS again(n) WHERE n = 0 OR (channel = '%s' AND t.at > '2026-11-23 12:00:00')"
	for name, test := range map[string]struct {
		table, channel, published, where string
		rows                             int64
	}{
		"a loss":          {lost, "web", "web", `"channel" IN ('web')`, 2000},
		"a doubled load":  {doubled, "web", "web", `"channel" IN ('web')`, 4000},
		"a private value": {lost, "Anna Smith", "#", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, fmt.Sprintf(causesYAML, "", ""))
			table := strings.ReplaceAll(fmt.Sprintf(payments, 32_000), "'web'", "'"+test.channel+"'")
			w.file("payments.parquet", table)
			for range 4 {
				w.all()
			}
			asked := w.statements()
			w.file("payments.parquet", fmt.Sprintf(test.table, table, test.channel))
			all, _ := w.all()
			require.Regexp(t, `ml_dataset_cause_info{cause_column="channel",cause_value="`+test.published+`.*",column="",dataset="payments",signal="volume_deviation_ratio"}`, all)
			for _, s := range *asked {
				require.False(t, strings.HasSuffix(s, " LIMIT 100"), "the exporter only names the statement: %s", s)
			}
			published := slices.DeleteFunc(series(all, "ml_dataset_cause_statement_info"), func(s string) bool { return !strings.Contains(s, `column="",`) })
			if test.where == "" {
				require.Empty(t, published)
				return
			}
			require.Len(t, published, 1)
			statement := regexp.MustCompile(`statement="(SELECT .*) LIMIT 100"`).FindStringSubmatch(published[0])
			require.NotNil(t, statement, published[0])
			require.Contains(t, statement[1], strings.ReplaceAll(test.where, `"`, `\"`))
			db, err := sql.Open("duckdb", "")
			require.NoError(t, err)
			defer db.Close()
			var rows int64
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM ("+strings.ReplaceAll(statement[1], `\"`, `"`)+")").Scan(&rows))
			require.InDelta(t, test.rows, rows, 10, statement[1])
		})
	}
}

// Partitions are the folders of a table, or the values of a column that the configuration names.
func TestCauseNamesItsPartitions(t *testing.T) {
	for name, test := range map[string]struct {
		causes, where, want string
	}{
		"none is known": {"", "channel = 'web'", ""},
		"in one load":   {"partition: load", "channel = 'web' AND load = 'l2'", "0.5"},
		"in all loads":  {"partition: load", "channel = 'web'", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			table := "SELECT *, ['l1', 'l2'][1 + (t.amount::INT // 7) % 2] AS load FROM (" + fmt.Sprintf(payments, 32_000) + ") AS t"
			w := newWorld(t, fmt.Sprintf(causesYAML, ", exclude: [load]", test.causes))
			w.file("payments.parquet", table)
			for range 4 {
				w.all()
			}
			w.now = noon.Add(5 * time.Minute)
			w.file("payments.parquet", "SELECT * REPLACE (CASE WHEN t.at > '2026-11-24 02:00:00' AND "+test.where+" THEN NULL ELSE amount END AS amount) FROM ("+table+") AS t")
			all, _ := w.all()
			require.Contains(t, series(all, "ml_dataset_cause_gradual"), `ml_dataset_cause_gradual{cause_column="channel",cause_value="web",column="amount",dataset="payments",signal="null_ratio"} 0`)
			found := series(all, "ml_dataset_cause_partitions_ratio")
			if test.want == "" {
				require.Empty(t, found)
				return
			}
			require.Contains(t, found, `ml_dataset_cause_partitions_ratio{cause_column="channel",cause_value="web",column="amount",dataset="payments",signal="null_ratio"} `+test.want)
		})
	}
}
