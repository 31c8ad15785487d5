package demo

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

func after(seconds float64) time.Time {
	return testNow.Add(time.Duration(seconds * float64(time.Second)))
}

func detected() Outcome {
	return Outcome{
		Incident: "more nulls", Object: "customers", Labels: labels{"dataset": "customers", "column": "income"}, Alert: "MLDatasetNullRatioHigh", Main: true, Measured: "8.0 % null",
		Injected: after(40), Pending: after(42), Firing: after(45), Notified: after(46.5),
	}
}

func TestTheResultNamesTheErrors(t *testing.T) {
	late, missed := detected(), detected()
	late.Goal = 2 * time.Minute
	missed.Notified = time.Time{}
	named, unnamed := detected(), detected()
	named.Contains, unnamed.Contains = []string{"Probable cause: provider = newpay"}, []string{"Probable cause: provider = newpay"}
	named.Message = "▌ nulls rose.\n▌ Probable cause:\n provider = newpay, 97 %"
	unnamed.Message = "▌ nulls rose. No single segment explains this."
	inhibited := missed
	inhibited.MayBeInhibited = true
	for name, tc := range map[string]struct {
		result Result
		want   string
	}{
		"nothing": {Result{Outcomes: []Outcome{detected()}}, ""},
		"an alert fired that another one inhibits": {Result{Outcomes: []Outcome{inhibited}}, ""},
		"an incident was not detected": {
			Result{Outcomes: []Outcome{missed}},
			"more nulls: MLDatasetNullRatioHigh about customers was not detected",
		},
		"the cause was named": {Result{Outcomes: []Outcome{named}}, ""},
		"another cause was named, or none": {
			Result{Outcomes: []Outcome{unnamed}}, `more nulls: the message about customers does not contain "Probable cause: provider = newpay"`,
		},
		"an incident was detected too late": {
			Result{Outcomes: []Outcome{late}},
			"more nulls: MLDatasetNullRatioHigh about customers took 2m10s, more than the goal of 2m0s; on a slow machine use a lower --speedup",
		},
		"another cause was named for the incident": {
			Result{Outcomes: []Outcome{detected()}, Provider: []Incident{{ID: "1", Cause: "channel = web in dataset payments"}}},
			`the incident about payments and payment-risk names the cause "channel = web in dataset payments", expected "payment_provider = newpay in dataset payments"`,
		},
		"an alert was not expected": {
			Result{Outcomes: []Outcome{detected()}, Unexpected: []string{"refunds MLDatasetDrift"}},
			"unexpected alert: refunds MLDatasetDrift",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.result.Speedup, tc.result.Trainings, tc.result.Reviews = 20, []string{recommenderRun}, 3
			if tc.result.Provider == nil {
				tc.result.Provider = []Incident{{ID: "1", Cause: providerCause}}
			}
			if tc.want == "" {
				require.NoError(t, tc.result.Err())
				return
			}
			require.EqualError(t, tc.result.Err(), tc.want)
		})
	}
}

func TestTheTableHasALineForEachAlert(t *testing.T) {
	second, missed := detected(), detected()
	second.Alert, second.Measured = "MLDatasetDrift", "PSI 0.400"
	missed.Incident, missed.Object, missed.Measured = "stale feed", "clicks", ""
	missed.Pending, missed.Firing, missed.Notified = time.Time{}, time.Time{}, time.Time{}
	result := Result{Speedup: 20, Start: testNow, Outcomes: []Outcome{detected(), second, missed}}
	require.Equal(t, `INCIDENT     OBJECT      ALERT                    MEASURED     INJECTED   PENDING   FIRING   SLACK   DETECTED IN    UNSCALED
more nulls   customers   MLDatasetNullRatioHigh   8.0 % null   40.0s      +2.0s     +5.0s    +6.5s   6.5s           2m10s
                         MLDatasetDrift           PSI 0.400    40.0s      +2.0s     +5.0s    +6.5s   6.5s           2m10s
stale feed   clicks      MLDatasetNullRatioHigh                40.0s      -         -        -       not detected   
`, result.Table())
}

