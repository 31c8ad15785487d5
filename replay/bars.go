package replay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// Verdict is the report of a run, with the bars of the scenario that the run misses.
type Verdict struct {
	report.Report
	// Known are missed bars that the scenario declares as known misses.
	Known []string `json:"known_misses"`
}

// Judge compares a run with the bars of its scenario. MissedBars of the report has the bars that make the run fail: missed
// bars, and reached bars that the scenario declares as missed.
func Judge(s *scenario.Scenario, run Result) Verdict {
	v := Verdict{Report: report.Judge(run.Truth, run.Transitions, report.Bars{})}
	for i := range s.Bars {
		b := &s.Bars[i]
		truth := run.Truth
		if b.General() {
			truth.Incidents = slices.DeleteFunc(slices.Clone(truth.Incidents), func(in report.Incident) bool {
				return slices.ContainsFunc(s.Bars, func(own scenario.Bar) bool { return own.Measure == b.Measure && own.Class == in.Class })
			})
		}
		missed := report.Judge(truth, run.Transitions, only(b)).MissedBars
		switch {
		case b.KnownMiss == "":
			v.MissedBars = append(v.MissedBars, missed...)
		case len(missed) > 0:
			v.Known = append(v.Known, fmt.Sprintf("%s (%s)", strings.Join(missed, "; "), b.KnownMiss))
		default:
			of := ""
			if b.Class != "" {
				of = " of " + b.Class
			}
			v.MissedBars = append(v.MissedBars, fmt.Sprintf("%s:%d: %s%s ≤ %s is reached: remove its known_miss %q", b.File, b.Line, b.Measure, of, b.Limit, b.KnownMiss))
		}
	}
	return v
}

// only returns bars with just this one set.
func only(b *scenario.Bar) report.Bars {
	var all report.Bars
	var of report.ClassBars
	d, n, count := b.Duration(), b.Number(), int(b.Number())
	switch b.Measure {
	case scenario.MedianDetection:
		all.MedianDetection, of.MedianDetection = &d, &d
	case scenario.MedianOfAll:
		all.MedianOfAll = &d
	case scenario.WorstDetection:
		all.WorstDetection, of.WorstDetection = &d, &d
	case scenario.MinLead:
		all.MinLead, of.MinLead = &d, &d
	case scenario.Missed:
		all.Missed, of.Missed = &count, &count
	case scenario.FalseAlarms:
		all.FalseAlarms = &count
	case scenario.FalseAlarmsPerWeek:
		all.FalseAlarmsPerWeek = &n
	case scenario.FalseAlarmShare:
		all.FalseAlarmShare = &n
	}
	if b.Class != "" {
		return report.Bars{Classes: map[string]report.ClassBars{b.Class: of}}
	}
	return all
}
