// Package report judges the alerts of a replay by what happened in it.
//
// Input: the transitions of alerts and the truth about the time: incidents with their onset and end, and times that count
// for nothing. Output: time to detect by incident class, false alarms by alert and object, lead time of drift alerts, and
// the bars that were missed, as a table, JSON or Markdown. State: none.
package report

import "time"

// Truth is what really happened in a replay.
type Truth struct {
	// Scenario names it in the output.
	Scenario string
	From, To time.Time
	// Warmup is the time at the start in which no alert counts, such as the learning of a baseline. 0 for none.
	Warmup    time.Duration
	Incidents []Incident
	// Excluded are times in which alerts on some objects are neither true nor false: listed storms, a known outage.
	Excluded []Exclusion
}

// Incident is something that went wrong, and the alerts that should tell.
type Incident struct {
	// Class groups incidents of one kind in the report, such as "volume drop 62 %"; Name is this one.
	Class, Name string
	// Object are the labels that an alert about it carries, such as dataset; an alert must have all of them.
	Object map[string]string
	// Also are other objects that it is about: the models of a node, the department of a model.
	Also []map[string]string
	// Part are labels that only some of the alerts have, such as column: one that has them must have these values.
	Part  map[string]string
	Onset time.Time
	// End is when the cause was gone; the zero time if it lasts to the end of the replay.
	End time.Time
	// Detectors are the names of the alerts that count as its detection: the first to fire is the detection.
	Detectors []string
	// Consequences are further names of alerts on the same objects that may fire because of it. "*" allows every alert on
	// whatever object.
	Consequences []string
	// Aftermath is how long after End alerts still belong to it: windows that hold the bad data. An hour by default.
	Aftermath time.Duration
	// Latest is when it must be detected; later counts as missed. 0 allows any time before End and Aftermath.
	Latest time.Duration
	// Harm is when a drift did its harm: the simulated accuracy fell below its limit. The zero time for other incidents.
	Harm time.Time
}

// Exclusion is a time in which alerts on an object do not count.
type Exclusion struct {
	Name string
	// Object are labels that an alert must have, empty for all; Alerts are names of alerts, empty for all.
	Object   map[string]string
	Alerts   []string
	From, To time.Time
}

// Bars are what a scenario demands. A nil bar demands nothing.
type Bars struct {
	// MedianDetection and WorstDetection hold for every class, and Classes for single ones beside them.
	MedianDetection, WorstDetection *time.Duration
	Classes                         map[string]ClassBars
	// MedianOfAll is the median time to detect over the incidents of all classes.
	MedianOfAll *time.Duration
	// Missed is the most incidents that may be missed.
	Missed *int
	// FalseAlarmsPerWeek is over all alerts and objects, FalseAlarmShare is of all alerts that fired.
	FalseAlarmsPerWeek, FalseAlarmShare *float64
	// FalseAlarms is the most false alarms in the whole replay.
	FalseAlarms *int
	// MinLead is the least time between the first drift alert and the harm.
	MinLead *time.Duration
}

// ClassBars are bars of one class of incidents.
type ClassBars struct {
	MedianDetection, WorstDetection, MinLead *time.Duration
	Missed                                   *int
}
