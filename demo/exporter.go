package demo

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/internal/sqltext"
)

// Production settings of the exporter. The demo compresses them like the rules.
const (
	profileInterval = time.Minute
	clockSkew       = time.Minute
)

// profileTimeout is not compressed, since a scan takes real time.
const profileTimeout = 2 * time.Minute

type object = map[string]any

// exporterConfig returns the data-quality exporter's configuration for the tables.
func exporterConfig(w *warehouse, tables []table, pace speedup.Factor, today time.Time) ([]byte, error) {
	var datasets []object
	for _, t := range tables {
		datasets = append(datasets, datasetConfig(w, t, pace, today))
	}
	content, err := yaml.Marshal(object{
		"sources": object{"files": object{"type": "duckdb", "threads": 1, "memory_limit": "512MiB", "max_connections": 2}},
		"defaults": object{
			"interval":   duration(pace, profileInterval),
			"clock_skew": duration(pace, clockSkew),
			"timeout":    profileTimeout.String(),
		},
		"datasets": datasets,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the exporter's configuration: %w", err)
	}
	return content, nil
}

func datasetConfig(w *warehouse, t table, pace speedup.Factor, today time.Time) object {
	production := object{"days": t.baselineDays}
	if t.archiveDays > 0 {
		production["first_day"] = today.UTC().AddDate(0, 0, -t.archiveDays).Format("2006-01-02")
	}
	baselines := object{"production": production}
	if t.training > 0 {
		baselines["training"] = object{"files": w.trainingFile(t)}
	}
	d := object{"name": t.name, "source": "files", "files": w.files(t), "baselines": baselines}
	switch {
	case t.feed != nil:
		d["timestamp_column"], d["window"] = t.feed.time, duration(pace, t.window)
	case t.time != "":
		d["timestamp_column"], d["window"] = t.time, "0s"
	}
	if t.freshness > 0 {
		d["thresholds"] = object{"freshness": duration(pace, t.freshness)}
	}
	columns := object{"reveal": []string{"warehouse"}} // City names resemble names of people.
	if len(t.exclude) > 0 {
		columns["exclude"] = t.exclude
	}
	d["columns"] = columns
	if t.upstream != nil {
		d["upstream"] = []object{{"name": t.upstream.name, "files": w.upstreamFile(t), "timestamp_column": t.upstream.time}}
	}
	if t.against != "" {
		d["comparisons"] = []object{{
			"against": t.against,
			"query":   fmt.Sprintf(t.comparison, sqltext.Literal(w.current(t)), sqltext.Literal(w.otherStore(t))),
		}}
	}
	return d
}

// duration formats a compressed duration for a configuration file.
func duration(pace speedup.Factor, d time.Duration) string {
	return model.Duration(pace.Duration(d)).String()
}
