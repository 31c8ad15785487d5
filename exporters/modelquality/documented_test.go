package modelquality

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// documented are the blocks of Python in docs/instrumentation.md: those of one module, and the application.
func documented(t *testing.T) (module, app string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testtools.Root(t), "docs", "instrumentation.md"))
	require.NoError(t, err)
	var blocks []string
	for _, part := range strings.Split(string(page), "```python\n")[1:] {
		code, _, closed := strings.Cut(part, "```")
		require.True(t, closed)
		blocks = append(blocks, code)
	}
	require.Len(t, blocks, 5, "a module of four blocks, and an application")
	return strings.Join(blocks[:4], "\n\n"), blocks[4]
}

// python is a program that imports the documented module and sends to the exporter. Warnings of scikit-learn fail it.
func (w *world) python(dir, module string, arguments ...string) *exec.Cmd {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(filepath.Join(dir, "instrumented.py"), []byte(module), 0o600))
	receiver := httptest.NewServer(w.OTLP())
	w.t.Cleanup(receiver.Close)
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	w.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, testtools.Path(w.t, "python/bin/python"), append([]string{"-W", "error::UserWarning"}, arguments...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_ENDPOINT="+receiver.URL, "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
	return cmd
}

func TestPythonExampleOfTheDocsIsCounted(t *testing.T) {
	t.Parallel()
	const classifier = `
import pandas as pd
from instrumented import infer, judge, provider
from sklearn.linear_model import LogisticRegression
names = ["f%d" % i for i in range(FEATURES)]
rows = pd.DataFrame([[i % 2] * len(names) for i in range(10)], columns=names)
model = LogisticRegression().fit(rows, ["no", "yes"] * 5)
answer, context = infer(model, "fraud", "7", {name: 1 for name in names}, queued_at=0)
assert answer == "yes", answer
judge(context, "fraud", "7", "groundedness", 0.5)
try:
    infer(model, "fraud", "7", {name: "a word" for name in names})
except ValueError:
    pass
else:
    raise AssertionError("a word is no number")
provider.shutdown()
`
	for name, test := range map[string]struct {
		program string
		change  func(module string) string
		want    []string
	}{
		"a classifier": {
			program: strings.Replace(classifier, "FEATURES", "3", 1),
			want: []string{
				requests("fraud", "7", "ok", 1), requests("fraud", "7", "error", 1), `ml_inference_exceptions_total{model="fraud",type="ValueError",version="7"} 1`,
				`ml_model_confidence_count{model="fraud",version="7"} 1`, `ml_inference_queue_wait_seconds_count{model="fraud",version="7"} 1`,
				`ml_inference_forward_pass_seconds_count{model="fraud",version="7"} 1`, `ml_model_evaluations_total{evaluation="groundedness",model="fraud",result="below_gate",version="7"} 1`,
			},
		},
		"a classifier of 300 features": {
			program: strings.Replace(classifier, "FEATURES", "300", 1),
			want:    []string{requests("fraud", "7", "ok", 1), `sightglass_otlp_truncated_spans_total 0`, `ml_model_confidence_count{model="fraud",version="7"} 1`},
		},
		"a classifier of 300 features under an SDK that keeps 128": {
			program: strings.Replace(classifier, "FEATURES", "300", 1),
			change: func(module string) string {
				return strings.Replace(module, "max_span_attributes=1024", "max_span_attributes=128", 1)
			},
			want: []string{requests("fraud", "7", "ok", 1), `sightglass_otlp_truncated_spans_total 2`, `ml_model_confidence_count{model="fraud",version="7"} 1`},
		},
		"a regressor": {
			program: `
import pandas as pd
from instrumented import estimate, provider
from sklearn.linear_model import LinearRegression
model = LinearRegression().fit(pd.DataFrame({"rooms": [1, 2, 3]}), [100, 200, 300])
assert abs(estimate(model, "rent", "2", {"rooms": 4}) - 400) < 1e-6
provider.shutdown()
`,
			want: []string{requests("rent", "2", "ok", 1)},
		},
		"a language model": {
			program: `
from types import SimpleNamespace as Object
from instrumented import chat, provider

class RateLimitError(Exception):
    pass

def create(model, messages):
    if messages == "refuse":
        raise RateLimitError()
    return Object(id="1", model="gpt-4o-2024-08-06", usage=Object(prompt_tokens=11, completion_tokens=7))

client = Object(chat=Object(completions=Object(create=create)))
assert chat(client, "gpt-4o", "hello").id == "1"
try:
    chat(client, "gpt-4o", "refuse")
except RateLimitError:
    pass
provider.shutdown()
`,
			want: []string{
				requests("gpt-4o", "gpt-4o-2024-08-06", "ok", 1), requests("gpt-4o", "gpt-4o-2024-08-06", "rejected", 1),
				`ml_inference_tokens_total{direction="input",model="gpt-4o",version="gpt-4o-2024-08-06"} 11`,
				`ml_inference_tokens_total{direction="output",model="gpt-4o",version="gpt-4o-2024-08-06"} 7`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			module, _ := documented(t)
			if test.change != nil {
				changed := test.change(module)
				require.NotEqual(t, module, changed)
				module = changed
			}
			w := newWorld(t, "evaluations: {groundedness: {gate: 0.9}}\n")
			output, err := w.python(t.TempDir(), module, "-c", test.program).CombinedOutput()
			require.NoError(t, err, string(output))
			for _, line := range test.want {
				w.requireMetric(line)
			}
		})
	}
}

