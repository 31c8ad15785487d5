package report

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/sightglass-ml/sightglass/replay/engine"
)

// Report is the evaluation of a replay's alerts.
type Report struct {
	Scenario    string       `json:"scenario"`
	From        time.Time    `json:"from"`
	To          time.Time    `json:"to"`
	Classes     []Class      `json:"classes"`
	FalseAlarms []FalseAlarm `json:"false_alarms"`
	Totals      Totals       `json:"totals"`
	Incidents   []Detection  `json:"incidents"`
	// ExcludedAlerts are those of excluded periods.
	ExcludedAlerts []FalseAlarm  `json:"excluded_alerts"`
	Bars           []Bar         `json:"bars"`
	MissedBars     []string      `json:"missed_bars"`
	Warnings       []string      `json:"warnings"`
	CaseStudy      []CaseFigure  `json:"case_study"`
	Counted        time.Duration `json:"-"`
}

// Totals are over the whole replay.
type Totals struct {
	Alerts             int     `json:"alerts"`
	True               int     `json:"true"`
	False              int     `json:"false"`
	Excluded           int     `json:"excluded"`
	FalseAlarmsPerWeek float64 `json:"false_alarms_per_week"`
	FalseAlarmShare    float64 `json:"false_alarm_share"`
	Incidents          int     `json:"incidents"`
	Missed             int     `json:"missed"`
	// MedianDetection and WorstDetection are nil if nothing was detected.
	MedianDetection *Seconds `json:"median_detection_seconds"`
	WorstDetection  *Seconds `json:"worst_detection_seconds"`
}

// Seconds is a duration that JSON writes in seconds.
type Seconds time.Duration

func seconds(d time.Duration) *Seconds {
	s := Seconds(d)
	return &s
}

// Class summarizes all incidents of one class. Times are over the detected ones, and nil if there is none.
type Class struct {
	Class     string         `json:"class"`
	Incidents int            `json:"incidents"`
	Missed    int            `json:"missed"`
	Median    *Seconds       `json:"median_seconds"`
	P95       *Seconds       `json:"p95_seconds"`
	Worst     *Seconds       `json:"worst_seconds"`
	FoundBy   map[string]int `json:"found_by"`
	// Others is the median number of further alerts that fired because of an incident.
	Others float64 `json:"others"`
	// Harmful is the number of incidents with a harm, and HarmfulMissed that of those that were not detected.
	Harmful       int `json:"-"`
	HarmfulMissed int `json:"-"`
	// MinLead is the shortest time from detection to harm; nil if no incident had harm.
	MinLead *Seconds `json:"min_lead_seconds,omitempty"`
}

// Detection is the result for one incident.
type Detection struct {
	Class    string    `json:"class"`
	Name     string    `json:"name"`
	Onset    time.Time `json:"onset"`
	Detected bool      `json:"detected"`
	// After is the time from the onset to the alert, even if the alert was too late to count.
	After *Seconds `json:"after_seconds"`
	Alert string   `json:"alert,omitempty"`
	// Others are the names of the other alerts that fired because of it.
	Others []string `json:"others"`
	Lead   *Seconds `json:"lead_seconds,omitempty"`
	// Baseline is the state of the baseline at the onset; nil where none is needed.
	Baseline *Learned `json:"baseline,omitempty"`
	harmful  bool
}

// Bar is a bar of the scenario with the measured value, for one class or for all. Limit and Value are in Unit.
type Bar struct {
	Measure string  `json:"measure"`
	Class   string  `json:"class,omitempty"`
	Limit   float64 `json:"limit"`
	// Value is nil if there was nothing to measure.
	Value   *float64 `json:"value"`
	Unit    string   `json:"unit,omitempty"` // seconds, or empty for a number
	Reached bool     `json:"reached"`
	// KnownMiss is why a miss is known.
	KnownMiss string `json:"known_miss,omitempty"`
}

// FalseAlarm is the number of false alarms, or of excluded ones, of one alert for one object.
type FalseAlarm struct {
	Alert  string `json:"alert"`
	Object string `json:"object"`
	Times  int    `json:"times"`
	// At has the first hundred times.
	At []time.Time `json:"at"`
}

