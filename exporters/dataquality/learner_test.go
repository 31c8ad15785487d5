package dataquality

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

const learningYAML = `
sources: {files: {type: duckdb}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    baselines:
      production: {days: 3, lateness: 2h}
`

func (w *world) run(d *dataset) *cycle {
	w.t.Helper()
	c, err := d.run(w.t.Context())
	require.NoError(w.t, err)
	return c
}

// hourly is a query for one row an hour around noon.
const hourly = "SELECT TIMESTAMP '2026-11-20 00:00:00' + to_hours(i::INT) AS at, (i % 24)::DOUBLE AS amount FROM range(240) AS t(i)"

func TestProductionBaseline(t *testing.T) {
	t.Run("days count once they are complete, late records included, and the last wanted one freezes it", func(t *testing.T) {
		w := newWorld(t, learningYAML)
		w.file("orders.parquet", hourly)
		d := w.dataset(0)
		for _, step := range []struct {
			now    time.Time
			days   int
			frozen bool
		}{
			{noon, 0, false},
			{time.Date(2026, 11, 25, 1, 59, 0, 0, time.UTC), 0, false}, // records of the 24th may still come
			{time.Date(2026, 11, 25, 2, 0, 0, 0, time.UTC), 1, false},
			{time.Date(2026, 11, 25, 23, 0, 0, 0, time.UTC), 1, false},
			{time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC), 3, false}, // two days at once after an outage
			{time.Date(2026, 11, 27, 2, 5, 0, 0, time.UTC), 3, true},  // counted by the bins of all three
			{time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), 3, true},
		} {
			w.now = step.now
			c := w.run(d)
			require.Len(t, c.production.Days, step.days, step.now)
			require.Equal(t, step.frozen, c.production.Frozen(), step.now)
			require.EqualValues(t, 24*step.days, c.production.Counts.Rows)
		}
	})
	t.Run("a first day in the past starts with what is there", func(t *testing.T) {
		w := newWorld(t, learningYAML+"")
		w.cfg.Datasets[0].Baselines.Production.FirstDay = "2026-11-20"
		w.file("orders.parquet", hourly)
		d := w.dataset(0)
		require.False(t, w.run(d).production.Frozen())
		c := w.run(d)
		require.Equal(t, []baseline.Day{"2026-11-20", "2026-11-21", "2026-11-22"}, c.production.Days)
		require.True(t, c.production.Frozen())
	})
	t.Run("replicas share the bins and count each day once", func(t *testing.T) {
		w := newWorld(t, learningYAML)
		w.cfg.Datasets[0].Baselines.Production.FirstDay = "2026-11-20"
		w.file("orders.parquet", hourly)
		replicas := []*dataset{w.dataset(0), w.dataset(0), w.dataset(0)}
		var started sync.WaitGroup
		for _, d := range replicas {
			started.Go(func() {
				_, err := d.run(t.Context())
				assert.NoError(t, err)
			})
		}
		started.Wait()
		// The first that has learned all days cuts the bins anew, perhaps before another one begins.
		var counts []map[string]map[string]int64
		for _, d := range replicas {
			counts = append(counts, w.run(d).profile.Values)
		}
		require.Equal(t, counts[0], counts[1])
		require.Equal(t, counts[0], counts[2])
		c := w.run(replicas[0])
		require.EqualValues(t, 3*24, c.production.Counts.Rows)
	})
	t.Run("without a timestamp column the first profile of a day is the day, and the bins are extended by all days", func(t *testing.T) {
		w := newWorld(t, `
sources: {files: {type: duckdb}}
datasets:
  - name: features
    source: files
    files: features.parquet
    baselines: {production: {days: 2}}
`)
		rows := func(from, to int, names string) {
			w.file("features.parquet", fmt.Sprintf("SELECT i::DOUBLE AS x, [%s][1 + abs(i) %% 2] AS name FROM range(%d, %d) AS t(i)", names, from, to))
		}
		rows(0, 100, "'a', 'b'")
		d := w.dataset(0)
		first := w.run(d)
		rows(0, 500, "'a', 'b'")
		w.now = noon.Add(time.Hour)
		require.EqualValues(t, 100, w.run(d).production.Counts.Rows)
		w.now = noon.AddDate(0, 0, 1)
		rows(-50, 450, "'a', 'c'")
		c := w.run(d)
		require.EqualValues(t, 600, c.production.Counts.Rows)
		require.NotContains(t, metrics(t, d, c, nil), "out_of_range", "while the extremes are those of some days")
		c = w.run(d)
		require.EqualValues(t, 600, c.production.Counts.Rows)
		require.True(t, c.production.Frozen())
		require.Len(t, c.definition.Fields["x"].Edges, len(first.definition.Fields["x"].Edges)+2)
		require.Equal(t, baseline.Moments{Values: 600, Min: -50, Max: 449}, baseline.Moments{
			Values: c.definition.Numbers["x"].Values, Min: c.definition.Numbers["x"].Min, Max: c.definition.Numbers["x"].Max,
		})
		n, ok := c.definition.Fields["x"].OutOfRange(c.production.Counts.Fields["x"])
		require.True(t, ok)
		require.Zero(t, n)
		require.Equal(t, map[string]int64{"null": 0, "unseen": 0, "a": 300, "b": 50, "other": 250}, c.production.Counts.Fields["name"])
		require.Contains(t, metrics(t, d, c, nil), `ml_dataset_column_out_of_range_values{column="x",dataset="features"} 0`)

		rows(5000, 5500, "'a', 'd'")
		c = w.run(d)
		require.EqualValues(t, 250, c.profile.Values["name"][binning.Unseen])
		require.Contains(t, metrics(t, d, c, nil), `ml_dataset_column_out_of_range_values{column="x",dataset="features"} 500`)
	})
	t.Run("bins are not cut before there are rows", func(t *testing.T) {
		w := newWorld(t, learningYAML)
		w.file("orders.parquet", "SELECT TIMESTAMP '2026-01-01' AS at, 1.5 AS amount WHERE false")
		d := w.dataset(0)
		require.Empty(t, w.run(d).profile.Values)
		w.file("orders.parquet", hourly)
		require.Contains(t, w.run(d).profile.Values, "amount")
	})
}

