package dataquality

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
)

const refinedYAML = `
sources: {files: {type: duckdb}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    baselines:
      production: {days: 30, first_day: 2026-10-25, lateness: 0s}
`

// month is a query for 100 rows an hour from October 25 to November 24. On weekdays,
// 31 of 100 channels are desk, which Sundays never have; 7 of 100 refunds are not zero.
const month = `SELECT "at",
		CASE WHEN isodow("at") <= 5 AND i % 100 < 31 THEN 'desk' WHEN i % 2 = 0 THEN 'web' ELSE 'shop' END AS channel,
		(i % 5)::BIGINT AS items,
		CASE WHEN i % 100 < 7 THEN 5 + (i * 7919 % 4001) / 100 ELSE 0 END::DOUBLE AS refund,
		exp((i * 7919 % 1000) / 250.0) AS amount
	FROM (SELECT i, TIMESTAMP '2026-10-25 00:00:00' + to_seconds(36 * i::BIGINT) AS "at" FROM range(100 * 24 * 31) AS t(i))`

// sunday is a day on which the last day's window has no desk.
var sunday = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func (w *world) build() baseline.Definition {
	w.t.Helper()
	b := &Baselines{cfg: w.cfg, connections: w.connections, now: func() time.Time { return w.now }}
	require.NoError(w.t, b.Build(w.t.Context(), w.cfg.Datasets[0]))
	s, err := b.Status(w.t.Context(), w.cfg.Datasets[0])
	require.NoError(w.t, err)
	return s.Definition
}

func TestBinsAreCutFromAllLearnedDays(t *testing.T) {
	t.Run("a baseline that is built on a Sunday knows what only weekdays have", func(t *testing.T) {
		w := newWorld(t, strings.Replace(refinedYAML, "days: 30", "days: 28", 1))
		w.file("orders.parquet", month)
		w.now = sunday
		d := w.build()
		require.True(t, d.Refined())
		require.Len(t, d.Learned, 28)
		require.Equal(t, []string{"shop", "web", "desk"}, d.Fields["channel"].Top)
		c := w.run(w.dataset(0))
		require.True(t, c.production.Frozen())
		require.EqualValues(t, 28*2400, c.production.Counts.Rows)
		// Twenty of 28 days are weekdays.
		require.EqualValues(t, 20*24*31, c.production.Counts.Fields["channel"]["desk"])
		require.Zero(t, c.production.Counts.Fields["channel"][binning.Unseen])
		require.Contains(t, c.profile.Values["channel"], binning.Unseen)
	})
	t.Run("the exporter that learns day by day ends with the same bins and counts", func(t *testing.T) {
		built := newWorld(t, refinedYAML)
		built.file("orders.parquet", month)
		built.now = noon
		want := built.build()

		w := newWorld(t, refinedYAML)
		w.file("orders.parquet", month)
		w.now = time.Date(2026, 10, 25, 12, 0, 0, 0, time.UTC)
		d := w.dataset(0)
		var c *cycle
		for range 31 {
			c = w.run(d)
			require.NotContains(t, c.profile.Values["channel"], binning.Unseen, "on %s, while the baseline is learning", w.now)
			require.NotContains(t, metrics(t, d, c, nil), "out_of_range", "while the extremes are those of some days")
			w.now = w.now.AddDate(0, 0, 1)
		}
		w.now = noon
		for range 12 {
			c = w.run(d)
		}
		require.True(t, c.production.Frozen())
		require.Equal(t, want.Fields, c.definition.Fields)
		require.Equal(t, want.Numbers, c.definition.Numbers)
		require.EqualValues(t, 30*2400, c.production.Counts.Rows)
		require.Contains(t, c.profile.Values["channel"], binning.Unseen)
		require.Contains(t, metrics(t, d, c, nil), `ml_dataset_column_out_of_range_values{column="refund",dataset="orders"} 0`)
		require.Equal(t, 1, strings.Count(w.logs.String(), "Cut the bins from all learned days"))
	})
	t.Run("freezing early refines the bins of the days that are there", func(t *testing.T) {
		w := newWorld(t, refinedYAML)
		w.file("orders.parquet", month)
		w.now = time.Date(2026, 10, 30, 12, 0, 0, 0, time.UTC)
		require.False(t, w.build().Refined())
		b := &Baselines{cfg: w.cfg, connections: w.connections, now: func() time.Time { return w.now }}
		p, err := b.Freeze(t.Context(), w.cfg.Datasets[0])
		require.NoError(t, err)
		require.True(t, p.Frozen())
		require.Len(t, p.Days, 5)
		require.EqualValues(t, 4*24*31, p.Counts.Fields["channel"]["desk"])
	})
	t.Run("where the table forgets the first days the bins stay, and what they do not know is other", func(t *testing.T) {
		w := newWorld(t, strings.Replace(refinedYAML, "days: 30", "days: 4", 1))
		w.file("orders.parquet", month)
		w.now = time.Date(2026, 10, 25, 18, 0, 0, 0, time.UTC) // Bins of a Sunday.
		d := w.dataset(0)
		w.run(d)
		w.now = time.Date(2026, 10, 26, 6, 0, 0, 0, time.UTC)
		w.run(d)
		w.file("orders.parquet", `SELECT * FROM (`+month+`) WHERE "at" >= TIMESTAMP '2026-10-26'`)
		w.now = time.Date(2026, 10, 29, 6, 0, 0, 0, time.UTC)
		for range 4 {
			w.run(d)
		}
		c := w.run(d)
		require.True(t, c.production.Frozen())
		require.False(t, c.definition.Refined())
		require.Contains(t, w.logs.String(), "learned_rows=2400 rows=0")
		require.EqualValues(t, 3*24*31, c.production.Counts.Fields["channel"][binning.Unseen])
		require.NotContains(t, c.profile.Values["channel"], binning.Unseen)
		require.Positive(t, c.profile.Values["channel"][binning.Other])
	})
}

