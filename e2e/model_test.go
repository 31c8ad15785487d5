package e2e

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/demo/slack"
	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

var (
	//go:embed model_train.py
	trainScript string
	//go:embed model_serve.py
	serveScript string
)

// modelPace makes an hour of the rules a minute long.
var modelPace = speedup.Factor(60)

func start(ctx context.Context, t *testing.T, cfg stack.ProcessConfig) *stack.Process {
	t.Helper()
	p, err := stack.StartProcess(ctx, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Stop(), p.LogTail()) })
	return p
}

// trained is what MLflow said of the training.
type trained struct{ Run, Experiment, Digest string }

// train trains and registers the model, and returns what MLflow said and the rows of the data.
func train(ctx context.Context, t *testing.T, python, server, dir string) (trained, []map[string]float64) {
	t.Helper()
	cmd := exec.CommandContext(ctx, python, "-c", trainScript, server, dir)
	cmd.Env = append(os.Environ(), testtools.MLflowEnv...)
	cmd.Dir = dir
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, string(output))
	var said trained
	content, err := os.ReadFile(filepath.Join(dir, "run.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &said))

	f, err := os.Open(filepath.Join(dir, "wine.csv"))
	require.NoError(t, err)
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	var rows []map[string]float64
	for _, line := range lines[1:] {
		row := make(map[string]float64)
		for i, name := range lines[0] {
			if row[name], err = strconv.ParseFloat(line[i], 64); err != nil {
				t.Fatal(err)
			}
		}
		delete(row, "cultivar")
		rows = append(rows, row)
	}
	return said, rows
}

// documented writes the Python code of docs/instrumentation.md as a module.
func documented(t *testing.T, path string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testtools.Root(t), "docs", "instrumentation.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "```python\n")
	code, _, closed := strings.Cut(rest, "```")
	require.True(t, found && closed, "docs/instrumentation.md shows Python")
	require.NoError(t, os.WriteFile(path, []byte(code), 0o600))
}

// customers ask the service for the rows of the data, over and over.
type customers struct {
	url  string
	rows []map[string]float64

	mu     sync.Mutex
	shift  func(map[string]float64)
	traces map[string]bool
	err    error
}

func (c *customers) ask(ctx context.Context, from int) error {
	const batch = 20
	rows := make([]map[string]float64, batch)
	c.mu.Lock()
	shift := c.shift
	c.mu.Unlock()
	for i := range rows {
		rows[i] = make(map[string]float64)
		for name, v := range c.rows[(from*batch+i)%len(c.rows)] {
			rows[i][name] = v
		}
		shift(rows[i])
	}
	body, err := json.Marshal(rows)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answers []struct{ Trace string }
	if err := json.NewDecoder(response.Body).Decode(&answers); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range answers {
		c.traces[a.Trace] = true
	}
	return nil
}

func (c *customers) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.ask(ctx, n); err != nil && ctx.Err() == nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
	}
}

