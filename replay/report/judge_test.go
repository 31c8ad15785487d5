package report

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/engine"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return start.Add(d) }

func fires(after time.Duration, alert string, pairs ...string) engine.Transition {
	return engine.Transition{At: at(after), State: engine.Firing, Labels: labels.FromStrings(append(pairs, "alertname", alert, "severity", "critical")...)}
}

func ends(after time.Duration, alert string, pairs ...string) engine.Transition {
	t := fires(after, alert, pairs...)
	t.State = engine.Resolved
	return t
}

func ptr[T any](v T) *T { return &v }

func truth(change func(*Incident)) Truth {
	in := Incident{
		Class: "nulls", Name: "nulls in amount", Object: map[string]string{"dataset": "payments"},
		Onset: at(24 * time.Hour), End: at(30 * time.Hour), Detectors: []string{"MLDatasetNullRatioHigh"}, Consequences: []string{"MLDatasetDrift"},
	}
	if change != nil {
		change(&in)
	}
	return Truth{Scenario: "test", From: start, To: at(14 * 24 * time.Hour), Warmup: time.Hour, Incidents: []Incident{in}}
}

func TestJudge(t *testing.T) {
	const day = 24 * time.Hour
	nulls := []string{"dataset", "payments", "column", "amount"}
	for name, c := range map[string]struct {
		change      func(*Incident)
		excluded    []Exclusion
		alerts      []engine.Transition
		detected    bool
		after       time.Duration
		others      []string
		counts      [3]int // True, false, excluded.
		falseAlarms []FalseAlarm
	}{
		"the first detector on the object detects": {
			alerts:   []engine.Transition{fires(day+4*time.Minute, "MLDatasetNullRatioHigh", nulls...), fires(day+9*time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			detected: true, after: 4 * time.Minute, others: []string{"MLDatasetNullRatioHigh"}, counts: [3]int{2, 0, 0},
		},
		"a consequence neither detects nor is false": {
			alerts: []engine.Transition{fires(day+time.Minute, "MLDatasetDrift", "dataset", "payments")},
			others: []string{"MLDatasetDrift"}, counts: [3]int{1, 0, 0},
		},
		"the watchdog, which always fires, counts neither way": {
			alerts: []engine.Transition{fires(0, "SightglassWatchdog")},
			counts: [3]int{0, 0, 0},
		},
		"a consequence on another object is a false alarm": {
			alerts: []engine.Transition{fires(day+time.Minute, "MLDatasetDrift", "dataset", "other")},
			counts: [3]int{0, 1, 0}, falseAlarms: []FalseAlarm{{"MLDatasetDrift", "dataset=other", 1, []time.Time{at(day + time.Minute)}}},
		},
		"an alert of another column is a false alarm": {
			change: func(in *Incident) { in.Part = map[string]string{"column": "country"} },
			alerts: []engine.Transition{fires(day+time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			counts: [3]int{0, 1, 0}, falseAlarms: []FalseAlarm{{"MLDatasetNullRatioHigh", "column=amount dataset=payments", 1, []time.Time{at(day + time.Minute)}}},
		},
		"an alert of the column, or of no column, is about it": {
			change: func(in *Incident) { in.Part = map[string]string{"column": "amount"} },
			alerts: []engine.Transition{
				fires(day+time.Minute, "MLDatasetDrift", "dataset", "payments"), fires(day+2*time.Minute, "MLDatasetNullRatioHigh", nulls...),
			},
			detected: true, after: 2 * time.Minute, others: []string{"MLDatasetDrift"}, counts: [3]int{2, 0, 0},
		},
		"an alert on another object that it is about detects": {
			change:   func(in *Incident) { in.Also = []map[string]string{{"model": "fraud"}} },
			alerts:   []engine.Transition{fires(day+time.Minute, "MLDatasetNullRatioHigh", "model", "fraud")},
			detected: true, after: time.Minute, counts: [3]int{1, 0, 0},
		},
		"a detector on another object is a false alarm": {
			alerts: []engine.Transition{fires(day+time.Minute, "MLDatasetNullRatioHigh", "dataset", "orders")},
			counts: [3]int{0, 1, 0}, falseAlarms: []FalseAlarm{{"MLDatasetNullRatioHigh", "dataset=orders", 1, []time.Time{at(day + time.Minute)}}},
		},
		"an alert before the onset is false, and detects nothing": {
			alerts: []engine.Transition{fires(day-time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			counts: [3]int{0, 1, 0}, falseAlarms: []FalseAlarm{{"MLDatasetNullRatioHigh", "column=amount dataset=payments", 1, []time.Time{at(day - time.Minute)}}},
		},
		"within the aftermath an alert belongs to the incident": {
			alerts:   []engine.Transition{fires(31*time.Hour, "MLDatasetNullRatioHigh", nulls...)},
			detected: true, after: 7 * time.Hour, counts: [3]int{1, 0, 0},
		},
		"after the aftermath it is false": {
			alerts: []engine.Transition{fires(31*time.Hour+time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			counts: [3]int{0, 1, 0}, falseAlarms: []FalseAlarm{{"MLDatasetNullRatioHigh", "column=amount dataset=payments", 1, []time.Time{at(31*time.Hour + time.Minute)}}},
		},
		"too late is missed, and no false alarm": {
			change: func(in *Incident) { in.Latest = 11 * time.Minute },
			alerts: []engine.Transition{fires(day+12*time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			after:  12 * time.Minute, counts: [3]int{1, 0, 0},
		},
		"at the latest moment is in time": {
			change:   func(in *Incident) { in.Latest = 11 * time.Minute },
			alerts:   []engine.Transition{fires(day+11*time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			detected: true, after: 11 * time.Minute, counts: [3]int{1, 0, 0},
		},
		"warm-up and exclusions do not count": {
			excluded: []Exclusion{{Name: "storm", From: at(2 * day), To: at(3 * day), Object: map[string]string{"dataset": "flights"}}},
			alerts: []engine.Transition{
				fires(time.Minute, "MLDatasetDrift", "dataset", "flights"), ends(2*time.Minute, "MLDatasetDrift", "dataset", "flights"), fires(2*day, "MLDatasetDrift", "dataset", "flights"),
				fires(2*day, "MLDatasetDrift", "dataset", "orders"),
			},
			counts: [3]int{0, 1, 2}, falseAlarms: []FalseAlarm{{"MLDatasetDrift", "dataset=orders", 1, []time.Time{at(2 * day)}}},
		},
		"an alert that outlasts the warm-up counts from its end": {
			alerts: []engine.Transition{fires(time.Minute, "MLDatasetDrift", "dataset", "orders")},
			counts: [3]int{0, 1, 1}, falseAlarms: []FalseAlarm{{"MLDatasetDrift", "dataset=orders", 1, []time.Time{at(time.Hour)}}},
		},
		"without an alert it is missed": {},
	} {
		t.Run(name, func(t *testing.T) {
			tr := truth(c.change)
			tr.Excluded = c.excluded
			r := Judge(tr, c.alerts, Bars{})
			require.Equal(t, c.detected, r.Incidents[0].Detected)
			require.Equal(t, c.after, time.Duration(r.Incidents[0].After))
			require.Equal(t, c.others, r.Incidents[0].Others)
			require.Equal(t, [3]int{r.Totals.True, r.Totals.False, r.Totals.Excluded}, c.counts)
			require.Equal(t, c.falseAlarms, r.FalseAlarms)
			require.Empty(t, r.MissedBars)
		})
	}
}

func TestBars(t *testing.T) {
	detected := []engine.Transition{fires(24*time.Hour+6*time.Minute, "MLDatasetNullRatioHigh", "dataset", "payments")}
	falseAlarm := append(detected[:1:1], fires(5*24*time.Hour, "MLDatasetDrift", "dataset", "orders"))
	harm := func(in *Incident) { in.Harm = at(34 * time.Hour) }
	for name, c := range map[string]struct {
		bars   Bars
		change func(*Incident)
		alerts []engine.Transition
		want   []string
	}{
		"at the bar":           {bars: Bars{MedianDetection: ptr(6 * time.Minute), WorstDetection: ptr(6 * time.Minute), Missed: ptr(0), FalseAlarms: ptr(0)}, alerts: detected},
		"median of all at":     {bars: Bars{MedianOfAll: ptr(6 * time.Minute)}, alerts: detected},
		"median of all beyond": {bars: Bars{MedianOfAll: ptr(5 * time.Minute)}, alerts: detected, want: []string{"median time to detect of all incidents is 6m, at most 5m is wanted"}},
		"median beyond":        {bars: Bars{MedianDetection: ptr(5 * time.Minute)}, alerts: detected, want: []string{"nulls: median time to detect is 6m, at most 5m is wanted"}},
		"worst beyond":         {bars: Bars{WorstDetection: ptr(5 * time.Minute)}, alerts: detected, want: []string{"nulls: worst time to detect is 6m, at most 5m is wanted"}},
		"a class's own bar":    {bars: Bars{MedianDetection: ptr(time.Minute), Classes: map[string]ClassBars{"nulls": {MedianDetection: ptr(time.Hour)}}}, alerts: detected},
		"missed":               {bars: Bars{Missed: ptr(0)}, want: []string{"1 of 1 incidents missed, at most 0 may be"}},
		"nothing detected":     {bars: Bars{WorstDetection: ptr(time.Hour)}, want: []string{"nulls: none of 1 incidents detected, so there is no worst time to detect, at most 1h is wanted"}},
		"false alarms":         {bars: Bars{FalseAlarms: ptr(0)}, alerts: falseAlarm, want: []string{"1 false alarms, at most 0 may be"}},
		"a share":              {bars: Bars{FalseAlarmShare: ptr(0.06)}, alerts: falseAlarm, want: []string{"50 % of the alerts are false, at most 6 % may be"}},
		"a week":               {bars: Bars{FalseAlarmsPerWeek: ptr(0.5)}, alerts: falseAlarm, want: []string{"0.501 false alarms a week, at most 0.5 may be"}},
		"lead":                 {bars: Bars{MinLead: ptr(10 * time.Hour)}, change: harm, alerts: detected, want: []string{"nulls: found 9h54m before the harm, at least 10h are wanted"}},
		"a bar of no class":    {bars: Bars{Classes: map[string]ClassBars{"null": {}}}, want: []string{"null: the scenario has a bar for this class and no incident of it"}},
		"no bars, no demand":   {},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, Judge(truth(c.change), c.alerts, c.bars).MissedBars)
		})
	}
}

func TestRender(t *testing.T) {
	r := Judge(truth(nil), []engine.Transition{
		fires(24*time.Hour+6*time.Minute, "MLDatasetNullRatioHigh", "dataset", "payments"),
		fires(5*24*time.Hour, "MLDatasetDrift", "dataset", "orders"),
	}, Bars{FalseAlarms: ptr(0)})
	var md, table, js bytes.Buffer
	require.NoError(t, r.WriteMarkdown(&md))
	require.Equal(t, `test, 2026-03-01 to 2026-03-15: 2 alerts, 1 of them false (50 %, 0.501 a week); 0 of 1 incidents missed.

**Time to detect**

| incident | times | missed | median | p95 | worst | found by | others | lead |
|---|---|---|---|---|---|---|---|---|
| nulls | 1 | 0 | 6m | 6m | 6m | MLDatasetNullRatioHigh | 0 | - |

**False alarms**

| alert | object | times | first |
|---|---|---|---|
| MLDatasetDrift | dataset=orders | 1 | 2026-03-06 00:00:00 |

**Beside the case study**

|  | before | case study | here |
|---|---|---|---|
| time to detect, median | 4.2h | 11m | 6m |
| time to detect, worst |  |  | 6m |
| false alarms, share of alerts | 31 % | under 6 % | 50 % |

Missed bar: 1 false alarms, at most 0 may be.
`, md.String())
	require.NoError(t, r.WriteTable(&table))
	require.Contains(t, table.String(), "nulls     1      0       6m      6m   6m     MLDatasetNullRatioHigh  0       -")
	require.Contains(t, table.String(), "MISSED BAR: 1 false alarms")
	require.NoError(t, r.WriteJSON(&js))
	var back map[string]any
	require.NoError(t, json.Unmarshal(js.Bytes(), &back))
	require.InDelta(t, 360, back["totals"].(map[string]any)["median_detection_seconds"], 0)
}
