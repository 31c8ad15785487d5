package cost

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// workedMonth is the configuration of "A month by hand" in docs/cost.md.
const workedMonth = `
time_zone: UTC
exchange: {online: false, rates: {USD: 1.40}}
prices:
  lists: [{file: prices.json, currency: USD}]
  gpu_hours: [{gpu: "NVIDIA H100*", price: 4}]
metering:
  prometheus: %s
  step: 2h
  lag: 2m
  catch_up: 31d
  loaded: %s
  holders:
    - {pod: "fraud-*", department: risk, model: fraud}
    - {pod: "rank-*", department: search, model: rank}
  models: [{model: chat, department: support}]
  values: [{model: fraud, cad_per_inference: 0.01}]
  resources: [{name: serving_core, query: "sum(serving_cores)", price_per_hour: 0.05}]
`

const workedPrices = `{"chat": {"input_cost_per_token": 2.5e-06, "cache_read_input_token_cost": 1.25e-06, "output_cost_per_token": 1e-05}}`

// workedUsage are the series of the month, with their value by day (until noon) and by night.
var workedUsage = []struct {
	series     string
	day, night float64
}{
	{`up{job="gpu",instance="node-1:10910"}`, 1, 1},
	{`gpu_info{uuid="GPU-a",instance="node-1:10910",name="NVIDIA H100 80GB HBM3"}`, 1, 1},
	{`gpu_info{uuid="GPU-b",instance="node-1:10910",name="NVIDIA H100 80GB HBM3"}`, 1, 1},
	{`gpu_allocation_info{uuid="GPU-a",instance="node-1:10910",pod="fraud-0"}`, 1, 1},
	{`gpu_allocation_info{uuid="GPU-b",instance="node-1:10910",pod="rank-0"}`, 1, 1},
	{`gpu:gpu_utilization:ratio{uuid="GPU-a",instance="node-1:10910",source="sightglass"}`, 0.5, 0},
	{`gpu:gpu_utilization:ratio{uuid="GPU-b",instance="node-1:10910",source="sightglass"}`, 0.2, 0},
	{`model:ml_inference_requests:rate5m{model="fraud",source="triton"}`, 1, 0},
	{`model:ml_inference_requests:rate5m{model="rank",source="triton"}`, 2, 0},
	{`model:ml_inference_requests:rate5m{model="chat",source="litellm"}`, 0.05, 0},
	{`model:ml_inference_tokens:rate5m{model="chat",source="litellm",direction="input"}`, 150, 0},
	{`model:ml_inference_tokens:rate5m{model="chat",source="litellm",direction="cached"}`, 90, 0},
	{`model:ml_inference_tokens:rate5m{model="chat",source="litellm",direction="output"}`, 18, 0},
	{`serving_cores`, 10, 10},
}