// A later window is compared with bins that were cut before. Each case has the PSI of a planted change, or shows that nothing
// changed.
func TestPSIOfPlantedChanges(t *testing.T) {
	w := newWorld(t, refinedYAML)
	w.file("orders.parquet", month)
	w.now = noon
	w.build()
	psi := func(t *testing.T, c *cycle, column string) float64 {
		t.Helper()
		s, ok := w.sharesOf(c, "production", column)
		require.True(t, ok)
		x, ok := drift.CompareShares(c.profile.Values[column], s.bins, s.values)
		require.True(t, ok)
		return x.PSI
	}
	// last changes the last day of the table.
	last := func(t *testing.T, replace string) *cycle {
		t.Helper()
		w.file("orders.parquet", `SELECT * REPLACE (`+replace+`) FROM (`+month+`) WHERE "at" >= TIMESTAMP '2026-11-23 12:00:00' AND "at" < TIMESTAMP '2026-11-24 12:00:00'`)
		return w.run(w.dataset(0))
	}
	t.Run("without a change, PSI is 0 and no value is out of range", func(t *testing.T) {
		c := last(t, "amount AS amount")
		require.Less(t, psi(t, c, "refund"), 0.01)
		require.Less(t, psi(t, c, "amount"), 0.01)
		require.Contains(t, metrics(t, w.dataset(0), c, nil), `ml_dataset_column_without_bins_info{column="at",dataset="orders",reason="the timestamp column; its freshness is watched"} 1`)
	})
	t.Run("a hundred times the refunds that are not zero, seven of a hundred", func(t *testing.T) {
		c := last(t, "refund * 100 AS refund")
		require.Greater(t, psi(t, c, "refund"), 0.3)
		n, ok := c.definition.Fields["refund"].OutOfRange(c.profile.Values["refund"])
		require.True(t, ok)
		require.EqualValues(t, 7*24, n)
		text := metrics(t, w.dataset(0), c, nil)
		require.Contains(t, text, `ml_dataset_column_out_of_range_values{column="refund",dataset="orders"} 168`)
		require.InDelta(t, 45, c.definition.Numbers["refund"].Max, 0.5)
		require.Contains(t, text, `ml_dataset_column_baseline_max{baseline="production",column="refund",dataset="orders"} 4`)
		require.Contains(t, text, `ml_dataset_column_max{column="refund",dataset="orders"} 4`)
	})
	t.Run("a thousand times the top decile", func(t *testing.T) {
		c := last(t, "CASE WHEN amount > exp(3.6) THEN amount * 1000 ELSE amount END AS amount")
		require.Greater(t, psi(t, c, "amount"), 0.3)
		n, _ := c.definition.Fields["amount"].OutOfRange(c.profile.Values["amount"])
		require.InDelta(t, 240, n, 5)
		was, is := c.definition.Numbers["amount"], c.profile.Numbers["amount"]
		require.Greater(t, is.Mean, was.Mean+was.Stddev)
	})
	t.Run("an integer column that gains one NaN has one null and nothing unseen", func(t *testing.T) {
		c := last(t, `CASE WHEN "at" = TIMESTAMP '2026-11-23 12:00:00' THEN 'NaN'::DOUBLE ELSE items END AS items`)
		require.EqualValues(t, 2400, c.profile.Rows)
		require.EqualValues(t, 1, c.profile.Nulls["items"])
		require.EqualValues(t, 0, c.profile.Values["items"][binning.Unseen])
		require.EqualValues(t, 480, c.profile.Values["items"]["3"])
		require.EqualValues(t, 479, c.profile.Values["items"]["0"])
	})
	t.Run("1.0 is the category 1, as a number and as a text; 1.5 is none", func(t *testing.T) {
		for _, as := range []string{"items::DOUBLE", "items::DECIMAL(9,2)", "items || '.0'", "items::VARCHAR"} {
			c := last(t, as+" AS items")
			require.EqualValues(t, 0, c.profile.Values["items"][binning.Unseen], as)
			require.EqualValues(t, 480, c.profile.Values["items"]["1"], as)
		}
		c := last(t, "items + 0.5 AS items")
		require.EqualValues(t, 2400, c.profile.Values["items"][binning.Unseen])
	})
}

