package dataquality

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pastOf has one row a minute, except in the minutes for which skip returns true.
func pastOf(from, to time.Time, skip func(time.Time) bool) *past {
	counts := make(map[time.Time]int64)
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		if skip == nil || !skip(at) {
			counts[at] = 1
		}
	}
	p := new(past)
	p.replace(from, to, counts)
	p.through = to
	return p
}

func TestRowsOfPastWindows(t *testing.T) {
	from, to := noon.AddDate(0, 0, -3), noon
	p := pastOf(from, to, nil)
	for name, c := range map[string]struct {
		from, to time.Time
		want     float64
		known    bool
	}{
		"a day":                        {noon.AddDate(0, 0, -2), noon.AddDate(0, 0, -1), 1440, true},
		"five minutes":                 {noon.Add(-30 * time.Minute), noon.Add(-25 * time.Minute), 5, true},
		"within minutes":               {noon.Add(-30*time.Minute - 30*time.Second), noon.Add(-25*time.Minute - 15*time.Second), 5.25, true},
		"across an hour":               {noon.Add(-65 * time.Minute), noon.Add(-55 * time.Minute), 10, true},
		"before the first row":         {from.Add(-2 * time.Minute), from.Add(time.Hour), 0, false},
		"what is not counted yet":      {noon.Add(-time.Hour), noon.Add(time.Minute), 0, false},
		"nothing, of a table of years": {noon.Add(-time.Hour), noon.Add(-time.Hour), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			rows, known := p.rows(c.from, c.to)
			require.Equal(t, c.known, known)
			require.InDelta(t, c.want, rows, 1e-6)
		})
	}
	_, known := new(past).rows(from, to)
	require.False(t, known, "a table without a past")

	// Minutes of the hour are not the same in India.
	p = pastOf(from, to, func(m time.Time) bool { return m.Minute() >= 30 })
	india := time.FixedZone("IST", 5*3600+1800)
	rows, known := p.rows(noon.Add(-60*time.Minute).In(india), noon.Add(-45*time.Minute).In(india))
	require.True(t, known)
	require.InDelta(t, 15, rows, 1e-6)
	gap, known := p.gap(noon.AddDate(0, 0, -1).In(india))
	require.True(t, known)
	require.Equal(t, 30*time.Minute, gap)
}

func TestGapsInPastRows(t *testing.T) {
	at := func(clock string) time.Time {
		v, err := time.Parse(time.DateTime, "2026-11-22 "+clock)
		require.NoError(t, err)
		return v
	}
	// Nothing between 22:00 and 04:00, and from 12:10 to 12:40.
	p := pastOf(noon.AddDate(0, 0, -6), noon, func(m time.Time) bool {
		return m.Hour() >= 22 || m.Hour() < 4 || m.Hour() == 12 && m.Minute() >= 10 && m.Minute() < 40
	})
	for clock, want := range map[string]time.Duration{
		"09:00:00": 0, "12:00:00": 30 * time.Minute, "11:11:00": 30 * time.Minute, "11:09:00": 0,
		"02:00:00": 6 * time.Hour, "21:30:00": 6 * time.Hour, "20:58:00": 0, "04:59:00": 6 * time.Hour, "05:01:00": 0,
	} {
		gap, known := p.gap(at(clock))
		require.True(t, known, clock)
		require.Equal(t, want, gap, clock)
	}
	_, known := p.gap(noon)
	require.False(t, known, "the hour after is not there yet")
}

