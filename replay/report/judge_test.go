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
		change                      func(*Incident)
		excluded                    []Exclusion
		alerts                      []engine.Transition
		detected                    bool
		after                       time.Duration
		others                      []string
		counts                      [3]int // True, false, excluded.
		falseAlarms, excludedAlerts []FalseAlarm
	}{
		"the first detector on the object detects": {
			alerts:   []engine.Transition{fires(day+4*time.Minute, "MLDatasetNullRatioHigh", nulls...), fires(day+9*time.Minute, "MLDatasetNullRatioHigh", nulls...)},
			detected: true, after: 4 * time.Minute, counts: [3]int{2, 0, 0},
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
			excludedAlerts: []FalseAlarm{{"MLDatasetDrift", "dataset=flights", 1, []time.Time{at(2 * day)}}},
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
			r := Judge(tr, c.alerts)
			require.Equal(t, c.detected, r.Incidents[0].Detected)
			if c.after == 0 {
				require.Nil(t, r.Incidents[0].After, "no alert, no time")
			} else {
				require.Equal(t, c.after, time.Duration(*r.Incidents[0].After))
			}
			require.Equal(t, append([]string{}, c.others...), r.Incidents[0].Others)
			require.Equal(t, [3]int{r.Totals.True, r.Totals.False, r.Totals.Excluded}, c.counts)
			require.Equal(t, append([]FalseAlarm{}, c.falseAlarms...), r.FalseAlarms)
			require.Equal(t, append([]FalseAlarm{}, c.excludedAlerts...), r.ExcludedAlerts)
		})
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	r := Judge(truth(nil), []engine.Transition{
		fires(24*time.Hour+6*time.Minute, "MLDatasetNullRatioHigh", "dataset", "payments"),
		fires(24*time.Hour+7*time.Minute, "MLDatasetDrift", "dataset", "payments"),
		fires(5*24*time.Hour, "MLDatasetDrift", "dataset", "orders"),
	})
	r.Bars = []Bar{
		{Measure: "worst_detection", Class: "nulls", Limit: 660, Value: ptr(360.0), Unit: "seconds", Reached: true},
		{Measure: "false_alarms", Value: ptr(1.0)},
		{Measure: "min_lead", Class: "drift", Limit: 3600, Unit: "seconds", KnownMiss: "later"},
	}
	r.MissedBars, r.Warnings = []string{"1 false alarms, limit 0"}, []string{"the file ends early"}
	var md, table bytes.Buffer
	require.NoError(t, r.WriteMarkdown(&md))
	require.Equal(t, `test, 2026-03-01 to 2026-03-15: 3 alerts, 1 of them false (33.3 %, 0.501 a week); 0 of 1 incidents missed.

**Time to detect**

| incident | times | missed | median | p95 | worst | found by | others | lead |
|---|---|---|---|---|---|---|---|---|
| nulls | 1 | 0 | 6m | 6m | 6m | MLDatasetNullRatioHigh | 1 | - |

**False alarms**

| alert | object | times | first |
|---|---|---|---|
| MLDatasetDrift | dataset=orders | 1 | 2026-03-06 00:00:00 |

**Bars**

| measure | incident | limit | measured | result |
|---|---|---|---|---|
| worst_detection | nulls | 11m | 6m | reached |
| false_alarms | all | 0 | 1 | MISSED |
| min_lead | drift | 1h | - | known miss |

**Comparison with the case study**

|  | before | case study | here |
|---|---|---|---|
| time to detect, median | 4.2h | 11m | 6m |
| time to detect, worst |  |  | 6m |
| false alarms, share of alerts | 31 % | under 6 % | 33.3 % |

Missed bar: 1 false alarms, limit 0.

Warning: the file ends early.
`, md.String())
	require.NoError(t, r.WriteTable(&table))
	require.Contains(t, table.String(), "nulls     1      0       6m      6m   6m     MLDatasetNullRatioHigh  1       -")
	require.Contains(t, table.String(), "MISSED BAR: 1 false alarms")
	require.Contains(t, table.String(), "WARNING: the file ends early.")
}

func TestTheReportInJSON(t *testing.T) {
	t.Parallel()
	learned := func(in *Incident) { in.Learned = &Learned{Days: 3, Wanted: 30} }
	for name, c := range map[string]struct {
		alerts []engine.Transition
		want   string
	}{
		"a detection": {
			[]engine.Transition{fires(24*time.Hour+6*time.Minute, "MLDatasetNullRatioHigh", "dataset", "payments")},
			`{"class": "nulls", "name": "nulls in amount", "onset": "2026-03-02T00:00:00Z", "detected": true, "after_seconds": 360, "alert": "MLDatasetNullRatioHigh", "others": [], "baseline": {"days": 3, "wanted_days": 30, "complete": false}}`,
		},
		"no detection has no time": {
			nil,
			`{"class": "nulls", "name": "nulls in amount", "onset": "2026-03-02T00:00:00Z", "detected": false, "after_seconds": null, "others": [], "baseline": {"days": 3, "wanted_days": 30, "complete": false}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(Judge(truth(learned), c.alerts))
			require.NoError(t, err)
			var back struct {
				Incidents []json.RawMessage `json:"incidents"`
				Totals    map[string]any    `json:"totals"`
				Classes   []map[string]any  `json:"classes"`
			}
			require.NoError(t, json.Unmarshal(text, &back))
			require.JSONEq(t, c.want, string(back.Incidents[0]))
			var median any
			if len(c.alerts) > 0 {
				median = 360.0
			}
			require.Equal(t, median, back.Totals["median_detection_seconds"])
			require.Equal(t, median, back.Classes[0]["p95_seconds"])
			for _, list := range []string{`"false_alarms":[]`, `"bars":[]`, `"missed_bars":[]`, `"warnings":[]`} {
				require.Contains(t, string(text), list, "a list of nothing is a list")
			}
		})
	}
}