const turnover = "its values are replaced by others over time, like those of a key, a clock, a batch or a partition"

func TestColumnsWithoutADistribution(t *testing.T) {
	const days = `
		i AS event_ref, epoch_us("at") // 1000000 AS stamped, 'batch ' || (i // 300) AS load, "at"::DATE::VARCHAR AS dt,
		year("at") * 10000 + month("at") * 100 + day("at") AS ds, hash(i)::VARCHAR AS ref, i * 0.5 AS position,
		i % 7 AS weekly, (i * 7919 % 5000) AS amount_cents, 'shop ' || (i * 7919 % 40) AS shop, hour("at") AS hour_of_day
	FROM (SELECT i, TIMESTAMP '2026-11-20 00:00:00' + to_seconds(36 * i::BIGINT) AS "at" FROM range(100 * 24 * 5) AS t(i))`
	w := newWorld(t, strings.NewReplacer("days: 30", "days: 4", "2026-10-25", "2026-11-20").Replace(refinedYAML))
	w.file("orders.parquet", `SELECT "at", `+days)
	w.now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	d := w.build()
	require.Equal(t, map[string]string{
		"at":        "the timestamp column; its freshness is watched",
		"event_ref": turnover, "stamped": turnover, "load": turnover, "dt": turnover, "ds": turnover, "position": turnover,
		"ref": "looks like an identifier: nearly every value is different",
	}, d.Left)
	require.ElementsMatch(t, []string{"weekly", "amount_cents", "shop", "hour_of_day"}, slices.Sorted(maps.Keys(d.Fields)))
	require.Contains(t, w.logs.String(), turnover)

	t.Run("the configuration can include one all the same", func(t *testing.T) {
		w := newWorld(t, strings.NewReplacer("days: 30", "days: 4", "2026-10-25", "2026-11-20", "    baselines:", "    columns: {include: [load, ds]}\n    baselines:").Replace(refinedYAML))
		w.file("orders.parquet", `SELECT "at", `+days)
		w.now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
		d := w.build()
		require.Contains(t, d.Fields, "load")
		require.Contains(t, d.Fields, "ds")
	})
}

