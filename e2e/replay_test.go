package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	promrules "github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/testtools"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/rules/ruleset"
)

// The replay against Prometheus: 36 simulated hours go through the replay's engine, and the same samples through promtool's
// `tsdb create-blocks-from openmetrics` into the blocks of a real TSDB, over which the real rule manager's groups evaluate the
// same files, every minute, in order. The alerts must be the same ones, each state within one evaluation.
//
// What this proves: the replay's storage, its blocks, columns, skipped evaluations and its order of rules change no alert. A
// server evaluates the present only, so its loop is stepped in process; what of a server is left out is the loop's timer,
// which lets groups see each other's records up to one evaluation late. promtool's `create-blocks-from rules` ignores
// alerts. Both sides leave out the rule files of whose metrics the world has none, which would make the TSDB's part three times
// as long. It is a day and a half. `make test-replay-month` has a month, in which the same trouble comes again and again. Its value
// is the time between two evaluations: of four minutes it takes a quarter.
func TestReplayAgreesWithPrometheus(t *testing.T) {
	from, to, limit, interval := firstDay, firstDay.Add(troubled), 12*time.Minute, time.Minute
	if every := os.Getenv("SIGHTGLASS_REPLAY_MONTH"); every != "" {
		var err error
		to, limit = from.AddDate(0, 0, 30), 3*time.Hour
		interval, err = time.ParseDuration(every)
		require.NoError(t, err, "the time between two evaluations, such as 1m")
	}
	files, err := ruleset.Load()
	require.NoError(t, err)
	files.Files = slices.DeleteFunc(files.Files, func(f ruleset.File) bool {
		return !slices.Contains([]string{"thresholds", "modelquality", "data", "model", "inference", "self"}, strings.TrimSuffix(path.Base(f.Name), ".yaml"))
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir := t.TempDir()
	written, err := files.WriteDir(filepath.Join(dir, "rules"))
	require.NoError(t, err)

	bundle, err := engine.LoadRules(os.DirFS(filepath.Join(dir, "rules")))
	require.NoError(t, err)
	eng, err := engine.New(engine.Options{Rules: bundle, Interval: interval, ScrapeInterval: time.Minute})
	require.NoError(t, err)
	var replayed []string
	samples := map[string]*os.File{}
	ended := map[time.Time][]labels.Labels{}
	stats, err := eng.Run(ctx, engine.Replay{
		From: from, To: to,
		Targets: []engine.Target{
			{Job: "dq", Instance: "dq:10911", Labels: map[string]string{"namespace": "fraud"}, Source: newTroubledTables(from)},
			{Job: "mq", Instance: "mq:10912", Labels: map[string]string{"namespace": "fraud"}, Source: newTroubledModel(from)},
		},
		Alerts: func(tr engine.Transition) { replayed = append(replayed, alertLine(tr.At, string(tr.State), tr.Labels)) },
		Record: bundle.Raw(),
		Stored: func(ls labels.Labels, at time.Time, v float64) {
			if value.IsStaleNaN(v) { // Which the format does not have.
				ended[at] = append(ended[at], ls)
				return
			}
			name := ls.Get(model.MetricNameLabel)
			if samples[name] == nil {
				samples[name], err = os.Create(filepath.Join(dir, name+".om"))
				require.NoError(t, err)
			}
			_, err := fmt.Fprintf(samples[name], "%s%s %v %d\n", name, strings.ReplaceAll(ls.DropReserved(func(label string) bool { return label == model.MetricNameLabel }).String(), `", `, `",`), v, at.Unix())
			require.NoError(t, err)
		},
	})
	require.NoError(t, err)
	require.Empty(t, stats.Errors)

	blocks, input := filepath.Join(dir, "blocks"), filepath.Join(dir, "samples.om")
	text, err := os.Create(input)
	require.NoError(t, err)
	for _, name := range bundle.Raw() {
		if f := samples[name]; f != nil {
			_, err := f.Seek(0, io.SeekStart)
			require.NoError(t, err)
			_, err = io.Copy(text, f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
	}
	_, err = text.WriteString("# EOF\n")
	require.NoError(t, err)
	require.NoError(t, text.Close())
	out, err := exec.CommandContext(ctx, testtools.Path(t, "promtool"), "tsdb", "create-blocks-from", "--max-block-duration=30d", "openmetrics", "--quiet", input, blocks).CombinedOutput()
	require.NoError(t, err, string(out))

	require.Equal(t, prometheusAlerts(ctx, t, dir, blocks, files, written, ended, from, to, interval), replayed)
	require.NotEmpty(t, replayed)
	t.Logf("%s of %d rule files, evaluated every %s: %d transitions of alerts, the same ones", to.Sub(from), len(files.Files), interval, len(replayed))
	for _, name := range []string{"MLDatasetStale", "MLDatasetNullRatioHigh", "MLDatasetUnseenCategories", "MLDatasetDrift", "MLInferenceFailurePathHigh", "MLModelDrift", "SightglassExporterDown"} {
		require.True(t, slices.ContainsFunc(replayed, func(line string) bool {
			return strings.Contains(line, " firing ") && strings.Contains(line, `"`+name+`"`)
		}), "the world has trouble for %s, which did not fire", name)
	}
}

func alertLine(at time.Time, state string, ls labels.Labels) string {
	return fmt.Sprintf("%s %s %s", at.UTC().Format("02 15:04"), state, ls)
}

// merged reads two storages as one.
type merged []storage.Queryable

func (m merged) Querier(mint, maxt int64) (storage.Querier, error) {
	queriers := make([]storage.Querier, len(m))
	for i, q := range m {
		var err error
		if queriers[i], err = q.Querier(mint, maxt); err != nil {
			return nil, err
		}
	}
	return storage.NewMergeQuerier(queriers, nil, storage.ChainedSeriesMerge), nil
}

// prometheusAlerts steps the rule manager's groups over the blocks. Staleness markers are stored when they are due.
func prometheusAlerts(ctx context.Context, t *testing.T, dir, blocks string, bundle ruleset.Set, files []string, ended map[time.Time][]labels.Labels, from, to time.Time, interval time.Duration) []string {
	t.Helper()
	raw, err := tsdb.Open(blocks, nil, nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, raw.Close()) }()
	recorded, err := tsdb.Open(filepath.Join(dir, "recorded"), nil, nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, recorded.Close()) }()
	query := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{}), EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return interval.Milliseconds() },
	})
	all := merged{raw, recorded}
	manager := promrules.NewManager(&promrules.ManagerOptions{
		Context: ctx, AppendableV2: recorded, Queryable: all, QueryFunc: promrules.EngineQueryFunc(query, all),
		NotifyFunc: func(context.Context, string, ...*promrules.Alert) {}, Parser: parser.NewParser(parser.Options{}),
	})
	loaded, errs := manager.LoadGroups(interval, labels.EmptyLabels(), "", nil, false, files...)
	require.NoError(t, errors.Join(errs...))
	var groups []*promrules.Group
	for i, file := range bundle.Files {
		for _, g := range file.Groups {
			groups = append(groups, loaded[promrules.GroupKey(files[i], g.Name)])
		}
	}
	type state struct {
		name     string
		activeAt time.Time
		labels   labels.Labels
	}
	var lines []string
	before := map[string]state{}
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		type change struct {
			order int
			state
		}
		var changes []change
		order := 0
		appender := recorded.Appender(ctx)
		for _, ls := range ended[at] {
			_, err := appender.Append(0, ls, at.UnixMilli(), math.Float64frombits(value.StaleNaN))
			require.NoError(t, err)
		}
		require.NoError(t, appender.Commit())
		if at.UnixMilli()%interval.Milliseconds() != 0 {
			continue
		}
		now := map[string]state{}
		for _, g := range groups {
			g.Eval(ctx, at)
			for _, r := range g.Rules() {
				order++
				a, ok := r.(*promrules.AlertingRule)
				if !ok || a.Name() == "SightglassWatchdog" { // It fires always, and a replay leaves it out.
					continue
				}
				for _, active := range a.ActiveAlerts() {
					key := fmt.Sprint(order, active.Labels)
					s := state{active.State.String(), active.ActiveAt, active.Labels}
					now[key] = s
					if was, ok := before[key]; !ok || was.name != s.name || !was.activeAt.Equal(s.activeAt) {
						changes = append(changes, change{order, s})
					}
				}
				for key, was := range before {
					if _, still := now[key]; !still && key == fmt.Sprint(order, was.labels) {
						was.name = map[string]string{"firing": "resolved", "pending": "inactive"}[was.name]
						changes = append(changes, change{order, was})
					}
				}
			}
		}
		before = now
		slices.SortFunc(changes, func(a, b change) int {
			if a.order != b.order {
				return a.order - b.order
			}
			return labels.Compare(a.labels, b.labels)
		})
		for _, c := range changes {
			lines = append(lines, alertLine(at, c.name, c.labels))
		}
	}
	return lines
}