// seasonYAML learns the days from Friday the 13th to Monday the 23rd.
const seasonYAML = `
sources: {files: {type: duckdb}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    window: 1h
    time_zone: America/Toronto
    baselines:
      production: {days: 11, first_day: 2026-11-13, lateness: 0s}
`

// nights is a query for 1200 rows an hour: by day, from 13:00 UTC until midnight,
// amounts are of 0 to 9, by night of 100 to 109. Weekends begin at 05:00 UTC. Half
// of the channels are web at any time.
const nights = `SELECT "at", ['web', 'shop'][1 + i % 2] AS channel, CASE
		WHEN isodow("at" - INTERVAL 5 HOUR) > 5 THEN 'weekend'
		WHEN hour("at") < 13 THEN 'night'
		ELSE 'day' END AS shift,
		(i % 10 + 100 * (hour("at") < 13)::INT)::DOUBLE AS amount
	FROM (SELECT i, TIMESTAMP '2026-11-13 00:00:00' + to_seconds(3 * i::BIGINT) AS "at" FROM range(1200 * 24 * 14) AS t(i))`

func (w *world) sharesOf(c *cycle, name, column string) (shares, bool) {
	w.t.Helper()
	for _, b := range c.baselines {
		if b.name == name {
			s, ok := b.shares[column]
			return s, ok
		}
	}
	return shares{}, false
}

func TestSeason(t *testing.T) {
	w := newWorld(t, seasonYAML)
	w.file("orders.parquet", nights)
	d := w.dataset(0)
	for range 8 { // Three days a profile, and again by refined bins.
		w.run(d)
	}
	for name, tc := range map[string]struct {
		now   time.Time
		night float64
	}{
		"a window by day is compared with days":                                               {time.Date(2026, 11, 24, 15, 0, 0, 0, time.UTC), 0},
		"a window by night is compared with nights":                                           {time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC), 1},
		"a window across two hours is compared with their mixture by its share":               {time.Date(2026, 11, 24, 13, 15, 0, 0, time.UTC), 0.75},
		"a weekend is compared with weekends":                                                 {time.Date(2026, 11, 28, 7, 0, 0, 0, time.UTC), 0},
		"a weekend begins at midnight of the time zone: the night of Friday is still a night": {time.Date(2026, 11, 28, 4, 30, 0, 0, time.UTC), 1},
	} {
		t.Run(name, func(t *testing.T) {
			w.now = tc.now
			c := w.run(d)
			s, ok := w.sharesOf(c, "season", "shift")
			require.True(t, ok)
			require.InDelta(t, tc.night, s.bins["night"], 1e-9)
			// What does not differ by time of the day has all values behind it.
			channel, _ := w.sharesOf(c, "season", "channel")
			whole, _ := w.sharesOf(c, "production", "channel")
			require.Equal(t, whole, channel)
		})
	}
	t.Run("a short window of a night that is like nights is a good snapshot, one that is like a day is none", func(t *testing.T) {
		w.now = time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)
		require.Empty(t, d.failedCheck(w.run(d)))
		w.file("orders.parquet", `SELECT * REPLACE (amount - 100 AS amount) FROM (`+nights+`) WHERE hour("at") < 13 AND "at" > TIMESTAMP '2026-11-24'`)
		require.Contains(t, d.failedCheck(w.run(d)), "against the season baseline")
	})
	t.Run("a window of a day is compared with the whole baseline and has no season", func(t *testing.T) {
		w.load(strings.Replace(seasonYAML, "window: 1h", "window: 24h", 1))
		w.file("orders.parquet", nights)
		c := w.run(w.dataset(0))
		_, ok := w.sharesOf(c, "season", "amount")
		require.False(t, ok)
		_, ok = w.sharesOf(c, "production", "amount")
		require.True(t, ok)
	})
}

