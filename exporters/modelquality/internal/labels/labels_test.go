package labels_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/labels"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

var now = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

const rows = `at,known,model,version,country,predicted,actual,price,paid,sure
2026-11-24 05:00:00,2026-11-24 05:30:00,fraud,3,CA,spam,spam,10,12,0.9
2026-11-24 05:00:00,2026-11-24 05:30:00,fraud,3,CA,spam,ham,10,9,0.6
2026-11-24 05:00:00,2026-11-24 05:30:00,fraud,3,CA,spam,spam,10,10,0.7
2026-11-24 05:00:00,,fraud,3,US,ham,ham,1,2,1
2026-11-24 05:00:00,2026-11-24 06:30:00,fraud,3,MX,rare,scarce,1,1,0
2026-11-20 05:00:00,2026-11-24 05:30:00,fraud,3,CA,ham,ham,100,1,0.2
2026-11-24 05:00:00,,fraud,3,CA,ham,,5,,0.3
`

func table(t *testing.T, change func(*labels.Options)) *labels.Table {
	t.Helper()
	source, err := tables.Open(tables.Options{Type: tables.DuckDB})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	file := filepath.Join(t.TempDir(), "labelled.csv")
	require.NoError(t, os.WriteFile(file, []byte(rows), 0o600))
	relation, err := source.Files(file, "at")
	require.NoError(t, err)
	bound := func(n int) *limit.Limiter { return limit.New("test", n, limit.NewDropped()) }
	o := labels.Options{
		Open: func() (*tables.Source, tables.Relation, error) { return source, relation, nil }, Columns: tables.Labels{Model: "model", Version: "version", Segment: "country", Prediction: "predicted", Label: "actual", LabelTime: "known"},
		Window: 24 * time.Hour, Valid: time.Hour, Versions: bound(10), Segments: bound(10), Classes: bound(10), Binned: bound(20), Now: func() time.Time { return now },
	}
	change(&o)
	l, err := labels.New(o)
	require.NoError(t, err)
	require.NoError(t, l.Cycle(t.Context()))
	return l
}

func requireMetrics(t *testing.T, l *labels.Table, want string, names ...string) {
	t.Helper()
	for _, h := range []string{
		"# HELP ml_model_labelled_predictions Labelled predictions of the window by predicted and actual class.\n# TYPE ml_model_labelled_predictions gauge",
		"# HELP ml_model_labelled_rows Labelled predictions of the window.\n# TYPE ml_model_labelled_rows gauge",
		"# HELP ml_model_absolute_error_sum Sum of the absolute differences of predictions and labels in the window.\n# TYPE ml_model_absolute_error_sum gauge",
		"# HELP ml_model_squared_error_sum Sum of the squared differences of predictions and labels in the window.\n# TYPE ml_model_squared_error_sum gauge",
		"# HELP ml_model_label_delay_seconds Mean time from a prediction of the window to its label.\n# TYPE ml_model_label_delay_seconds gauge",
	} {
		if strings.Contains(want, strings.Fields(h)[2]+"{") {
			want = h + "\n" + want
		}
	}
	require.NoError(t, testutil.CollectAndCompare(l, strings.NewReader(want), names...))
}

func TestClasses(t *testing.T) {
	l := table(t, func(*labels.Options) {})
	requireMetrics(t, l, `ml_model_labelled_predictions{actual="ham",model="fraud",predicted="ham",segment="US",version="3"} 1
ml_model_labelled_predictions{actual="ham",model="fraud",predicted="spam",segment="CA",version="3"} 1
ml_model_labelled_predictions{actual="scarce",model="fraud",predicted="rare",segment="MX",version="3"} 1
ml_model_labelled_predictions{actual="spam",model="fraud",predicted="spam",segment="CA",version="3"} 2
`, "ml_model_labelled_predictions")
	requireMetrics(t, l, `ml_model_labelled_rows{model="fraud",segment="CA",version="3"} 3
ml_model_labelled_rows{model="fraud",segment="MX",version="3"} 1
ml_model_labelled_rows{model="fraud",segment="US",version="3"} 1
`, "ml_model_labelled_rows")
	// Three labels after half an hour and one after an hour and a half; one row does not say.
	requireMetrics(t, l, `ml_model_label_delay_seconds{model="fraud",version="3"} 2700
`, "ml_model_label_delay_seconds")
	require.Zero(t, testutil.CollectAndCount(l, "ml_model_absolute_error_sum"))
}

func TestQuantities(t *testing.T) {
	l := table(t, func(o *labels.Options) {
		o.Columns = tables.Labels{Prediction: "price", Label: "paid", Numeric: true}
		o.Model, o.Version = "price", "1"
	})
	requireMetrics(t, l, "ml_model_absolute_error_sum{model=\"price\",segment=\"\",version=\"1\"} 4\n", "ml_model_absolute_error_sum")
	requireMetrics(t, l, "ml_model_squared_error_sum{model=\"price\",segment=\"\",version=\"1\"} 6\n", "ml_model_squared_error_sum")
	requireMetrics(t, l, "ml_model_labelled_rows{model=\"price\",segment=\"\",version=\"1\"} 5\n", "ml_model_labelled_rows")
	require.Zero(t, testutil.CollectAndCount(l, "ml_model_labelled_predictions", "ml_model_label_delay_seconds"))
}

