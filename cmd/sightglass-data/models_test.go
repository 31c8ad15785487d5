package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// storeModel stores what an exporter would have learned of a model in two days.
func storeModel(t *testing.T, dir string) {
	t.Helper()
	store, err := baseline.Open(baseline.Folder(dir), nil, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	for _, s := range []struct{ kind, name, field string }{{"model_inputs", "fraud", "input/country"}, {"model", "fraud@3", "output/prediction"}} {
		subject := store.Subject(s.kind, s.name)
		d, err := subject.CreateDefinition(t.Context(), baseline.Definition{
			Edges: baseline.EdgesProduction, Fields: map[string]binning.Layout{s.field: binning.NewCategorical([]string{"a", "b"}, 2, false)},
		})
		require.NoError(t, err)
		for n := range 2 {
			_, err := subject.AddDay(t.Context(), baseline.DayOf(time.Date(2026, 11, 1+n, 0, 0, 0, 0, time.UTC)), baseline.Counts{
				Definition: d.ID, Rows: 100, Fields: map[string]map[string]int64{s.field: {"a": 75, "b": 25}},
			})
			require.NoError(t, err)
		}
	}
}

func TestBaselinesOfModelsAreManagedAsThoseOfDatasets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "modelquality.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "baseline_store: {type: FILESYSTEM, config: {directory: %q}}\nbaselines: {days: 30}\n", filepath.Join(dir, "store")), 0o600))
	storeModel(t, filepath.Join(dir, "store"))
	for _, step := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{args: []string{"show"}, stdout: "fraud: 1 features; production day 2 of 30, 200 rows\nfraud version 3: 1 outputs; training not counted; production day 2 of 30, 200 rows\n"},
		{args: []string{"show"}, stdout: "fraud: the baseline lacks something, mostly because an earlier version learned it: days without hours: 2: five minutes and an hour are compared with the hours of the other days, or with the whole baseline if there are none. " +
			"To learn it again, run 'sightglass baseline reset fraud --part production'.\nfraud version 3: the baseline lacks"},
		{args: []string{"show", "fraud"}, stdout: "all      country     a       0.7500\n"},
		{args: []string{"show", "fraud"}, stdout: "3        prediction  b       0.2500\n"},
		{args: []string{"show", "frod"}, status: 1, stderr: `no model "frod"; want one of ["fraud"]`},
		{args: []string{"build"}, status: 1, stderr: "there is no table of past inferences to read"},
		{args: []string{"build", "fraud"}, status: 1, stderr: "reads training data (models[].training, or the dataset of the MLflow run) by itself"},
		{args: []string{"freeze", "fraud", "--model-version", "3"}, stdout: "fraud version 3: 1 outputs; training not counted; production frozen with 2 days, 200 rows\n"},
		{args: []string{"accept", "fraud", "colour"}, status: 1, stderr: `model "fraud" has no baseline of the feature "colour"; want one of "country"`},
		{args: []string{"accept", "fraud", "country"}, stdout: "fraud: country is learned anew; the other features stay\n"},
		{args: []string{"reset", "fraud", "--part", "training"}, status: 1, stderr: "training data belongs to a version; name it with --model-version"},
		{args: []string{"reset", "fraud", "--part", "last_good"}, status: 1, stderr: "a model has no part last_good"},
		{args: []string{"reset", "fraud", "--part", "production"}, stdout: `fraud: reset ["production"]` + "\n"},
		{args: []string{"show"}, stdout: "fraud: 1 features; production day 0 of 30, 0 rows\nfraud version 3: 1 outputs; training not counted; production frozen with 2 days, 200 rows\n"},
		{args: []string{"reset", "fraud", "--part", "definition"}, stdout: `fraud: reset ["definition"]` + "\n"},
		{args: []string{"show"}, stdout: "fraud: no features stored by model yet\n"},
	} {
		status, stdout, stderr := call(append([]string{"baseline", "--config.file", file}, step.args...)...)
		require.Equal(t, step.status, status, "%v: %s", step.args, stderr)
		require.Contains(t, stdout, step.stdout, "%v", step.args)
		require.Contains(t, stderr, step.stderr, "%v", step.args)
	}
}

func TestFreezingAModelFreezesWhatHasDaysAndNamesTheOtherFeatures(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "modelquality.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "baseline_store: {type: FILESYSTEM, config: {directory: %q}}\n", dir), 0o600))
	storeModel(t, dir)
	store, err := baseline.Open(baseline.Folder(dir), nil, nil)
	require.NoError(t, err)
	for _, s := range []struct {
		kind   string
		fields []string
		days   int
	}{{"model_inputs_2", []string{"input/hour", "input/channel", "input/accepted"}, 0}, {"model_inputs_3", []string{"input/accepted"}, 1}} {
		d := baseline.Definition{Edges: baseline.EdgesProduction, Fields: make(map[string]binning.Layout)}
		for _, field := range s.fields {
			d.Fields[field] = binning.NewCategorical([]string{"a", "b"}, 2, false)
		}
		subject := store.Subject(s.kind, "fraud")
		d, err := subject.CreateDefinition(t.Context(), d)
		require.NoError(t, err)
		for range s.days {
			_, err := subject.AddDay(t.Context(), "2026-11-01", baseline.Counts{Definition: d.ID, Rows: 1})
			require.NoError(t, err)
		}
	}
	require.NoError(t, store.Close())
	status, stdout, stderr := call("baseline", "--config.file", file, "freeze", "fraud")
	require.Equal(t, 1, status)
	require.Contains(t, stderr, `model "fraud": not frozen: channel, hour: model_inputs_2/fraud has no production day yet`)
	require.Contains(t, stdout, "fraud: 4 features; production frozen with 2 days, 200 rows\n")
	require.Contains(t, stdout, "fraud: hour, added or accepted later: day 0 of 30, 0 rows\n")
	require.Contains(t, stdout, "fraud: accepted, added or accepted later: frozen with 1 days, 1 rows\n")
}