// troubledTables is a data-quality exporter whose tables have a bad day.
type troubledTables struct {
	from time.Time
	rng  *rand.Rand
	set  map[string]float64
	at   time.Time
	keys []string
	by   map[string]*engine.Series
}

func newTroubledTables(from time.Time) *troubledTables {
	return &troubledTables{from: from, rng: rand.New(rand.NewPCG(1, 1)), set: map[string]float64{}, by: map[string]*engine.Series{}}
}

// The trouble begins at firstDay, and comes again after so long.
var firstDay = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

const troubled = 36 * time.Hour

func during(at, from time.Time, start, end float64) bool {
	h := math.Mod(at.Sub(from).Hours(), troubled.Hours())
	return h >= start && h < end
}

func (s *troubledTables) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	if during(at, s.from, 30, 30.2) {
		return errors.New("connection refused")
	}
	put := func(v float64, name string, pairs ...string) {
		key := fmt.Sprint(name, pairs)
		if s.by[key] == nil {
			s.by[key], s.keys = to.Series(name, pairs...), append(s.keys, key)
		}
		s.set[key] = v
	}
	if s.at.IsZero() || at.Sub(s.at) >= 5*time.Minute {
		s.at = at
		put(1, "sightglass_config_last_reload_successful")
		for _, dataset := range []string{"orders", "payments"} {
			bad := dataset == "payments"
			rows := 5000 + math.Round(50*s.rng.NormFloat64())
			newest := at.Add(-time.Minute)
			if stop := at.Add(-at.Sub(s.from) % troubled).Add(20 * time.Hour); bad && during(at, s.from, 20, 24) {
				newest = stop
			}
			put(rows, "ml_dataset_rows", "dataset", dataset)
			put(float64(newest.Unix()), "ml_dataset_latest_record_timestamp_seconds", "dataset", dataset)
			put(1, "ml_dataset_profile_success", "dataset", dataset)
			put(1, "ml_dataset_baseline_frozen", "dataset", dataset)
			for _, column := range []string{"amount", "currency"} {
				nulls, unseen, shift := 0.01, 0.0, 0.0
				if bad && column == "amount" && during(at, s.from, 4, 6) {
					nulls = 0.05 + 0.01*s.rng.NormFloat64() // Hovers around its limit.
				}
				if bad && column == "currency" && during(at, s.from, 8, 9) {
					unseen = 0.05
				}
				if bad && column == "amount" && during(at, s.from, 12, 15) {
					shift = 0.15
				}
				put(math.Max(0, math.Round(nulls*rows)), "ml_dataset_column_nulls", "dataset", dataset, "column", column)
				share := (1 - nulls - unseen) / 4
				for bin, p := range map[string]float64{"null": nulls, "unseen": unseen, "a": share + shift, "b": share - shift, "c": share, "d": share} {
					put(math.Max(0, math.Round(p*rows)), "ml_dataset_column_values", "dataset", dataset, "column", column, "bin", bin)
					q := map[string]float64{"null": 0.01, "unseen": 0}[bin]
					if len(bin) == 1 {
						q = 0.2475
					}
					put(q, "ml_dataset_column_baseline_ratio", "dataset", dataset, "column", column, "bin", bin, "baseline", "production")
				}
				put(1e6, "ml_dataset_column_baseline_rows", "dataset", dataset, "column", column, "baseline", "production")
			}
		}
	}
	for _, key := range s.keys {
		to.Float(s.by[key], s.set[key])
	}
	return nil
}