// The training data of September has the columns of the dataset, in which the keys have other values by now.
func TestKeysOfTrainingDataHaveNoBins(t *testing.T) {
	rows := func(first string, days int) string {
		return fmt.Sprintf(`SELECT "at", epoch("at")::BIGINT AS epoch, 'batch-' || "at"::DATE AS batch_id, "at"::DATE::VARCHAR AS ds, epoch("at")::BIGINT // 604800 AS week,
				strftime("at", '%%Y-%%m') AS month, dayname("at") AS weekday, i %% 7 AS items, (i * 7919 %% 1000) / 10.0 + (epoch("at") - 1756684800) / 1e6 AS amount,
				CASE WHEN "at" < TIMESTAMP '2026-10-01' THEN 'visa' ELSE 'mc' END AS provider
			FROM (SELECT i, TIMESTAMP '%s' + to_seconds(360 * i::BIGINT) AS "at" FROM range(240 * %d) AS t(i))`, first, days)
	}
	for name, tc := range map[string]struct {
		training string
		keys     []string
	}{
		"judged by its days": {rows("2026-09-01", 30), []string{"at", "batch_id", "ds", "epoch", "month", "week"}},
		"without a timestamp column, judged by the days of the dataset": {"SELECT * EXCLUDE (\"at\") FROM (" + rows("2026-09-01", 30) + ")", []string{"at", "batch_id", "ds", "epoch", "month"}},
		"of one day": {rows("2026-09-01", 1), []string{"at", "batch_id", "ds", "epoch", "month"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, strings.Replace(refinedYAML, "    baselines:", "    baselines:\n      training: {files: training.parquet}", 1))
			w.file("training.parquet", tc.training)
			w.file("orders.parquet", rows("2026-11-20", 6))
			d := w.run(w.dataset(0)).definition
			require.Equal(t, tc.keys, slices.Sorted(maps.Keys(d.Left)), d.Left)
			c := w.run(w.dataset(0))
			require.Positive(t, c.profile.Values["provider"][binning.Unseen], "other values than in training are no key")
		})
	}
}

// The training data lacks the channel and the refunds.
func TestColumnsThatTrainingDataLacksAreRefined(t *testing.T) {
	w := newWorld(t, strings.Replace(refinedYAML, "      production: {days: 30,", "      training: {files: training.parquet}\n      production: {days: 4,", 1))
	w.file("training.parquet", `SELECT "at", items, amount FROM (`+month+`)`)
	w.file("orders.parquet", month)
	w.now = time.Date(2026, 10, 25, 18, 0, 0, 0, time.UTC) // Provisional bins of a Sunday.
	d := w.dataset(0)
	first := w.run(d)
	require.ElementsMatch(t, []string{"channel", "refund"}, first.definition.Untrained)
	require.Equal(t, []string{"shop", "web"}, first.definition.Fields["channel"].Top)
	require.Contains(t, first.definition.Numbers, "refund")
	require.NoError(t, os.Remove(filepath.Join(w.dir, "training.parquet")))
	var c *cycle
	for range 8 {
		c = w.run(d)
		text := metrics(t, d, c, nil)
		require.Contains(t, text, `ml_dataset_column_out_of_range_values{column="amount",dataset="orders"} 0`)
		require.Contains(t, text, `ml_dataset_column_baseline_max{baseline="training",column="amount",dataset="orders"}`)
		if !c.production.Frozen() {
			require.NotContains(t, c.profile.Values["channel"], binning.Unseen, "while the baseline learns")
			require.NotContains(t, text, `out_of_range_values{column="refund"`)
		}
		w.now = w.now.AddDate(0, 0, 1)
	}
	require.True(t, c.production.Frozen())
	require.True(t, c.definition.Refined())
	require.Equal(t, []string{"shop", "web", "desk"}, c.definition.Fields["channel"].Top)
	require.EqualValues(t, 3*24*31, c.production.Counts.Fields["channel"]["desk"])
	require.Equal(t, first.definition.Fields["amount"], c.definition.Fields["amount"])
	require.Equal(t, first.definition.Numbers["amount"], c.definition.Numbers["amount"])
	require.Equal(t, first.definition.Fields["items"], c.definition.Fields["items"])
	training, ok := w.sharesOf(c, "training", "amount")
	require.True(t, ok, "the counts of the training data stay")
	require.EqualValues(t, 31*2400, training.values)
	text := metrics(t, d, c, nil)
	require.Contains(t, text, `ml_dataset_column_out_of_range_values{column="refund",dataset="orders"} 0`)
	require.Contains(t, text, `ml_dataset_column_baseline_max{baseline="production",column="refund",dataset="orders"} 4`)
	require.EqualValues(t, 4*2400, c.definition.Numbers["refund"].Values)
}

