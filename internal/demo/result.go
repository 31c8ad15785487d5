package demo

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
)

// Result is what a demonstration showed.
type Result struct {
	// Speedup is the factor by which time was compressed.
	Speedup float64
	// Start is when the demonstration began.
	Start time.Time
	// Healthy is how long, in real time, no alert was pending or firing before the first incident.
	Healthy time.Duration
	// Outcomes has one element for each alert that an incident had to raise.
	Outcomes []Outcome
	// Trainings are the runs whose models the responder had trained anew, Reviews the answers that it keeps for people.
	Trainings []string
	Reviews   int
	// Unexpected are the alerts that fired and should not have.
	Unexpected []string
}

// Outcome is how an incident was detected by one alert.
type Outcome struct {
	// Incident is a short name, Object what it happened to; Alert was expected with these Labels.
	Incident, Object, Alert string
	Labels                  map[string]string
	// Main says that this alert is the point of the incident, and not one that comes with it.
	Main bool
	// Early says that it was so before the watch began.
	Early bool
	// Silenced says that another alert of the incident may silence this one: that it fires is all there has to be.
	Silenced bool
	// Measured is the signal behind the alert in words.
	Measured string
	// Injected is when the incident began. The others are the zero time if it did not come to that.
	Injected, Pending, Firing, Notified time.Time
	// Says are what the Message to people has to contain.
	Says    []string
	Message string
	// Goal, if not 0, is the unscaled time to detect that must be kept.
	Goal time.Duration
}

func (o Outcome) is(s sighting) bool {
	if o.Alert != s.name() {
		return false
	}
	for name, value := range o.Labels {
		if string(s.labels[model.LabelName(name)]) != value {
			return false
		}
	}
	return true
}

// Detected says whether people were told, by this alert or by the one that silenced it.
func (o Outcome) Detected() bool { return !o.told().IsZero() }

// TimeToDetect is the real time from the incident to the message in Slack, or to the alert if it was silenced.
func (o Outcome) TimeToDetect() time.Duration { return o.told().Sub(o.Injected) }

func (o Outcome) told() time.Time {
	if o.Notified.IsZero() && o.Silenced {
		return o.Firing
	}
	return o.Notified
}

// Unscaled is how long a time would have been without compression.
func (r Result) Unscaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * r.Speedup).Round(time.Second)
}

// Err says what went wrong in the demonstration: an incident that nobody was told of, or only too late, and alerts
// that should not have fired. It is nil if all is well.
func (r Result) Err() error {
	var errs []error
	for _, o := range r.Outcomes {
		switch d := r.Unscaled(o.TimeToDetect()); {
		case !o.Detected():
			errs = append(errs, fmt.Errorf("%s: %s about %s was not detected", o.Incident, o.Alert, o.Object))
		case o.Goal > 0 && d > o.Goal:
			errs = append(errs, fmt.Errorf("%s: %s about %s took %s, which is more than %s; a slow machine needs a lower --speedup",
				o.Incident, o.Alert, o.Object, d, o.Goal))
		}
		for _, want := range o.Says {
			if o.Detected() && !strings.Contains(strings.Join(strings.Fields(o.Message), " "), want) {
				errs = append(errs, fmt.Errorf("%s: the message about %s does not say %q", o.Incident, o.Object, want))
			}
		}
	}
	if len(r.Trainings) != 1 || r.Trainings[0] != recommenderRun {
		errs = append(errs, fmt.Errorf("trainings were started for the runs %q, expected one for %s", r.Trainings, recommenderRun))
	}
	if r.Reviews == 0 {
		errs = append(errs, errors.New("no answer waits for a person"))
	}
	for _, u := range r.Unexpected {
		errs = append(errs, fmt.Errorf("unexpected alert: %s", u))
	}
	return errors.Join(errs...)
}

// Table is the result for people.
func (r Result) Table() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(t, "INCIDENT\tOBJECT\tALERT\tMEASURED\tINJECTED\tPENDING\tFIRING\tSLACK\tDETECTED IN\tUNSCALED")
	for i, o := range r.Outcomes {
		incident, object := o.Incident, o.Object
		if i > 0 && r.Outcomes[i-1].Incident == incident {
			incident, object = "", ""
		}
		inTime, unscaled := "not detected", ""
		if o.Detected() {
			inTime, unscaled = seconds(o.TimeToDetect()), r.Unscaled(o.TimeToDetect()).String()
		}
		_, _ = fmt.Fprintln(t, strings.Join([]string{
			incident, object, o.Alert, o.Measured, seconds(o.Injected.Sub(r.Start)),
			r.since(o.Injected, o.Pending), r.since(o.Injected, o.Firing), r.since(o.Injected, o.Notified), inTime, unscaled,
		}, "\t"))
	}
	_ = t.Flush() // A strings.Builder takes everything.
	return b.String()
}

// since shows a step as the time after the incident.
func (r Result) since(injected, t time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case t.Before(injected):
		return "before"
	}
	return "+" + seconds(t.Sub(injected))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
