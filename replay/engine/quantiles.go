package engine

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// bucketed is a histogram by its classic buckets, in the order of their bounds.
type bucketed struct {
	metric  labels.Labels
	buckets []bucket
}

type bucket struct {
	bound float64
	v     []float64
}

// histogramQuantile is histogram_quantile of classic buckets. The quantile of a step is Prometheus's own function.
func (c columns) histogramQuantile(e *parser.Call) ([]column, error) {
	q, err := number(e.Args[0])
	if err != nil {
		return nil, err
	}
	in, err := c.vector(e.Args[1])
	if err != nil {
		return nil, err
	}
	histograms := histogramsOf(in)
	out := newCollector(len(histograms))
	var now, before promql.Buckets
	for _, h := range histograms {
		v := c.view.memory.column(len(c.view.times))
		last := absent
		before = before[:0]
		for k := range v {
			now = now[:0]
			for _, b := range h.buckets {
				if x := b.v[k]; !isAbsent(x) {
					now = append(now, promql.Bucket{UpperBound: b.bound, Count: x})
				}
			}
			if !slices.Equal(now, before) {
				before = append(before[:0], now...)
				if last = absent; len(now) > 0 {
					last, _, _, _, _, _ = promql.BucketQuantile(q, now) // Which may change the buckets.
				}
			}
			v[k] = last
		}
		out.add(h.metric, v)
	}
	return out.done()
}

// histogramsOf returns the histograms that the bucket series form. As in Prometheus, it ignores series whose le is not a number.
func histogramsOf(in []column) []bucketed {
	var all []bucketed
	at := make(map[string]int)
	var key []byte
	for _, col := range in {
		bound, err := strconv.ParseFloat(col.metric.Get(model.BucketLabel), 64)
		if err != nil || math.IsNaN(bound) {
			continue
		}
		key = col.metric.BytesWithoutLabels(key, model.BucketLabel)
		i, ok := at[string(key)]
		if !ok {
			i = len(all)
			at[string(key)] = i
			all = append(all, bucketed{metric: labels.NewBuilder(col.metric).Del(model.MetricNameLabel, model.BucketLabel).Labels()})
		}
		all[i].buckets = append(all[i].buckets, bucket{bound, col.v})
	}
	for _, h := range all {
		slices.SortStableFunc(h.buckets, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	}
	return all
}