// The images of scikit-learn's digits are the embeddings: 64 numbers each. Then a scanner shows white as black.
func TestEmbeddingExampleOfTheDocsIsCompared(t *testing.T) {
	t.Parallel()
	module, _ := documented(t)
	w := newWorld(t, "baseline_store: {type: FILESYSTEM, config: {directory: "+t.TempDir()+"}}\nbaselines: {sample: 900}\n")
	send := func(images string) {
		output, err := w.python(t.TempDir(), module, "-c", strings.Replace(`
from instrumented import embed, provider
from sklearn.datasets import load_digits

class Images:
    def encode(self, image):
        return image

for image in IMAGES:
    assert len(embed(Images(), "digits", "1", image)) == 64
provider.shutdown()
`, "IMAGES", images, 1)).CombinedOutput()
		require.NoError(t, err, string(output))
	}
	send("load_digits().data[:900]")
	require.NoError(t, w.keeper.Cycle(t.Context()))
	learned := w.bins("digits", "embedding.distance")
	send("load_digits().data[900:]")
	same := w.bins("digits", "embedding.distance").since(learned)
	send("16 - load_digits().data[:400]")
	turned := w.bins("digits", "embedding.distance").since(learned).since(same)
	require.Less(t, psi(t, same, learned), 0.2)
	require.Greater(t, psi(t, turned, learned), 2.0)
	w.requireMetric(`sightglass_otlp_refused_values_total{value="embedding"} 0`)
	w.requireMetric(`ml_model_embedding_mismatches_total{field="embedding.distance",model="digits",version="1"} 0`)
}

func TestFastAPIExampleOfTheDocsIsCounted(t *testing.T) {
	t.Parallel()
	module, app := documented(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app.py"), []byte(app), 0o600))
	address := testtools.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	w := newWorld(t, "")
	train := w.python(dir, module, "-c", `
import joblib, pandas as pd
from sklearn.linear_model import LogisticRegression
joblib.dump(LogisticRegression().fit(pd.DataFrame({"alcohol": [1.0, 2.0] * 5}), ["dry", "sweet"] * 5), "wine.joblib")
`)
	output, err := train.CombinedOutput()
	require.NoError(t, err, string(output))

	server := w.python(dir, module, "-m", "uvicorn", "app:app", "--port", port)
	log := new(testtools.Log)
	server.Stdout, server.Stderr = log, log
	require.NoError(t, server.Start())
	ask := func(row string) (int, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/predict", strings.NewReader(row))
		if err != nil {
			return 0, err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	require.Eventually(t, func() bool {
		status, err := ask(`{"alcohol": "no number"}`)
		return err == nil && status == http.StatusUnprocessableEntity
	}, time.Minute, 100*time.Millisecond, "the application answers")
	for range 5 {
		status, err := ask(`{"alcohol": 2}`)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status, log.String())
	}
	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	_ = server.Wait() // uvicorn ends with the signal's status
	w.requireMetric(requests("wine", "1", "ok", 5))
}
