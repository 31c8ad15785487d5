package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// unreliable reviewers refuse a third of the requests, and close the connection of some accepted ones.
type unreliable struct {
	*httptest.Server
	mu    sync.Mutex
	taken map[string]review.Item
	again int // how often they received an item again
}

func newUnreliable(t *testing.T) *unreliable {
	t.Helper()
	u := &unreliable{taken: make(map[string]review.Item)}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		var item review.Item
		if err := json.NewDecoder(request.Body).Decode(&item); err != nil || item.Validate() != nil {
			if request.Context().Err() == nil && !errors.Is(err, context.Canceled) {
				w.WriteHeader(http.StatusServiceUnavailable) // A sender that was killed in the middle.
			}
			return
		}
		chance := rand.IntN(100)
		if chance < 30 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		if had, ok := u.taken[item.ID]; ok {
			u.again++
			if had.TraceID != item.TraceID || had.Score != item.Score {
				t.Errorf("item %s comes again as another: %+v and %+v", item.ID, had, item)
			}
			w.WriteHeader(http.StatusConflict)
			return
		}
		u.taken[item.ID] = item
		if chance < 35 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(u.Close)
	return u
}

// byTrace returns the scores of the accepted items by trace.
func (u *unreliable) byTrace() map[string]float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	scores := make(map[string]float64, len(u.taken))
	for _, item := range u.taken {
		scores[item.TraceID] = item.Score
	}
	return scores
}

// instance is one process, from its start to its kill, with what clients know of it.
type instance struct {
	number    int
	otlp, web string
	// begun inferences were sent, taken ones were answered with 200.
	begun, taken atomic.Int64
}

// scores of the inferences of one request. Half of them are below the gate.
var scores = []float64{0.89, 0.90, 1, 0.5}

// fleet are services that send each request again until it is taken, as OTLP asks them to.
type fleet struct {
	t       *testing.T
	life    atomic.Pointer[instance]
	stopped atomic.Bool
	all     sync.WaitGroup

	mu   sync.Mutex
	want map[string]float64 // the scores below the gate
}