func TestLateRowsDoNotCountAsLoss(t *testing.T) {
	p := pastOf(noon.AddDate(0, 0, -2), noon, nil)
	windows := func(shares ...float64) []seen {
		var all []seen
		for i, share := range shares {
			end := noon.Add(-2*time.Hour - time.Duration(i)*5*time.Minute)
			all = append(all, seen{end.Add(-100 * time.Minute), end, int64(100 * share)})
		}
		return all
	}
	for name, c := range map[string]struct {
		kind  string
		seen  []seen
		want  float64
		known bool
	}{
		"all are there at once":                 {windowRecent(15 * time.Minute), windows(1, 1, 1, 1, 1, 1), 1, true},
		"a fifth is late":                       {windowFull, windows(0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8), 0.8, true},
		"a load that leaves some windows empty": {windowRecent(15 * time.Minute), windows(0, 0.3, 0.6, 1, 0, 0.3, 0.6, 1), 0, true},
		"too few windows to tell":               {windowRecent(15 * time.Minute), windows(1, 1, 1, 1, 1), 0, false},
		"rows that were deleted since":          {windowFull, windows(1.5, 1.5, 1.5, 1.5, 1.5, 1.5), 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			share, known := p.arrived(c.seen, noon, c.kind)
			require.Equal(t, c.known, known)
			require.InDelta(t, c.want, share, 1e-6)
		})
	}
	_, known := p.arrived([]seen{{noon.Add(-10 * time.Minute), noon, 10}}, noon.Add(30*time.Minute), windowRecent(15*time.Minute))
	require.False(t, known, "a window that ended just now says nothing of late rows")
}

func TestClockChangeShiftsThePastRows(t *testing.T) {
	// Ten times as many rows at noon, an hour later in the last day.
	rows := func(shift int) func(time.Time) bool {
		return func(m time.Time) bool { return (m.Hour()-shift)%4 != 0 }
	}
	old, moved := rows(0), rows(1)
	clock := noon.AddDate(0, 0, -1)
	p := pastOf(noon.AddDate(0, 0, -29), noon, func(m time.Time) bool {
		if m.Before(clock) {
			return old(m)
		}
		return moved(m)
	})
	require.Equal(t, -time.Hour, p.shift(noon), "what came at noon comes at one o'clock")
	require.Zero(t, pastOf(noon.AddDate(0, 0, -29), noon, old).shift(noon))
}

const recentYAML = `
sources:
  files: {type: duckdb}
datasets:
  - name: orders
    source: files
    files: orders.parquet
    timestamp_column: at
    baselines: {production: {days: 3, first_day: 2026-11-01}}
`

