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

// However many bad traces there are, the one that is shown changes at most once a minute, so that a day makes at most
// 1440 series of each reason, and a steady stream far fewer.
func TestTheShownTraceChangesAtMostOnceAMinute(t *testing.T) {
	for name, tc := range map[string]struct {
		bad     func(second int) float64
		most    int
		atLeast int
	}{
		"each worse than the last": {func(s int) float64 { return float64(s) }, 60, 55},
		"all alike":                {func(int) float64 { return 1 }, 12, 10},
		"each better":              {func(s int) float64 { return -float64(s) }, 12, 10},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace()
			var changes []int64
			last := ""
			start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).UnixNano()
			for second := range 3600 {
				now := start + int64(second)*int64(time.Second)
				p.offer(tc.bad(second), &Exemplar{Trace: trace(second), Run: "run", Now: now})
				shown, ok := p.current(now)
				require.True(t, ok)
				if shown.trace != last {
					last = shown.trace
					changes = append(changes, now)
				}
			}
			require.LessOrEqual(t, len(changes), tc.most)
			require.GreaterOrEqual(t, len(changes), tc.atLeast)
			for i := 1; i < len(changes); i++ {
				require.GreaterOrEqual(t, changes[i]-changes[i-1], int64(time.Minute))
			}
		})
	}
}

func TestTheWorstTraceIsShownUntilItIsOld(t *testing.T) {
	p := newPlace()
	minute := func(n int) int64 { return int64(n+1) * int64(time.Minute) }
	_, ok := p.current(minute(0))
	require.False(t, ok)
	require.False(t, func() bool { p.offer(9, &Exemplar{Now: minute(0)}); _, ok := p.current(minute(0)); return ok }(), "without a trace there is nothing to show")

	p.offer(3, &Exemplar{Trace: trace(1), Run: "", Now: minute(0)})
	p.offer(5, &Exemplar{Trace: trace(2), Run: "r2", Now: minute(0)})
	p.offer(4, &Exemplar{Trace: trace(3), Run: "", Now: minute(0)})
	shown, _ := p.current(minute(0))
	require.Equal(t, "01000002", shown.trace[:8], "the worst one")
	require.Equal(t, "r2", shown.run)

	p.offer(1, &Exemplar{Trace: trace(4), Run: "", Now: minute(3)})
	shown, _ = p.current(minute(3))
	require.Equal(t, "01000002", shown.trace[:8], "a less bad one does not replace it")
	p.offer(9, &Exemplar{Trace: trace(5), Run: "", Now: minute(4)})
	shown, _ = p.current(minute(4))
	require.Equal(t, "01000005", shown.trace[:8], "a worse one does")
	p.offer(1, &Exemplar{Trace: trace(6), Run: "", Now: minute(9)})
	shown, _ = p.current(minute(9))
	require.Equal(t, "01000006", shown.trace[:8], "as does any after five minutes")
	_, ok = p.current(minute(24) + 1)
	require.False(t, ok, "and after fifteen it is gone")
}

func observation() *convention.Observation {
	nan := math.NaN()
	return &convention.Observation{Trace: trace(1), QueueWait: nan, ForwardPass: nan, TimeToFirst: nan, Confidence: nan, Tokens: [convention.Directions]float64{nan, nan, nan, nan, nan}}
}

func TestCountingAllocatesNothingForWhatIsKnown(t *testing.T) {
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
