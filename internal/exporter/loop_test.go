package exporter

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/sightglass-ml/sightglass/instrument/telemetry"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

// newTestEnv returns an environment and its log. Inside a synctest bubble
// all of its time is the bubble's.
func newTestEnv(t *testing.T) (*Env, *testtools.Log) {
	log := &testtools.Log{}
	config := &promslog.Config{Writer: log, Level: promslog.NewLevel()}
	require.NoError(t, config.Level.Set("debug"))
	tel := &telemetry.Telemetry{Meters: metricnoop.NewMeterProvider(), Tracers: tracenoop.NewTracerProvider()}
	return NewEnv(context.Background(), promslog.New(config), tel, limit.NewDropped()), log
}

// status checks the published status of the loops of env, and lints it.
func status(t *testing.T, env *Env, want string) {
	t.Helper()
	require.NoError(t, testutil.CollectAndCompare(env, strings.NewReader(want),
		"sightglass_collector_success", "sightglass_collector_duration_seconds", "sightglass_collector_last_success_timestamp_seconds"))
	problems, err := testutil.CollectAndLint(env)
	require.NoError(t, err)
	require.Empty(t, problems)
}

const statusHelp = `# HELP sightglass_collector_success Whether the last run of the collector succeeded.
# TYPE sightglass_collector_success gauge
`

func TestALoopRunsAtOnceAndThenAtItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, _ := newTestEnv(t)
		var starts []time.Duration
		epoch := time.Now()
		require.NoError(t, env.Loop(Loop{Name: "a", Interval: time.Minute, Collect: func(context.Context) error {
			starts = append(starts, time.Since(epoch))
			time.Sleep(10 * time.Second)
			return nil
		}}))
		require.EqualError(t, env.Ready(), "1 of 1 collectors have not run yet, a among them")
		time.Sleep(10*time.Minute + 30*time.Second)
		require.NoError(t, env.Ready())
		require.NoError(t, env.Close(t.Context()))

		require.InDelta(t, 11, len(starts), 1)
		require.Zero(t, starts[0])
		for i := 1; i < len(starts); i++ {
			require.InDelta(t, 60, (starts[i] - starts[i-1]).Seconds(), 60*jitter+0.001, "from start to start, with jitter")
		}
	})
}

func TestTheStatusOfALoopFollowsItsLastRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, log := newTestEnv(t)
		var fail atomic.Bool
		require.NoError(t, env.Loop(Loop{Name: "a", Interval: time.Minute, Collect: func(context.Context) error {
			time.Sleep(2 * time.Second)
			if fail.Load() {
				return errors.New("connection refused")
			}
			return nil
		}}))
		status(t, env, "") // nothing is known before the first run

		time.Sleep(3 * time.Second)
		status(t, env, `# HELP sightglass_collector_duration_seconds Duration of the last run of the collector.
# TYPE sightglass_collector_duration_seconds gauge
sightglass_collector_duration_seconds{collector="a"} 2
# HELP sightglass_collector_last_success_timestamp_seconds Time of the end of the last successful run of the collector.
# TYPE sightglass_collector_last_success_timestamp_seconds gauge
sightglass_collector_last_success_timestamp_seconds{collector="a"} 9.46684802e+08
`+statusHelp+`sightglass_collector_success{collector="a"} 1
`)
		fail.Store(true)
		time.Sleep(4 * time.Minute)
		status(t, env, `# HELP sightglass_collector_duration_seconds Duration of the last run of the collector.
# TYPE sightglass_collector_duration_seconds gauge
sightglass_collector_duration_seconds{collector="a"} 2
# HELP sightglass_collector_last_success_timestamp_seconds Time of the end of the last successful run of the collector.
# TYPE sightglass_collector_last_success_timestamp_seconds gauge
sightglass_collector_last_success_timestamp_seconds{collector="a"} 9.46684802e+08
`+statusHelp+`sightglass_collector_success{collector="a"} 0
`)
		fail.Store(false)
		time.Sleep(2 * time.Minute)
		require.NoError(t, env.Close(t.Context()))
		require.Equal(t, 1, strings.Count(log.String(), `level=ERROR`), "a lasting failure is logged once:\n%s", log)
		require.Contains(t, log.String(), `msg="Collector failed" collector=a err="connection refused"`)
		require.Equal(t, 1, strings.Count(log.String(), `msg="Collector recovered"`))
	})
}

func TestPanicFailsOnlyItsLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, log := newTestEnv(t)
		require.NoError(t, env.Loop(Loop{Name: "bad", Interval: time.Minute, Collect: func(context.Context) error {
			var at []int
			at[len(at)] = 1
			return nil
		}}))
		require.NoError(t, env.Loop(Loop{Name: "good", Interval: time.Minute, Collect: func(context.Context) error { return nil }}))
		time.Sleep(3 * time.Minute)
		require.NoError(t, env.Close(t.Context()))
		require.NoError(t, testutil.CollectAndCompare(env, strings.NewReader(statusHelp+`sightglass_collector_success{collector="bad"} 0
sightglass_collector_success{collector="good"} 1
`), "sightglass_collector_success"))
		require.Contains(t, log.String(), "panicked: runtime error: index out of range [0] with length 0")
		require.Contains(t, log.String(), "loop_test.go", "the stack is logged")
	})
}

func TestRunFailsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, log := newTestEnv(t)
		require.NoError(t, env.Loop(Loop{Name: "slow", Interval: time.Hour, Timeout: time.Minute, Collect: func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("query cancelled")
		}}))
		require.NoError(t, env.Loop(Loop{Name: "late", Interval: time.Hour, Timeout: time.Minute, Collect: func(context.Context) error {
			time.Sleep(time.Minute + grace/2)
			return nil
		}}))
		time.Sleep(2 * time.Minute)
		require.NoError(t, env.Close(t.Context()))
		require.Contains(t, log.String(), `collector=slow err="query cancelled"`, "its own error says more than that it was late")
		require.Contains(t, log.String(), `collector=late err="took longer than 1m0s"`)
		require.NoError(t, testutil.CollectAndCompare(env, strings.NewReader(statusHelp+`sightglass_collector_success{collector="late"} 0
sightglass_collector_success{collector="slow"} 0
`), "sightglass_collector_success"))
	})
}

func TestRunPastItsDeadlineBlocksTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, log := newTestEnv(t)
		release := make(chan struct{})
		var running, most, runs atomic.Int32
		require.NoError(t, env.Loop(Loop{Name: "stuck", Interval: time.Minute, Collect: func(context.Context) error {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			if runs.Add(1) == 1 {
				<-release
			}
			return nil
		}}))
		time.Sleep(time.Hour)
		require.NoError(t, env.Ready(), "a stuck source must not keep the process unready")
		require.NoError(t, testutil.CollectAndCompare(env, strings.NewReader(statusHelp+`sightglass_collector_success{collector="stuck"} 0
`), "sightglass_collector_success"))
		require.Contains(t, log.String(), `err="exceeded its timeout of 1m0s and is still running"`)
		require.EqualValues(t, 1, runs.Load())

		close(release)
		time.Sleep(2 * time.Minute)
		require.NoError(t, env.Close(t.Context()))
		require.Greater(t, runs.Load(), int32(1), "it goes on once the run is gone")
		require.EqualValues(t, 1, most.Load())
		require.NoError(t, testutil.CollectAndCompare(env, strings.NewReader(statusHelp+`sightglass_collector_success{collector="stuck"} 1
`), "sightglass_collector_success"))
	})
}

func TestCloseDoesNotWaitForStuckWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, _ := newTestEnv(t)
		release := make(chan struct{})
		require.NoError(t, env.Loop(Loop{Name: "stuck", Interval: time.Minute, Collect: func(context.Context) error {
			<-release
			return nil
		}}))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		require.EqualError(t, env.Close(ctx), "background work did not stop within the timeout; abandoned")
		require.Equal(t, 10*time.Second, time.Since(start))
		close(release) // the bubble wants every goroutine to end
	})
}

func TestStoppedRunIsNotAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, log := newTestEnv(t)
		require.NoError(t, env.Loop(Loop{Name: "a", Interval: time.Minute, Collect: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}))
		time.Sleep(time.Second)
		require.NoError(t, env.Close(t.Context()))
		status(t, env, "")
		require.Empty(t, log.String())
	})
}

func TestLoopOptionsAreChecked(t *testing.T) {
	env, _ := newTestEnv(t)
	defer func() { require.NoError(t, env.Close(context.Background())) }()
	collect := func(context.Context) error { return nil }
	for name, l := range map[string]Loop{
		"no name":             {Interval: time.Minute, Collect: collect},
		"no interval":         {Name: "a", Collect: collect},
		"a negative interval": {Name: "a", Interval: -1, Collect: collect},
		"a negative timeout":  {Name: "a", Interval: 1, Timeout: -1, Collect: collect},
		"nothing to do":       {Name: "a", Interval: 1},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, env.Loop(l), "needs a name, a positive interval") })
	}
	require.NoError(t, env.Loop(Loop{Name: "twice", Interval: time.Hour, Collect: collect}))
	require.EqualError(t, env.Loop(Loop{Name: "twice", Interval: time.Hour, Collect: collect}), `exporter: there are two loops "twice"`)
}

func TestNameOfAStoppedLoopCanBeReused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, _ := newTestEnv(t)
		var first, second, other atomic.Int64
		count := func(n *atomic.Int64) func(context.Context) error {
			return func(context.Context) error { n.Add(1); return nil }
		}
		stop, err := env.StartLoop(Loop{Name: "a", Interval: time.Minute, Collect: count(&first)})
		require.NoError(t, err)
		require.NoError(t, env.Loop(Loop{Name: "b", Interval: time.Minute, Collect: count(&other)}))
		synctest.Wait()
		require.NoError(t, env.Ready())
		require.True(t, stop(t.Context()))
		require.NoError(t, env.Loop(Loop{Name: "a", Interval: time.Minute, Collect: count(&second)}))
		require.NoError(t, env.Ready(), "what a reload adds does not take readiness back")
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 1, first.Load())
		require.Greater(t, second.Load(), int64(8))
		require.Greater(t, other.Load(), int64(8))

		hangs, err := env.StartLoop(Loop{Name: "c", Interval: time.Minute, Collect: func(context.Context) error { time.Sleep(time.Hour); return nil }})
		require.NoError(t, err)
		synctest.Wait()
		late, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.False(t, hangs(late), "it is left behind")
		time.Sleep(2 * time.Hour)
		require.NoError(t, env.Close(t.Context()))
	})
}
