package demo

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/promslog"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// models simulates two models: one recommends products, one answers customers.
type models struct {
	stack    *stack.Stack
	exporter string // path of the program
	otlp     string // address to which the services send their spans
	response *response
	pace     speedup.Factor

	mu     sync.Mutex
	random *rand.Rand
	// Injected faults.
	phones     bool    // more of the recommender's customers use a phone
	cents      bool    // the recommender gets amounts in cents
	ungrounded bool    // the bot's answers are not in its sources
	queue      float64 // share of the bot's latency that is queue wait
	unmapped   bool    // payments have unmapped categories
}

var _ part = (*models)(nil)

// The models and their training runs.
const (
	recommender    = "recommender"
	recommenderRun = "3f0c6a4e5b7d4f1f9a6d2c8e7b1a0d55"
	bot            = "support-bot"
	botRun         = "b81d9a0c4e6f47f2a3c5d7e9f1b2c3d4"
	modelVersion   = "7"
)

// inferencesPerSecond is the rate of each model in real time; the rules use compressed time.
const inferencesPerSecond = 40

// meanBasket is the mean amount of a basket in dollars; amounts are distributed exponentially.
const meanBasket = 48

var (
	devices = []string{"phone", "desktop", "tablet"}
	// deviceShares are the shares of the devices.
	deviceShares = []float64{0.5, 0.3, 0.2}
	phoneShares  = []float64{0.9, 0.07, 0.03}
)

const takenShare = 0.3

func (m *models) summary() string { return "3 models" }

// prepare writes a baseline of thirty days of production.
func (m *models) prepare(ctx context.Context, now time.Time) error {
	m.random = rand.New(rand.NewPCG(1, 2)) //nolint:gosec // A fixed seed makes the demo reproducible.
	m.queue = 0.2
	store, err := baseline.Open(baseline.Folder(m.path("baselines")), promslog.NewNopLogger(), nil)
	if err != nil {
		return fmt.Errorf("prepare the models: %w", err)
	}
	if err := errors.Join(m.learn(ctx, store, now), store.Close()); err != nil {
		return fmt.Errorf("prepare the models: %w", err)
	}
	return nil
}

// learn stores bins at the deciles, and thirty days of values with the matching distribution.
func (m *models) learn(ctx context.Context, store *baseline.Store, now time.Time) error {
	const perDay = 3000
	amounts, confidences := []float64{0}, []float64{0.6}
	for i := 1; i < 10; i++ {
		amounts = append(amounts, math.Round(-meanBasket*math.Log(1-float64(i)/10)*100)/100)
		confidences = append(confidences, float64(60+4*i)/100)
	}
	// Above all amounts of these days.
	amounts = append(amounts, 15*meanBasket)
	layouts := map[string]binning.Layout{
		"input/basket_cad":  binning.NewNumeric(amounts, true),
		"input/device":      binning.NewCategorical(devices, len(devices), false),
		"output/prediction": binning.NewCategorical([]string{"skip", "take"}, 2, false),
		"output/confidence": binning.NewNumeric(confidences, true),
	}
	// Features belong to the model, outputs to the version.
	return errors.Join(
		learnRisk(ctx, store, now),
		learn(ctx, store.Subject("model_inputs", recommender), withRole(layouts, "input/"), perDay, now),
		learn(ctx, store.Subject("model", recommender+"@"+modelVersion), withRole(layouts, "output/"), perDay, now),
	)
}

func withRole(layouts map[string]binning.Layout, role string) map[string]binning.Layout {
	kept := maps.Clone(layouts)
	maps.DeleteFunc(kept, func(field string, _ binning.Layout) bool { return !strings.HasPrefix(field, role) })
	return kept
}

// learnedShares are the shares of the fields' categories; numbers are cut at their deciles.
var learnedShares = map[string][]float64{
	"input/device": deviceShares, "output/prediction": {1 - takenShare, takenShare},
	"input/merchant_category": evenly(merchantCategories), "input/payment_provider": providerShares(pilotShare),
}

// learnedDays is the number of days of the stored baselines.
const learnedDays = 30