// Training data has no hours, so a night is not compared with it.
func TestShortWindowIsNotComparedWithTrainingData(t *testing.T) {
	for window, why := range map[string]string{"23h59m": "", "24h": `column "amount": PSI`} {
		w := newWorld(t, strings.NewReplacer("window: 1h", "window: "+window, "production: {days: 11,", "training: {files: training.parquet}\n      production: {days: 0,").Replace(seasonYAML))
		w.now = time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)
		w.file("orders.parquet", nights+` WHERE hour("at") < 13 AND "at" >= TIMESTAMP '2026-11-23'`)
		w.file("training.parquet", nights+` WHERE "at" < TIMESTAMP '2026-11-14'`)
		d := w.dataset(0)
		c := w.run(d)
		if why == "" {
			require.Empty(t, d.failedCheck(c), window)
			require.Empty(t, d.breaches(c), window)
		}
		require.Contains(t, d.failedCheck(c), why, window)
		require.Contains(t, metrics(t, d, c, nil), `ml_dataset_column_baseline_ratio{baseline="training",`, "published, since its values are not broken")
	}
}

// A baseline of a version that knew no hours gets them from the table, as long as
// the table has the rows that were learned. Everything else in it stays the same.
func TestHoursAreAddedToABaselineOfAnEarlierVersion(t *testing.T) {
	w := newWorld(t, seasonYAML)
	w.file("orders.parquet", nights)
	d := w.dataset(0)
	for range 8 {
		w.run(d)
	}
	files, err := filepath.Glob(filepath.Join(w.dir, "baselines", "dataset", "orders", "hours-*.json"))
	require.NoError(t, err)
	require.Len(t, files, 2*11, "by provisional bins and by refined ones")
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
	w.file("orders.parquet", nights+` WHERE "at" >= TIMESTAMP '2026-11-14'`) // The first day is gone.
	w.now = time.Date(2026, 11, 24, 7, 0, 0, 0, time.UTC)
	d = w.dataset(0)
	first := w.run(d)
	require.True(t, first.production.Frozen())
	require.Contains(t, w.logs.String(), "Counting the hours of days that were learned by an earlier version.")
	require.Contains(t, w.logs.String(), "day=2026-11-13 learned_rows=28800 rows=0")
	for range 4 {
		w.run(d)
	}
	require.Equal(t, 1, strings.Count(w.logs.String(), "learned_rows="), "said once")
	files, err = filepath.Glob(filepath.Join(w.dir, "baselines", "dataset", "orders", "hours-*.json"))
	require.NoError(t, err)
	require.Len(t, files, 10)
	c := w.run(d)
	season, _ := w.sharesOf(c, "season", "amount")
	whole, _ := w.sharesOf(c, "production", "amount")
	require.NotEqual(t, whole, season)
	require.Equal(t, first.production, c.production)
}