// A customer asks to delete a row of a learned day; 1 % of its 2400 rows are 24.
func TestDeletedRowsOfLearnedDays(t *testing.T) {
	for deleted, refined := range map[int]bool{1: true, 24: true, 25: false} {
		t.Run(fmt.Sprint(deleted), func(t *testing.T) {
			w := newWorld(t, strings.Replace(refinedYAML, "days: 30", "days: 4", 1))
			w.file("orders.parquet", month)
			w.now = time.Date(2026, 10, 26, 6, 0, 0, 0, time.UTC)
			d := w.dataset(0)
			w.run(d)
			w.file("orders.parquet", fmt.Sprintf(`SELECT * FROM (%s) OFFSET %d`, month, deleted))
			w.now = time.Date(2026, 10, 29, 6, 0, 0, 0, time.UTC)
			var c *cycle
			for range 5 {
				c = w.run(d)
			}
			require.True(t, c.production.Frozen())
			require.Equal(t, refined, c.definition.Refined())
		})
	}
}

// Columns are accepted after two of four learned days; the bins of the others are refined.
func TestColumnsAcceptedWhileLearning(t *testing.T) {
	w := newWorld(t, strings.Replace(refinedYAML, "days: 30", "days: 4", 1))
	w.file("orders.parquet", month)
	w.now = time.Date(2026, 10, 27, 6, 0, 0, 0, time.UTC)
	d := w.dataset(0)
	w.run(d)
	w.file("orders.parquet", `SELECT * EXCLUDE (refund) REPLACE ('n' || items AS items),
		CASE WHEN "at" >= TIMESTAMP '2026-10-27' THEN ['card', 'cash'][1 + (amount > 5)::INT] END AS tender FROM (`+month+`)`)
	for _, column := range []string{"items", "tender", "refund"} {
		w.accept(column)
	}
	w.now = time.Date(2026, 10, 29, 6, 0, 0, 0, time.UTC)
	var c *cycle
	for range 5 {
		c = w.run(d)
	}
	require.True(t, c.production.Frozen())
	require.True(t, c.definition.Refined())
	require.Empty(t, c.changes)
	require.Equal(t, []string{"n0", "n1", "n2", "n3", "n4"}, slices.Sorted(slices.Values(c.definition.Fields["items"].Top)))
	require.InDelta(t, 480, c.profile.Values["items"]["n0"], 1)
	items, ok := w.sharesOf(c, "production", "items")
	require.True(t, ok)
	require.InDelta(t, 0.2, items.bins["n0"], 0.01)
	require.Equal(t, []string{"shop", "web", "desk"}, c.definition.Fields["channel"].Top)
	require.NotContains(t, c.definition.Fields, "refund")
	require.Equal(t, leftLearning, c.definition.Left["tender"])
	for range 8 {
		w.now = w.now.AddDate(0, 0, 1)
		c = w.run(d)
	}
	require.Equal(t, []string{"card", "cash"}, slices.Sorted(slices.Values(c.definition.Fields["tender"].Top)))
	require.Zero(t, c.production.Counts.Fields["tender"][binning.Null])
	require.Empty(t, d.failedCheck(c))
}

