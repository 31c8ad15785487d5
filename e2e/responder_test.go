package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/responder"
)

// driftRule is an alert as the bundle has them: the run id comes by a query, in an annotation.
const driftRule = `groups:
  - name: drift
    rules:
      - alert: MLModelDrift
        expr: model_drift > 0.3
        labels: {severity: critical, layer: model, response: retrain}
        annotations:
          summary: A model drifts.
          mlflow_run_id: >-
            {{ with printf "topk(1, ml_model_info{model=%q,version=%q})" $labels.model $labels.version | query -}}
            {{ . | first | label "mlflow_run_id" }}{{ end }}
`

// training is a service that retrains: each call is a run, which ends at once.
type training struct {
	*httptest.Server
	mu    sync.Mutex
	calls []map[string]string
}

func newTraining(t *testing.T) *training {
	t.Helper()
	r := &training{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodGet {
			_, _ = fmt.Fprint(w, `{"state":"done"}`)
			return
		}
		var call map[string]string
		if err := json.NewDecoder(req.Body).Decode(&call); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, call)
		_, _ = fmt.Fprintf(w, `{"id":"training-%d"}`, len(r.calls))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *training) made() []map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]map[string]string(nil), r.calls...)
}

// startResponder starts the real binary with one action, and returns its configuration file too.
func startResponder(ctx context.Context, t *testing.T, s *stack.Stack, target string) (stack.Server, string) {
	t.Helper()
	config := filepath.Join(s.Dir(), "responder.yaml")
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir(), "responder-token"), []byte("s3cret\n"), 0o600))
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
webhook: {token: {file: responder-token}}
actions:
  - name: retrain
    response: retrain
    dry_run: false
    grace: 0s
    poll_interval: 200ms
    target: {webhook: {url: %q, id: id, status: {url: %q, field: state, succeeded: [done], failed: [broken]}}}
