package replay_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay"
	"github.com/sightglass-ml/sightglass/replay/report"
)

func TestSeedsAreReportedSideBySide(t *testing.T) {
	one := func(seed uint64, alarms []report.FalseAlarm, t report.Totals, bars ...string) replay.Seed {
		return replay.Seed{Seed: seed, Verdict: replay.Verdict{Report: report.Report{Totals: t, FalseAlarms: alarms, MissedBars: bars}}}
	}
	seconds := func(d time.Duration) *report.Seconds { return (*report.Seconds)(&d) }
	seeds := replay.Seeds{
		one(1, []report.FalseAlarm{{Alert: "A", Object: "x", Times: 2}, {Alert: "A", Object: "y", Times: 1}},
			report.Totals{Alerts: 4, False: 3, FalseAlarmsPerWeek: 1.5, Incidents: 2, MedianDetection: seconds(4 * time.Minute), WorstDetection: seconds(time.Hour)}, "a bar"),
		one(2, []report.FalseAlarm{{Alert: "A", Object: "x", Times: 1}, {Alert: "B", Object: "x", Times: 9}},
			report.Totals{Alerts: 10, False: 10, FalseAlarmsPerWeek: 5, Incidents: 2, Missed: 2}),
	}
	seeds[0].Warnings, seeds[1].Warnings = []string{"short"}, []string{"short", "late"}
	require.Equal(t, []string{"short", "late"}, seeds.Warnings())
	grids := seeds.Grids()
	require.Equal(t, [][]string{
		{"seed", "alerts", "false alarms", "a week", "incidents", "missed", "median", "worst", "missed bars"},
		{"1", "4", "3", "1.5", "2", "0", "4m", "1h", "1"},
		{"2", "10", "10", "5", "2", "2", "-", "-", "0"},
		{"all", "14", "13", "3.25", "4", "2", "4m", "1h", "1"},
	}, grids[0].Rows)
	require.Equal(t, [][]string{
		{"alert", "times", "seeds with it"}, {"B", "9", "1 of 2"}, {"A", "4", "2 of 2"},
	}, grids[1].Rows)
	require.Equal(t, [][]string{{"seed", "bar"}, {"1", "a bar"}}, grids[2].Rows)
}
