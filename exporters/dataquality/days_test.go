package dataquality

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Days of 100 rows at midnight in the zone, across the clock change of 1 November in Toronto.
func TestMidnightsInTheTimeZoneAreWholeDays(t *testing.T) {
	for _, name := range []string{"America/Toronto", "Asia/Kolkata", "UTC"} {
		t.Run(name, func(t *testing.T) {
			zone, err := time.LoadLocation(name)
			require.NoError(t, err)
			w := newWorld(t, strings.Replace(fmt.Sprintf(datedYAML, "sales.parquet"), "America/Toronto", name, 1))
			w.now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
			var midnights []string
			for date := range 34 {
				midnights = append(midnights, time.Date(2026, 10, 20+date, 0, 0, 0, 0, zone).UTC().Format("TIMESTAMP '"+time.DateTime+"'"))
			}
			w.file("sales.parquet", "SELECT unnest(["+strings.Join(midnights, ", ")+"]) AS day, i % 3 AS kind FROM range(100) AS t(i)")
			d := w.dataset(0)
			c, err := d.run(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, c.days)
			require.Equal(t, time.Date(2026, 11, 23, 0, 0, 0, 0, zone).UTC(), c.latest.UTC(), "the end of 22 November")
			w.expect(metrics(t, d, c, err), `ml_dataset_rows{dataset="sales"} 100`, `ml_dataset_window_empty{dataset="sales"} 0`,
				`ml_dataset_past_rows{ago="1d",dataset="sales",shift="same"} 100`,
				`ml_dataset_past_rows{ago="3w",dataset="sales",shift="same"} 100`, // 1 November, which has 25 hours in Toronto.
				`ml_dataset_threshold{column="",dataset="sales",signal="freshness_seconds"} 111600`)
		})
	}
}

func TestMidnightsAreNotTimesOfDay(t *testing.T) {
	kolkata, err := time.LoadLocation("Asia/Kolkata")
	require.NoError(t, err)
	for sentence, c := range map[string]struct {
		zone *time.Location
		at   time.Duration // after midnight UTC
		want bool
	}{
		"midnight in UTC":                          {time.UTC, 0, true},
		"midnight in Kolkata":                      {kolkata, 18*time.Hour + 30*time.Minute, true},
		"midnight in UTC is not one in Kolkata":    {kolkata, 0, false},
		"a minute after midnight":                  {time.UTC, time.Minute, false},
		"a minute before midnight in Kolkata":      {kolkata, 18*time.Hour + 29*time.Minute, false},
		"the hour of midnight, and not the minute": {kolkata, 18 * time.Hour, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			p := pastOf(noon.AddDate(0, 0, -5), noon, func(m time.Time) bool { return m.Sub(m.Truncate(day)) != c.at })
			require.Equal(t, c.want, p.midnights(c.zone))
		})
	}
	require.False(t, pastOf(noon.AddDate(0, 0, -5), noon, nil).midnights(time.UTC), "a row each minute")
}

func TestADayWithoutMidnightBeginsAtOne(t *testing.T) {
	zone, err := time.LoadLocation("America/Sao_Paulo")
	require.NoError(t, err)
	require.Equal(t, time.Date(2018, 11, 4, 3, 0, 0, 0, time.UTC), startOfDay(2018, 11, 4, zone).UTC())
	require.Equal(t, time.Date(2018, 11, 5, 2, 0, 0, 0, time.UTC), startOfDay(2018, 11, 5, zone).UTC())
}

