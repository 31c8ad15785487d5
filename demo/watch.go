package demo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

// observedAlert is the observed state of one alert.
type observedAlert struct {
	labels model.LabelSet

	// Times of the alert's stages; zero if it has not reached a stage.
	pending, firing, notified time.Time
	// value is the value of the alert's expression when it was first seen firing.
	value float64
	// message is the last that announces it.
	message slack.Message
}

func (s observedAlert) name() string { return string(s.labels[model.AlertNameLabel]) }

// object returns the label by which messages are grouped: the first of these that the alert has.
func (s observedAlert) object() string {
	for _, name := range []model.LabelName{"dataset", "model", "department", "gpu"} {
		if v := s.labels[name]; v != "" {
			return string(v)
		}
	}
	return ""
}

func (s observedAlert) String() string {
	text := s.name()
	for _, part := range []model.LabelName{"column", "field", "feature"} {
		if v := s.labels[part]; v != "" {
			text += " " + string(v)
		}
	}
	if v := s.labels["severity"]; v != "" {
		text += " (" + string(v) + ")"
	}
	return text
}

// stage is the stage of an alert.
type stage string

const (
	pending  stage = "pending"
	firing   stage = "firing"
	notified stage = "slack"
	// repeated is a further message about an alert.
	repeated stage = "repeated"
)

// event is an alert reaching a stage.
type event struct {
	at    time.Time
	stage stage
	*observedAlert
}

// watch follows alerts from Prometheus to Slack. Only one goroutine uses it.
type watch struct {
	prometheus *stack.Prometheus
	sink       *slack.Sink
	now        func() time.Time
	seen       map[model.Fingerprint]*observedAlert
}

func newWatch(p *stack.Prometheus, sink *slack.Sink) *watch {
	return &watch{prometheus: p, sink: sink, now: time.Now, seen: make(map[model.Fingerprint]*observedAlert)}
}

// poll returns the events since the last call, in order of time.
func (w *watch) poll(ctx context.Context) ([]event, error) {
	alerts, err := w.prometheus.Alerts(ctx)
	if err != nil {
		return nil, err
	}
	var events []event
	for _, a := range alerts {
		events = append(events, w.alert(a)...)
	}
	// All of them, since on a busy machine a message can arrive before its alert is seen firing.
	for _, m := range w.sink.Messages() {
		events = append(events, w.message(m)...)
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	return events, nil
}

func (w *watch) alert(a v1.Alert) []event {
	id := a.Labels.Fingerprint()
	s := w.seen[id]
	var events []event
	if s == nil {
		s = &observedAlert{labels: a.Labels, pending: a.ActiveAt}
		w.seen[id] = s
		events = append(events, event{s.pending, pending, s})
	}
	if a.State == v1.AlertStateFiring && s.firing.IsZero() {
		s.firing = w.now()
		s.value, _ = strconv.ParseFloat(a.Value, 64) // The value is only printed.
		events = append(events, event{s.firing, firing, s})
	}
	return events
}

// message finds the alerts of a Slack message: one message groups those with the same name and object.
func (w *watch) message(m slack.Message) []event {
	if m.TS != "" {
		return nil // The responder posts messages about incidents, not about single alerts.
	}
	var events []event
	for _, s := range w.seen {
		if m.Seq <= s.message.Seq || s.firing.IsZero() || m.Received.Before(s.pending) || !announces(m, s) {
			continue
		}
		s.message = m
		if s.notified.IsZero() {
			s.notified = m.Received
			events = append(events, event{s.notified, notified, s})
		} else {
			events = append(events, event{m.Received, repeated, s})
		}
	}
	return events
}

// incident returns the message about the incident with the title.
func (w *watch) incident(title string) (m slack.Message, found bool) {
	for _, m := range w.sink.Messages() {
		if m.TS != "" && strings.Contains(slack.Unescape(m.Text), title) {
			return m, true
		}
	}
	return slack.Message{}, false
}

func announces(m slack.Message, s *observedAlert) bool {
	return slices.ContainsFunc(m.Attachments, func(a slack.Attachment) bool {
		_, about, found := strings.Cut(a.Title, "] "+s.name())
		return found && !strings.HasPrefix(a.Title, "[RESOLVED") && strings.Contains(about, s.object())
	})
}

// unexpected returns an unexpected alert, or nil. except reports which alerts are expected. Alerts of Sightglass about itself
// count only once they fire: a busy machine occasionally misses a scrape, which makes them pending.
func (w *watch) unexpected(except func(observedAlert) bool) *observedAlert {
	for _, s := range w.seen {
		if (!strings.HasPrefix(s.name(), "Sightglass") || !s.firing.IsZero()) && !except(*s) {
			return s
		}
	}
	return nil
}

// firedSince returns the alerts that fired at any time since start, also between two polls, except the watchdog.
func (w *watch) firedSince(ctx context.Context, start time.Time) ([]observedAlert, error) {
	vector, err := w.prometheus.Query(ctx, fmt.Sprintf(
		`last_over_time(ALERTS{alertname!="SightglassWatchdog", alertstate="firing"}[%ds])`,
		1+int(w.now().Sub(start).Seconds())))
	if err != nil {
		return nil, err
	}
	fired := make([]observedAlert, len(vector))
	for i, sample := range vector {
		fired[i] = observedAlert{labels: model.LabelSet(sample.Metric)}
	}
	return fired, nil
}

// tooBusy reports whether the alert is about a running exporter whose failed scrapes all timed out. With more compression scrapes have
// less time. An exporter that ends is a separate error.
func (w *watch) tooBusy(ctx context.Context, s observedAlert, start time.Time, timeout time.Duration) (bool, error) {
	instance, ok := s.labels[model.InstanceLabel]
	if s.name() != "SightglassExporterDown" || !ok {
		return false, nil
	}
	otherwise, err := w.prometheus.Query(ctx, fmt.Sprintf(
		`count_over_time((up{instance=%[1]q} == 0 and scrape_duration_seconds{instance=%[1]q} < %[2]g)[%[3]ds:%[4]dms])`,
		instance, 0.95*timeout.Seconds(), 1+int(w.now().Sub(start).Seconds()), timeout.Milliseconds()))
	return err == nil && len(otherwise) == 0, err
}