// A table of 20 rows a minute with half of one column missing, and nothing configured.
func TestRecentWindowIsComparedWithPastWindows(t *testing.T) {
	w := newWorld(t, recentYAML)
	w.file("orders.parquet", `SELECT TIMESTAMP '2026-11-24 12:00:00' - to_seconds(3 * i + 1) AS at, i % 7 AS kind, CASE WHEN i % 2 = 0 THEN i % 5 END AS half
		FROM range(20 * 60 * 24 * 25) AS t(i)`)
	w.now = noon.Add(-3 * time.Hour)
	d := w.dataset(0)
	run := func() string {
		c, err := d.run(t.Context())
		require.NoError(t, err)
		return metrics(t, d, c, err)
	}
	first := run()
	require.Empty(t, series(first, "ml_dataset_recent_rows"), "nobody knows yet how many rows a second there are")
	w.now = w.now.Add(5 * time.Minute)
	second := run()
	require.Equal(t, []string{`ml_dataset_recent_window_seconds{dataset="orders"} 1800`}, series(second, "ml_dataset_recent_window_seconds"), "500 rows take 25 minutes")
	require.Equal(t, []string{`ml_dataset_recent_rows{dataset="orders"} 620`}, series(second, "ml_dataset_recent_rows"), "the minute of clock_skew has rows, too")
	require.Equal(t, []string{`ml_dataset_recent_volume_window_seconds{dataset="orders"} 900`}, series(second, "ml_dataset_recent_volume_window_seconds"), "150 rows take 8 minutes")
	require.Equal(t, []string{`ml_dataset_recent_volume_rows{dataset="orders"} 320`}, series(second, "ml_dataset_recent_volume_rows"))
	require.Contains(t, second, `ml_dataset_recent_column_nulls{column="half",dataset="orders"} 310`)
	require.Contains(t, second, `ml_dataset_column_baseline_null_ratio{column="half",dataset="orders"} 0.5`)
	require.Contains(t, second, `ml_dataset_recent_column_values{bin="0",column="kind",dataset="orders"} `)
	require.Contains(t, second, `ml_dataset_column_baseline_ratio{baseline="season_recent",bin="0",column="kind",dataset="orders"} `)
	require.Contains(t, second, `ml_dataset_past_rows{ago="1d",dataset="orders",shift="same"} 28800`)
	require.Contains(t, second, `ml_dataset_past_rows{ago="3w",dataset="orders",shift="earlier"} 28800`)
	require.NotContains(t, second, `ago="4w"`, "the table has no four weeks")
	require.Contains(t, second, `ml_dataset_usual_gap_seconds{dataset="orders"} 0`)
	require.Contains(t, second, `ml_dataset_day_elapsed_seconds{dataset="orders"} 32700`, "it is 09:05 in UTC")
	require.Empty(t, series(second, "ml_dataset_recent_past_rows"), "nobody knows yet how late rows come")
	for range 30 {
		w.now = w.now.Add(5 * time.Minute)
		run()
	}
	require.Contains(t, run(), `ml_dataset_recent_past_rows{ago="1d",dataset="orders"} 300`, "of the window for the volume")

	// 300 rows an hour have a window for the volume and no recent one.
	w = newWorld(t, recentYAML)
	w.file("orders.parquet", `SELECT TIMESTAMP '2026-11-24 12:00:00' - to_seconds(12 * i + 1) AS at FROM range(300 * 24 * 25) AS t(i)`)
	w.now = noon.Add(-3 * time.Hour)
	d = w.dataset(0)
	run()
	w.now = w.now.Add(5 * time.Minute)
	few := run()
	require.Empty(t, series(few, "ml_dataset_recent_rows"))
	require.Contains(t, few, `ml_dataset_recent_volume_window_seconds{dataset="orders"} 1800`)
	require.Contains(t, few, `ml_dataset_recent_volume_rows{dataset="orders"} 155`)
}

func TestTheLengthOfARecentWindow(t *testing.T) {
	const hour = time.Hour
	for sentence, c := range map[string]struct {
		rowsAnHour float64
		was, want  time.Duration
	}{
		"the shortest that has 500 rows":                     {2000, 0, hour / 4},
		"fewer rows take longer":                             {1999, 0, hour / 2},
		"an hour with fewer has none":                        {499, 0, 0},
		"many rows need no more than the time of a profile":  {6000, 0, hour / 12},
		"a fifth fewer rows do not lengthen it":              {1600, hour / 4, hour / 4},
		"more than a fifth fewer do":                         {1599, hour / 4, hour / 2},
		"a few more rows do not shorten it":                  {2399, hour / 2, hour / 2},
		"a fifth more do":                                    {2400, hour / 2, hour / 4},
		"it is there no more where too little is left of it": {399, hour, 0},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := newWorld(t, recentYAML).dataset(0)
			d.rowsPerSecond = c.rowsAnHour / 3600
			require.Equal(t, c.want, d.recentLength(recentRows, c.was))
		})
	}
}

func TestRecentWindowGrowsWhenRowsUsuallyArriveLate(t *testing.T) {
	const hour = time.Hour
	for sentence, c := range map[string]struct {
		arrived map[string]float64
		want    time.Duration
	}{
		"nothing is known yet": {nil, hour / 4},
		"half has arrived":     {map[string]float64{windowRecent(hour / 4): 0.5}, hour / 4},
		"most has not, and nothing is known of the longer": {map[string]float64{windowRecent(hour / 4): 0.4}, hour / 2},
		"of the longer neither":                            {map[string]float64{windowRecent(hour / 4): 0.1, windowRecent(hour / 2): 0.4}, hour},
		"the longest, if all lack most of their rows":      {map[string]float64{windowRecent(hour / 4): 0, windowRecent(hour / 2): 0, windowRecent(hour): 0.1}, hour},
		"the whole window does not matter":                 {map[string]float64{windowFull: 0.1}, hour / 4},
	} {
		t.Run(sentence, func(t *testing.T) {
			d := newWorld(t, recentYAML).dataset(0)
			d.rowsPerSecond, d.good.Arrived = 2000./3600, c.arrived
			require.Equal(t, c.want, d.recentLength(recentRows, 0))
		})
	}
}

