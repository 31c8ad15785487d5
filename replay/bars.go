package replay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// Verdict is the report of a run with the bars of the scenario.
type Verdict struct {
	report.Report
	// Known are missed bars that the scenario declares as known misses.
	Known []string `json:"known_misses"`
}

// Judge compares a run with the bars of its scenario. MissedBars of the report has the bars that make the run fail: missed
// bars, and reached bars that the scenario declares as missed.
func Judge(s *scenario.Scenario, run Result) Verdict {
	v := Verdict{Report: report.Judge(run.Truth, run.Transitions), Known: []string{}}
	v.Warnings = append(v.Warnings, run.Warnings...)
	for i := range s.Bars {
		b := &s.Bars[i]
		var missed []string
		for _, of := range v.readings(s, b) {
			if of.missed != "" {
				missed = append(missed, of.missed)
			}
			v.Bars = append(v.Bars, of.bar(b))
		}
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

// reading is what a bar measures of one class of incidents, or of all.
type reading struct {
	class  string
	value  *float64 // nil if there is nothing to measure
	missed string   // why the bar is missed; empty if it is reached
}

func (r reading) bar(b *scenario.Bar) report.Bar {
	out := report.Bar{Measure: string(b.Measure), Class: r.class, Limit: b.Number(), Value: r.value, Reached: r.missed == "", KnownMiss: b.KnownMiss}
	if b.Measure.IsDuration() {
		out.Limit, out.Unit = b.Duration().Seconds(), "seconds"
	}
	return out
}

// readings returns what a bar measures. A bar without a class is of every class that has no bar of the same measure.
func (v *Verdict) readings(s *scenario.Scenario, b *scenario.Bar) []reading {
	var of []report.Class
	for _, c := range v.Classes {
		hasOwn := slices.ContainsFunc(s.Bars, func(o scenario.Bar) bool { return o.Measure == b.Measure && o.Class == c.Class })
		if b.Class == c.Class || b.Class == "" && !hasOwn {
			of = append(of, c)
		}
	}
	t, number := v.Totals, b.Number()
	switch b.Measure {
	case scenario.MedianDetection:
		return each(of, func(c report.Class) reading { return atMost(c, "median time to detect", c.Median, b) })
	case scenario.WorstDetection:
		return each(of, func(c report.Class) reading { return atMost(c, "worst time to detect", c.Worst, b) })
	case scenario.MinLead:
		return each(slices.DeleteFunc(of, func(c report.Class) bool { return c.Harmful == 0 }), func(c report.Class) reading { return lead(c, b) })
	case scenario.Missed:
		return []reading{missedOf(of, b)}
	case scenario.MedianOfAll:
		return []reading{atMost(report.Class{Incidents: t.Incidents, Missed: t.Missed}, "median time to detect of all incidents", t.MedianDetection, b)}
	case scenario.FalseAlarms:
		return []reading{below(float64(t.False), number, fmt.Sprintf("%d false alarms, limit %.0f", t.False, number))}
	case scenario.FalseAlarmsPerWeek:
		return []reading{below(t.FalseAlarmsPerWeek, number, fmt.Sprintf("%.3g false alarms a week, limit %.3g", t.FalseAlarmsPerWeek, number))}
	case scenario.FalseAlarmShare:
		return []reading{below(t.FalseAlarmShare, number, fmt.Sprintf("%.3g %% of the alerts are false, limit %.3g %%", 100*t.FalseAlarmShare, 100*number))}
	}
	return nil
}

func each(classes []report.Class, read func(report.Class) reading) (all []reading) {
	for _, c := range classes {
		all = append(all, read(c))
	}
	return all
}

func below(value, limit float64, missed string) reading {
	r := reading{value: &value}
	if value > limit {
		r.missed = missed
	}
	return r
}

// atMost reads a time to detect. A class without any detection has no such time and misses the bar.
func atMost(c report.Class, what string, got *report.Seconds, b *scenario.Bar) reading {
	r, limit, of := reading{class: c.Class, value: inSeconds(got)}, report.Seconds(b.Duration()).Short(), ""
	if c.Class != "" {
		of = c.Class + ": "
	}
	switch {
	case got == nil && c.Incidents > 0:
		r.missed = fmt.Sprintf("%snone of %d incidents detected, so there is no %s; limit %s", of, c.Incidents, what, limit)
	case got != nil && time.Duration(*got) > b.Duration():
		r.missed = fmt.Sprintf("%s%s is %s, limit %s", of, what, got.Short(), limit)
	}
	return r
}

func lead(c report.Class, b *scenario.Bar) reading {
	r, limit := reading{class: c.Class, value: inSeconds(c.MinLead)}, report.Seconds(b.Duration()).Short()
	switch {
	case c.HarmfulMissed > 0:
		r.missed = fmt.Sprintf("%s: %d of %d incidents with harm not detected, minimum lead %s", c.Class, c.HarmfulMissed, c.Harmful, limit)
	case c.MinLead != nil && time.Duration(*c.MinLead) < b.Duration():
		r.missed = fmt.Sprintf("%s: detected %s before the harm, minimum lead %s", c.Class, c.MinLead.Short(), limit)
	}
	return r
}

func missedOf(classes []report.Class, b *scenario.Bar) reading {
	missed, incidents, of := 0, 0, ""
	for _, c := range classes {
		missed, incidents = missed+c.Missed, incidents+c.Incidents
	}
	if b.Class != "" {
		of = b.Class + ": "
	}
	r := below(float64(missed), b.Number(), fmt.Sprintf("%s%d of %d incidents missed, limit %.0f", of, missed, incidents, b.Number()))
	r.class = b.Class
	return r
}

func inSeconds(s *report.Seconds) *float64 {
	if s == nil {
		return nil
	}
	v := time.Duration(*s).Seconds()
	return &v
}
