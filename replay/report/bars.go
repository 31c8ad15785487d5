package report

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// missed returns the bars that a report misses, one sentence each.
func (b Bars) missed(r Report) []string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	classes := map[string]Class{}
	for _, c := range r.Classes {
		classes[c.Class] = c
		limits := b.Classes[c.Class]
		atMost(say, c, "median time to detect", c.Median, first(limits.MedianDetection, b.MedianDetection))
		atMost(say, c, "worst time to detect", c.Worst, first(limits.WorstDetection, b.WorstDetection))
		if limits.Missed != nil && c.Missed > *limits.Missed {
			say("%s: %d of %d incidents missed, at most %d may be", c.Class, c.Missed, c.Incidents, *limits.Missed)
		}
		lead := first(limits.MinLead, b.MinLead)
		if lead != nil && c.MinLead != nil && time.Duration(*c.MinLead) < *lead {
			say("%s: found %s before the harm, at least %s are wanted", c.Class, short(*c.MinLead), short(Seconds(*lead)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Classes)) {
		if _, ok := classes[name]; !ok {
			say("%s: the scenario has a bar for this class and no incident of it", name)
		}
	}
	t := r.Totals
	if b.Missed != nil && t.Missed > *b.Missed {
		say("%d of %d incidents missed, at most %d may be", t.Missed, t.Incidents, *b.Missed)
	}
	if b.MedianOfAll != nil && t.Missed < t.Incidents && time.Duration(t.MedianDetection) > *b.MedianOfAll {
		say("median time to detect of all incidents is %s, at most %s is wanted", short(t.MedianDetection), short(Seconds(*b.MedianOfAll)))
	}
	if b.FalseAlarms != nil && t.False > *b.FalseAlarms {
		say("%d false alarms, at most %d may be", t.False, *b.FalseAlarms)
	}
	if b.FalseAlarmsPerWeek != nil && t.FalseAlarmsPerWeek > *b.FalseAlarmsPerWeek {
		say("%.3g false alarms a week, at most %.3g may be", t.FalseAlarmsPerWeek, *b.FalseAlarmsPerWeek)
	}
	if b.FalseAlarmShare != nil && t.FalseAlarmShare > *b.FalseAlarmShare {
		say("%s of the alerts are false, at most %s may be", percent(t.FalseAlarmShare), percent(*b.FalseAlarmShare))
	}
	return out
}

// atMost checks a time to detect. A class without any detection has no such time and misses the bar.
func atMost(say func(string, ...any), c Class, what string, got Seconds, limit *time.Duration) {
	switch {
	case limit == nil:
	case c.Missed == c.Incidents:
		say("%s: none of %d incidents detected, so there is no %s, at most %s is wanted", c.Class, c.Incidents, what, short(Seconds(*limit)))
	case time.Duration(got) > *limit:
		say("%s: %s is %s, at most %s is wanted", c.Class, what, short(got), short(Seconds(*limit)))
	}
}

func first(limits ...*time.Duration) *time.Duration {
	for _, l := range limits {
		if l != nil {
			return l
		}
	}
	return nil
}
