package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/rules"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

const costConfig = `
exchange: {online: false, rates: {USD: 1.4}}
bills:
  interval: 1s
  sources: [{name: cloud, folder: bills, deliveries: replace, delivery: file, settle: 0s}]
  departments: [{from_tag: team}]
budgets:
  - {department: fraud, monthly_cad: 40000}
  - {department: search, monthly_cad: 40000}
prices:
  gpu_hours: [{gpu: "NVIDIA H100*", price: 4.11}]
metering:
  prometheus: %s
  step: 2s
  lag: 2s
  queries:
    requests: sum by (model) (rate(served_total[10s]))
    successes: sum by (model) (rate(served_total[10s]))
    working: sum by (cluster, model) (rate(served_seconds_total[10s]))
  holders: [{pod: "fraud-*", department: fraud}]
  models: [{model: fraud, department: fraud}]
`

// gpus has the series of a host with two GPUs: one without a holder, and one that the model fraud uses a quarter of the time.
func gpus(began time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		seconds := time.Since(began).Seconds()
		_, _ = fmt.Fprintf(w, `gpu_info{gpu="0",uuid="GPU-idle",name="NVIDIA H100 80GB HBM3"} 1
gpu_info{gpu="1",uuid="GPU-busy",name="NVIDIA H100 80GB HBM3"} 1
gpu_utilization_ratio{gpu="0",uuid="GPU-idle"} 0
gpu_utilization_ratio{gpu="1",uuid="GPU-busy"} 0.25
gpu_allocation_info{gpu="1",uuid="GPU-busy",pod="fraud-0"} 1
served_total{model="fraud"} %f
served_seconds_total{model="fraud"} %f
`, 100*seconds, 0.25*seconds)
	})
}

// monthly is a bill of one department that costs so much a day, from forty days ago until today.
func monthly(now time.Time, perDay map[string]float64) string {
	var b strings.Builder
	b.WriteString("BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName,ServiceCategory,Tags\n")
	today := now.UTC().Truncate(24 * time.Hour)
	for day := today.AddDate(0, 0, -40); day.Before(today); day = day.AddDate(0, 0, 1) {
		month := time.Date(day.Year(), day.Month(), 1, 0, 0, 0, 0, time.UTC)
		for team, cad := range perDay {
			fmt.Fprintf(&b, "%v,%v,CAD,%s,%s,%s,Usage,Virtual Machines,Compute,\"{\"\"team\"\": \"\"%s\"\"}\"\n", cad, cad,
				month.Format(time.RFC3339), day.Format(time.RFC3339), day.AddDate(0, 0, 1).Format(time.RFC3339), team)
		}
	}
	return b.String()
}

// withThreshold sets a default, as the mixin's configuration does.
func withThreshold(t *testing.T, bundle ruleset.Set, signal, value string) {
	t.Helper()
	for _, group := range bundle.Groups() {
		for i := range group.Rules {
			if group.Rules[i].Record == rules.ThresholdPrefix+signal {
				group.Rules[i].Expr = "vector(" + value + ")"
				return
			}
		}
	}
	t.Fatalf("no threshold %s", signal)
}

// ofCost leaves out the rules that alerts on money do not need, so that all of them are evaluated in time.
func ofCost(all ruleset.Set) ruleset.Set {
	all.Files = slices.DeleteFunc(slices.Clone(all.Files), func(f ruleset.File) bool {
		return !slices.Contains([]string{
			"thresholds.yaml", "signals/cost.yaml", "signals/evidence.yaml", "signals/owner.yaml", "signals/gpu.yaml", "signals/self.yaml", "adapters/gpu.yaml",
			"alerts/business.yaml", "alerts/infrastructure.yaml", "alerts/self.yaml",
		}, f.Name)
	})
	return all
}