func TestArrivedShareOfAShorterWindowIsTheFallback(t *testing.T) {
	const hour = time.Hour
	for sentence, c := range map[string]struct {
		arrived map[string]float64
		want    float64
		known   bool
	}{
		"its own":               {map[string]float64{windowRecent(hour / 4): 0.3, windowRecent(hour / 2): 0.6}, 0.6, true},
		"that of a shorter one": {map[string]float64{windowRecent(hour / 12): 0.1, windowRecent(hour / 4): 0.3}, 0.3, true},
		"not that of a longer":  {map[string]float64{windowRecent(hour): 0.9, windowFull: 1}, 0, false},
		"none":                  {nil, 0, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			share, known := (&cycle{good: lastGood{Arrived: c.arrived}}).recentArrived(hour / 2)
			require.Equal(t, c.known, known)
			require.InDelta(t, c.want, share, 0)
		})
	}
}

// Of a load every quarter of an hour, seen at 1, 6 and 11 minutes past it, a quarter has at least 4 minutes, and half an hour 19.
func TestArrivedShareIsLearnedForEachWindowLength(t *testing.T) {
	p := pastOf(noon.AddDate(0, 0, -2), noon, nil)
	p.seen = map[string][]seen{}
	for at := noon.Add(-12 * time.Hour); at.Before(noon.Add(-time.Hour)); at = at.Add(5 * time.Minute) {
		since := time.Duration(at.Minute()%15)*time.Minute + time.Minute
		length := 15 * time.Minute
		if at.Before(noon.Add(-6 * time.Hour)) {
			length = 30 * time.Minute
		}
		p.see(windowRecent(length), seen{at.Add(-length), at, int64((length - since).Minutes())})
	}
	quarter, ok := p.arrived(p.seen[windowRecent(15*time.Minute)], noon, windowRecent(15*time.Minute))
	require.True(t, ok)
	require.InDelta(t, 4.0/15, quarter, 1e-9)
	half, ok := p.arrived(p.seen[windowRecent(30*time.Minute)], noon, windowRecent(30*time.Minute))
	require.True(t, ok)
	require.InDelta(t, 19.0/30, half, 1e-9)
}

// Before a column has a baseline, its usual null ratio comes from the first profiles.
func TestMostlyEmptyColumnHasAHigherNullLimit(t *testing.T) {
	w := newWorld(t, strings.Replace(recentYAML, "days: 3, first_day: 2026-11-01", "days: 0", 1))
	w.file("orders.parquet", `SELECT TIMESTAMP '2026-11-24 12:00:00' - to_minutes(i + 1) AS at, CASE WHEN i % 10 = 0 THEN 'x' END AS note FROM range(1000) AS t(i)`)
	d := w.dataset(0)
	c, err := d.run(t.Context())
	require.NoError(t, err)
	require.Contains(t, metrics(t, d, c, err), `ml_dataset_column_baseline_null_ratio{column="note",dataset="orders"} 0.9`)
	require.InDelta(t, 0.918, d.nullLimit(c, "note"), 1e-9)
	require.InDelta(t, 0.05, d.nullLimit(c, "at"), 1e-9)
	require.Empty(t, d.failedCheck(c), "the snapshot is a good one: %s", fmt.Sprint(c.good.Nulls))
	require.NotEmpty(t, c.good.Snapshot.Name)
}