// CaseFigure is a figure of the case study with that of the replay.
type CaseFigure struct {
	What   string `json:"what"`
	Before string `json:"before"`
	Case   string `json:"case_study"`
	Ours   string `json:"ours"`
}

const (
	defaultAftermath = time.Hour
	// mostTimes is the largest number of times listed for one alert and object.
	mostTimes = 100
)

// watchdog always fires, to test delivery. It counts neither as true nor as false.
const watchdog = "SightglassWatchdog"

// Judge compares the alerts of a replay with the incidents. An alert that was firing before an incident began
// does not detect it, because it sends no new notification. An alert that fires at the end of the warm-up counts as starting then.
func Judge(truth Truth, transitions []engine.Transition) Report {
	r := Report{
		Scenario: truth.Scenario, From: truth.From, To: truth.To, Counted: truth.To.Sub(truth.From) - truth.Warmup,
		Classes: []Class{}, Bars: []Bar{}, MissedBars: []string{}, Warnings: []string{},
	}
	found := make([]Detection, len(truth.Incidents))
	for i, in := range truth.Incidents {
		found[i] = Detection{Class: in.Class, Name: in.Name, Onset: in.Onset, Others: []string{}, Baseline: in.Learned, harmful: !in.Harm.IsZero()}
	}
	unexplained, excluded := alarms{}, alarms{}
	counted := truth.From.Add(truth.Warmup)
	for _, t := range append(stillFiring(transitions, counted), transitions...) {
		name := t.Labels.Get(labels.AlertName)
		if t.State != engine.Firing || name == watchdog {
			continue
		}
		explained := false
		for i, in := range truth.Incidents {
			if t.At.Before(in.Onset) || t.At.After(in.until(truth.To)) {
				continue
			}
			about := in.concerns(t.Labels)
			switch d := &found[i]; {
			case slices.Contains(in.Detectors, name) && about:
				explained = true
				if d.Alert == "" {
					d.detect(in, t, name)
				} else {
					d.noteAlert(name)
				}
			case slices.Contains(in.Consequences, name) && about || slices.Contains(in.Consequences, "*"):
				explained = true
				d.noteAlert(name)
			}
		}
		switch {
		case t.At.Before(counted):
			r.Totals.Excluded++
		case explained:
			r.Totals.True++
		case isExcluded(truth.Excluded, t, name):
			r.Totals.Excluded++
			excluded.add(t, name)
		default:
			r.Totals.False++
			unexplained.add(t, name)
		}
	}
	r.FalseAlarms, r.ExcludedAlerts = unexplained.sorted(), excluded.sorted()
	r.Incidents = found
	r.summarize()
	return r
}

// alarms are alerts by name and object.
type alarms map[[2]string]*FalseAlarm

func (all alarms) add(t engine.Transition, name string) {
	key := [2]string{name, object(t.Labels)}
	if all[key] == nil {
		all[key] = &FalseAlarm{Alert: name, Object: key[1]}
	}
	a := all[key]
	if a.Times++; a.Times <= mostTimes {
		a.At = append(a.At, t.At)
	}
}

// sorted returns the most frequent first.
func (all alarms) sorted() []FalseAlarm {
	list := make([]FalseAlarm, 0, len(all))
	for _, a := range all {
		list = append(list, *a)
	}
	slices.SortFunc(list, func(a, b FalseAlarm) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Alert, b.Alert), cmp.Compare(a.Object, b.Object))
	})
	return list
}

func (in Incident) until(end time.Time) time.Time {
	if in.End.IsZero() {
		return end
	}
	return in.End.Add(cmp.Or(in.Aftermath, defaultAftermath))
}

// noteAlert adds another alert, each name once.
func (d *Detection) noteAlert(name string) {
	if name != d.Alert && !slices.Contains(d.Others, name) {
		d.Others = append(d.Others, name)
	}
}

func (d *Detection) detect(in Incident, t engine.Transition, name string) {
	after := t.At.Sub(in.Onset)
	d.Alert, d.After = name, seconds(after)
	d.Detected = in.Latest == 0 || after <= in.Latest
	if !in.Harm.IsZero() {
		d.Lead = seconds(in.Harm.Sub(t.At))
	}
}

// concerns reports whether an alert's labels match an object of the incident.
func (in Incident) concerns(ls labels.Labels) bool {
	for name, v := range in.Part {
		if got := ls.Get(name); got != "" && got != v {
			return false
		}
	}
	return has(ls, in.Object) || slices.ContainsFunc(in.Also, func(o map[string]string) bool { return has(ls, o) })
}

