package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

// walk is a target whose series move, vanish and come back.
func walk(_ context.Context, at time.Time, to *Scrape) error {
	minute := at.Unix() / 60
	if minute%97 == 0 {
		return errors.New("refused")
	}
	for i := range int64(3) {
		if (minute/50+i)%7 == 0 {
			continue
		}
		x := math.Sin(float64(minute)/(20+float64(i))) + 0.3*math.Sin(float64(minute*minute%1009))
		to.Float(to.Series("m", "of", fmt.Sprint(i)), math.Round(100*x)/100)
	}
	return nil
}

// recorded runs rules over a day and three hours, which are two blocks, and lists every sample that they record.
func recorded(t *testing.T, rules string, stepByStep bool) (samples []string, circles int64) {
	t.Helper()
	loaded, err := LoadRules(fstest.MapFS{"r.yaml": {Data: []byte("groups: [{name: g, rules: " + rules + "}]")}})
	require.NoError(t, err)
	e, err := New(Options{Rules: loaded, Interval: 2 * time.Minute})
	require.NoError(t, err)
	e.stepByStep = stepByStep
	from := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	stats, err := e.Run(t.Context(), Replay{
		From: from, To: from.Add(27 * time.Hour), Targets: []Target{{Job: "j", Instance: "i", Source: SourceFunc(walk)}}, Record: []string{"a", "b", "c"},
		Stored: func(ls labels.Labels, at time.Time, v float64) {
			samples = append(samples, fmt.Sprint(ls, at.Unix(), math.Float64bits(v)))
		},
	})
	require.NoError(t, err)
	require.Empty(t, stats.Errors)
	return samples, e.circles.Load()
}

func TestCyclicRulesEqualStepwiseEvaluation(t *testing.T) {
	for name, c := range map[string]struct {
		rules  string
		blocks int64 // Of two, that were not evaluated step by step.
	}{
		"a limit that what is beyond it does not move": {
			`[{record: a, expr: "m unless m < b"}, {record: b, expr: "avg_over_time(a[30m:5m]) - 0.5"}]`, 2,
		},
		"what was seen within the hour":            {`[{record: a, expr: "m > 0.9 or last_over_time(a[10m]) > 0"}]`, 0},
		"what was known, held by its own past":     {`[{record: a, expr: "m * 0 + 1 or up * 0 + 1 and last_over_time(a[1h])"}]`, 2},
		"labels that say which of a name are read": {`[{record: a, labels: {s: x}, expr: m}, {record: a, labels: {s: y}, expr: 'm * 2 unless on (of) a{s=~"x|z"}'}, {record: a, labels: {s: z}, expr: 'none unless on (of) a{s!~"z|q"}'}]`, 2},
		"a name that is read late and at once":     {`[{record: a, labels: {s: x}, expr: 'm + on (of) group_left () sum by (of) (a)'}, {record: a, labels: {s: y}, expr: m}]`, 0},
		"a count that never settles":               {`[{record: a, expr: "a + 1 or m * 0"}]`, 0},
		"growth of its own":                        {`[{record: a, expr: "m + 0 * on () group_left () max(rate(b[5m])) or m"}, {record: b, expr: "sum(a)"}]`, 0},
		"what is not calculated in columns":        {`[{record: a, expr: "sum by (of) (m) + 0 * time() or b"}, {record: b, expr: a}]`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			want, none := recorded(t, c.rules, true)
			have, circles := recorded(t, c.rules, false)
			require.NotEmpty(t, want)
			require.Zero(t, none)
			require.Equal(t, want, have)
			require.Equal(t, c.blocks, circles)
		})
	}
}