func TestTheWatchFollowsAnAlertFromPendingToSlack(t *testing.T) {
	w := newWatch(nil, nil)
	w.now = func() time.Time { return after(3) }
	alert := v1.Alert{
		Labels: model.LabelSet{"alertname": "MLDatasetDrift", "dataset": "payments", "column": "category", "severity": "warning"},
		State:  v1.AlertStatePending, ActiveAt: after(1),
	}
	stages := func(events []event) []stage {
		var found []stage
		for _, e := range events {
			found = append(found, e.stage)
		}
		return found
	}
	message := slack.Message{Seq: 1, Received: after(4), Attachments: []slack.Attachment{{Title: "[WARNING] MLDatasetDrift: payments · category (demo)"}}}

	require.Equal(t, []stage{pending}, stages(w.alert(alert)))
	require.Empty(t, w.alert(alert), "it is reported once")
	require.Empty(t, w.message(message), "an alert that does not fire is not in a message")
	alert.State, alert.Value = v1.AlertStateFiring, "3.1e-01"
	require.Equal(t, []stage{firing}, stages(w.alert(alert)))

	other, resolved, earlier := message, message, message
	earlier.Received = after(0.5)
	other.Attachments = []slack.Attachment{{Title: "[WARNING] MLDatasetDrift: refunds · category (demo)"}}
	resolved.Attachments = []slack.Attachment{{Title: "[RESOLVED after 1m] MLDatasetDrift: payments · category (demo)"}}
	require.Empty(t, w.message(other))
	require.Empty(t, w.message(resolved))
	require.Empty(t, w.message(earlier), "of another alert with the same name and object")
	events := w.message(message)
	require.Equal(t, []stage{notified}, stages(events))
	require.Equal(t, "MLDatasetDrift category (warning)", events[0].String())
	require.Equal(t, 0.31, events[0].value)
	require.Equal(t, []time.Time{after(1), after(3), after(4)}, []time.Time{events[0].pending, events[0].firing, events[0].notified})
	require.Empty(t, w.message(message))
	again := message
	again.Seq, again.Received = 2, after(9)
	events = w.message(again)
	require.Equal(t, []stage{repeated}, stages(events))
	require.Equal(t, after(4), events[0].notified, "the first message counts")
	require.Equal(t, again, events[0].message)
}

func TestFirstMessageOfAnAlertCountsAndTheLastIsShown(t *testing.T) {
	alert := &observedAlert{
		labels:  model.LabelSet{"alertname": "MLDatasetNullRatioHigh", "dataset": "customers", "column": "income"},
		pending: after(42), firing: after(45), notified: after(46), message: slack.Message{Text: "first"},
	}
	withMessage := func(text string) *observedAlert {
		changed := *alert
		changed.message = slack.Message{Text: text}
		return &changed
	}
	outcome := detected()
	outcome.Firing, outcome.Notified = time.Time{}, time.Time{}
	d := demo{
		timeline: &timeline{out: io.Discard}, result: Result{Speedup: 20, Outcomes: []Outcome{outcome}},
		measured: []func(float64, Result) string{number("%.0f")},
	}
	later := withMessage("of another severity")
	later.notified = after(90)
	for _, e := range []event{{after(45), firing, alert}, {after(46), notified, alert}, {after(60), repeated, withMessage("second")}, {after(90), notified, later}} {
		d.show(e)
	}
	got := d.result.Outcomes[0]
	require.Equal(t, after(46), got.Notified)
	require.Contains(t, got.Message, "of another severity")
}

// The expected alerts of the demonstration. A run detects all of them.
func TestTheIncidentsOfTheShop(t *testing.T) {
	always := []string{
		"GPU 3 MLGPUIdle", "research MLCostIdleGPUWaste", "recommender MLCostPerInferenceTrend",
		"clickstream MLDatasetStale",
		"payments MLDatasetBroken merchant_category", "payments MLDatasetUnseenCategories merchant_category",
		"customers MLDatasetNullRatioHigh household_income",
		"orders_daily_fact MLDatasetVolumeAnomaly",
		"shipments MLDatasetSchemaChanged",
		"training_features MLDatasetFeatureMismatch",
		"payment-risk MLModelInputBroken merchant_category", "payment-risk MLModelDrift merchant_category",
		"recommender MLModelDrift device",
		"recommender MLModelInputBroken basket_cad", "recommender MLModelDrift basket_cad",
		"support-bot MLModelGroundednessLow", "support-bot MLModelHallucinationRateHigh",
		"support-bot MLInferenceQueueDominates",
		"GPU 1 MLGPULost", "GPU 1 MLGPUXidError",
	}
	for day, want := range map[int][]string{
		4: always, // In the first days of a month the projection does not alert.
		5: append([]string{"research MLCostMonthEndOverBudget"}, always...),
	} {
		warehouse, err := openWarehouse(t.TempDir(), time.Second, shop())
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, warehouse.close()) })
		d := demo{parts: []part{&data{warehouse: warehouse}, &models{}, &gpus{}, &costs{opened: time.Date(2026, 11, day, 12, 0, 0, 0, time.UTC)}}}
		var got []string
		for _, i := range d.incidents() {
			for _, e := range i.alerts {
				got = append(got, strings.TrimSpace(i.object+" "+e.alert+" "+e.labels["column"]+e.labels["field"]))
			}
		}
		require.ElementsMatch(t, want, got)
	}
}

