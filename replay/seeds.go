package replay

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sightglass-ml/sightglass/replay/report"
)

// Seed is one run of a scenario.
type Seed struct {
	Seed uint64 `json:"seed"`
	Verdict
}

// Seeds are the runs of one scenario with several seeds. One seed is one simulated month; a single month is a small sample.
type Seeds []Seed

// Grids returns a table of the runs and a table of their false alarms by alert.
func (s Seeds) Grids() []report.Grid {
	runs := report.Grid{Title: "Seeds", Rows: [][]string{{"seed", "alerts", "false alarms", "a week", "incidents", "missed", "median", "worst", "missed bars"}}}
	row := func(name string, t report.Totals, bars int) {
		median, worst := "-", "-"
		if t.MedianDetection != nil && t.WorstDetection != nil {
			median, worst = t.MedianDetection.Short(), t.WorstDetection.Short()
		}
		runs.Rows = append(runs.Rows, []string{
			name, fmt.Sprint(t.Alerts), fmt.Sprint(t.False), fmt.Sprintf("%.3g", t.FalseAlarmsPerWeek),
			fmt.Sprint(t.Incidents), fmt.Sprint(t.Missed), median, worst, fmt.Sprint(bars),
		})
	}
	var all report.Totals
	var medians []report.Seconds
	bars := 0
	for _, run := range s {
		t := run.Totals
		row(fmt.Sprint(run.Seed), t, len(run.MissedBars))
		all.Alerts, all.False = all.Alerts+t.Alerts, all.False+t.False
		all.FalseAlarmsPerWeek += t.FalseAlarmsPerWeek / float64(len(s))
		all.Incidents, all.Missed = all.Incidents+t.Incidents, all.Missed+t.Missed
		if w := t.WorstDetection; w != nil && (all.WorstDetection == nil || *w > *all.WorstDetection) {
			all.WorstDetection = w
		}
		if t.MedianDetection != nil {
			medians = append(medians, *t.MedianDetection)
		}
		bars += len(run.MissedBars)
	}
	if slices.Sort(medians); len(medians) > 0 {
		all.MedianDetection = &medians[(len(medians)-1)/2]
	}
	row("all", all, bars)
	return []report.Grid{runs, s.falseAlarms(), s.missedBars()}
}

// Warnings returns the warnings of all runs, each once.
func (s Seeds) Warnings() []string {
	var all []string
	for _, run := range s {
		for _, w := range run.Warnings {
			if !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return all
}

// missedBars lists the missed bars of each run.
func (s Seeds) missedBars() report.Grid {
	g := report.Grid{Title: "Missed bars", Rows: [][]string{{"seed", "bar"}}}
	for _, run := range s {
		for _, bar := range run.MissedBars {
			g.Rows = append(g.Rows, []string{fmt.Sprint(run.Seed), bar})
		}
	}
	return g
}

// falseAlarms counts the false alarms of all runs by alert.
func (s Seeds) falseAlarms() report.Grid {
	type count struct {
		alert        string
		times, seeds int
	}
	var counts []*count
	for _, run := range s {
		seen := make(map[string]bool)
		for _, a := range run.FalseAlarms {
			i := slices.IndexFunc(counts, func(c *count) bool { return c.alert == a.Alert })
			if i < 0 {
				i = len(counts)
				counts = append(counts, &count{alert: a.Alert})
			}
			counts[i].times += a.Times
			if !seen[a.Alert] {
				seen[a.Alert] = true
				counts[i].seeds++
			}
		}
	}
	slices.SortFunc(counts, func(a, b *count) int { return cmp.Or(b.times-a.times, cmp.Compare(a.alert, b.alert)) })
	g := report.Grid{Title: "False alarms", Rows: [][]string{{"alert", "times", "seeds with it"}}}
	for _, c := range counts {
		g.Rows = append(g.Rows, []string{c.alert, fmt.Sprint(c.times), fmt.Sprintf("%d of %d", c.seeds, len(s))})
	}
	return g
}
