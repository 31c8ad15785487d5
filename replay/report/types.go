// Package report evaluates the alerts of a replay against its incidents.
//
// Input: the transitions of alerts, and the truth: incidents with onset and end, and excluded periods. Output: time to detect by incident
// class, false alarms by alert and object, lead time of drift alerts, and the missed bars, as a table, JSON or Markdown. State: none.
package report

import "time"

// Truth is what happened in a replay.
type Truth struct {
	// Scenario is its name in the output.
	Scenario string
	From, To time.Time
	// Warmup is the period at the start in which no alert counts, such as the learning of a baseline. 0 means none.
	Warmup    time.Duration
	Incidents []Incident
	// Excluded are periods in which alerts for some objects are neither true nor false, such as a known outage.
	Excluded []Exclusion
}

// Incident is a fault, and the alerts that should detect it.
type Incident struct {
	// Class groups incidents of one kind in the report, such as "volume drop 62 %"; Name is that of this incident.
	Class, Name string
	// Object has labels that identify the object, such as dataset. An alert must have all of them.
	Object map[string]string
	// Also has further affected objects: the models of a node, the models of a department.
	Also []map[string]string
	// Part has labels that only some of the alerts have, such as column. An alert that has one of them must have this value.
	Part  map[string]string
	Onset time.Time
	// End is the time at which the cause ended; zero if it lasts to the end of the replay.
	End time.Time
	// Detectors are the names of the alerts that detect it. The first one to fire is the detection.
	Detectors []string
	// Consequences are names of further alerts for the same objects that may fire because of it. "*" allows every alert for every object.
	Consequences []string
	// Aftermath is the time after End in which alerts still belong to it, because windows contain the bad data. An hour by default.
	Aftermath time.Duration
	// Latest is the time within which it must be detected; later counts as missed. 0 allows any time before End plus Aftermath.
	Latest time.Duration
	// Learned is the state of the baseline at the onset; nil where none is needed.
	Learned *Learned
	// Harm is the time at which a drift reduced the simulated accuracy below its limit; zero for other incidents.
	Harm time.Time
}

// Exclusion is a period in which alerts for an object do not count.
type Exclusion struct {
	Name string
	// Object has labels that an alert must have, Alerts the names of alerts. Empty means all.
	Object   map[string]string
	Alerts   []string
	From, To time.Time
}

// Learned is the state of a baseline at the onset of an incident that is found by a comparison with it.
type Learned struct {
	Days   int `json:"days"`
	Wanted int `json:"wanted_days"`
	// Complete means that the rules compare with it: all of its days are learned, or it is of training data.
	Complete bool `json:"complete"`
}
