package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/demo/stack"
	"github.com/sightglass-ml/sightglass/instrument"
	"github.com/sightglass-ml/sightglass/internal/review"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// reviewers take responses once they are there; before that they have no time.
type reviewers struct {
	*httptest.Server
	there atomic.Bool

	mu    sync.Mutex
	asked int
	items []review.Item
}

func newReviewers(t *testing.T) *reviewers {
	t.Helper()
	r := new(reviewers)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+review.Path, func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.asked++
		if !r.there.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var item review.Item
		if err := json.NewDecoder(request.Body).Decode(&item); err != nil || request.Header.Get(review.IdempotencyHeader) != item.ID {
			t.Errorf("a review cannot be read: %v", err)
		}
		r.items = append(r.items, item)
	})
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func (r *reviewers) asks() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *reviewers) taken() []review.Item {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.items)
}

// answer is a service in Go: it answers once for each score, and says so to the exporter. What it sent has been taken
// when it returns.
func answer(ctx context.Context, t *testing.T, otlp string, scores ...float64) (traces []string) {
	t.Helper()
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+otlp+"/v1/traces")
	shutdown, err := instrument.Setup(ctx, instrument.SetupOptions{Service: "assistant", Logger: promslog.NewNopLogger()})
	require.NoError(t, err)
	defer func() { require.NoError(t, shutdown(ctx)) }()
	model, err := instrument.NewModel(instrument.ModelOptions{Name: "assistant", Version: "2", RunID: "0ff1ce"})
	require.NoError(t, err)
	for i, score := range scores {
		judged, inference := model.Start(ctx)
		inference.Tokens(812, 96)
		verdict := instrument.Evaluation{Name: "groundedness", Score: score, Explanation: "by the sources"}
		if i%2 == 0 {
			inference.Evaluate(verdict)
		}
		inference.End()
		if i%2 == 1 {
			model.Evaluate(judged, verdict)
		}
		traces = append(traces, inference.Span.SpanContext().TraceID().String())
	}
	return traces
}

func TestResponsesBelowTheGateAreReviewedOnceHoweverOftenTheExporterIsKilled(t *testing.T) {
	const kills = 50
	ctx := testContext(t)
	people := newReviewers(t)
	dir := t.TempDir()
	otlp, web := testtools.FreeAddress(t), testtools.FreeAddress(t)
	config := filepath.Join(dir, "modelquality.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "otlp: {grpc: \"off\", http: %q}\nreviews: {url: %q, max_backoff: 1s}\n", otlp, people.URL), 0o600))
	exporter := stack.ProcessConfig{
		Name: "exporter", Path: buildCommand(t, "modelquality-exporter"), Args: []string{"--config.file=" + config, "--web.listen-address=" + web},
		LogFile: filepath.Join(dir, "exporter.log"), ReadyURL: "http://" + web + "/-/ready",
	}

	want := make(map[string]float64)
	answers := func(scores ...float64) {
		t.Helper()
		for i, trace := range answer(ctx, t, otlp, scores...) {
			if scores[i] < 0.9 {
				want[trace] = scores[i]
			}
		}
	}
	for range kills {
		process, err := stack.StartProcess(ctx, exporter)
		require.NoError(t, err)
		answers(0.90, 0.89, 0.89, 0.90, 1, 0)
		process.Kill()
		<-process.Done()
	}
	require.Len(t, want, 3*kills)

	start(ctx, t, exporter)
	asked := people.asks()
	eventually(ctx, t, "what was kept is sent again", func() bool { return people.asks() > asked })
	require.Empty(t, people.taken())
	people.there.Store(true)
	answers(0.1, 0.90)
	eventually(ctx, t, "all of them arrive", func() bool { return len(people.taken()) >= len(want) })
	items := people.taken()
	got := make(map[string]float64)
	for _, item := range items {
		got[item.TraceID] = item.Score
	}
	require.Equal(t, want, got)
	require.Len(t, items, len(want), "each arrives once")
	item := items[0]
	require.Equal(t, "assistant", item.Model)
	require.Equal(t, "2", item.Version)
	require.Equal(t, "0ff1ce", item.MLflowRunID)
	require.Equal(t, "by the sources", item.Explanation)
	require.WithinDuration(t, time.Now(), item.Time, time.Hour)
}
