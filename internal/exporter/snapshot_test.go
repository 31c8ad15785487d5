package exporter

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

var testDesc = prometheus.NewDesc("test_value", "A value.", []string{"key"}, nil)

func gauge(key string) []prometheus.Metric {
	var m Metrics
	m.Gauge(testDesc, 1, key)
	return m
}

func TestSnapshotIsServedUntilItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Snapshot
		require.Zero(t, testutil.CollectAndCount(&s), "empty before the first run")
		s.Set(gauge("a"), time.Minute)
		time.Sleep(time.Minute - time.Nanosecond)
		require.Equal(t, 1, testutil.CollectAndCount(&s))
		time.Sleep(time.Nanosecond)
		require.Zero(t, testutil.CollectAndCount(&s), "absent beats stale")
		require.Empty(t, s.set.byKey, "an expired one holds no memory")

		s.Set(gauge("a"), time.Minute)
		s.Clear()
		require.Zero(t, testutil.CollectAndCount(&s))
		s.Set(gauge("a"), 0)
		require.Zero(t, testutil.CollectAndCount(&s), "a snapshot that is valid for no time is never served")
	})
}

func TestSnapshotsOfSeveralSourcesExpireOnTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Snapshots
		s.Set("a", gauge("a"), time.Minute)
		time.Sleep(30 * time.Second)
		s.Set("b", gauge("b"), time.Minute)
		s.Set("c", gauge("c"), time.Minute)
		require.Equal(t, 3, testutil.CollectAndCount(&s))
		s.Delete("c")
		s.Delete("never there")
		time.Sleep(30 * time.Second)
		require.Equal(t, 1, testutil.CollectAndCount(&s), "only b is left")
	})
}

func TestSlowScrapeDoesNotDelayTheSource(*testing.T) {
	var s Snapshots
	s.Set("a", gauge("a"), time.Hour)
	scrape := make(chan prometheus.Metric) // nobody reads yet
	done := make(chan struct{})
	go func() {
		s.Collect(scrape)
		close(done)
	}()
	first := gauge("b")
	s.Set("b", first, time.Hour) // would hang if the scrape held the lock
	for open := true; open; {
		select {
		case <-scrape:
		case <-done:
			open = false
		}
	}
}

func TestLabelsOfAnyBytesCanBeExposed(t *testing.T) {
	var m Metrics
	m.Gauge(testDesc, 2, "caf\xe9")
	m.Counter(testDesc, 3, "ok")
	m.Gauge(testDesc, 1) // a label is missing: a mistake in the code
	require.Len(t, m, 3)
	var out dto.Metric
	require.NoError(t, m[0].Write(&out))
	require.Equal(t, "caf\uFFFD", out.Label[0].GetValue())
	require.NoError(t, m[1].Write(&out))
	require.InDelta(t, 3, out.Counter.GetValue(), 0)
	require.ErrorContains(t, m[2].Write(&out), "make metric: ")
}

func TestHistogramsAreNativeWithClassicBucketsBeside(t *testing.T) {
	h := prometheus.NewHistogram(HistogramOpts("test_duration_seconds", "A duration.", []float64{0.1, 1}))
	h.Observe(0.5)
	var out dto.Metric
	require.NoError(t, h.Write(&out))
	require.Len(t, out.Histogram.Bucket, 2)
	require.NotEmpty(t, out.Histogram.PositiveSpan)
	require.EqualValues(t, 3, out.Histogram.GetSchema(), "the schema whose buckets grow by at most 1.1")
}