// A table of few rows has a baseline from its first profile on. It follows the rows until there are enough.
func TestNullsOfFewRowsHaveABaseline(t *testing.T) {
	w := newWorld(t, strings.Replace(recentYAML, "days: 3, first_day: 2026-11-01", "days: 0", 1))
	d := w.dataset(0)
	run := func(rows, nulls int) *cycle {
		w.file("orders.parquet", fmt.Sprintf(`SELECT TIMESTAMP '2026-11-24 11:00:00' AS at, CASE WHEN i >= %d THEN 'x' END AS note FROM range(%d) AS t(i)`, nulls, rows))
		c, err := d.run(t.Context())
		require.NoError(t, err)
		return c
	}
	c := run(60, 54)
	require.Contains(t, metrics(t, d, c, nil), `ml_dataset_column_baseline_null_ratio{column="note",dataset="orders"} 0.9`)
	require.Empty(t, d.failedCheck(c))
	for _, step := range []struct {
		rows, nulls int
		baseline    float64
	}{
		{60, 60, 0.9},  // Not more rows: the nulls are new.
		{80, 60, 0.75}, // More rows are a better baseline.
		{120, 60, 0.5},
		{200, 200, 0.5}, // The first day is learned.
	} {
		c = run(step.rows, step.nulls)
		share, known := c.baselineNullShare("note")
		require.True(t, known)
		require.InDelta(t, step.baseline, share, 1e-9, "%d of %d", step.nulls, step.rows)
	}
	w.now = w.now.Add(20 * time.Hour)
	share, _ := run(10, 10).baselineNullShare("note")
	require.InDelta(t, 0.75, share, 1e-9, "the mean of two days")
	share, _ = run(50, 0).baselineNullShare("note")
	require.InDelta(t, 0.75, share, 1e-9)
}

func TestThresholdsOfColumnsTakePatterns(t *testing.T) {
	w := newWorld(t, recentYAML+"    thresholds: {null_ratio: 0.1, columns: {\"*_note\": {null_ratio: 0.9}, \"a_*\": {null_ratio: 0.5, unseen_ratio: 0.2}, a_note: {unseen_ratio: 0.3}}}\n")
	w.file("orders.parquet", "SELECT TIMESTAMP '2026-11-24 11:00:00' AS at, 1 AS a_note, 2 AS b_note, 3 AS a_1, 4 AS plain FROM range(10)")
	d := w.dataset(0)
	c, err := d.run(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		`ml_dataset_threshold{column="",dataset="orders",signal="null_ratio"} 0.1`,
		`ml_dataset_threshold{column="a_note",dataset="orders",signal="null_ratio"} 0.9`,
		`ml_dataset_threshold{column="b_note",dataset="orders",signal="null_ratio"} 0.9`,
		`ml_dataset_threshold{column="a_1",dataset="orders",signal="null_ratio"} 0.5`,
		`ml_dataset_threshold{column="a_1",dataset="orders",signal="unseen_ratio"} 0.2`,
		`ml_dataset_threshold{column="a_note",dataset="orders",signal="unseen_ratio"} 0.3`,
	}, series(metrics(t, d, c, err), "ml_dataset_threshold"))
}

const datedYAML = `
sources:
  files: {type: duckdb}
datasets:
  - name: sales
    source: files
    files: %s
    timestamp_column: day
    time_zone: America/Toronto
    due: "07:00"
    baselines: {production: {days: 0}}
`

