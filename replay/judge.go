package replay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/report"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// Verdict is what the alerts of one or more runs of a scenario were worth.
type Verdict struct {
	Scenario string        `json:"scenario"`
	Seeds    int           `json:"seeds"`
	Judged   time.Duration `json:"-"`
	// Weeks are those in which alerts count, over all runs.
	Weeks   float64      `json:"weeks"`
	Classes []ClassFound `json:"classes"`
	// Alerts are all that fired after the warm-up, and False those that nothing explains.
	Alerts             int     `json:"alerts"`
	False              int     `json:"false_alarms"`
	FalseAlarmsPerWeek float64 `json:"false_alarms_per_week"`
	FalseAlarmShare    float64 `json:"false_alarm_share"`
	// FalseBy are false alarms by alert and object.
	FalseBy []FalseAlarms `json:"false_alarms_by_alert"`
	Bars    []BarResult   `json:"bars"`
}

// ClassFound is how a class of incidents was found.
type ClassFound struct {
	Class     string   `json:"class"`
	Incidents int      `json:"incidents"`
	Missed    int      `json:"missed"`
	Median    Duration `json:"median_seconds"`
	P95       Duration `json:"p95_seconds"`
	Worst     Duration `json:"worst_seconds"`
	// FoundBy are the alerts that found one first, and With how many others came with it on average.
	FoundBy []string `json:"found_by"`
	With    float64  `json:"others"`
	// MinLead is the least time from the first alert to the harm; absent where a class does none.
	MinLead *Duration `json:"min_lead_seconds,omitempty"`
	delays  []time.Duration
	with    int
}

// Duration is written in seconds.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) {
	return []byte(fmt.Sprint(time.Duration(d).Seconds())), nil
}

// String is a duration without its zero parts.
func (d Duration) String() string {
	s := time.Duration(d).Round(time.Minute).String()
	s = strings.TrimSuffix(s, "0s")
	if s == "" {
		return "0m"
	}
	return s
}

// FalseAlarms are those of one alert about one object.
type FalseAlarms struct {
	Alert  string `json:"alert"`
	Object string `json:"object"`
	Count  int    `json:"count"`
}

// BarResult is a bar and what was measured.
type BarResult struct {
	Bar      string `json:"bar"`
	Measured string `json:"measured"`
	Met      bool   `json:"met"`
	Known    string `json:"known_miss,omitempty"`
}

// Failed reports whether a replay with such a bar fails: it is missed, or its excuse is out of date.
func (b BarResult) Failed() bool { return b.Met == (b.Known != "") }

// Failures are the bars for which the replay fails, as sentences.
func (v Verdict) Failures() []string {
	var out []string
	for _, b := range v.Bars {
		switch {
		case b.Failed() && b.Met:
			out = append(out, fmt.Sprintf("%s is met (%s): remove its known_miss %q", b.Bar, b.Measured, b.Known))
		case b.Failed():
			out = append(out, fmt.Sprintf("%s is missed: %s", b.Bar, b.Measured))
		}
	}
	return out
}

// identity are the labels that say what an alert is about.
var identity = []string{"dataset", "model", "department", "instance", "column", "field", "gpu", "outcome", "baseline", "change", "severity"}

// Judge judges the runs of a scenario, one for each seed.
func Judge(s *scenario.Scenario, runs []Result) Verdict {
	v := Verdict{Scenario: s.Name, Seeds: len(runs)}
	classes := map[string]*ClassFound{}
	for i := range s.Incidents {
		if name := s.Incidents[i].Class; classes[name] == nil {
			classes[name] = &ClassFound{Class: name}
		}
	}
	falseBy := map[FalseAlarms]int{}
	for _, run := range runs {
		begin := run.Truth.From.Add(run.Truth.Warmup)
		v.Weeks += run.Truth.To.Sub(begin).Hours() / (24 * 7)
		explained := make([]bool, len(run.Transitions))
		for _, i := range run.Truth.Incidents {
			classes[i.Class].judge(i, run.Transitions, explained)
		}
		for n, t := range run.Transitions {
			if t.State != engine.Firing || t.At.Before(begin) || excluded(run.Truth.Excluded, t) {
				continue
			}
			v.Alerts++
			if explained[n] {
				continue
			}
			v.False++
			falseBy[FalseAlarms{Alert: t.Labels.Get("alertname"), Object: object(t.Labels)}]++
		}
	}
	for f, n := range falseBy {
		f.Count = n
		v.FalseBy = append(v.FalseBy, f)
	}
	slices.SortFunc(v.FalseBy, func(a, b FalseAlarms) int {
		return cmp.Or(b.Count-a.Count, strings.Compare(a.Alert, b.Alert), strings.Compare(a.Object, b.Object))
	})
	if v.Weeks > 0 {
		v.FalseAlarmsPerWeek = float64(v.False) / v.Weeks
	}
	if v.Alerts > 0 {
		v.FalseAlarmShare = float64(v.False) / float64(v.Alerts)
	}
	for _, c := range classes {
		c.finish()
		v.Classes = append(v.Classes, *c)
	}
	slices.SortFunc(v.Classes, func(a, b ClassFound) int { return strings.Compare(a.Class, b.Class) })
	for i := range s.Bars {
		v.Bars = append(v.Bars, v.measure(&s.Bars[i]))
	}
	return v
}

