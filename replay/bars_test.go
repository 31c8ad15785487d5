package replay_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

func TestBars(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	fires := func(after time.Duration, dataset string) engine.Transition {
		return engine.Transition{At: start.Add(after), State: engine.Firing, Labels: labels.FromStrings("alertname", "MLDatasetDrift", "dataset", dataset)}
	}
	truth := report.Truth{
		Scenario: "test", From: start, To: start.AddDate(0, 0, 14), Warmup: time.Hour,
		Incidents: []report.Incident{{
			Class: "sudden_drift", Object: map[string]string{"dataset": "payments"}, Detectors: []string{"MLDatasetDrift"},
			Onset: start.AddDate(0, 0, 1), End: start.Add(30 * time.Hour), Harm: start.Add(34 * time.Hour),
		}},
	}
	detected := []engine.Transition{fires(24*time.Hour+6*time.Minute, "payments")}
	falseAlarm := append(detected[:1:1], fires(5*24*time.Hour, "orders"))
	seconds := func(s float64) *float64 { return &s }
	for name, c := range map[string]struct {
		bar    string
		alerts []engine.Transition
		value  *float64
		want   string // empty if the bar is reached
	}{
		"at the bar":                   {"{measure: median_detection, limit: 6m}", detected, seconds(360), ""},
		"median beyond":                {"{measure: median_detection, limit: 5m}", detected, seconds(360), "sudden_drift: median time to detect is 6m, limit 5m"},
		"worst beyond":                 {"{measure: worst_detection, limit: 5m}", detected, seconds(360), "sudden_drift: worst time to detect is 6m, limit 5m"},
		"a class's own bar":            {"{measure: worst_detection, class: sudden_drift, limit: 1h}", detected, seconds(360), ""},
		"median of all at":             {"{measure: median_detection_of_all, limit: 6m}", detected, seconds(360), ""},
		"median of all beyond":         {"{measure: median_detection_of_all, limit: 5m}", detected, seconds(360), "median time to detect of all incidents is 6m, limit 5m"},
		"median of nothing":            {"{measure: median_detection_of_all, limit: 5m}", nil, nil, "none of 1 incidents detected, so there is no median time to detect of all incidents; limit 5m"},
		"missed":                       {"{measure: missed, limit: 0}", nil, seconds(1), "1 of 1 incidents missed, limit 0"},
		"missed of a class":            {"{measure: missed, class: sudden_drift, limit: 0}", nil, seconds(1), "sudden_drift: 1 of 1 incidents missed, limit 0"},
		"nothing detected":             {"{measure: worst_detection, limit: 1h}", nil, nil, "sudden_drift: none of 1 incidents detected, so there is no worst time to detect; limit 1h"},
		"false alarms":                 {"{measure: false_alarms, limit: 0}", falseAlarm, seconds(1), "1 false alarms, limit 0"},
		"no false alarms":              {"{measure: false_alarms, limit: 0}", detected, seconds(0), ""},
		"a share":                      {"{measure: false_alarm_share, limit: 0.06}", falseAlarm, seconds(0.5), "50 % of the alerts are false, limit 6 %"},
		"a week":                       {"{measure: false_alarms_per_week, limit: 0.5}", falseAlarm, seconds(1 / (14*24.0 - 1) * 7 * 24), "0.501 false alarms a week, limit 0.5"},
		"lead":                         {"{measure: min_lead, limit: 10h}", detected, seconds(9.9 * 3600), "sudden_drift: detected 9h54m before the harm, minimum lead 10h"},
		"lead enough":                  {"{measure: min_lead, limit: 9h}", detected, seconds(9.9 * 3600), ""},
		"lead of a harm without alert": {"{measure: min_lead, limit: 9h}", nil, nil, "sudden_drift: 1 of 1 incidents with harm not detected, minimum lead 9h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := scenario.Parse("test.yaml", []byte(`name: test
start: 2026-03-01
length: 14d
datasets: [{name: payments, columns: [{name: amount, normal: {mean: 5, stddev: 1}}]}]
incidents: [{kind: sudden_drift, dataset: payments, column: amount, at: 1d, for: 6h, ramp: 6h, accuracy: {}}]
bars: [`+c.bar+"]\n"))
			require.NoError(t, err)
			v := replay.Judge(s, replay.Result{Truth: truth, Transitions: c.alerts, Warnings: []string{"short"}})
			require.Len(t, v.Bars, 1)
			require.Equal(t, c.want == "", v.Bars[0].Reached)
			if c.value == nil {
				require.Nil(t, v.Bars[0].Value)
			} else {
				require.InDelta(t, *c.value, *v.Bars[0].Value, 1e-9)
			}
			require.Equal(t, []string{"short"}, v.Warnings)
			if c.want == "" {
				require.Empty(t, v.MissedBars)
			} else {
				require.Equal(t, []string{c.want}, v.MissedBars)
			}
		})
	}
}
