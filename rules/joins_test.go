package rules_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
)

// scraped are the series of a file in the exposition format, as Prometheus stores them of a target. With honorLabels, a label of the
// series wins over that of the target; else it is stored as exported_<name>.
func scraped(t testing.TB, path string, target map[string]string, honorLabels bool) []sample {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text = held(text, target)
	var out []sample
	parser := textparse.NewPromParser(text, labels.NewSymbolTable(), false)
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, path)
		if entry != textparse.EntrySeries {
			continue
		}
		var own labels.Labels
		parser.Labels(&own)
		_, _, value := parser.Series()
		b := labels.NewBuilder(labels.FromMap(target))
		own.Range(func(l labels.Label) {
			name := l.Name
			if _, taken := target[name]; taken && !honorLabels {
				name = "exported_" + name
			}
			b.Set(name, l.Value)
		})
		out = append(out, sample{b.Labels(), value})
	}
	up := maps.Clone(target)
	up[model.MetricNameLabel] = "up"
	return append(out, sample{labels.FromMap(up), 1})
}

// held fills the labels of a series that a pod would have, which in the exporters' own tests nobody holds.
func held(text []byte, names map[string]string) []byte {
	for name := range names {
		text = bytes.ReplaceAll(text, []byte(name+`=""`), []byte(name+`="held"`))
	}
	return text
}

// conclusions are all that the bundle records and alerts on, of six minutes of these series. It fails where a rule fails: where a join
// meets two series for one.
func conclusions(t *testing.T, samples []sample) map[string]float64 {
	t.Helper()
	w := newWorld(t)
	now := time.Unix(1_700_000_000, 0)
	growing, steady := counters(samples)
	const before = 12
	for i := range before {
		at := now.Add(time.Duration(i-before+1) * interval)
		w.store(at, steady)
		w.store(at, grown(growing, i))
	}
	groups := load(t).Groups()
	out := map[string]float64{}
	// Twice, because some rules read series that a later rule records.
	for round := range 2 {
		at := now.Add(time.Duration(round) * time.Second)
		for _, group := range groups {
			for _, rule := range group.Rules {
				w.evaluate(at, rule)
				if round == 0 {
					continue
				}
				for _, s := range w.query(at, rule.Expr) {
					b := labels.NewBuilder(s.Metric).Set(model.MetricNameLabel, rule.Record+rule.Alert)
					for name, value := range rule.Labels {
						b.Set(name, value)
					}
					out[b.Labels().String()] = s.F
				}
			}
		}
	}
	return out
}

// everything is what all of our exporters publish, and what others do that the adapters read.
func everything(t *testing.T, cluster, namespace string, factor float64) []sample {
	t.Helper()
	var out []sample
	for _, pattern := range []string{"testdata/scrapes/*.prom", "../exporters/*/testdata/metrics.prom"} {
		paths, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, path := range paths {
			job := strings.TrimSuffix(strings.ReplaceAll(strings.TrimPrefix(path, "../exporters/"), "/testdata/metrics", ""), ".prom")
			job = filepath.Base(job)
			for _, s := range scraped(t, path, map[string]string{"cluster": cluster, "namespace": namespace + job, "job": job, "instance": namespace + "host:1"}, true) {
				s.value *= factor
				out = append(out, s)
			}
		}
	}
	for _, s := range (fleet{replicas: 2, datasets: 2, columns: 4, models: 2, versions: 2, features: 3, gpu: 2}).samples(t) {
		s.labels = labels.NewBuilder(s.labels).Set("cluster", cluster).Set("namespace", namespace+"fleet").Labels()
		out = append(out, s)
	}
	return out
}

// One ruler over two clusters that have the same names of everything: hosts, GPUs, models, datasets and exporters.
func TestSecondClusterDoesNotChangeTheFirst(t *testing.T) {
	east := everything(t, "east", "", 1)
	alone := conclusions(t, east)
	both := conclusions(t, slices.Concat(east, everything(t, "west", "", 3)))
	require.Greater(t, len(alone), 1000)
	seen := 0
	for series, value := range both {
		if !strings.Contains(series, `cluster="east"`) {
			continue
		}
		seen++
		want, ok := alone[series]
		require.True(t, ok, "%s is there only beside a second cluster", series)
		require.InEpsilon(t, want+1e9, value+1e9, 1e-12, series)
	}
	for series := range alone {
		if strings.Contains(series, `cluster="east"`) {
			require.Contains(t, both, series)
		}
	}
	require.Greater(t, seen, 1000)
}

// Two teams in one cluster use the same names everywhere. They share facts that are known by cluster, such as which source counts a
// model, so recorded series may differ, but no rule fails.
func TestSecondNamespaceBreaksNoJoin(t *testing.T) {
	both := conclusions(t, slices.Concat(everything(t, "", "a-", 1), everything(t, "", "b-", 3)))
	require.Greater(t, len(both), 1000)
}

// Exporters of datasets and of cost come in pairs that publish the same.
func TestSecondReplicaChangesNothing(t *testing.T) {
	exporters := func(instances ...string) (out []sample) {
		for _, instance := range instances {
			for _, job := range []string{"dataquality", "cost"} {
				target := map[string]string{"cluster": "east", "namespace": "monitoring", "job": job, "instance": instance}
				out = append(out, scraped(t, "../exporters/"+job+"/testdata/metrics.prom", target, true)...)
			}
		}
		return out
	}
	// Alerts about one exporter name it.
	ofNone := func(all map[string]float64) map[string]float64 {
		maps.DeleteFunc(all, func(series string, _ float64) bool { return strings.Contains(series, `instance="`) })
		return all
	}
	one, two := ofNone(conclusions(t, exporters("a:1"))), ofNone(conclusions(t, exporters("a:1", "b:1")))
	require.Greater(t, len(one), 200)
	require.Equal(t, one, two)
}

// The Prometheus Operator's monitors have honorLabels: false, and a target has these labels.
func TestHonorLabelsChangesNoCanonicalSeries(t *testing.T) {
	target := map[string]string{
		"cluster": "east", "namespace": "monitoring", "pod": "exporter-0", "container": "exporter", "endpoint": "metrics", "service": "exporter",
	}
	paths, err := filepath.Glob("../exporters/*/testdata/metrics.prom")
	require.NoError(t, err)
	require.Len(t, paths, 4, "one of each exporter")
	world := func(honor bool) (out []sample) {
		for _, path := range paths {
			target := maps.Clone(target)
			target["job"] = strings.Split(path, "/")[2]
			target["instance"] = target["job"] + ":1"
			out = append(out, scraped(t, path, target, honor)...)
		}
		return out
	}
	collisions := map[string]bool{}
	for _, s := range world(false) {
		s.labels.Range(func(l labels.Label) {
			if strings.HasPrefix(l.Name, "exported_") {
				collisions[s.labels.Get(model.MetricNameLabel)] = true
			}
		})
	}
	require.NotEmpty(t, collisions)
	t.Logf("labels of these are renamed: %v", slices.Sorted(maps.Keys(collisions)))
	honored, renamed := conclusions(t, world(true)), conclusions(t, world(false))
	require.Greater(t, len(honored), 300)
	require.Equal(t, honored, renamed)
}