`, target, target+"/{id}"), 0o600))
	server, err := s.StartExporter(ctx, stack.ExporterConfig{
		Name: "responder", Path: buildCommand(t, "responder"), Args: []string{"--config.file=" + config},
	})
	require.NoError(t, err)
	return server, config
}

// recorded returns the records of a kind in the audit trail of a running responder, as JSON lines.
func recorded(ctx context.Context, t *testing.T, config, kind string) []string {
	t.Helper()
	trail, err := responder.OpenAuditTrail(ctx, config)
	require.NoError(t, err)
	defer func() { require.NoError(t, trail.Close()) }()
	var out bytes.Buffer
	_, err = trail.Export(ctx, &out)
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, fmt.Sprintf(`"kind":%q`, kind)) {
			lines = append(lines, line)
		}
	}
	return lines
}

func newStack(t *testing.T) *stack.Stack {
	t.Helper()
	tools, err := stack.FindTools(toolsDir(t))
	require.NoError(t, err)
	s, err := stack.New(stack.Config{Tools: tools, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestRepeatedDriftAlertRetrainsOnce(t *testing.T) {
	ctx := testContext(t)
	drift := atomic.Pointer[string]{}
	set := func(value string) { drift.Store(&value) }
	set("0.1")
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "model_drift{model=\"fraud\",version=\"3\"} %s\nml_model_info{model=\"fraud\",version=\"3\",mlflow_run_id=\"0a7f\"} 1\n", *drift.Load())
	}))
	t.Cleanup(service.Close)
	target := newTraining(t)

	s, second := newStack(t), newStack(t)
	sink, slackURL, err := s.StartSlack(ctx, 1000)
	require.NoError(t, err)
	server, config := startResponder(ctx, t, s, target.URL)
	// The two do not know of each other, as in a split cluster: each delivers everything.
	var ams [2]*stack.Alertmanager
	for i, in := range []*stack.Stack{s, second} {
		ams[i], err = in.StartAlertmanager(ctx, stack.AlertmanagerConfig{
			Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: 200, ResponderURL: server.URL(), ResponderToken: "s3cret",
		})
		require.NoError(t, err)
	}
	rules := filepath.Join(s.Dir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte(driftRule), 0o600))
	prometheus, err := s.StartPrometheus(ctx, stack.PrometheusConfig{
		Targets:   []stack.ScrapeTarget{{Job: "model", Addresses: []string{strings.TrimPrefix(service.URL, "http://")}}},
		RuleFiles: []string{rules}, Alertmanager: ams[0].Address,
		ScrapeInterval: time.Second / 4, EvaluationInterval: time.Second / 4, ResendDelay: time.Second,
	})
	require.NoError(t, err)
	firing := func() []map[string]string {
		alerts, err := prometheus.Alerts(ctx)
		require.NoError(t, err)
		var out []map[string]string
		for _, a := range alerts {
			labels := map[string]string{}
			for name, value := range a.Labels {
				labels[string(name)] = string(value)
			}
			out = append(out, labels)
		}
		return out
	}
	eventually(ctx, t, "the model is scraped", func() bool {
		v, err := prometheus.Query(ctx, `model_drift`)
		require.NoError(t, err)
		return len(v) == 1
	})
	require.Empty(t, target.made())

	set("0.5")
	eventually(ctx, t, "retraining starts", func() bool { return len(target.made()) == 1 })
	call := target.made()[0]
	require.Equal(t, "0a7f", call["mlflow_run_id"])
	require.Equal(t, "fraud", call["model"])
	require.Equal(t, "3", call["version"])
	require.Equal(t, "retrain", call["action"])
	_, err = sink.Wait(ctx, func(m slack.Message) bool {
		return m.Channel == "#ml-oncall" && strings.Contains(m.Attachments[0].Title, "MLModelDrift")
	})
	require.NoError(t, err, "people are told as well")
	eventually(ctx, t, "its end is known", func() bool { return len(recorded(ctx, t, config, "action_finished")) == 1 })
	require.Contains(t, recorded(ctx, t, config, "action_finished")[0], `"result":"succeeded","target_id":"training-1"`)

	// The other Alertmanager has the same alert.
	held, err := ams[0].Alerts(ctx, `alertname="MLModelDrift"`)
	require.NoError(t, err)
	require.NotEmpty(t, held)
	require.NoError(t, ams[1].Post(ctx, stack.Alert{Labels: held[0].Labels, Annotations: held[0].Annotations, StartsAt: held[0].StartsAt}))
	eventually(ctx, t, "it delivers too", func() bool {
		return strings.Contains(get(ctx, t, ams[1].URL()+"/metrics"), `alertmanager_notifications_total{integration="webhook"} 1`)
	})
	require.Len(t, recorded(ctx, t, config, "alert_received"), 1, "it is the same alert")

	for flap := range 10 {
		set("0.1")
		eventually(ctx, t, "the alert ends", func() bool { return len(recorded(ctx, t, config, "alert_resolved")) == flap+1 })
		require.Empty(t, firing())
		set("0.5")
		eventually(ctx, t, "the alert comes back", func() bool { return len(recorded(ctx, t, config, "alert_received")) == flap+2 })
	}
	decisions := recorded(ctx, t, config, "action_decided")
	require.Len(t, decisions, 11)
	for _, d := range decisions[1:] {
		require.Contains(t, d, `"decision":"cooldown"`)
	}
	require.Len(t, target.made(), 1)

	trail, err := responder.OpenAuditTrail(ctx, config)
	require.NoError(t, err)
	defer func() { require.NoError(t, trail.Close()) }()
	_, err = trail.Verify(ctx)
	require.NoError(t, err)
}

func get(ctx context.Context, t *testing.T, address string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}

// gate is a server in front of another one that can be down.
type gate struct {
	*httptest.Server
	down atomic.Bool
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	u, err := url.Parse(to)
	require.NoError(t, err)
	g := &gate{}
	proxy := httputil.NewSingleHostReverseProxy(u)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// What docs/responder.md says of an outage. Alertmanager repeats one notification for at least ten seconds whatever its
// intervals are, so the hour is compressed to four times that and not further.
func TestOutageOfSlackOrOfTheResponder(t *testing.T) {
	const (
		speedUp = 90
		hour    = time.Hour / speedUp
	)
	for _, outage := range []string{"Slack", "the responder"} {
		t.Run(outage, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			target := newTraining(t)
			s := newStack(t)
			sink, slackURL, err := s.StartSlack(ctx, 1000)
			require.NoError(t, err)
			server, config := startResponder(ctx, t, s, target.URL)
			slackGate, responderGate := newGate(t, slackURL), newGate(t, server.URL())
			broken := map[string]*gate{"Slack": slackGate, "the responder": responderGate}[outage]
			am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{
				Files: alertmanager.Files, SlackURL: slackGate.URL, SpeedUp: speedUp, ResponderURL: responderGate.URL, ResponderToken: "s3cret",
			})
			require.NoError(t, err)

			started := time.Now()
			post := func(model string, over bool) {
				a := stack.Alert{
					Labels:   map[string]string{"alertname": "MLModelDrift", "severity": "critical", "layer": "model", "response": "retrain", "model": model},
					StartsAt: started,
				}
				if over {
					a.EndsAt = time.Now()
				}
				require.NoError(t, am.Post(ctx, a))
			}
			// told says what each side knows of a model's alert.
			told := map[string]func(model string, over bool) bool{
				"Slack": func(model string, over bool) bool {
					for _, m := range sink.Messages() {
						title := m.Attachments[0].Title
						if strings.Contains(title, model) && strings.HasPrefix(title, "[RESOLVED") == over {
							return true
						}
					}
					return false
				},
				"the responder": func(model string, over bool) bool {
					received := recorded(ctx, t, config, "alert_received")
					for _, line := range received {
						if !strings.Contains(line, fmt.Sprintf(`\"model\":\"%s\"`, model)) {
							continue
						}
						var r struct{ Subject string }
						require.NoError(t, json.Unmarshal([]byte(line), &r))
						ends := strings.Join(recorded(ctx, t, config, "alert_resolved"), "")
						return !over || strings.Contains(ends, r.Subject)
					}
					return false
				},
			}
			healthy := map[string]string{"Slack": "the responder", "the responder": "Slack"}[outage]
			await := func(side, model string, over bool) {
				eventually(ctx, t, fmt.Sprintf("%s is told of %s (over: %t)", side, model, over), func() bool { return told[side](model, over) })
			}

			post("before", false)
			await("Slack", "before", false)
			await("the responder", "before", false)

			broken.down.Store(true)
			end := time.After(hour)
			post("before", true)
			post("brief", false)
			post("lasting", false)
			await(healthy, "lasting", false)
			await(healthy, "before", true)
			// Longer than Alertmanager repeats one notification.
			time.Sleep(hour / 3)
			post("brief", true)
			await(healthy, "brief", true)
			<-end
			require.False(t, told[outage]("lasting", false))
			require.False(t, told[outage]("before", true))
			broken.down.Store(false)

			await(outage, "lasting", false)
			await(outage, "before", true)
			eventually(ctx, t, "retraining starts", func() bool {
				n := 0
				for _, call := range target.made() {
					if call["model"] == "lasting" {
						n++
					}
				}
				return n == 1
			})
			// Once more, so that whatever was held back for "brief" has had its time.
			post("after", false)
			await(outage, "after", false)
			require.False(t, told[outage]("brief", false), "what began and ended in the outage is not told")
			require.False(t, told[outage]("brief", true))
		})
	}
}