// Days of 100 rows, today's load of 30 rows beside them or not.
func TestCompleteDaysAreCompared(t *testing.T) {
	rows := func(column string, upTo string) string {
		return `SELECT ` + column + ` AS day, i % 3 AS kind FROM range(DATE '2026-10-20', DATE '` + upTo + `', INTERVAL 1 DAY) AS d(d), range(100) AS r(i)`
	}
	const today = ` UNION ALL SELECT DATE '2026-11-24', 1 FROM range(30)`
	endOfYesterday := time.Date(2026, 11, 24, 5, 0, 0, 0, time.UTC) // Midnight in Toronto.
	for name, c := range map[string]struct {
		query  string
		latest time.Time
	}{
		"yesterday is there":                   {rows("CAST(d AS DATE)", "2026-11-24"), endOfYesterday},
		"yesterday is late":                    {rows("CAST(d AS DATE)", "2026-11-23"), endOfYesterday.AddDate(0, 0, -1)},
		"a part of today is there":             {rows("CAST(d AS DATE)", "2026-11-24") + today, noon},
		"midnights of a timestamp":             {rows("CAST(d AS TIMESTAMP)", "2026-11-24"), endOfYesterday},
		"dates as text, as partitions may be":  {rows("strftime(d, '%Y-%m-%d')", "2026-11-24"), endOfYesterday},
		"midnights of a timestamp with a zone": {rows("CAST(d AS TIMESTAMPTZ)", "2026-11-24"), endOfYesterday},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, fmt.Sprintf(datedYAML, "sales.parquet"))
			w.file("sales.parquet", c.query)
			d := w.dataset(0)
			cycle, err := d.run(t.Context())
			require.NoError(t, err)
			got := metrics(t, d, cycle, err)
			require.Contains(t, got, "ml_dataset_rows{dataset=\"sales\"} 100\n")
			require.Contains(t, got, "ml_dataset_window_seconds{dataset=\"sales\"} 86400\n")
			require.Equal(t, c.latest, cycle.latest.UTC())
			require.Contains(t, got, `ml_dataset_past_rows{ago="1w",dataset="sales",shift="same"} 100`)
			require.Contains(t, got, `ml_dataset_past_rows{ago="1d",dataset="sales",shift="same"} 100`)
			due := endOfYesterday.Add(31 * time.Hour) // Seven o'clock tomorrow.
			switch name {
			case "a part of today is there":
				due = due.Add(day)
			case "yesterday is late":
				due = due.Add(-day)
			}
			require.Contains(t, got, fmt.Sprintf(`ml_dataset_threshold{column="",dataset="sales",signal="freshness_seconds"} %v`, due.Sub(c.latest).Seconds()))
			require.Contains(t, got, `ml_dataset_future_rows{dataset="sales"} 0`)
		})
	}
}

func TestFoldersOfDaysAreCompleteDays(t *testing.T) {
	w := newWorld(t, fmt.Sprintf(datedYAML, "sales/*/*.parquet"))
	for _, day := range []string{"2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23", "2026-11-24"} {
		require.NoError(t, os.MkdirAll(filepath.Join(w.dir, "sales", "day="+day), 0o750))
		w.file("sales/day="+day+"/part.parquet", "SELECT i FROM range(50) AS t(i)")
	}
	d := w.dataset(0)
	c, err := d.run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 50, c.profile.Rows, "yesterday")
	require.Equal(t, 1, c.days)
}

func TestRowsOutsideEveryWindowAreReported(t *testing.T) {
	w := newWorld(t, recentYAML)
	w.file("orders.parquet", "SELECT TIMESTAMP '2026-11-20 08:11:12' + to_seconds(i) AS at, 1 AS x FROM range(10) AS t(i)")
	d := w.dataset(0)
	for range 2 {
		c, err := d.run(t.Context())
		require.NoError(t, err)
		require.Contains(t, metrics(t, d, c, err), `ml_dataset_window_empty{dataset="orders"} 1`)
		w.now = w.now.Add(time.Minute)
	}
	require.Equal(t, 1, strings.Count(w.logs.String(), "none of them is in the window"))
	w.file("orders.parquet", "SELECT TIMESTAMP '2026-11-24 12:00:00' AS at, 1 AS x")
	c, err := d.run(t.Context())
	require.NoError(t, err)
	require.Contains(t, metrics(t, d, c, err), `ml_dataset_window_empty{dataset="orders"} 0`)
}