// From a bill and the user's own Prometheus to the channel of those who pay.
func TestCostEndToEnd(t *testing.T) {
	ctx := testContext(t)
	pace := speedup.Factor(60) // Idle GPUs alert after an hour.
	tools, err := stack.FindTools(toolsDir(t))
	require.NoError(t, err)
	dir := t.TempDir()
	s, err := stack.New(stack.Config{Tools: tools, Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })

	host := httptest.NewServer(gpus(time.Now()))
	t.Cleanup(host.Close)
	// The exporter and Prometheus ask each other. Until Prometheus runs, the exporter finds it out of order.
	var upstream atomic.Pointer[httputil.ReverseProxy]
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := upstream.Load(); p != nil {
			p.ServeHTTP(w, r)
			return
		}
		http.Error(w, "not yet", http.StatusServiceUnavailable)
	}))
	t.Cleanup(proxy.Close)

	config := filepath.Join(dir, "cost.yaml")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bills"), 0o700))
	for path, content := range map[string]string{
		config:                                   fmt.Sprintf(costConfig, proxy.URL),
		filepath.Join(dir, "bills", "cloud.csv"): monthly(time.Now(), map[string]float64{"fraud": 2000, "search": 300}),
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}

	sink, slackURL, err := s.StartSlack(ctx, 1000)
	require.NoError(t, err)
	am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: float64(pace)})
	require.NoError(t, err)
	exporter, err := s.StartExporter(ctx, stack.ExporterConfig{
		Name: "cost-exporter", Path: buildCommand(t, "cost-exporter"), Args: []string{"--config.file=" + config},
	})
	require.NoError(t, err)
	all, err := pace.Rules()
	require.NoError(t, err)
	bundle := ofCost(all)
	// The test runs on any day of a month.
	withThreshold(t, bundle, "budget_progress_ratio", "0")
	files, err := bundle.WriteDir(filepath.Join(dir, "rules"))
	require.NoError(t, err)
	prometheus, err := s.StartPrometheus(ctx, stack.PrometheusConfig{
		Targets: []stack.ScrapeTarget{
			{Job: "cost", Addresses: []string{exporter.Address}},
			{Job: "gpu", Addresses: []string{strings.TrimPrefix(host.URL, "http://")}},
		},
		RuleFiles: files, Alertmanager: am.Address,
		ScrapeInterval: time.Second / 2, EvaluationInterval: time.Second / 2,
		LookbackDelta: pace.Duration(5 * time.Minute), ResendDelay: pace.Duration(time.Minute),
	})
	require.NoError(t, err)
	target, err := url.Parse(prometheus.URL())
	require.NoError(t, err)
	upstream.Store(httputil.NewSingleHostReverseProxy(target))

	has := func(expr string) func() bool {
		return func() bool {
			vector, err := prometheus.Query(ctx, expr)
			require.NoError(t, err)
			return len(vector) > 0
		}
	}
	told := func(alert, about string) slack.Message {
		t.Helper()
		m, err := sink.Wait(ctx, func(m slack.Message) bool {
			title := m.Attachments[0].Title
			return strings.Contains(title, "] "+alert+": "+about) && !strings.HasPrefix(title, "[RESOLVED")
		})
		require.NoError(t, err)
		require.Equal(t, "#ml-cost", m.Channel)
		return m
	}

	m := told("MLCostMonthEndOverBudget", "fraud")
	require.Contains(t, m.Attachments[0].Text, "fraud is projected to spend C$ ")
	require.Contains(t, m.Attachments[0].Text, "*Threshold* C$ 40000")

	// One GPU idles, at C$ 4.11 an hour: C$ 3000 a month of 730 hours. Three quarters of the other one do, which are its holder's.
	told("MLCostIdleGPUWaste", "unallocated")
	told("MLCostIdleGPUWaste", "fraud")
	eventually(ctx, t, "the idle GPU is priced", has(`abs(department:ml_cost_gpu_idle:cad_per_month{kind="unallocated"} / 3000.3 - 1) < 0.1`))
	// The rest of it is what 100 requests a second cost together.
	eventually(ctx, t, "an inference is priced", has(`abs(model:ml_cost_per_inference:cad1h{model="fraud",method="busy_time"} / (1.0275 / 360000) - 1) < 0.1`))
	require.True(t, has(`cost:ml_unreconciled:cad{check="gpu"} < 0.01`)())
	require.True(t, has(`cost:ml_unreconciled:cad{check="bill"} < 0.01`)())

	for _, m := range sink.Messages() {
		require.NotContains(t, m.Attachments[0].Title, "MLCostUnreconciled")
		require.NotContains(t, m.Attachments[0].Title, "MLCostMonthEndOverBudget: search")
	}
	require.NoError(t, sink.LastRejection())

	response, err := http.Get(exporter.URL() + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Contains(t, string(page), `ml_cost_spend_cad_total{basis="metered",department="fraud",method="busy_time",model="fraud",resource="gpu"}`)
}