func TestAcceptedColumns(t *testing.T) {
	w := newWorld(t, refinedYAML)
	w.file("orders.parquet", month)
	w.now = noon
	before := w.build()
	b := &Baselines{cfg: w.cfg, connections: w.connections, now: func() time.Time { return w.now }}
	w.file("orders.parquet", `SELECT * EXCLUDE (refund, items), ['card', 'cash'][1 + (amount > 5)::INT] AS tender, items::VARCHAR AS items FROM (`+month+`)`)
	c := w.run(w.dataset(0))
	require.Equal(t, []change{{"tender", added, "", "VARCHAR"}, {"refund", removed, "DOUBLE", ""}, {"items", typeChanged, "BIGINT", "VARCHAR"}}, c.changes)
	for _, column := range []string{"tender", "refund", "items"} {
		_, err := b.Accept(t.Context(), w.cfg.Datasets[0], column)
		require.NoError(t, err)
	}
	d := w.dataset(0)
	c = w.run(d)
	require.Empty(t, c.changes)
	require.Equal(t, before.ID, c.definition.ID)
	require.True(t, c.production.Frozen())
	require.Len(t, c.production.Days, 30)
	require.EqualValues(t, 30*2400, c.production.Counts.Rows)
	require.NotContains(t, c.profile.Values, "refund")
	require.Equal(t, []string{"card", "cash"}, slices.Sorted(slices.Values(c.definition.Fields["tender"].Top)))
	tender, ok := w.sharesOf(c, "production", "tender")
	require.True(t, ok)
	require.InDelta(t, acceptedDays*2400, tender.values, 2, "and a minute of clock_skew")
	require.Empty(t, d.failedCheck(c))
	channel, _ := w.sharesOf(c, "production", "channel")
	require.EqualValues(t, 30*2400, channel.values)

	t.Run("a column that is nowhere is an error that names those of the table", func(t *testing.T) {
		_, err := b.Accept(t.Context(), w.cfg.Datasets[0], "tendr")
		require.ErrorContains(t, err, `the table has no column "tendr" and the expected schema has none either; want one of ["at" "channel"`)
	})
	t.Run("the configuration accepts by name", func(t *testing.T) {
		w := newWorld(t, strings.Replace(refinedYAML, "    baselines:", "    columns: {accept: [tender, 'new_*']}\n    baselines:", 1))
		w.file("orders.parquet", month)
		w.now = noon
		w.build()
		w.file("orders.parquet", `SELECT *, 'card' AS tender, 1 AS new_one, 2 AS other_one FROM (`+month+`)`)
		d := w.dataset(0)
		w.run(d)
		c := w.run(d)
		require.Equal(t, []change{{"other_one", added, "", "INTEGER"}}, c.changes)
		require.Contains(t, c.profile.Values, "tender")
		require.Empty(t, d.failedCheck(c), "an added column does no harm to a snapshot")
	})
}

func (w *world) accept(column string) baseline.Accepted {
	w.t.Helper()
	b := &Baselines{cfg: w.cfg, connections: w.connections, now: func() time.Time { return w.now }}
	a, err := b.Accept(w.t.Context(), w.cfg.Datasets[0], column)
	require.NoError(w.t, err)
	return a
}