// learn stores days of counts for the fields.
func learn(ctx context.Context, subject *baseline.Subject, layouts map[string]binning.Layout, perDay int64, now time.Time) error {
	definition, err := subject.CreateDefinition(ctx, baseline.Definition{Edges: baseline.EdgesProduction, Fields: layouts})
	if err != nil {
		return err
	}
	counts := baseline.Counts{Definition: definition.ID, Rows: perDay, Fields: map[string]map[string]int64{}}
	for field, layout := range layouts {
		bins := make(map[string]int64)
		for i, bin := range layout.Bins()[len(layout.Bins())-values(layout):] {
			if shares, ok := learnedShares[field]; ok {
				bins[bin] = int64(math.Round(float64(perDay) * shares[i]))
			} else if bins[bin] = 0; i < 10 {
				bins[bin] = perDay / 10
			}
		}
		counts.Fields[field] = bins
	}
	for day := 1; day <= learnedDays; day++ {
		if _, err := subject.AddDay(ctx, baseline.DayOf(now.AddDate(0, 0, -day)), counts); err != nil {
			return err
		}
	}
	return nil
}

// values returns the number of bins for values, which come last.
func values(l binning.Layout) int {
	if l.Kind == binning.Categorical {
		return len(l.Top)
	}
	return len(l.Edges) + 1
}

func (m *models) path(name string) string { return filepath.Join(m.stack.Dir(), "models", name) }

func (m *models) history(context.Context, io.Writer, time.Time) error { return nil }

func (m *models) start(ctx context.Context) (watched, error) {
	address, err := stack.FreeAddress(ctx)
	if err != nil {
		return watched{}, err
	}
	m.otlp = address
	config := fmt.Sprintf(`
otlp: {grpc: "off", http: %q}
baseline_store: {type: FILESYSTEM, config: {directory: %q}}
reviews: {url: %q, token: {file: %q}}
mlflow: {url: %q}
causes: {window: %s}
models: [{name: %s, datasets: [{name: payments}]}]
`, address, m.path("baselines"), m.response.server.URL(), m.response.path("token"), m.response.address, duration(m.pace, time.Hour), risk)
	file := m.path("modelquality.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return watched{}, fmt.Errorf("write the exporter's configuration: %w", err)
	}
	server, err := m.stack.StartExporter(ctx, stack.ExporterConfig{Name: "modelquality-exporter", Path: m.exporter, Args: []string{"--config.file=" + file}})
	return watched{Server: server, job: "modelquality"}, err
}

func (m *models) conditions() []condition {
	return []condition{
		{"every model has requests", `count(count by (model) (model:ml_inference_requests:rate5m > 0))`, 3},
		{"the fields of the models have production baselines", `count(model_field:ml_drift:psi_critical{baseline="production"})`, 7},
		{"answers are evaluated", `count(model:ml_evaluation_score:mean1h)`, 1},
	}
}

func (m *models) incidents() []incident {
	// change returns a function that injects a fault.
	change := func(f func()) func(context.Context, time.Time) error {
		return func(context.Context, time.Time) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			f()
			return nil
		}
	}
	return []incident{
		{
			object:      risk,
			name:        "provider reaches the model",
			description: "newpay grows to one payment in nine: the model receives categories that it has not learned. Retraining is held back",
			apply:       change(func() { m.unmapped = true }),
			concurrent:  true,
			alerts: []expected{
				{
					alert: "MLModelInputBroken", labels: labels{"model": risk, "field": "merchant_category"}, measured: percent("broken"),
					contains: []string{"Retraining is held back"},
				},
				{alert: "MLModelDrift", labels: labels{"model": risk, "field": "merchant_category"}, measured: number("PSI %.2f"), mayBeInhibited: true},
			},
		},
		{
			object:      recommender,
			name:        "more phone customers",
			description: "90 % of the customers use a phone, up from 50 %. The values are in the learned range, so retraining is right",
			apply:       change(func() { m.phones = true }),
			alerts:      []expected{{alert: "MLModelDrift", labels: labels{"model": recommender, "field": "device"}, measured: number("PSI %.2f")}},
		},
		{
			object:      recommender,
			name:        "amounts in cents",
			description: "a release sends the feature basket_cad in cents instead of dollars. Retraining is held back",
			apply:       change(func() { m.cents = true }),
			alerts: []expected{
				{alert: "MLModelInputBroken", labels: labels{"model": recommender, "field": "basket_cad"}, measured: percent("broken")},
				{alert: "MLModelDrift", labels: labels{"model": recommender, "field": "basket_cad"}, measured: number("PSI %.2f"), mayBeInhibited: true},
			},
			goal: 5 * time.Minute,
		},
		{
			object:      bot,
			name:        "hallucinations",
			description: "its search index is deleted: answers are no longer grounded in documents",
			apply:       change(func() { m.ungrounded = true }),
			goal:        5 * time.Minute,
			alerts: []expected{
				{alert: "MLModelGroundednessLow", labels: labels{"model": bot}, measured: number("groundedness %.2f"), mayBeInhibited: true},
				{alert: "MLModelHallucinationRateHigh", labels: labels{"model": bot}, measured: percent("hallucinated")},
			},
		},
		{
			object:      bot,
			name:        "hidden queue",
			description: "requests queue for GPU memory: 60 % of the latency is queue wait, and the GPUs are still 75 % busy",
			apply:       change(func() { m.queue = 0.6 }),
			alerts:      []expected{{alert: "MLInferenceQueueDominates", labels: labels{"model": bot}, measured: percent("of the latency is queue")}},
		},
	}
}