// The cost of two GPUs, two models on them and a model bought in US dollars in a month, by the real Prometheus, to the cent.
func TestAMonthByHand(t *testing.T) {
	t.Parallel()
	begin, end := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	s, err := stack.New(stack.Config{Dir: t.TempDir(), Tools: stack.Tools{
		Prometheus: testtools.Path(t, "prometheus"), Promtool: testtools.Path(t, "promtool"), Alertmanager: testtools.Path(t, "alertmanager"),
	}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	var text bytes.Buffer
	for _, u := range workedUsage {
		for at := begin; !at.After(end); at = at.Add(5 * time.Minute) {
			value := u.night
			if at.Add(-time.Second).Hour() < 12 {
				value = u.day
			}
			fmt.Fprintf(&text, "%s %v %d\n", u.series, value, at.Unix())
		}
	}
	text.WriteString("# EOF\n")
	require.NoError(t, s.BackfillOpenMetrics(ctx, &text))
	prom, err := s.StartPrometheus(ctx, stack.PrometheusConfig{ScrapeInterval: time.Hour, EvaluationInterval: time.Hour, Retention: 10 * 365 * 24 * time.Hour})
	require.NoError(t, err)

	type cost struct{ marginal, loaded, inferences, each, eachLoaded float64 }
	for weight, want := range map[string]map[string]cost{
		"usage": {
			"fraud": {720, 4257.42, 1296000, 0.000556, 0.003285},
			"rank":  {288, 1702.97, 2592000, 0.000111, 0.000657},
			"chat":  {802.87, 962.48, 64800, 0.012390, 0.014853},
		},
		"allocation": {
			"fraud": {720, 3253.63, 1296000, 0.000556, 0.002511},
			"rank":  {288, 2821.63, 2592000, 0.000111, 0.001089},
			"chat":  {802.87, 847.60, 64800, 0.012390, 0.013080},
		},
		"none": {
			"fraud": {720, 720, 1296000, 0.000556, 0.000556},
			"rank":  {288, 288, 2592000, 0.000111, 0.000111},
			"chat":  {802.87, 802.87, 64800, 0.012390, 0.012390},
			"":      {360, 5112, 0, 0, 0},
		},
	} {
		t.Run(weight, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "prices.json"), []byte(workedPrices), 0o600))
			var clock atomic.Int64
			clock.Store(begin.Add(2 * time.Minute).Unix())
			timed := Spec()
			timed.Start = func(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
				return start(env, cfg, func() time.Time { return time.Unix(clock.Load(), 0) }, &handover{})
			}
			server := exportertest.Start(t, timed, "--config.file="+settings(t, dir, fmt.Sprintf(workedMonth, prom.URL(), weight)))
			server.AwaitMetric("ml_cost_metered_through_timestamp_seconds " + strconv.FormatFloat(float64(begin.Unix()), 'g', -1, 64))
			// The month passes, and the exporter catches up: a changed configuration has it begin at once.
			clock.Store(end.Add(2 * time.Minute).Unix())
			settings(t, dir, fmt.Sprintf(workedMonth, prom.URL(), weight)+"budgets: [{department: risk, monthly_cad: 9000}]\n")
			status, body := server.Do(http.MethodPost, "/-/reload")
			require.Equal(t, http.StatusOK, status, body)
			require.Eventually(t, func() bool {
				return byLabel(t, server.Metrics(), "ml_cost_metered_through_timestamp_seconds", "")[""] == float64(end.Unix())
			}, 3*time.Minute, 50*time.Millisecond)

			page := server.Metrics()
			marginal, loaded, spent := byLabel(t, page, "ml_cost_spend_cad_total", "model"), byLabel(t, page, "ml_cost_loaded_cad_total", "model"), 0.0
			requests := byLabel(t, page, `ml_cost_metered_units_total\{[^}]*resource="request"`, "model")
			for model, c := range want {
				require.InDelta(t, c.marginal, marginal[model], 0.005, "%s by itself", model)
				require.InDelta(t, c.loaded, loaded[model], 0.005, "%s fully loaded", model)
				spent += loaded[model]
				if model == "" {
					continue
				}
				require.InDelta(t, c.inferences, requests[model], 1e-3, model)
				require.InDelta(t, c.each, marginal[model]/requests[model], 5e-7, model)
				require.InDelta(t, c.eachLoaded, loaded[model]/requests[model], 5e-7, model)
			}
			// C$5 760 for the GPUs, C$802.87 for the tokens, C$360 for the cores.
			require.InDelta(t, 6922.872, spent, 0.0005)
			require.InDelta(t, 6922.872, byLabel(t, page, "ml_cost_total_cad_total", "")[""], 0.0005)
			require.InDelta(t, 4752, byLabel(t, page, "ml_cost_gpu_idle_cad_total", "")[""], 0.0005)
			require.InDelta(t, 12960, byLabel(t, page, "ml_cost_value_cad_total", "model")["fraud"], 0.0005)
			if weight == "usage" {
				require.InDelta(t, 2.04, 12960/loaded["fraud"]-1, 0.005, "the return on the loaded cost")
			}
			require.InDeltaMapValues(t, map[string]float64{"risk": 2880, "search": 2880, "support": 802.872, "unallocated": 360},
				byLabel(t, page, `ml_cost_metered_month_cad\{[^}]*month="2026-09"`, "department"), 0.0005)
			require.InDelta(t, 1440, byLabel(t, page, "ml_cost_metered_gpu_hours", "month")["2026-09"], 1e-6)
			for check, difference := range byLabel(t, page, "ml_cost_unreconciled_cad", "check") {
				require.InDelta(t, 0, difference, 1e-6, check)
			}
		})
	}
}

// By allocation, a step of two hours divides C$1 for the cores by what GPUs and purchases have cost up to it: C$16 a step of GPUs
// that are held, and chat's purchases until noon. See docs/cost.md.
func TestTheCoresOfAMonthByAllocation(t *testing.T) {
	t.Parallel()
	fade, bought := math.Exp(-1./12), 802.872/180
	all, untilNoon, month := 0.0, 0.0, 0.0
	var days []float64
	for range 30 {
		day := 0.0
		for step := range 12 {
			all, untilNoon = fade*all+1, fade*untilNoon
			if step < 6 {
				untilNoon++
			}
			day += bought * untilNoon / (16*all + bought*untilNoon)
		}
		days = append(days, day)
		month += day
	}
	require.InDeltaSlice(t, []float64{2.1183, 1.5586, 1.4935, 1.4747, 1.4683, 1.4660, 1.4651, 1.4648, 1.4647, 1.4647, 1.4647, 1.4646}, days[:12], 0.00005)
	require.InDelta(t, 44.73, month, 0.005)
	require.InDelta(t, 847.60, 802.872+month, 0.005, "chat")
	require.InDelta(t, 3253.63, 720+4752./2+(360-month)/2, 0.005, "fraud")
	require.InDelta(t, 2821.63, 288+4752./2+(360-month)/2, 0.005, "rank")
}

// byLabel adds up a metric of a page by a label.
func byLabel(t *testing.T, page, metric, label string) map[string]float64 {
	t.Helper()
	sums := map[string]float64{}
	line := regexp.MustCompile(`(?m)^` + metric + `.* (\S+)$`)
	value := regexp.MustCompile(`[{,]` + label + `="([^"]*)"`)
	for _, match := range line.FindAllStringSubmatch(page, -1) {
		v, err := strconv.ParseFloat(match[1], 64)
		require.NoError(t, err)
		key := ""
		if of := value.FindStringSubmatch(match[0]); label != "" && of != nil {
			key = of[1]
		}
		sums[key] += v
	}
	return sums
}