// A window shorter than a day, and the recent window, are compared with the accepted values at their time of day.
func TestAcceptedColumnsByHour(t *testing.T) {
	const yaml = `
sources: {files: {type: duckdb}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    window: 3h
    baselines:
      production: {days: 11, first_day: 2026-11-02, lateness: 0s}
`
	// orders has 1200 rows an hour, with the given percentages of the first channel by day and by night.
	orders := func(from string, days, byDay, byNight int, channels string) string {
		return fmt.Sprintf(`SELECT "at", [%s][1 + (i %% 100 >= CASE WHEN hour("at") BETWEEN 8 AND 19 THEN %d ELSE %d END)::INT] AS channel
			FROM (SELECT i, TIMESTAMP '%s' + to_seconds(3 * i::BIGINT) AS "at" FROM range(1200 * 24 * %d) AS t(i))`, channels, byDay, byNight, from, days)
	}
	day, night := time.Date(2026, 11, 24, 12, 30, 0, 0, time.UTC), time.Date(2026, 11, 25, 2, 30, 0, 0, time.UTC)
	for name, channels := range map[string]string{"other shares": "'web', 'shop'", "other names": "'Web2', 'Shop2'"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, yaml)
			old := orders("2026-11-02 00:00:00", 12, 90, 70, "'web', 'shop'")
			w.file("orders.parquet", old)
			w.now = time.Date(2026, 11, 13, 12, 0, 0, 0, time.UTC)
			w.build()
			w.file("orders.parquet", old+" UNION ALL "+orders("2026-11-14 00:00:00", 12, 55, 20, channels))
			w.now = day
			d := w.dataset(0)
			w.run(d)
			require.Contains(t, d.failedCheck(w.run(d)), "channel")
			w.accept("channel")
			first, _, _ := strings.Cut(strings.ReplaceAll(channels, "'", ""), ",")
			for _, of := range []*dataset{d, w.dataset(0)} { // the running exporter, and one that starts
				for at, share := range map[time.Time]float64{day: 0.55, night: 0.2} {
					w.now = at
					w.run(of)
					c := w.run(of)
					require.Empty(t, of.failedCheck(c))
					season, ok := w.sharesOf(c, baselineSeason, "channel")
					require.True(t, ok)
					require.InDelta(t, share, season.bins[first], 0.01)
					require.InDelta(t, share, c.seasonRecent["channel"].bins[first], 0.01)
					require.Len(t, season.bins, len(c.definition.Fields["channel"].Bins()))
					require.NotNil(t, season.swing)
				}
			}
		})
	}
}

// A column that was added a few minutes ago has no week of values: the rows before it existed are not its baseline.
func TestAcceptedColumnsThatAreNew(t *testing.T) {
	added := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	open := func(t *testing.T, columns string) *world {
		w := newWorld(t, strings.NewReplacer("    baselines:", columns+"    baselines:", "days: 30, first_day: 2026-10-25", "days: 7, first_day: 2026-11-17").Replace(refinedYAML))
		w.file("orders.parquet", month)
		w.now = added
		w.build()
		w.file("orders.parquet", `SELECT *, CASE WHEN "at" >= TIMESTAMP '2026-11-24 12:00:00' THEN ['card', 'cash'][1 + (amount > 5)::INT] END AS tender
			FROM (`+strings.Replace(month, "24 * 31", "24 * 45", 1)+`)`)
		w.now = added.Add(5 * time.Minute)
		return w
	}
	learns := func(t *testing.T, w *world, d *dataset) {
		t.Helper()
		for _, after := range []time.Duration{5 * time.Minute, 25 * time.Hour, 7 * day} {
			w.now = added.Add(after)
			c := w.run(d)
			require.Empty(t, c.changes)
			require.NotContains(t, c.definition.Fields, "tender")
			require.NotContains(t, c.production.Counts.Fields, "tender")
			require.Empty(t, d.failedCheck(c))
		}
		w.now = added.Add(7*day + time.Hour)
		w.run(d)
		for range 2 {
			c := w.run(d)
			require.Equal(t, []string{"card", "cash"}, slices.Sorted(slices.Values(c.definition.Fields["tender"].Top)))
			require.Zero(t, c.production.Counts.Fields["tender"][binning.Null])
			tender, ok := w.sharesOf(c, "production", "tender")
			require.True(t, ok)
			require.InDelta(t, acceptedDays*2400, tender.values, 2)
			require.Empty(t, d.failedCheck(c))
			w.now = w.now.Add(3 * day)
		}
		require.Equal(t, 1, strings.Count(w.logs.String(), "An accepted column has a baseline now."))
	}
	t.Run("by the configuration", func(t *testing.T) {
		w := open(t, "    columns: {accept: [tender]}\n")
		d := w.dataset(0)
		w.run(d)
		learns(t, w, d)
	})
	t.Run("by the command", func(t *testing.T) {
		w := open(t, "")
		a := w.accept("tender")
		require.True(t, a.Learning)
		require.Equal(t, leftLearning, a.Left)
		learns(t, w, w.dataset(0))
	})
	t.Run("before it has any value, and from a restart on", func(t *testing.T) {
		w := open(t, "")
		w.now = added.Add(-5 * time.Minute)
		require.True(t, w.accept("tender").Since.IsZero())
		w.run(w.dataset(0))
		learns(t, w, w.dataset(0))
	})
	t.Run("in a table of dates", func(t *testing.T) {
		const table = `SELECT DATE '2026-11-01' + (i // 100)::INT AS "at", i % 7 AS items, CASE WHEN i >= 2100 THEN 'card' END AS tender, 'web' AS channel FROM range(4000) AS t(i)`
		w := newWorld(t, strings.Replace(refinedYAML, "days: 30, first_day: 2026-10-25", "days: 7, first_day: 2026-11-02", 1))
		w.file("orders.parquet", `SELECT "at", items FROM (`+table+`)`)
		w.now = noon
		w.build()
		w.file("orders.parquet", table)
		require.Empty(t, w.accept("channel").Hours)
		require.EqualValues(t, 700, w.accept("channel").Counts["web"])
		require.True(t, w.accept("tender").Learning)
		w.now = noon.AddDate(0, 0, 5)
		a := w.accept("tender")
		require.EqualValues(t, 700, a.Counts["card"])
		require.Zero(t, a.Counts[binning.Null])
	})
}