// sendEvery is the real time between two requests with spans.
const sendEvery = 200 * time.Millisecond

func (m *models) run(ctx context.Context) error {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if err := m.send(ctx, m.serve(now)); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// serve simulates the inferences of one interval.
func (m *models) serve(now time.Time) ptrace.Traces {
	m.mu.Lock()
	defer m.mu.Unlock()
	traces := ptrace.NewTraces()
	for _, model := range []string{recommender, bot, risk} {
		resource := traces.ResourceSpans().AppendEmpty()
		resource.Resource().Attributes().PutStr("service.name", model)
		spans := resource.ScopeSpans().AppendEmpty().Spans()
		for range int(inferencesPerSecond * sendEvery.Seconds()) {
			span := spans.AppendEmpty()
			m.identify(span, model, now)
			switch model {
			case recommender:
				m.recommend(span)
			case risk:
				m.judge(span)
			default:
				m.answer(span)
			}
		}
	}
	return traces
}

func (m *models) identify(span ptrace.Span, model string, now time.Time) {
	var trace pcommon.TraceID
	binary.BigEndian.PutUint64(trace[:8], m.random.Uint64())
	binary.BigEndian.PutUint64(trace[8:], m.random.Uint64())
	span.SetTraceID(trace)
	span.SetSpanID(pcommon.SpanID(trace[:8]))
	span.SetName("infer " + model)
	latency := time.Duration((0.12 + 0.08*m.random.ExpFloat64()) * float64(time.Second))
	span.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-latency)))
	span.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
	a := span.Attributes()
	a.PutStr("ml.model.name", model)
	a.PutStr("ml.model.version", modelVersion)
	a.PutStr("mlflow.run_id", map[string]string{recommender: recommenderRun, bot: botRun, risk: riskRun}[model])
	queue := 0.1
	if model == bot {
		queue = m.queue
	}
	ms := latency.Seconds() * 1e3
	a.PutDouble("queue_wait_ms", ms*queue)
	a.PutDouble("forward_pass_ms", ms*(1-queue)*0.95)
}

func (m *models) recommend(span ptrace.Span) {
	a := span.Attributes()
	amount := meanBasket * m.random.ExpFloat64()
	if m.cents {
		amount *= 100
	}
	a.PutDouble("ml.feature.basket_cad", amount)
	device, at := devices[len(devices)-1], m.random.Float64()
	shares := deviceShares
	if m.phones {
		shares = phoneShares
	}
	for i, share := range shares {
		if at -= share; at < 0 {
			device = devices[i]
			break
		}
	}
	a.PutStr("ml.feature.device", device)
	prediction := "skip"
	if m.random.Float64() < takenShare {
		prediction = "take"
	}
	a.PutStr("ml.prediction", prediction)
	a.PutDouble("ml.prediction.confidence", 0.6+0.4*m.random.Float64())
}

func (m *models) answer(span ptrace.Span) {
	a := span.Attributes()
	a.PutStr("gen_ai.operation.name", "chat")
	a.PutInt("gen_ai.usage.input_tokens", 400+m.random.Int64N(400))
	a.PutInt("gen_ai.usage.output_tokens", 100+m.random.Int64N(200))
	// An evaluator scores one answer in ten.
	if m.random.Float64() > 0.1 {
		return
	}
	score := 0.95 + 0.04*m.random.Float64()
	if m.ungrounded {
		score = 0.3 + 0.4*m.random.Float64()
	}
	event := span.Events().AppendEmpty()
	event.SetName("gen_ai.evaluation.result")
	event.SetTimestamp(span.EndTimestamp())
	event.Attributes().PutStr("gen_ai.evaluation.name", "groundedness")
	event.Attributes().PutDouble("gen_ai.evaluation.score.value", score)
}

// send sends spans by OTLP, as an OpenTelemetry Collector does.
func (m *models) send(ctx context.Context, traces ptrace.Traces) error {
	body, err := ptraceotlp.NewExportRequestFromTraces(traces).MarshalProto()
	if err != nil {
		return fmt.Errorf("send spans: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.otlp+"/v1/traces", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send spans: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("send spans: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("send spans: %s: %s (%w)", response.Status, text, err)
	}
	return nil
}
