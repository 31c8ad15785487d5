package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/slack"
)

func TestAlertReachesSlackFromAnExporter(t *testing.T) {
	s, ctx := newStack(t), testContext(t)
	exporter, err := s.StartExporter(ctx, exporterConfig("well-behaved"))
	require.NoError(t, err)
	sink, slackURL, err := s.StartSlack(ctx, 10)
	require.NoError(t, err)
	alertmanager, err := s.StartAlertmanager(ctx, AlertmanagerConfig{Files: minimalAlertmanager, SlackURL: slackURL, SpeedUp: 100})
	require.NoError(t, err)

	rules := filepath.Join(s.Dir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(`
groups:
  - name: test
    rules:
      - alert: ValueIsSeven
        expr: test_value == 7
        labels: {severity: warning}
`), 0o644))
	prometheus, err := s.StartPrometheus(ctx, PrometheusConfig{
		Targets:        []ScrapeTarget{{Job: "test", Addresses: []string{exporter.Address}, Labels: map[string]string{"team": "data"}}},
		RuleFiles:      []string{rules},
		Alertmanager:   alertmanager.Address,
		ScrapeInterval: 100 * time.Millisecond, EvaluationInterval: 100 * time.Millisecond,
		LookbackDelta: time.Minute, ResendDelay: time.Second,
		ExternalLabels: map[string]string{"cluster": "test"},
	})
	require.NoError(t, err)

	m, err := sink.Wait(ctx, func(m slack.Message) bool { return m.Channel == "#everyone" })
	require.NoError(t, err)
	require.Equal(t, "/slack-everyone", m.Path)
	m, err = sink.Wait(ctx, func(m slack.Message) bool { return m.Channel == "#else" })
	require.NoError(t, err)
	require.Equal(t, "/slack-else", m.Path)
	require.Contains(t, m.Attachments[0].TitleLink, alertmanager.URL(), "links lead to the server itself")

	alerts, err := prometheus.Alerts(ctx)
	require.NoError(t, err)
	require.Len(t, alerts, 1)
	require.Equal(t, v1.AlertStateFiring, alerts[0].State)

	held, err := alertmanager.Alerts(ctx, `alertname="ValueIsSeven"`)
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.Equal(t, "active", held[0].Status.State)
	require.Equal(t, "test", held[0].Labels["cluster"])
	require.Equal(t, "everyone", held[0].Receivers[0].Name)
	none, err := alertmanager.Alerts(ctx, `alertname="Other"`)
	require.NoError(t, err)
	require.Empty(t, none)

	vector, err := prometheus.Query(ctx, "test_value")
	require.NoError(t, err)
	require.Equal(t, model.LabelValue("data"), vector[0].Metric["team"])
	vector, err = prometheus.Query(ctx, "scalar(test_value)")
	require.NoError(t, err)
	require.Equal(t, "7", vector[0].Value.String())
	_, err = prometheus.Query(ctx, "test_value[1m]")
	require.EqualError(t, err, "query test_value[1m]: the result is a matrix, not a vector")
	_, err = prometheus.Query(ctx, "((")
	require.ErrorContains(t, err, "parse error")
}

func TestAlertsPostedByHandReachSlackAndResolve(t *testing.T) {
	s, ctx := newStack(t), testContext(t)
	sink, slackURL, err := s.StartSlack(ctx, 10)
	require.NoError(t, err)
	alertmanager, err := s.StartAlertmanager(ctx, AlertmanagerConfig{Files: minimalAlertmanager, SlackURL: slackURL, SpeedUp: 1000})
	require.NoError(t, err)
	labels := map[string]string{"alertname": "ByHand"}
	require.NoError(t, alertmanager.Post(ctx, Alert{Labels: labels}))
	_, err = sink.Wait(ctx, func(m slack.Message) bool { return strings.HasPrefix(m.Attachments[0].Title, "[FIRING:1]") })
	require.NoError(t, err)
	require.NoError(t, alertmanager.Post(ctx, Alert{Labels: labels, EndsAt: time.Now()}))
	_, err = sink.Wait(ctx, func(m slack.Message) bool { return strings.HasPrefix(m.Attachments[0].Title, "[RESOLVED]") })
	require.NoError(t, err)

	require.ErrorContains(t, alertmanager.Post(ctx, Alert{}), "422 Unprocessable Entity")
}

