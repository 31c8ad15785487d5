package exporter

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
)

// newTestSupervisor supervises instances that are configured by a word. The word
// "never" makes one that does not become ready.
func newTestSupervisor(t *testing.T, word *atomic.Value) *supervisor[string] {
	t.Helper()
	env, _ := newTestEnv(t)
	spec, err := Spec[string]{
		Name: "test_exporter", DefaultAddress: ":0",
		Load: func(string) (string, error) { return word.Load().(string), nil },
		Start: func(_ context.Context, env *Env, cfg string) (Instance, error) {
			s := &Snapshot{}
			return s, env.Loop(Loop{Name: cfg, Interval: time.Hour, Collect: func(ctx context.Context) error {
				if cfg == "never" {
					<-ctx.Done()
					return ctx.Err()
				}
				s.Set(gauge(cfg), 3*time.Hour)
				return nil
			}})
		},
	}.complete()
	require.NoError(t, err)
	return &supervisor[string]{
		spec: spec, logger: env.Logger, self: newSelfMetrics(spec.Name),
		tel: &telemetry.Telemetry{Meters: env.Meters, Tracers: env.Tracers},
	}
}

func TestReloadDoesNotWaitForADownSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var word atomic.Value
		word.Store("one")
		s := newTestSupervisor(t, &word)
		require.NoError(t, s.start(t.Context()))
		old := s.current.Load()
		time.Sleep(time.Second)

		word.Store("never")
		start := time.Now()
		require.NoError(t, s.reload(t.Context()))
		require.Equal(t, readyWait, time.Since(start))
		require.NotSame(t, old, s.current.Load())
		require.Error(t, old.env.Context().Err(), "the old instance is stopped")
		require.Error(t, s.current.Load().ready())
		require.InDelta(t, 1, testutil.ToFloat64(s.self.reloadOK), 0, "the configuration itself was good")
		s.close(t.Context())
	})
}

func TestTheEndOfTheProcessCutsAReloadShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var word atomic.Value
		word.Store("one")
		s := newTestSupervisor(t, &word)
		require.NoError(t, s.start(t.Context()))
		word.Store("never")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		require.NoError(t, s.reload(ctx))
		require.Equal(t, 3*time.Second, time.Since(start))
		s.close(ctx)
		require.Error(t, s.current.Load().env.Context().Err())
	})
}

func TestInstanceOutlivesItsStartContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var word atomic.Value
		word.Store("one")
		s := newTestSupervisor(t, &word)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, s.start(ctx))
		cancel()
		time.Sleep(time.Second)
		require.NoError(t, s.current.Load().env.Context().Err(), "requests under way still need it")
		require.Equal(t, 1, testutil.CollectAndCount(s.instance()))
		s.close(ctx)
	})
}

func FuzzMetricsPath(f *testing.F) {
	for _, seed := range []string{"/metrics", "/", "/a/b", "/{x}", "//", "/a/../b", "/-/ready", "/a b", "/\x00", "/é", "/%zz", "/.", "/-"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, p string) {
		if !validMetricsPath(p) {
			return
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/-/ready", http.NotFound)
		mux.HandleFunc(p, http.NotFound) // panics if it is not a plain path
	})
}