func TestAlertsOnTheShopAndFiringAlertsAreUnexpected(t *testing.T) {
	about := func(name string) model.LabelSet {
		return model.LabelSet{"alertname": model.LabelValue(name), "gpu": "3"}
	}
	known := func(s observedAlert) bool { return s.name() == "MLGPUIdle" }
	for name, tc := range map[string]struct {
		seen observedAlert
		want bool
	}{
		"a pending alert about the shop":   {observedAlert{labels: about("MLDatasetDrift"), pending: after(1)}, true},
		"an expected alert":                {observedAlert{labels: about("MLGPUIdle"), pending: after(1), firing: after(2)}, false},
		"a pending alert about Sightglass": {observedAlert{labels: about("SightglassExporterDown"), pending: after(1)}, false},
		"a firing alert about Sightglass":  {observedAlert{labels: about("SightglassExporterDown"), pending: after(1), firing: after(2)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(nil, nil)
			require.Nil(t, w.unexpected(known))
			w.seen[1] = &tc.seen
			require.Equal(t, tc.want, w.unexpected(known) != nil)
		})
	}
}

// answers is a Prometheus that gives one answer.
type answers struct {
	v1.API
	vector model.Vector
}

func (a answers) Query(context.Context, string, time.Time, ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	return a.vector, nil, nil, nil
}

func TestABusyMachineExplainsOnlyScrapesThatTimedOut(t *testing.T) {
	down := model.LabelSet{"alertname": "SightglassExporterDown", "job": "cost", "instance": "127.0.0.1:1"}
	for name, tc := range map[string]struct {
		labels model.LabelSet
		failed model.Vector // scrapes that failed before their timeout
		want   bool
	}{
		"every failed scrape timed out": {down, nil, true},
		"one was refused":               {down, model.Vector{{Value: 1}}, false},
		"the alert has no instance":     {model.LabelSet{"alertname": "SightglassExporterDown", "job": "cost"}, nil, false},
		"another alert":                 {model.LabelSet{"alertname": "SightglassConfigReloadFailed", "instance": "127.0.0.1:1"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(&stack.Prometheus{API: answers{vector: tc.failed}}, nil)
			busy, err := w.tooBusy(t.Context(), observedAlert{labels: tc.labels}, testNow, time.Second)
			require.NoError(t, err)
			require.Equal(t, tc.want, busy)
		})
	}
}

func TestAnOutcomeMatchesAnAlertByItsLabels(t *testing.T) {
	drift := observedAlert{labels: model.LabelSet{"alertname": "MLDatasetNullRatioHigh", "dataset": "customers", "column": "income", "severity": "warning"}}
	require.True(t, detected().is(drift))
	for name, value := range map[model.LabelName]model.LabelValue{"alertname": "MLDatasetDrift", "dataset": "orders", "column": "age"} {
		other := observedAlert{labels: drift.labels.Clone()}
		other.labels[name] = value
		require.False(t, detected().is(other), name)
	}
}

func TestMessagesAreIndented(t *testing.T) {
	var out bytes.Buffer
	tl := timeline{out: &out, width: 60, start: testNow}
	tl.step(after(1.25), "payments", red, "firing", "MLDatasetDrift")
	tl.message(slack.Message{Channel: "#ml-alerts", Attachments: []slack.Attachment{{Title: "Drift", Text: "What, since when"}}})
	require.Equal(t, `   1.2s  payments           firing   MLDatasetDrift
           │ #ml-alerts
           │ ▌ Drift
           │ ▌ What, since when
`, out.String())
}

func TestInvalidConfigurationIsRefusedBeforeTheStart(t *testing.T) {
	tools := t.TempDir()
	for _, name := range append([]string{"prometheus", "promtool", "alertmanager"}, programs...) {
		require.NoError(t, os.WriteFile(filepath.Join(tools, name), nil, 0o755))
	}
	good := Config{ToolsDir: tools, BinDir: tools}
	for want, change := range map[string]func(*Config){
		"speed-up 31: expected 1 to 30":        func(c *Config) { c.Speedup = 31 },
		"speed-up 0.5: expected 1 to 30":       func(c *Config) { c.Speedup = 0.5 },
		"build them with `make tools`":         func(c *Config) { c.ToolsDir = t.TempDir() },
		"build them with `make build`":         func(c *Config) { c.BinDir = t.TempDir() },
		"is not empty; choose an empty folder": func(c *Config) { c.Dir = tools },
		"use the folder: open " + tools:        func(c *Config) { c.Dir = filepath.Join(tools, "promtool") },
	} {
		cfg := good
		change(&cfg)
		_, err := Run(t.Context(), cfg)
		require.ErrorContains(t, err, want)
	}
}