func object(ls labels.Labels) string {
	var parts []string
	for _, name := range identity {
		if value := ls.Get(name); value != "" && name != "severity" && name != "baseline" {
			parts = append(parts, name+"="+value)
		}
	}
	return strings.Join(parts, " ")
}

func excluded(all []report.Exclusion, t engine.Transition) bool {
	return slices.ContainsFunc(all, func(x report.Exclusion) bool {
		return !t.At.Before(x.From) && t.At.Before(x.To) && has(t.Labels, x.Object) &&
			(len(x.Alerts) == 0 || slices.Contains(x.Alerts, t.Labels.Get("alertname")))
	})
}

func has(ls labels.Labels, object map[string]string) bool {
	for name, value := range object {
		if ls.Get(name) != value {
			return false
		}
	}
	return true
}

// judge looks for the alerts of one incident.
func (c *ClassFound) judge(i report.Incident, transitions []engine.Transition, explained []bool) {
	c.Incidents++
	var first *engine.Transition
	with := 0
	for n, t := range transitions {
		if t.State != engine.Firing || t.At.Before(i.Onset) || !i.End.IsZero() && t.At.After(i.End.Add(i.Aftermath)) {
			continue
		}
		name := t.Labels.Get("alertname")
		found := slices.Contains(i.Detectors, name) && has(t.Labels, i.Object)
		if found || slices.Contains(i.Consequences, name) {
			explained[n] = true
		}
		// What fires only once it is over has found nothing.
		switch {
		case found && first == nil && (i.End.IsZero() || !t.At.After(i.End)):
			first = &transitions[n]
		case found || slices.Contains(i.Consequences, name):
			with++
		}
	}
	if first == nil {
		c.Missed++
		return
	}
	c.delays = append(c.delays, first.At.Sub(i.Onset))
	c.with += with
	if name := first.Labels.Get("alertname"); !slices.Contains(c.FoundBy, name) {
		c.FoundBy = append(c.FoundBy, name)
	}
	if !i.Harm.IsZero() {
		lead := Duration(i.Harm.Sub(first.At))
		if c.MinLead == nil || lead < *c.MinLead {
			c.MinLead = &lead
		}
	}
}

func (c *ClassFound) finish() {
	slices.Sort(c.delays)
	slices.Sort(c.FoundBy)
	n := len(c.delays)
	if n == 0 {
		return
	}
	c.Median, c.P95, c.Worst = Duration(c.delays[n/2]), Duration(c.delays[min(n-1, n*95/100)]), Duration(c.delays[n-1])
	c.With = float64(c.with) / float64(n)
}

// measure compares what a bar is about with its limit. A detection that did not happen reaches no bar.
func (v *Verdict) measure(b *scenario.Bar) BarResult {
	result := BarResult{Bar: string(b.Measure), Known: b.KnownMiss}
	var delays []time.Duration
	missed := 0
	lead, leads := time.Duration(1<<62), 0
	for _, c := range v.Classes {
		if b.Class != "" && c.Class != b.Class {
			continue
		}
		delays, missed = append(delays, c.delays...), missed+c.Missed
		if c.MinLead != nil {
			lead, leads = min(lead, time.Duration(*c.MinLead)), leads+1
		}
	}
	if b.Class != "" {
		result.Bar += " of " + b.Class
	}
	slices.Sort(delays)
	atMost := func(value, limit float64) {
		result.Bar += fmt.Sprintf(" ≤ %g", limit)
		result.Measured, result.Met = fmt.Sprintf("%.4g", value), value <= limit
	}
	detection := func(pick func() time.Duration) {
		result.Bar += " ≤ " + Duration(b.Duration()).String()
		if len(delays) == 0 {
			result.Measured = "nothing was detected"
			return
		}
		value := pick()
		result.Measured, result.Met = Duration(value).String(), value <= b.Duration() && missed == 0
		if missed > 0 {
			result.Measured += fmt.Sprintf(" and %d missed", missed)
		}
	}
	switch b.Measure {
	case scenario.MedianDetection:
		detection(func() time.Duration { return delays[len(delays)/2] })
	case scenario.WorstDetection:
		detection(func() time.Duration { return delays[len(delays)-1] })
	case scenario.Missed:
		atMost(float64(missed), b.Number())
	case scenario.FalseAlarms:
		atMost(float64(v.False), b.Number())
	case scenario.FalseAlarmsPerWeek:
		atMost(v.FalseAlarmsPerWeek, b.Number())
	case scenario.FalseAlarmShare:
		atMost(v.FalseAlarmShare, b.Number())
	case scenario.MinLead:
		result.Bar += " ≥ " + Duration(b.Duration()).String()
		result.Measured = "no drift that does harm was detected"
		if leads > 0 {
			result.Measured, result.Met = Duration(lead).String(), lead >= b.Duration()
		}
	}
	return result
}
