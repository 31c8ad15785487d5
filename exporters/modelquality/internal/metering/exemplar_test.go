package metering

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/convention"
	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

func trace(n int) otlp.TraceID { return otlp.TraceID{1, byte(n >> 16), byte(n >> 8), byte(n)} }

// However many bad traces there are, a day makes fewer than 100 series of a version, and none within a minute of another.
func TestWorstTracesChangeFewerThanAHundredTimesADay(t *testing.T) {
	const day = 24 * 3600
	for name, tc := range map[string]struct {
		bad     func(second int) float64
		every   int // seconds between two bad traces
		atLeast int // changes on the second day
	}{
		"each worse than the last": {func(s int) float64 { return float64(s) }, 1, 11},
		"all alike":                {func(int) float64 { return 1 }, 1, 11},
		"each better":              {func(s int) float64 { return -float64(s) }, 1, 11},
		"one by one, so that each is gone before the next": {func(int) float64 { return 1 }, 1200, 11},
		"one an hour": {func(int) float64 { return 1 }, 3600, 11},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTraceSlot()
			var changes []int
			last := ""
			start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()
			for second := range 2 * day {
				now := start + int64(second)*int64(time.Second)
				if second%tc.every == 0 {
					p.offer(tc.bad(second), &Exemplar{Trace: trace(second), Run: "run", Now: now})
				}
				exemplar, ok := p.current(now)
				if ok && exemplar.trace != last {
					last = exemplar.trace
					changes = append(changes, second)
				}
			}
			later := 0
			for i, at := range changes {
				if i > 0 {
					require.GreaterOrEqual(t, at-changes[i-1], 60)
				}
				within := 0
				for _, other := range changes[i:] {
					if other < at+day {
						within++
					}
				}
				require.Less(t, within*int(reasons), 100, "new series within a day, of all reasons")
				if at >= day {
					later++
				}
			}
			require.GreaterOrEqual(t, later, tc.atLeast)
		})
	}
}

func TestWorstTraceIsShownUntilItExpires(t *testing.T) {
	p := newTraceSlot()
	minute := func(n int) int64 { return int64(n+1) * int64(time.Minute) }
	_, ok := p.current(minute(0))
	require.False(t, ok)
	require.False(t, func() bool { p.offer(9, &Exemplar{Now: minute(0)}); _, ok := p.current(minute(0)); return ok }(), "without a trace there is nothing to show")

	p.offer(3, &Exemplar{Trace: trace(1), Run: "", Now: minute(0)})
	p.offer(5, &Exemplar{Trace: trace(2), Run: "r2", Now: minute(0)})
	p.offer(4, &Exemplar{Trace: trace(3), Run: "", Now: minute(0)})
	exemplar, _ := p.current(minute(0))
	require.Equal(t, "01000002", exemplar.trace[:8], "the worst one")
	require.Equal(t, "r2", exemplar.run.String())

	p.offer(1, &Exemplar{Trace: trace(4), Run: "", Now: minute(3)})
	exemplar, _ = p.current(minute(3))
	require.Equal(t, "01000002", exemplar.trace[:8], "a less bad one does not replace it")
	p.offer(9, &Exemplar{Trace: trace(5), Run: "", Now: minute(4)})
	exemplar, _ = p.current(minute(4))
	require.Equal(t, "01000005", exemplar.trace[:8], "a worse one does")
	for n := 5; n < 125; n++ {
		p.offer(1, &Exemplar{Trace: trace(n + 1), Run: "", Now: minute(n)})
		exemplar, _ = p.current(minute(n))
	}
	require.NotEqual(t, "01000005", exemplar.trace[:8], "as does any after two hours")
	_, ok = p.current(minute(139))
	require.True(t, ok)
	_, ok = p.current(minute(139) + 1)
	require.False(t, ok, "and 15 minutes after the last there is none")
}

func observation() *convention.Observation {
	nan := math.NaN()
	return &convention.Observation{Trace: trace(1), QueueWait: nan, ForwardPass: nan, TimeToFirst: nan, Confidence: nan}
}

func TestCountingKnownSeriesAllocatesNothing(t *testing.T) {
	m := New(Limits{Models: 2, Versions: 2, ExceptionTypes: 2, Features: 2, Details: 5}, exportertest.Env(t).Limit, nil, []Estimated{{Model: "fraud"}})
	o := observation()
	o.Duration, o.QueueWait, o.Confidence, o.Exception = 0.1, 0.05, 0.9, "ValueError"
	o.FeatureTimes = []convention.FeatureTime{{Name: "amount", Age: 3}}
	now := time.Now().UnixNano()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		s := m.Series("fraud", "3")
		s.Lock()
		s.Observe(o, Options{}, now)
		s.Unlock()
	}))
}