func TestTrainingBaseline(t *testing.T) {
	w := newWorld(t, `
sources: {files: {type: duckdb}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    baselines:
      training: {files: training.parquet}
      production: {days: 0}
`)
	w.file("orders.parquet", "SELECT TIMESTAMP '2026-11-24 11:00:00' AS at, 'mc' AS provider, 3 AS items, TIMESTAMP '2026-11-24 10:30:00' AS seen, 'web' AS channel")
	w.file("training.parquet", "SELECT TIMESTAMP '2020-01-01 11:00:00' AS at, 'visa' AS provider, 2 AS items, TIMESTAMP '2020-01-01 10:30:00' AS seen, 1 AS label FROM range(10)")
	d := w.dataset(0)
	c := w.run(d)
	require.Len(t, c.baselines, 1)
	require.Equal(t, map[string]int64{"null": 0, "unseen": 1, "visa": 0}, c.profile.Values["provider"])
	require.Equal(t, shares{bins: map[string]float64{"null": 0, "unseen": 0, "visa": 1}, values: 10}, c.baselines[0].shares["provider"])

	// A feature that was half an hour old in training and is half an hour
	// old now has not drifted, whatever the years between.
	require.EqualValues(t, 1, c.profile.Values["seen"]["(15m,1h]"])
	require.EqualValues(t, 1, c.baselines[0].shares["seen"].bins["(15m,1h]"])

	// What was not trained on has bins of its own and no baseline to drift from.
	require.EqualValues(t, 1, c.profile.Values["channel"]["web"])
	require.NotContains(t, c.baselines[0].shares, "channel")
	require.NotContains(t, c.profile.Values, "label")

	// Frozen: the training data may change or go without changing the baseline.
	w.file("training.parquet", "SELECT 1 AS other")
	require.EqualValues(t, 10, w.run(d).baselines[0].shares["provider"].values)
}

func TestLastGoodSnapshot(t *testing.T) {
	yaml := `
sources: {files: {type: duckdb}}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    upstream: [{name: cart, files: cart.parquet}]
    comparisons: [{against: feature_store, query: "SELECT compared_rows, mismatched_rows FROM 'MISMATCH'"}]
    baselines:
      training: {files: training.parquet}
      production: {days: 0}
`
	const good = "SELECT TIMESTAMP '2026-11-24 11:55:00' - to_seconds(i) AS at, ['CA', 'US'][1 + i % 2] AS country, CASE WHEN i % 40 > 0 THEN i % 10 END::DOUBLE AS amount FROM range(1000) AS t(i)"
	// A row before the window, so that the table does not begin in it.
	const old = " UNION ALL SELECT TIMESTAMP '2026-11-23 06:00:00', 'CA', 1"
	for name, tc := range map[string]struct{ first, orders, cart, comparison, reason string }{
		"passes":                      {},
		"loses rows on the way":       {cart: "SELECT 1 AS x FROM range(1200)", reason: `1000 of the 1200 rows of upstream "cart" are here`},
		"disagrees with the features": {comparison: "SELECT 100 AS compared_rows, 2 AS mismatched_rows", reason: `2 of 100 rows differ from "feature_store"`},
		"is empty":                    {orders: good + " WHERE false", reason: "no rows"},
		"lost a column":               {orders: "SELECT * EXCLUDE (amount) FROM (" + good + ")", reason: `schema: column "amount" removed`},
		"is old":                      {orders: "SELECT * REPLACE (\"at\" - INTERVAL 3 HOUR AS \"at\") FROM (" + good + ")", reason: "latest record is 11160 s old"},
		"has too many nulls":          {orders: "SELECT * REPLACE (CASE WHEN amount < 9 THEN amount END AS amount) FROM (" + good + ")", reason: `column "amount": 0.1250 of the values are null`},
		"has unseen values":           {orders: "SELECT * REPLACE (CASE WHEN amount = 1 THEN 'MX' ELSE country END AS country) FROM (" + good + ")", reason: `column "country": 0.1000 of the values are unseen`},
		"drifted":                     {orders: "SELECT * REPLACE (CASE WHEN amount < 5 THEN amount ELSE amount - amount + 9 END AS amount) FROM (" + good + ")", reason: `column "amount": PSI`},
		"has another unit":            {orders: "SELECT * REPLACE (amount * 100 AS amount) FROM (" + good + ")", reason: `column "amount": 0.9000 of the values are out of the range 0 to 9`},
		"has one column more":         {orders: "SELECT *, 1 AS more FROM (" + good + ")"},
		"has much less volume":        {first: good + old, orders: good + " WHERE i % 2 = 0 AND i % 4 < 3", cart: "SELECT 1 AS x FROM range(300)", reason: "500 rows, the median is 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{t: t, dir: t.TempDir(), now: noon}
			w.load(strings.ReplaceAll(yaml, "MISMATCH", w.dir+"/comparison.parquet"))
			write := func(file, query, fallback string) {
				if query == "" {
					query = fallback
				}
				w.file(file, query)
			}
			w.file("training.parquet", good)
			write("orders.parquet", tc.first, good)
			write("cart.parquet", "", "SELECT 1 AS x FROM range(1000)")
			write("comparison.parquet", "", "SELECT 100 AS compared_rows, 1 AS mismatched_rows")
			d := w.dataset(0)
			first := w.run(d)
			require.Empty(t, d.failedCheck(first))
			require.Equal(t, first.snapshot, first.good.Snapshot)

			w.now = noon.Add(time.Minute)
			write("orders.parquet", tc.orders, good)
			write("cart.parquet", tc.cart, "SELECT 1 AS x FROM range(1000)")
			write("comparison.parquet", tc.comparison, "SELECT 100 AS compared_rows, 1 AS mismatched_rows")
			// After a restart, so that nothing depends on memory.
			d = w.dataset(0)
			second := w.run(d)
			require.NotEqual(t, first.snapshot, second.snapshot)
			if tc.reason == "" {
				require.Equal(t, second.snapshot, second.good.Snapshot)
				return
			}
			require.Contains(t, d.failedCheck(second), tc.reason)
			require.Equal(t, first.snapshot, second.good.Snapshot)
			require.Contains(t, metrics(t, d, second, nil), fmt.Sprintf(
				"ml_dataset_last_good_snapshot_info{dataset=\"orders\",digest=%q,snapshot=%q} 1\n", first.snapshot.Digest, first.snapshot.Name))
		})
	}
}

