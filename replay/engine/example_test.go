package engine_test

import (
	"context"
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/rules"
)

// A table loses its feed on the second day: no record is newer than 08:00.
func Example() {
	bundle, err := engine.LoadRules(rules.FS)
	if err != nil {
		fmt.Println(err)
		return
	}
	eng, err := engine.New(engine.Options{Rules: bundle})
	if err != nil {
		fmt.Println(err)
		return
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	silent := start.Add(32 * time.Hour)

	exporter := engine.SourceFunc(func(_ context.Context, at time.Time, to *engine.Scrape) error {
		newest := at.Truncate(5 * time.Minute)
		if newest.After(silent) {
			newest = silent
		}
		to.Float(to.Series("ml_dataset_rows", "dataset", "payments"), 10_000)
		to.Float(to.Series("ml_dataset_latest_record_timestamp_seconds", "dataset", "payments"), float64(newest.Unix()))
		return nil
	})
	_, err = eng.Run(context.Background(), engine.Replay{
		From: start, To: start.Add(3 * 24 * time.Hour),
		Targets: []engine.Target{{
			Job: "sightglass-dataquality", Instance: "dataquality-exporter:10911", Source: exporter,
			Labels: map[string]string{"cluster": "prod-east", "namespace": "fraud"},
		}},
		Alerts: func(t engine.Transition) {
			fmt.Println(t.At.Format("02 15:04"), t.Labels.Get("alertname"), t.Labels.Get("dataset"), t.State)
		},
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 02 10:01 MLDatasetStale payments pending
	// 02 10:02 MLDatasetStale payments firing
}