func TestDueIsATimeOfTheDayInTheTimeZone(t *testing.T) {
	toronto, err := time.LoadLocation("America/Toronto")
	require.NoError(t, err)
	at := func(month time.Month, date, hour, minute int) time.Time {
		return time.Date(2026, month, date, hour, minute, 0, 0, toronto)
	}
	for sentence, c := range map[string]struct {
		latest time.Time
		days   int
		due    time.Time
	}{
		"Monday's last row at 17:55 lasts until Tuesday's are due":   {at(11, 23, 17, 55), 0, at(11, 25, 7, 0)},
		"the first row of a day lasts as long":                       {at(11, 23, 0, 0), 0, at(11, 25, 7, 0)},
		"the end of a day of dates is that day":                      {at(11, 24, 0, 0), 1, at(11, 25, 7, 0)},
		"a part of today is there":                                   {at(11, 24, 10, 0), 1, at(11, 26, 7, 0)},
		"the day before clocks go back is due an hour later":         {at(11, 1, 0, 0), 1, at(11, 2, 7, 0)},
		"the day before clocks go forward is due an hour earlier":    {at(3, 8, 0, 0), 1, at(3, 9, 7, 0)},
		"a row of the evening before clocks go back, in a live feed": {at(10, 31, 23, 30), 0, at(11, 2, 7, 0)},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := newWorld(t, fmt.Sprintf(datedYAML, "sales.parquet")).dataset(0)
			d.overrides = make(map[override]float64)
			cycle := &cycle{latest: c.latest, days: c.days, dayEnd: at(c.latest.Month(), c.latest.Day(), 0, 0)}
			d.limitByDue(cycle)
			require.InDelta(t, c.due.Sub(c.latest).Seconds(), d.overrides[override{signalFreshness, ""}], 0)
			require.InDelta(t, c.due.Sub(c.latest).Seconds(), d.freshnessLimit(cycle), 0, "the exporter's own check uses the same limit")
		})
	}
	d := newWorld(t, fmt.Sprintf(datedYAML, "sales.parquet")).dataset(0)
	d.limitByDue(&cycle{}) // Without a record there is no age to limit.
	require.Empty(t, d.overrides)
}

// Without a limit, a table of dates may lack yesterday's load for half a day, in the rules and in the exporter.
func TestATableOfDatesHasAGapOfADay(t *testing.T) {
	const rows = `SELECT CAST(d AS DATE) AS day, i %% 3 AS kind FROM range(DATE '%s', DATE '2026-11-24', INTERVAL 1 DAY) AS d(d), range(100) AS r(i)`
	for sentence, c := range map[string]struct {
		query string
		gap   float64
	}{
		"it begins yesterday":   {fmt.Sprintf(rows, "2026-11-23"), 86400},
		"it has weeks":          {fmt.Sprintf(rows, "2026-10-01"), 86400},
		"it skips the weekends": {fmt.Sprintf(rows, "2026-10-01") + " WHERE dayofweek(d) NOT IN (0, 6)", 3*86400 - 60},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := newWorld(t, strings.Replace(fmt.Sprintf(datedYAML, "sales.parquet"), `due: "07:00"`, "interval: 5m", 1))
			w.file("sales.parquet", c.query)
			d := w.dataset(0)
			cycle, err := d.run(t.Context())
			require.NoError(t, err)
			m := metrics(t, d, cycle, err)
			w.expect(m, fmt.Sprintf(`ml_dataset_usual_gap_seconds{dataset="sales"} %v`, c.gap))
			require.NotContains(t, m, "freshness_seconds")
			require.InDelta(t, 1.5*c.gap+600, d.freshnessLimit(cycle), 0)
		})
	}
}

func TestAGapThatHasNotEndedDoesNotCount(t *testing.T) {
	silent := noon.Add(-30 * time.Hour)
	p := pastOf(noon.AddDate(0, 0, -6), noon, func(m time.Time) bool { return m.After(silent) })
	gap, known := p.gap(noon.AddDate(0, 0, -1))
	require.True(t, known)
	require.Zero(t, gap)
}

func TestDatesAsNumbersAreDays(t *testing.T) {
	for _, settings := range []string{"", ", timestamp_format: '%Y%m%d'"} {
		w := newWorld(t, table("d/*/*.csv", ", timestamp_column: dt"+settings))
		for _, date := range []string{"20261120", "20261121", "20261122", "20261123"} {
			w.write("d/dt="+date+"/1.csv", "v\n1\n2\n")
		}
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 2`, `ml_dataset_window_empty{dataset="t"} 0`,
			fmt.Sprintf(`ml_dataset_latest_record_timestamp_seconds{dataset="t"} %v`, float64(noon.Truncate(day).Unix())))
		w = newWorld(t, table("t.csv", ", timestamp_column: dt"+settings))
		w.write("t.csv", "dt,v\n20261121,1\n20261122,1\n20261123,1\n20261123,2\n20261399,1\n")
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 2`, `ml_dataset_column_nulls{column="dt",dataset="t"} 1`)
	}
}