func TestPredictionsAreCountedByTheirConfidence(t *testing.T) {
	l := table(t, func(o *labels.Options) {
		o.Columns.Confidence, o.Columns.Bins = "sure", []float64{0.5, 0.9, 1}
		o.Window = 7 * 24 * time.Hour
	})
	got := values(t, l, "ml_model_labelled_confidence_rows")
	maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
	require.Equal(t, map[string]float64{
		`bin="0.5",class="ham",part="earlier",result="right",segment="CA"`:   1,
		`bin="0.9",class="ham",part="later",result="missed",segment="CA"`:    1,
		`bin="0.9",class="spam",part="later",result="right",segment="CA"`:    2,
		`bin="0.9",class="spam",part="later",result="wrong",segment="CA"`:    1,
		`bin="1",class="ham",part="later",result="right",segment="US"`:       1,
		`bin="0.5",class="rare",part="later",result="wrong",segment="MX"`:    1,
		`bin="0.5",class="scarce",part="later",result="missed",segment="MX"`: 1,
	}, got)
	// Two classes and two bins in Canada, three results, two parts; one and one in the US; two and one in Mexico.
	require.Equal(t, 6*(4+1+2), testutil.CollectAndCount(l, "ml_model_labelled_confidence_rows"))
}

func TestClassesByBinsAreBounded(t *testing.T) {
	l := table(t, func(o *labels.Options) {
		o.Columns.Confidence, o.Columns.Bins, o.Window = "sure", []float64{0.5, 0.9, 1}, 7*24*time.Hour
		o.Binned = limit.New("binned", 1, limit.NewDropped())
	})
	got := values(t, l, "ml_model_labelled_confidence_rows")
	maps.DeleteFunc(got, func(_ string, v float64) bool { return v == 0 })
	require.Equal(t, map[string]float64{
		`bin="0.9",class="spam",part="later",result="right",segment="CA"`:       2,
		`bin="0.9",class="spam",part="later",result="wrong",segment="CA"`:       1,
		`bin="0.5",class="other",part="earlier",result="right",segment="other"`: 1,
		`bin="1",class="other",part="later",result="right",segment="other"`:     1,
		`bin="0.5",class="other",part="later",result="wrong",segment="other"`:   1,
	}, got)
}

func TestErrorsAreCountedByThePrediction(t *testing.T) {
	l := table(t, func(o *labels.Options) {
		o.Columns = tables.Labels{Prediction: "price", Label: "paid", Numeric: true, Bins: []float64{5, 10}}
		o.Model, o.Version, o.Window = "price", "1", 7*24*time.Hour
	})
	require.Equal(t, map[string]float64{`bin="5",part="later",segment=""`: 2, `bin="10",part="later",segment=""`: 3, `bin="+Inf",part="earlier",segment=""`: 1}, values(t, l, "ml_model_labelled_bin_rows"))
	require.Equal(t, map[string]float64{`bin="5",part="later",segment=""`: 1, `bin="10",part="later",segment=""`: 3, `bin="+Inf",part="earlier",segment=""`: 99}, values(t, l, "ml_model_labelled_bin_absolute_error_sum"))
	require.Equal(t, map[string]float64{`bin="5",part="later",segment=""`: 1, `bin="10",part="later",segment=""`: 5, `bin="+Inf",part="earlier",segment=""`: 9801}, values(t, l, "ml_model_labelled_bin_squared_error_sum"))
}

// values are the samples of a metric by their labels but model and version.
func values(t *testing.T, l *labels.Table, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(l))
	families, err := registry.Gather()
	require.NoError(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var of []string
			for _, label := range m.GetLabel() {
				if label.GetName() != "model" && label.GetName() != "version" {
					of = append(of, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
				}
			}
			if f.GetName() == name {
				got[strings.Join(of, ",")] = m.GetGauge().GetValue()
			}
		}
	}
	return got
}

func TestClassesAndSegmentsPastTheLimitBecomeOther(t *testing.T) {
	l := table(t, func(o *labels.Options) {
		o.Classes = limit.New("classes", 2, limit.NewDropped())
		o.Segments = limit.New("segments", 1, limit.NewDropped())
	})
	requireMetrics(t, l, `ml_model_labelled_predictions{actual="ham",model="fraud",predicted="ham",segment="other",version="3"} 1
ml_model_labelled_predictions{actual="ham",model="fraud",predicted="spam",segment="CA",version="3"} 1
ml_model_labelled_predictions{actual="other",model="fraud",predicted="other (another)",segment="other",version="3"} 1
ml_model_labelled_predictions{actual="spam",model="fraud",predicted="spam",segment="CA",version="3"} 2
`, "ml_model_labelled_predictions")
	l = table(t, func(o *labels.Options) { o.Versions = limit.New("versions", 0, limit.NewDropped()) })
	requireMetrics(t, l, "ml_model_label_delay_seconds{model=\"other\",version=\"other\"} 2700\n", "ml_model_label_delay_seconds")
}

func TestAWindowWithoutLabelsHasNoSeries(t *testing.T) {
	l := table(t, func(o *labels.Options) {
		o.Now = func() time.Time { return now.AddDate(1, 0, 0) }
		o.Columns.Model, o.Columns.Version, o.Columns.Segment, o.Model = "", "", "", "fraud"
	})
	require.Zero(t, testutil.CollectAndCount(l))
}

func TestOptions(t *testing.T) {
	nowhere := func() (*tables.Source, tables.Relation, error) { return nil, tables.Relation{}, errors.New("nowhere") }
	for want, o := range map[string]labels.Options{
		"labels need a table with columns of the prediction and the label": {},
		"labels need a model, or a column that names it": {
			Open: nowhere, Columns: tables.Labels{Prediction: "p", Label: "l"},
		},
		"labels by confidence need predictions that are classes, bins and a limit": {
			Open: nowhere, Columns: tables.Labels{Prediction: "p", Label: "l", Confidence: "c"}, Model: "m",
		},
		"labels need times above 0, limits and a clock": {
			Open: nowhere, Columns: tables.Labels{Prediction: "p", Label: "l"}, Model: "m",
		},
	} {
		_, err := labels.New(o)
		require.EqualError(t, err, want)
	}
}