// troubledModel is a model-quality exporter that restarts, and whose model fails and drifts.
type troubledModel struct {
	from   time.Time
	rng    *rand.Rand
	counts map[string]float64
	by     map[string]*engine.Series
	keys   []string
}

func newTroubledModel(from time.Time) *troubledModel {
	return &troubledModel{from: from, rng: rand.New(rand.NewPCG(1, 2)), counts: map[string]float64{}, by: map[string]*engine.Series{}}
}

func (s *troubledModel) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	if at.Sub(s.from)%troubled == 10*time.Hour {
		clear(s.counts) // A restart.
	}
	put := func(v float64, counter bool, name string, pairs ...string) {
		pairs = append(pairs, "model", "scorer", "version", "3")
		key := fmt.Sprint(name, pairs)
		if s.by[key] == nil {
			s.by[key], s.keys = to.Series(name, pairs...), append(s.keys, key)
		}
		if counter {
			v += s.counts[key]
		}
		s.counts[key] = v
	}
	n := math.Round(600 + 20*s.rng.NormFloat64())
	failing := 0.0
	if during(at, s.from, 26, 27) {
		failing = math.Round(0.3 * n)
	}
	put(n-failing, true, "ml_inference_requests_total", "outcome", "ok")
	put(failing, true, "ml_inference_requests_total", "outcome", "error")
	put(1, false, "ml_model_baseline_frozen")
	shift := 0.0
	if during(at, s.from, 16, 18) {
		shift = 0.2
	}
	for _, bin := range []string{"a", "b", "c", "d"} {
		p := 0.25 + map[string]float64{"a": shift, "b": -shift}[bin]
		put(math.Round(p*n+5*s.rng.Float64()), true, "ml_model_field_values_total", "field", "amount", "role", "input", "bin", bin)
		put(0.25, false, "ml_model_field_baseline_ratio", "field", "amount", "role", "input", "bin", bin, "baseline", "production")
	}
	put(1e6, false, "ml_model_field_baseline_values", "field", "amount", "role", "input", "baseline", "production")
	for _, key := range s.keys {
		to.Float(s.by[key], s.counts[key])
	}
	return nil
}