// healthy is the error that ended the questions, if one did.
func (c *customers) healthy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *customers) set(shift func(map[string]float64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift = shift
}

func TestModelEndToEnd(t *testing.T) {
	ctx := testContext(t)
	tools, err := stack.FindTools(toolsDir(t))
	require.NoError(t, err)
	python := testtools.Path(t, "python/bin/python")
	dir := t.TempDir()
	server := testtools.MLflow(t)
	said, rows := train(ctx, t, python, server, dir)

	s, err := stack.New(stack.Config{Tools: tools, Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	otlp := testtools.FreeAddress(t)
	config := filepath.Join(dir, "modelquality.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
otlp: {grpc: "off", http: %q}
low_confidence: 0.9
baseline_store: {type: FILESYSTEM, config: {directory: %q}}
baselines: {days: 1, sample: 200, interval: 1s}
mlflow:
  url: %s
  write_back: true
  trace_link: https://traces.example.com/?model={{.Model}}
  datasets: {folders: [%q]}
`, otlp, filepath.Join(dir, "baselines"), server, dir), 0o600))
	exporter, err := s.StartExporter(ctx, stack.ExporterConfig{Name: "exporter", Path: buildCommand(t, "modelquality-exporter"), Args: []string{"--config.file=" + config}})
	require.NoError(t, err)

	// The service knows nothing of Sightglass but an address for its spans.
	documented(t, filepath.Join(dir, "instrumented.py"))
	service := testtools.FreeAddress(t)
	_, port, err := net.SplitHostPort(service)
	require.NoError(t, err)
	start(ctx, t, stack.ProcessConfig{
		Name: "service", Path: python, Args: []string{"-c", serveScript, port, dir},
		Env:     []string{"PYTHONPATH=" + dir, "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + otlp, "OTEL_BSP_SCHEDULE_DELAY=200", "OTEL_BSP_MAX_QUEUE_SIZE=20000"},
		LogFile: filepath.Join(dir, "service.log"), ReadyURL: "http://" + service,
	})

	sink, slackURL, err := s.StartSlack(ctx, 1000)
	require.NoError(t, err)
	am, err := s.StartAlertmanager(ctx, stack.AlertmanagerConfig{Files: alertmanager.Files, SlackURL: slackURL, SpeedUp: float64(modelPace)})
	require.NoError(t, err)
	bundle, err := modelPace.Rules()
	require.NoError(t, err)
	files, err := bundle.WriteDir(filepath.Join(dir, "rules"))
	require.NoError(t, err)
	prometheus, err := s.StartPrometheus(ctx, stack.PrometheusConfig{
		Targets:   []stack.ScrapeTarget{{Job: "modelquality", Addresses: []string{exporter.Address}}},
		RuleFiles: files, Alertmanager: am.Address,
		ScrapeInterval: time.Second / 2, EvaluationInterval: time.Second / 2,
		LookbackDelta: modelPace.Duration(5 * time.Minute), ResendDelay: modelPace.Duration(time.Minute),
	})
	require.NoError(t, err)

	asking, stop := context.WithCancel(ctx)
	c := &customers{url: "http://" + service, rows: rows, traces: make(map[string]bool), shift: func(map[string]float64) {}}
	var wait sync.WaitGroup
	wait.Go(func() { c.run(asking) })
	defer func() {
		stop()
		wait.Wait()
	}()
	has := func(expr string) func() bool {
		return func() bool {
			require.NoError(t, c.healthy())
			vector, err := prometheus.Query(ctx, expr)
			require.NoError(t, err)
			return len(vector) > 0
		}
	}
	eventually(ctx, t, "the version is tied to its run and training data", has(fmt.Sprintf(
		`ml_model_info{model="wine",version="1",mlflow_run_id=%q,mlflow_experiment_id=%q,training_dataset="wine",training_digest=%q,stage="champion"}`,
		said.Run, said.Experiment, said.Digest)))
	eventually(ctx, t, "what is served is compared with the logged training data", has(
		fmt.Sprintf(`count(ml_model_field_baseline_values{model="wine",baseline="training",role="input"} == %d) == 13`, len(rows))))
	eventually(ctx, t, "evaluations are counted", has(`ml_model_evaluations_total{model="wine",version="1",evaluation="groundedness",result="pass"} > 0`))
	eventually(ctx, t, "an hour of the rules has passed", has(`model_field:ml_values:count1h{field="alcohol"} > 1000`))

	addFirstDay(ctx, t, prometheus, filepath.Join(dir, "baselines"))
	eventually(ctx, t, "the production baseline is frozen", has(`ml_model_baseline_frozen{model="wine",role="input"} == 1 and on (model) ml_model_field_baseline_values{baseline="production"}`))
	eventually(ctx, t, "drift is judged by the hour against production", has(`count(model_field:ml_drift:psi{field="alcohol",baseline="production"}) == 1`))
	require.False(t, has(`ALERTS{alertname=~"MLModel.*",alertstate="firing"}`)(), "nothing is wrong yet")

	// All values are in the learned range. Values beyond it would count as broken, which inhibits drift.
	c.set(func(row map[string]float64) { row["alcohol"] = 14 + (row["alcohol"]-13)/10 })
	m, err := sink.Wait(ctx, func(m slack.Message) bool { return strings.Contains(m.Attachments[0].Title, "] MLModelDrift: wine") })
	require.NoError(t, err)
	text := m.Render(200, false)
	require.Contains(t, text, "alcohol of wine version 1 drifted from its production baseline")
	require.Contains(t, text, "/#/experiments/"+said.Experiment+"/runs/"+said.Run)
	require.Subset(t, []string{"alcohol", "prediction", "confidence"}, drifted(ctx, t, prometheus), "only what was shifted, and what the model makes of it")
	var sent []string
	c.mu.Lock()
	for _, id := range regexp.MustCompile(`[0-9a-f]{32}`).FindAllString(strings.ReplaceAll(text, "%22", `"`), -1) {
		if c.traces[id] {
			sent = append(sent, id)
		}
	}
	c.mu.Unlock()
	require.NotEmpty(t, sent, "the message leads to a trace that the service has sent:\n%s", text)
	require.NoError(t, sink.LastRejection())
	requireTags(ctx, t, server, said.Run)
}

// addFirstDay stores the counts so far as those of yesterday, so that the first day of production is complete.
func addFirstDay(ctx context.Context, t *testing.T, prometheus *stack.Prometheus, folder string) {
	t.Helper()
	store, err := baseline.Open(baseline.Folder(folder), promslog.NewNopLogger(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	counted, err := prometheus.Query(ctx, `ml_model_field_values_total{model="wine",version="1"}`)
	require.NoError(t, err)
	addDay(ctx, t, store.Subject("model_inputs", "wine"), counted, "input")
	addDay(ctx, t, store.Subject("model", "wine@1"), counted, "output")
}

// addDay stores the counts of the fields of a role as those of yesterday.
func addDay(ctx context.Context, t *testing.T, subject *baseline.Subject, counted model.Vector, role string) {
	t.Helper()
	view, err := subject.View(ctx)
	require.NoError(t, err)
	d, err := view.Definition(ctx)
	require.NoError(t, err)
	counts := baseline.Counts{Definition: d.ID, Fields: make(map[string]map[string]int64)}
	for _, sample := range counted {
		if string(sample.Metric["role"]) != role {
			continue
		}
		field := string(sample.Metric["role"] + "/" + sample.Metric["field"])
		if counts.Fields[field] == nil {
			counts.Fields[field] = make(map[string]int64)
		}
		counts.Fields[field][string(sample.Metric["bin"])] = int64(sample.Value)
	}
	for _, field := range []string{"input/alcohol", "output/prediction"} {
		for _, n := range counts.Fields[field] {
			counts.Rows += n
		}
	}
	added, err := subject.AddDay(ctx, baseline.DayOf(time.Now().AddDate(0, 0, -1)), counts)
	require.NoError(t, err)
	require.True(t, added)
}

// drifted are the fields that are unlike a baseline.
func drifted(ctx context.Context, t *testing.T, prometheus *stack.Prometheus) []string {
	t.Helper()
	vector, err := prometheus.Query(ctx, `group by (field) (model_field:ml_drift:confirmed{model="wine"})`)
	require.NoError(t, err)
	var fields []string
	for _, sample := range vector {
		fields = append(fields, string(sample.Metric["field"]))
	}
	return fields
}

// requireTags checks the tags that the exporter set on the run.
func requireTags(ctx context.Context, t *testing.T, server, run string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server+"/api/2.0/mlflow/runs/get?run_id="+run, http.NoBody)
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var answer struct {
		Run struct {
			Data struct {
				Tags []struct{ Key, Value string }
			}
		}
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	tags := make(map[string]string)
	for _, tag := range answer.Run.Data.Tags {
		tags[tag.Key] = tag.Value
	}
	require.Equal(t, "https://traces.example.com/?model=wine", tags["sightglass.traces"])
	_, err = time.Parse(time.RFC3339, tags["sightglass.first_served"])
	require.NoError(t, err)
}