func TestBackfilledHistoryIsQueryableFromTheStart(t *testing.T) {
	s, ctx := newStack(t), testContext(t)
	start := time.Now().Add(-35 * 24 * time.Hour).Truncate(time.Hour)
	var history strings.Builder
	history.WriteString("# TYPE rows gauge\n")
	for hour := range 35 * 24 {
		fmt.Fprintf(&history, "rows{dataset=\"orders\"} %d %d\n", hour, start.Add(time.Duration(hour)*time.Hour).Unix())
	}
	history.WriteString("# EOF\n")
	require.NoError(t, s.BackfillOpenMetrics(ctx, strings.NewReader(history.String())))

	prometheus, err := s.StartPrometheus(ctx, PrometheusConfig{ScrapeInterval: time.Second, EvaluationInterval: time.Second})
	require.NoError(t, err)
	vector, err := prometheus.Query(ctx, "count_over_time(rows[36d])")
	require.NoError(t, err)
	require.Len(t, vector, 1)
	require.Equal(t, "840", vector[0].Value.String())

	require.EqualError(t, s.BackfillOpenMetrics(ctx, strings.NewReader(history.String())),
		"backfill: Prometheus is running already and would not see new blocks in time")
	_, err = s.StartPrometheus(ctx, PrometheusConfig{ScrapeInterval: time.Second, EvaluationInterval: time.Second})
	require.EqualError(t, err, "prometheus: was started already")
}

func TestBackfillReportsErrorsOfPromtool(t *testing.T) {
	s := newStack(t)
	err := s.BackfillOpenMetrics(testContext(t), strings.NewReader("rows 1\n"))
	require.ErrorContains(t, err, "backfill: promtool: exit status 1: ")
}

func TestInvalidOptionsAreRefused(t *testing.T) {
	s, err := New(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	_, err = s.StartPrometheus(t.Context(), PrometheusConfig{})
	require.EqualError(t, err, "prometheus: the scrape and evaluation intervals must be given")
	for want, cfg := range map[string]AlertmanagerConfig{
		"alertmanager: no configuration given":                                                         {},
		"alertmanager: no URL for Slack messages given":                                                {Files: minimalAlertmanager},
		"alertmanager: a speed-up of 0.5 is less than 1":                                               {Files: minimalAlertmanager, SlackURL: "x", SpeedUp: 0.5},
		"alertmanager: open " + s.Dir() + "/alertmanager/alertmanager.yaml: no such file or directory": {Files: os.DirFS(t.TempDir()), SlackURL: "x"},
	} {
		_, err := s.StartAlertmanager(t.Context(), cfg)
		require.EqualError(t, err, want)
	}
	_, _, err = s.StartSlack(t.Context(), 0)
	require.Error(t, err)
	_, err = FindTools(t.TempDir())
	require.ErrorContains(t, err, "find the tools: stat ")
}

func TestRewriteAlertmanagerScalesOnlyDurations(t *testing.T) {
	secrets := t.TempDir()
	content, err := rewriteAlertmanager([]byte(`
route: {receiver: a, group_wait: 30s, routes: [{group_interval: 1ms, repeat_interval: 3d}]}
time_intervals: [{name: n, time_intervals: [{times: [{start_time: '18:00', end_time: '24:00'}]}]}]
receivers: [{name: a, slack_configs: [{api_url_file: /etc/slack-a, title: group_wait}]}]
`), secrets, AlertmanagerConfig{SpeedUp: 60, SlackURL: "http://127.0.0.1:1"})
	require.NoError(t, err)
	require.YAMLEq(t, `
route: {receiver: a, group_wait: 500ms, routes: [{group_interval: 1ms, repeat_interval: 1h12m}]}
time_intervals: [{name: n, time_intervals: [{times: [{start_time: '18:00', end_time: '24:00'}]}]}]
receivers: [{name: a, slack_configs: [{api_url_file: `+secrets+`/slack-a, title: group_wait}]}]
`, string(content))
	url, err := os.ReadFile(filepath.Join(secrets, "slack-a"))
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:1/slack-a", string(url))

	_, err = rewriteAlertmanager([]byte("route: {group_wait: soon}"), secrets, AlertmanagerConfig{SpeedUp: 1})
	require.EqualError(t, err, `group_wait: not a valid duration string: "soon"`)
}