// The stores of testdata/store-0.1 were written by version 0.1 on Sunday, November 29,
// from the table below. Its bins were cut from the last day alone.
const oldTable = `SELECT "at", CASE WHEN isodow("at") <= 5 THEN ['web', 'shop', 'desk'][1 + i % 3] ELSE ['web', 'shop'][1 + i % 2] END AS channel,
		(i % 100) / 4 AS amount
	FROM (SELECT i::BIGINT AS i, TIMESTAMP '2026-11-19 00:00:00' + to_minutes(i::BIGINT) AS "at" FROM range(15000) AS t(i))`

func TestStoresOfVersion01(t *testing.T) {
	open := func(t *testing.T, store, production string) *world {
		w := newWorld(t, strings.Replace(refinedYAML, "days: 30, first_day: 2026-10-25", production, 1))
		require.NoError(t, os.CopyFS(filepath.Join(w.dir, "baselines", "dataset", "orders"), os.DirFS(filepath.Join("testdata", "store-0.1", store))))
		w.file("orders.parquet", oldTable)
		w.now = time.Date(2026, 11, 29, 10, 40, 0, 0, time.UTC)
		return w
	}
	t.Run("a frozen baseline is read as it is; what its bins never knew is other, and the log says how to cut them anew", func(t *testing.T) {
		w := open(t, "frozen", "days: 3, first_day: 2026-11-20")
		c := w.run(w.dataset(0))
		require.True(t, c.production.Frozen())
		require.Equal(t, []baseline.Day{"2026-11-20", "2026-11-21", "2026-11-22"}, c.production.Days)
		require.EqualValues(t, 480, c.production.Counts.Fields["channel"][binning.Unseen])
		require.NotContains(t, c.profile.Values["channel"], binning.Unseen)
		require.Contains(t, w.logs.String(), "sightglass baseline reset --part definition")
		require.Contains(t, w.logs.String(), "columns=channel")
		require.Contains(t, w.logs.String(), "MLDatasetValuesOutOfRange and MLDatasetMeanShifted cannot fire")
		require.Contains(t, w.logs.String(), "columns=amount")
	})
	t.Run("one that is learning goes on with its days and refines their bins", func(t *testing.T) {
		w := open(t, "learning", "days: 4, first_day: 2026-11-26")
		d := w.dataset(0)
		c := w.run(d)
		require.Len(t, c.production.Days, 3)
		require.False(t, c.production.Frozen())
		require.NotContains(t, c.profile.Values["channel"], binning.Unseen)
		w.now = time.Date(2026, 11, 30, 0, 30, 0, 0, time.UTC)
		for range 5 {
			c = w.run(d)
		}
		require.True(t, c.production.Frozen())
		require.Equal(t, []baseline.Day{"2026-11-26", "2026-11-27", "2026-11-28", "2026-11-29"}, c.production.Days)
		require.Zero(t, c.production.Counts.Fields["channel"][binning.Unseen])
		require.Equal(t, []string{"shop", "web", "desk"}, c.definition.Fields["channel"].Top)
	})
}