func has(ls labels.Labels, object map[string]string) bool {
	for name, v := range object {
		if ls.Get(name) != v {
			return false
		}
	}
	return true
}

// stillFiring returns the alerts that started to fire before a time and were still firing then, with that time.
func stillFiring(transitions []engine.Transition, by time.Time) []engine.Transition {
	last := map[uint64]engine.Transition{}
	for _, t := range transitions {
		if t.At.Before(by) {
			last[t.Labels.Hash()] = t
		}
	}
	var still []engine.Transition
	for _, t := range last {
		if t.State == engine.Firing {
			t.At = by
			still = append(still, t)
		}
	}
	slices.SortFunc(still, func(a, b engine.Transition) int { return labels.Compare(a.Labels, b.Labels) })
	return still
}

func isExcluded(all []Exclusion, t engine.Transition, name string) bool {
	return slices.ContainsFunc(all, func(x Exclusion) bool {
		return !t.At.Before(x.From) && !t.At.After(x.To) && has(t.Labels, x.Object) &&
			(len(x.Alerts) == 0 || slices.Contains(x.Alerts, name))
	})
}

// notObject are labels that describe the handling of an alert, or the environment.
var notObject = []string{labels.AlertName, "severity", "layer", "response", "cluster", "namespace", "source", "source_kind", "job"}

// object returns the name of the object of an alert.
func object(ls labels.Labels) string {
	var parts []string
	ls.Range(func(l labels.Label) {
		if !slices.Contains(notObject, l.Name) {
			parts = append(parts, l.Name+"="+l.Value)
		}
	})
	return strings.Join(parts, " ")
}

func (r *Report) summarize() {
	t := &r.Totals
	t.Alerts = t.True + t.False
	if r.Counted > 0 {
		t.FalseAlarmsPerWeek = float64(t.False) / (r.Counted.Hours() / (7 * 24))
	}
	if t.Alerts > 0 {
		t.FalseAlarmShare = float64(t.False) / float64(t.Alerts)
	}
	byClass := map[string][]Detection{}
	var all []time.Duration
	for _, d := range r.Incidents {
		byClass[d.Class] = append(byClass[d.Class], d)
		t.Incidents++
		if d.Detected {
			all = append(all, time.Duration(*d.After))
		} else {
			t.Missed++
		}
	}
	t.MedianDetection, t.WorstDetection = quantile(all, 0.5), quantile(all, 1)
	for _, name := range slices.Sorted(maps.Keys(byClass)) {
		c := Class{Class: name, FoundBy: map[string]int{}}
		var times, others []time.Duration
		for _, d := range byClass[name] {
			c.Incidents++
			if d.harmful {
				c.Harmful++
			}
			if !d.Detected {
				c.Missed++
				if d.harmful {
					c.HarmfulMissed++
				}
				continue
			}
			times, others = append(times, time.Duration(*d.After)), append(others, time.Duration(len(d.Others)))
			c.FoundBy[d.Alert]++
			if d.Lead != nil && (c.MinLead == nil || *d.Lead < *c.MinLead) {
				c.MinLead = d.Lead
			}
		}
		c.Median, c.P95, c.Worst = quantile(times, 0.5), quantile(times, 0.95), quantile(times, 1)
		if n := quantile(others, 0.5); n != nil {
			c.Others = float64(*n)
		}
		r.Classes = append(r.Classes, c)
	}
	r.CaseStudy = []CaseFigure{
		{"time to detect, median", "4.2h", "11m", measuredFigure(len(all) > 0, short(t.MedianDetection))},
		{"time to detect, worst", "", "", measuredFigure(len(all) > 0, short(t.WorstDetection))},
		{"false alarms, share of alerts", "31 %", "under 6 %", measuredFigure(t.Alerts > 0, percent(t.FalseAlarmShare))},
	}
}

func measuredFigure(measured bool, figure string) string {
	if !measured {
		return "not measured"
	}
	return figure
}

// quantile returns the smallest value that is at least as large as a share q of the values; nil of no values.
func quantile(values []time.Duration, q float64) *Seconds {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	return seconds(sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)])
}
