package engine_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sightglass-ml/sightglass/replay/engine"
)

// size is how much a test's world exposes.
type size struct{ datasets, columns, models, features int }

// issueSize is the size for measuring the speed.
var issueSize = size{datasets: 10, columns: 10, models: 5, features: 10}

const bins = 12

// healthy are the targets of a world in which nothing is wrong: tables that are profiled every five minutes, and models
// whose counters move at every scrape, with days and nights.
func healthy(z size, seed uint64) []engine.Target {
	labels := map[string]string{"cluster": "prod-east", "namespace": "fraud"}
	return []engine.Target{
		{Job: "dataquality", Instance: "dq:10911", Labels: labels, Source: &tables{size: z, rng: rand.New(rand.NewPCG(seed, 1))}},
		{Job: "modelquality", Instance: "mq:10912", Labels: labels, Source: &servers{size: z, rng: rand.New(rand.NewPCG(seed, 2))}},
	}
}

func season(at time.Time) float64 {
	hour := float64(at.Unix()%86400) / 3600
	day := 1 + 0.5*math.Sin((hour-9)/24*2*math.Pi)
	if wd := at.Weekday(); wd == time.Saturday || wd == time.Sunday {
		day *= 0.7
	}
	return day
}

func poisson(rng *rand.Rand, mean float64) float64 {
	return math.Max(0, math.Round(mean+math.Sqrt(mean)*rng.NormFloat64()))
}

// tables stands in for the data-quality exporter.
type tables struct {
	size
	rng    *rand.Rand
	series []*engine.Series
	values []float64
	// at each profile
	last time.Time
	// nulls makes a share of a dataset's first column null from a time on.
	nulls map[string]float64
	from  time.Time
	until time.Time
}

func (s *tables) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	if s.series == nil || at.Sub(s.last) >= 5*time.Minute {
		s.last = at
		s.profile(at, to)
	}
	for i, series := range s.series {
		to.Float(series, s.values[i])
	}
	return nil
}

func (s *tables) profile(at time.Time, to *engine.Scrape) {
	first := s.series == nil
	i := 0
	set := func(v float64, name string, pairs ...string) {
		if first {
			s.series = append(s.series, to.Series(name, pairs...))
			s.values = append(s.values, 0)
		}
		s.values[i] = v
		i++
	}
	set(1, "sightglass_config_last_reload_successful")
	for d := range s.datasets {
		dataset := fmt.Sprintf("table_%02d", d)
		rows := poisson(s.rng, 50_000*season(at))
		set(rows, "ml_dataset_rows", "dataset", dataset)
		set(86400, "ml_dataset_window_seconds", "dataset", dataset)
		set(float64(at.Unix()-60), "ml_dataset_latest_record_timestamp_seconds", "dataset", dataset)
		set(1, "ml_dataset_profile_success", "dataset", dataset)
		set(1, "ml_dataset_baseline_frozen", "dataset", dataset)
		for _, change := range []string{"added", "removed", "type_changed"} {
			set(0, "ml_dataset_schema_changes", "dataset", dataset, "change", change)
		}
		for c := range s.columns {
			column := fmt.Sprintf("column_%02d", c)
			null := 0.01
			if share, ok := s.nulls[dataset]; ok && c == 0 && !at.Before(s.from) && at.Before(s.until) {
				null = share
			}
			nulls := poisson(s.rng, null*rows)
			set(nulls, "ml_dataset_column_nulls", "dataset", dataset, "column", column)
			for b := range bins {
				bin, share := fmt.Sprintf("(%d,%d]", b, b+1), (1-null)/(bins-2)
				switch b {
				case 0:
					bin, share = "null", null
				case 1:
					bin, share = "unseen", 0
				}
				set(poisson(s.rng, share*rows), "ml_dataset_column_values", "dataset", dataset, "column", column, "bin", bin)
				for _, baseline := range []string{"training", "production"} {
					q := 0.99 / (bins - 2)
					if b < 2 {
						q = 0.01 * float64(1-b)
					}
					set(q, "ml_dataset_column_baseline_ratio", "dataset", dataset, "column", column, "bin", bin, "baseline", baseline)
				}
			}
			for _, baseline := range []string{"training", "production"} {
				set(1e6, "ml_dataset_column_baseline_rows", "dataset", dataset, "column", column, "baseline", baseline)
			}
		}
	}
}

// servers stands in for the model-quality exporter.
type servers struct {
	size
	rng    *rand.Rand
	series []*engine.Series
	values []float64
}

func (s *servers) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	first := s.series == nil
	i := 0
	set := func(v float64, counter bool, name string, pairs ...string) {
		if first {
			s.series = append(s.series, to.Series(name, pairs...))
			s.values = append(s.values, 0)
		}
		if counter {
			v += s.values[i]
		}
		s.values[i] = v
		i++
	}
	// Names and labels matter the first time only, and building them would cost more than the engine.
	if first {
		s.each(at, set)
	} else {
		s.each(at, func(v float64, counter bool, _ string, _ ...string) { set(v, counter, "") })
	}
	for k, series := range s.series {
		to.Float(series, s.values[k])
	}
	return nil
}

func (s *servers) each(at time.Time, set func(v float64, counter bool, name string, pairs ...string)) {
	set(1, false, "sightglass_config_last_reload_successful")
	bounds := []string{"0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf"}
	for m := range s.models {
		mean := 600 * season(at)
		n := poisson(s.rng, mean)
		id := []string{"model", modelNames[m], "version", "3"}
		with := func(pairs ...string) []string { return append(id[:4:4], pairs...) }
		for k, outcome := range []string{"ok", "error", "timeout", "fallback", "rejected"} {
			v := n
			if k > 0 {
				v = poisson(s.rng, 0.0005*n)
			}
			set(v, true, "ml_inference_requests_total", with("outcome", outcome)...)
		}
		for _, what := range histograms {
			sum := 0.0
			for b, le := range bounds {
				sum = math.Min(n, sum+n*float64(b+1)/66)
				if le == "+Inf" {
					sum = n
				}
				set(math.Round(sum), true, what+"_bucket", with("le", le)...)
			}
			set(n, true, what+"_count", id...)
			set(0.1*n, true, what+"_sum", id...)
		}
		set(1, false, "ml_model_baseline_frozen", id...)
		set(1, false, "ml_model_info", with("mlflow_run_id", "r", "training_digest", "d", "training_dataset", "table_00")...)
		for f := range s.features {
			for b := range bins {
				set(poisson(s.rng, n/bins), true, "ml_model_field_values_total", with("field", fieldNames[f], "role", "input", "bin", binNames[b])...)
				for _, baseline := range baselines {
					set(1./bins, false, "ml_model_field_baseline_ratio", with("field", fieldNames[f], "role", "input", "bin", binNames[b], "baseline", baseline)...)
				}
			}
			for _, baseline := range baselines {
				set(1e6, false, "ml_model_field_baseline_values", with("field", fieldNames[f], "role", "input", "baseline", baseline)...)
			}
		}
	}
}

var (
	baselines  = []string{"training", "production"}
	histograms = []string{"ml_inference_duration_seconds", "ml_inference_queue_wait_seconds", "ml_inference_forward_pass_seconds", "ml_model_confidence"}
	modelNames = names("model_%02d")
	fieldNames = names("feature_%02d")
	binNames   = names("bin_%02d")
)

func names(format string) []string {
	out := make([]string, 32)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}