func (f *fleet) start(ctx context.Context, services int) {
	for service := range services {
		f.all.Go(func() {
			client := &http.Client{Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for n := 0; ctx.Err() == nil && !f.stopped.Load(); n++ {
				f.deliver(ctx, client, f.request(service, n))
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
}

// pause makes traffic of what would be a flood.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// request is that of four inferences, each with its evaluation.
func (f *fleet) request(service, n int) []byte {
	traces := ptrace.NewTraces()
	list := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, score := range scores {
		s := list.AppendEmpty()
		id := pcommon.TraceID{0: 1, 1: byte(service), 2: byte(n >> 16), 3: byte(n >> 8), 4: byte(n), 15: byte(i + 1)}
		s.SetTraceID(id)
		s.SetSpanID(pcommon.SpanID{7: 1})
		s.SetName("answer")
		now := time.Now()
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(now.Add(-time.Millisecond)))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(now))
		s.Attributes().PutStr("ml.model.name", "assistant")
		s.Attributes().PutStr("ml.model.version", strconv.Itoa(f.life.Load().number))
		s.Attributes().PutDouble("ml.feature.amount", float64((n*len(scores)+i)%100))
		e := s.Events().AppendEmpty()
		e.SetName("gen_ai.evaluation.result")
		e.SetTimestamp(pcommon.NewTimestampFromTime(now))
		e.Attributes().PutStr("gen_ai.evaluation.name", "groundedness")
		e.Attributes().PutDouble("gen_ai.evaluation.score.value", score)
		if score < 0.9 {
			f.want[id.String()] = score
		}
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(traces).MarshalProto()
	if err != nil {
		f.t.Error(err)
	}
	return body
}

func (f *fleet) deliver(ctx context.Context, client *http.Client, body []byte) {
	for ctx.Err() == nil {
		l := f.life.Load()
		l.begun.Add(int64(len(scores)))
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.otlp+"/v1/traces", bytes.NewReader(body))
		if err != nil {
			f.t.Error(err)
			return
		}
		request.Header.Set("Content-Type", "application/x-protobuf")
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close() // The status is sufficient.
			switch response.StatusCode {
			case http.StatusOK:
				l.taken.Add(int64(len(scores)))
				return
			case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			default:
				f.t.Errorf("the exporter answers %s, after which nobody sends again", response.Status)
				return
			}
		}
		pause(ctx, 10*time.Millisecond)
	}
}

// page is one scrape: sums of families, and the bins of the feature by version.
type page struct {
	sums map[string]float64
	bins map[string][]string
}

func scrape(ctx context.Context, web string) (page, error) {
	p := page{make(map[string]float64), make(map[string][]string)}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+web+"/metrics", http.NoBody)
	if err != nil {
		return p, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return p, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return p, err
	}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			labels := make(map[string]string)
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			sum := name
			switch name {
			case "ml_model_field_values_total":
				p.bins[labels["version"]] = append(p.bins[labels["version"]], labels["bin"])
			case "ml_model_evaluations_total", "ml_model_reviews_outbox_items":
				sum += "/" + labels["result"] + labels["state"]
			}
			p.sums[sum] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return p, nil
}

// watch scrapes a life until it ends: it never publishes a number that its clients could not have caused. The bins of a
// version are those of all lives before.
func watch(ctx context.Context, t *testing.T, l *instance, bins map[string][]string) {
	for ctx.Err() == nil {
		least := float64(l.taken.Load())
		p, err := scrape(ctx, l.web)
		most := float64(l.begun.Load())
		if err != nil {
			return // It was killed.
		}
		if n := p.sums["ml_inference_requests_total"]; n < least || n > most {
			t.Errorf("life %d publishes %v inferences, and %v to %v were sent", l.number, n, least, most)
		}
		if n := p.sums["ml_model_evaluations_total/below_gate"]; n < least/2 || n > most/2 {
			t.Errorf("life %d publishes %v evaluations below the gate, and %v to %v were sent", l.number, n, least/2, most/2)
		}
		if n := p.sums["ml_model_field_values_total"]; n > most {
			t.Errorf("life %d publishes %v values of a feature, and at most %v were sent", l.number, n, most)
		}
		for version, now := range p.bins {
			if before, ok := bins[version]; ok && !equal(before, now) {
				t.Errorf("life %d has other bins of version %s: %q and %q", l.number, version, before, now)
			}
			bins[version] = now
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func equal(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }

// readable checks the store after a kill: all objects can be read, and no earlier object has changed.
func readable(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	now := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".tmp-") {
			return err
		}
		content, err := os.ReadFile(path)
		now[path] = string(content)
		return err
	})
	if !errors.Is(err, fs.ErrNotExist) {
		require.NoError(t, err)
	}
	for path, content := range before {
		require.Equal(t, content, now[path], path)
	}
	for path, content := range now {
		before[path] = content
	}
	store, err := baseline.Open(baseline.Folder(dir), nil, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	ids, err := store.List(t.Context())
	require.NoError(t, err)
	fields := 0
	for _, id := range ids {
		view, err := store.Subject(id.Kind, id.Name).View(t.Context())
		require.NoError(t, err)
		d, err := view.Definition(t.Context())
		require.NoError(t, err)
		fields += len(d.Fields)
		if _, err := view.Training(t.Context()); !errors.Is(err, baseline.ErrNotFound) {
			require.NoError(t, err)
		}
	}
	if len(ids) > 0 {
		require.Positive(t, fields)
	}
}

func TestTheModelExporterIsKilledAtAnyMoment(t *testing.T) {
	const kills = 30
	ctx := testContext(t)
	people := newUnreliable(t)
	dir := t.TempDir()
	binary, store := buildCommand(t, "modelquality-exporter"), filepath.Join(dir, "baselines")
	training := "amount\n"
	for n := range 1000 {
		training += strconv.Itoa(n%100) + "\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "training.csv"), []byte(training), 0o600))
	config := filepath.Join(dir, "modelquality.yaml")

	// Each process has its own addresses, so that requests to one cannot reach the next.
	launch := func(number int) (*instance, *stack.Process) {
		t.Helper()
		l := &instance{number: number, otlp: testtools.FreeAddress(t), web: testtools.FreeAddress(t)}
		require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `
otlp: {grpc: "off", http: %q}
baseline_store: {type: FILESYSTEM, config: {directory: %q}}
baselines: {sample: 20, interval: 1s}
sources: {files: {type: duckdb, threads: 1}}
models: [{name: assistant, training: {source: files, files: training.csv}}]
reviews: {url: %q, max_backoff: 1s}
`, l.otlp, store, people.URL), 0o600))
		p, err := stack.Launch(stack.ProcessConfig{
			Name: "exporter", Path: binary, Args: []string{"--config.file=" + config, "--web.listen-address=" + l.web},
			LogFile: filepath.Join(dir, "exporter.log"), ReadyURL: "http://" + l.web + "/-/ready",
		})
		require.NoError(t, err)
		return l, p
	}
	ready := func(p *stack.Process) {
		t.Helper()
		bounded, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it was not ready within a minute"))
		defer cancel()
		require.NoError(t, p.WaitReady(bounded))
	}

	services := &fleet{t: t, want: make(map[string]float64)}
	objects, bins := make(map[string]string), make(map[string][]string)
	for number := range kills {
		l, p := launch(number)
		services.life.Store(l)
		if number == 0 {
			services.start(ctx, 3)
			defer services.all.Wait()
			defer services.stopped.Store(true)
		}
		// Every third life may die while it starts; the others have served by then.
		if number%3 != 0 {
			ready(p)
			eventually(ctx, t, "requests are taken", func() bool { return l.taken.Load() > 0 })
		}
		watching, stop := context.WithCancel(ctx)
		var watcher sync.WaitGroup
		if number%3 != 0 {
			watcher.Go(func() { watch(watching, t, l, bins) })
		}
		pause(ctx, time.Duration(rand.Int64N(int64(400*time.Millisecond))))
		p.Kill()
		stop()
		watcher.Wait()
		readable(t, store, objects)
	}

	last, p := launch(kills)
	t.Cleanup(func() { require.NoError(t, p.Stop(), p.LogTail()) })
	services.life.Store(last)
	ready(p)
	look := func() page {
		t.Helper()
		p, err := scrape(ctx, last.web)
		require.NoError(t, err)
		return p
	}
	eventually(ctx, t, "the last version has bins too", func() bool { return len(look().bins[strconv.Itoa(kills)]) > 0 })
	services.stopped.Store(true)
	services.all.Wait()
	var final page
	eventually(ctx, t, "nothing waits any more", func() bool {
		final = look()
		return final.sums["ml_model_reviews_outbox_items/pending"] == 0
	})
	require.Equal(t, services.want, people.byTrace())
	require.Len(t, people.taken, len(services.want), "each of them once")
	require.Zero(t, final.sums["ml_model_reviews_outbox_items/rejected"])
	require.EqualValues(t, last.taken.Load(), final.sums["ml_inference_requests_total"], "it counts what it took, and nothing of earlier lives")
	readable(t, store, objects)
	require.NotEmpty(t, objects)
	t.Logf("%d items, %d of them sent again; %d objects in the store, bins of %d versions", len(services.want), people.again, len(objects), len(bins))
}
