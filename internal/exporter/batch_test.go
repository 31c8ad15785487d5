package exporter

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

func TestSnapshotsShareIdentitiesOfSeries(t *testing.T) {
	desc := prometheus.NewDesc("of_columns", "A test.", []string{"dataset", "column"}, nil)
	var b Batch
	snapshot := func(columns ...string) (of map[string]*Identity) {
		of = make(map[string]*Identity)
		for i, c := range columns {
			b.Gauge(desc, float64(i), "orders", c)
		}
		for i, m := range b.Take() {
			var out dto.Metric
			require.NoError(t, m.Write(&out))
			require.Len(t, out.Label, 2)
			require.Equal(t, []string{"column", columns[i], "dataset", "orders"}, []string{out.Label[0].GetName(), out.Label[0].GetValue(), out.Label[1].GetName(), out.Label[1].GetValue()})
			require.InDelta(t, float64(i), out.Gauge.GetValue(), 0)
			of[columns[i]] = m.(*Constant).Identity()
		}
		return of
	}
	first := snapshot("a", "b", "c", "d")
	for name, columns := range map[string][]string{
		"the same":              {"a", "b", "c", "d"},
		"one more":              {"a", "new", "b", "c", "d"},
		"one less":              {"a", "c", "d"},
		"one in another place":  {"a", "b", "renamed", "d"},
		"another one each time": {"x", "y"},
	} {
		snapshot("a", "b", "c", "d")
		for c, identity := range snapshot(columns...) {
			if first[c] != nil {
				require.Equal(t, first[c].Labels(), identity.Labels(), name)
			}
		}
	}
	before, after := snapshot("a", "b", "c", "d"), snapshot("a", "new", "c", "d")
	for _, c := range []string{"a", "c", "d"} {
		require.Same(t, before[c], after[c])
	}
	bad := func() {
		b.Gauge(desc, 1, "orders")
		var out dto.Metric
		require.ErrorContains(t, b.Take()[0].Write(&out), "expected 2")
	}
	bad()
	bad()
}
