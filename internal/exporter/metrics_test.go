package exporter

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestMetricCopiesItsLabelValues(t *testing.T) {
	labels := []string{"a"}
	var m Metrics
	m.Gauge(testDesc, 1, labels...)
	labels[0] = "b"
	m.Gauge(testDesc, 1, labels...)
	var s Snapshot
	s.Set(m, time.Minute)
	require.Equal(t, 2, testutil.CollectAndCount(&s), "the caller may change its slice and use it again")
}