func TestFirstRowsOfATableAreNotItsUsualVolume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `
sources: {files: {type: duckdb}}
datasets:
  - {name: orders, source: files, files: orders.parquet, timestamp_column: at, baselines: {production: {days: 0}}}
`)
	// The first row is of an hour before noon.
	rows := func(every string) {
		w.file("orders.parquet", fmt.Sprintf("SELECT \"at\" FROM generate_series(TIMESTAMP '2026-11-24 11:00:00', TIMESTAMP '%s', INTERVAL '%s') AS t(\"at\")", w.now.Format(time.DateTime), every))
	}
	d := w.dataset(0)
	for _, step := range []struct {
		name   string
		after  time.Duration
		every  string
		reason string
	}{
		{"an empty table", -61 * time.Minute, "1 minute", "no rows"},
		{"the first rows, before the past is counted again", -55 * time.Minute, "1 minute", ""},
		{"the first hour", 0, "1 minute", ""},
		{"six hours later there are many more", 6 * time.Hour, "1 minute", ""},
		{"the first window that is full", 26 * time.Hour, "1 minute", ""},
		{"from then on the volume is compared", 27 * time.Hour, "2 minutes", "rows, the median is 14"},
	} {
		w.now = noon.Add(step.after)
		rows(step.every)
		if step.every != "1 minute" {
			d = w.dataset(0) // After a restart, the volumes are those that were stored.
		}
		c := w.run(d)
		if step.reason == "" {
			require.Empty(t, d.failedCheck(c), step.name)
			require.Equal(t, c.snapshot, c.good.Snapshot, step.name)
			continue
		}
		require.Contains(t, d.failedCheck(c), step.reason, step.name)
		require.NotEqual(t, c.snapshot, c.good.Snapshot, step.name)
	}
}

func TestSnapshotNames(t *testing.T) {
	w := newWorld(t, `
sources: {files: {type: duckdb}}
datasets:
  - {name: whole, source: files, query: SELECT 1 AS x}
  - {name: versioned, source: files, query: SELECT 1 AS x, snapshot_query: "SELECT 'lakefs-4f2a'"}
`)
	whole := w.run(w.dataset(0)).snapshot
	require.Equal(t, whole.Digest, whole.Name)
	w.now = w.now.Add(time.Hour)
	require.Equal(t, whole, w.run(w.dataset(0)).snapshot, "the same content has the same digest")
	require.Equal(t, "lakefs-4f2a", w.run(w.dataset(1)).snapshot.Name)
}

// The volumes of good profiles are of a week, and one an hour.
func TestUsualVolume(t *testing.T) {
	var g lastGood
	for i := range 20 * 24 * 6 {
		g.noteVolume(int64(100+i%7), noon.Add(time.Duration(i)*10*time.Minute))
	}
	require.LessOrEqual(t, len(g.Volumes), 7*24+1)
	median, ok := g.medianVolume(noon.Add(20 * 24 * time.Hour))
	require.True(t, ok)
	require.EqualValues(t, 103, median)
	_, ok = g.medianVolume(noon.Add(60 * 24 * time.Hour))
	require.False(t, ok, "what is older than a week is forgotten")
}