// The load of a day arrives at 05:00 of the next one.
func TestADayOfDatesIsLearnedWhenItHasArrived(t *testing.T) {
	w := newWorld(t, strings.Replace(fmt.Sprintf(datedYAML, "sales.parquet"), "{days: 0}", "{days: 3, first_day: 2026-11-21}", 1))
	d := w.dataset(0)
	run := func(upTo string) *cycle {
		w.file("sales.parquet", "SELECT CAST(d AS DATE) AS day, i % 3 AS kind FROM range(DATE '2026-11-10', DATE '"+upTo+"', INTERVAL 1 DAY) AS d(d), range(100) AS r(i)")
		c, err := d.run(t.Context())
		require.NoError(t, err)
		return c
	}
	w.now = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	require.Len(t, run("2026-11-23").production.Days, 2, "23 November is over, and its load has not arrived")
	w.now = w.now.Add(3 * time.Hour)
	p := run("2026-11-24").production
	require.Len(t, p.Days, 3)
	require.EqualValues(t, 300, p.Counts.Rows)
}

func TestAPartOfADateIsAnErrorWithARemedy(t *testing.T) {
	for column, problem := range map[string]string{
		"day":   `the latest value of timestamp column "day" would be 1970-01-01T00:00:23Z`,
		"year":  `the latest value of timestamp column "year" would be 1970-01-01T00:33:46Z`,
		"month": `none of the 1 values of timestamp column "month" is a time, such as "07"`, // DuckDB reads it as text.
	} {
		w := newWorld(t, table("d/*/*/*/*.csv", ", timestamp_column: "+column))
		w.write("d/year=2026/month=07/day=23/1.csv", "v\n1\n")
		d := w.dataset(0)
		c, err := d.run(t.Context())
		require.ErrorContains(t, err, problem)
		require.ErrorContains(t, err, "for folders named year=, month= and day= give a query that makes a date")
		require.NotContains(t, metrics(t, d, c, err), "ml_dataset_latest_record_timestamp_seconds")
	}
	w := newWorld(t, table("t.csv", ", timestamp_column: at, timestamp_unit: s"))
	w.write("t.csv", "at,v\n23,1\n")
	w.expect(w.scrape(), `ml_dataset_latest_record_timestamp_seconds{dataset="t"} 23`) // The unit is configured.
}

// The queries of the page read the dates of folders and files.
func TestQueriesOfThePageReadDatesOfNames(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "data-quality.md"))
	require.NoError(t, err)
	queries := regexp.MustCompile(`(?m)^ *query: (SELECT .* AS date FROM .*)$`).FindAllStringSubmatch(string(page), -1)
	require.Len(t, queries, 2)
	for _, query := range queries {
		w := &world{t: t, dir: t.TempDir(), now: time.Date(2026, 9, 24, 12, 0, 0, 0, time.UTC)}
		w.load("sources: {files: {type: duckdb}}\ndatasets:\n  - name: t\n    source: files\n    timestamp_column: date\n    baselines: {production: {days: 0}}\n    query: " +
			strings.ReplaceAll(query[1], "/data/", w.dir+"/") + "\n")
		for date := 21; date <= 23; date++ {
			w.write(fmt.Sprintf("orders/year=2026/month=09/day=%02d/1.csv", date), "amount\n1\n2\n")
			w.write(fmt.Sprintf("orders-2026-09-%02d.csv", date), "amount\n1\n2\n")
		}
		w.expect(w.scrape(), `ml_dataset_rows{dataset="t"} 2`, `ml_dataset_column_nulls{column="date",dataset="t"} 0`,
			fmt.Sprintf(`ml_dataset_latest_record_timestamp_seconds{dataset="t"} %v`, float64(w.now.Truncate(day).Unix())))
	}
}
