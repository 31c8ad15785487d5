package exporter

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func prepared(key string) Prepared { return Prepare(gauge(key)) }

func TestPreparedFamiliesOfOneNameAreMerged(t *testing.T) {
	a, b, c := prepared("a"), prepared("b"), prepared("c")
	all := gatherers{a, b, c}
	for range 2 { // the second time shows whether the first changed one of them
		require.NoError(t, testutil.GatherAndCompare(all, strings.NewReader(`
# HELP test_value A value.
# TYPE test_value gauge
test_value{key="a"} 1
test_value{key="b"} 1
test_value{key="c"} 1
`)))
	}
	require.Len(t, a.families[0].Metric, 1)
}

func TestContradictoryFamiliesAreReported(t *testing.T) {
	var m Metrics
	m.Counter(prometheus.NewDesc("test_value", "A count.", nil, nil), 1)
	families, err := gatherers{prepared("a"), Prepare(m)}.Gather()
	require.EqualError(t, err, "test_value is a GAUGE (A value.) and also a COUNTER (A count.)")
	require.Len(t, families, 1, "the first one is served all the same")
}

func TestInvalidMetricIsReportedAtEveryScrape(t *testing.T) {
	var m Metrics
	m.Gauge(testDesc, 1) // a label is missing
	m.Gauge(testDesc, 1, "a")
	p := Prepare(m)
	for range 2 {
		families, err := gatherers{p}.Gather()
		require.ErrorContains(t, err, "make metric: ")
		require.Len(t, families, 1)
	}
}
