package demo

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/common/model"
)

// Result is the result of a demonstration.
type Result struct {
	// Speedup is the factor by which time was compressed.
	Speedup float64
	// Start is when the demonstration began.
	Start time.Time
	// Healthy is the real time without pending or firing alerts before the first incident.
	Healthy time.Duration
	// Outcomes has one element for each alert that an incident had to cause.
	Outcomes []Outcome
	// Trainings are the runs whose models the responder had retrained. Reviews is the number of answers in the review queue.
	Trainings []string
	Reviews   int
	// Provider has the responder's incidents of the alerts about the unmapped provider, in the table and in the model.
	Provider []Incident
	// Unexpected are the alerts that should not have fired.
	Unexpected []string
}

// Outcome describes how one alert detected an incident.
type Outcome struct {
	// Incident is the short name and Object the affected object. Alert and Labels identify the expected alert.
	Incident, Object, Alert string
	Labels                  map[string]string
	// Main marks the alert that the incident is about; others accompany it.
	Main bool
	// Early marks an incident that began before monitoring.
	Early bool
	// MayBeInhibited means that another alert of the incident may inhibit this one, so that it only has to fire.
	MayBeInhibited bool
	// Measured describes the value behind the alert.
	Measured string
	// Injected is the start of the incident. The other times are zero if the alert did not reach that stage.
	Injected, Pending, Firing, Notified time.Time
	// Contains has texts that Message, the last one about the alert, must contain.
	Contains []string
	Message  string
	// Goal, if not 0, is the maximum unscaled time to detect.
	Goal time.Duration
}

func (o Outcome) is(s observedAlert) bool {
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

// Detected reports whether people were notified, by this alert or by the one that inhibits it.
func (o Outcome) Detected() bool { return !o.notifiedAt().IsZero() }

// TimeToDetect is the real time from the incident to the Slack message, or to firing if the alert was inhibited.
func (o Outcome) TimeToDetect() time.Duration { return o.notifiedAt().Sub(o.Injected) }

// missingTexts returns the expected texts that the message does not contain.
func (o Outcome) missingTexts() (texts []string) {
	for _, want := range o.Contains {
		if o.Detected() && !strings.Contains(strings.Join(strings.Fields(o.Message), " "), want) {
			texts = append(texts, want)
		}
	}
	return texts
}

func (o Outcome) notifiedAt() time.Time {
	if o.Notified.IsZero() && o.MayBeInhibited {
		return o.Firing
	}
	return o.Notified
}

// Unscaled converts a compressed duration to one without compression.
func (r Result) Unscaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) * r.Speedup).Round(time.Second)
}

// Err returns what went wrong: incidents without a notification or with a late one, and alerts that should not have fired.
func (r Result) Err() error {
	var errs []error
	for _, o := range r.Outcomes {
		switch d := r.Unscaled(o.TimeToDetect()); {
		case !o.Detected():
			errs = append(errs, fmt.Errorf("%s: %s about %s was not detected", o.Incident, o.Alert, o.Object))
		case o.Goal > 0 && d > o.Goal:
			errs = append(errs, fmt.Errorf("%s: %s about %s took %s, more than the goal of %s; on a slow machine use a lower --speedup",
				o.Incident, o.Alert, o.Object, d, o.Goal))
		}
		for _, want := range o.missingTexts() {
			errs = append(errs, fmt.Errorf("%s: the message about %s does not contain %q", o.Incident, o.Object, want))
		}
	}
	if len(r.Trainings) != 1 || r.Trainings[0] != recommenderRun {
		errs = append(errs, fmt.Errorf("trainings were started for the runs %q, expected one for %s", r.Trainings, recommenderRun))
	}
	if len(r.Provider) != 1 {
		errs = append(errs, fmt.Errorf("the alerts about payments and %s are in %d incidents of the responder, expected one", risk, len(r.Provider)))
	} else if cause := r.Provider[0].Cause; cause != providerCause {
		errs = append(errs, fmt.Errorf("the incident about payments and %s names the cause %q, expected %q", risk, cause, providerCause))
	}
	if r.Reviews == 0 {
		errs = append(errs, errors.New("no answer is in the review queue"))
	}
	for _, u := range r.Unexpected {
		errs = append(errs, fmt.Errorf("unexpected alert: %s", u))
	}
	return errors.Join(errs...)
}

// Table formats the result as a table.
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
	_ = t.Flush() // A strings.Builder never fails.
	return b.String()
}

// since formats a time as the duration since the incident.
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
