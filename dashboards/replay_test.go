package dashboards

import (
	"context"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// replay is a Prometheus in memory that has scraped the fixtures for a while, and around the same time of the four
// weeks before, and has evaluated the bundle's rules after every scrape.
type replay struct {
	storage *teststorage.TestStorage
	engine  *promql.Engine
	now     time.Time
}

const (
	scrapeInterval = time.Minute
	timeRange      = 20 * time.Minute
	week           = 7 * 24 * time.Hour
)

var growing = regexp.MustCompile(`^(ml_|vllm:)`)

// sample is one line of a fixture.
type sample struct {
	labels labels.Labels
	value  float64
	// grows says that it is a counter of inferences or answers, or a bucket of a histogram of them: it was 0 five weeks
	// ago, and since then its value was added every five minutes.
	grows bool
}

// newReplay plays testdata/*.prom, each a scrape of one exporter: the file's name is the job, and every instance
// exposes the same, as replicas do. target are the labels that the scrape adds.
func newReplay(t *testing.T, instances []string, target labels.Labels) *replay {
	t.Helper()
	r, scraped := emptyReplay(t)
	groups := r.ruleGroups(t)
	for weeks := 4; weeks >= 0; weeks-- {
		shift := -time.Duration(weeks) * week
		// The rules look half an hour back, an hour to either side of the same time in other weeks.
		from, to, step := -2*time.Hour, time.Hour, 20*time.Minute
		if weeks == 0 {
			from, to, step = -timeRange, 0, scrapeInterval
		}
		for offset := from; offset <= to; offset += step {
			at := r.now.Add(shift + offset)
			if weeks > 0 {
				r.scrape(t, at.Add(-scrapeInterval), scraped, instances, target) // A rate needs two.
			}
			r.scrape(t, at, scraped, instances, target)
			for _, group := range groups {
				group.Eval(t.Context(), at)
			}
		}
	}
	return r
}

// emptyReplay reads the fixtures and has scraped nothing yet.
func emptyReplay(t *testing.T) (*replay, map[string][]sample) {
	t.Helper()
	scraped := map[string][]sample{}
	paths, err := filepath.Glob("testdata/*.prom")
	require.NoError(t, err)
	r := &replay{
		storage: teststorage.New(t),
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 50_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		}),
	}
	t.Cleanup(func() { require.NoError(t, r.engine.Close()) })
	for _, path := range paths {
		job := strings.TrimSuffix(filepath.Base(path), ".prom")
		scraped[job] = readScrape(t, path)
		for _, s := range scraped[job] {
			// Every exporter exposes when it last collected: the time of the scrape is just after.
			if s.labels.Get(model.MetricNameLabel) == "sightglass_collector_last_success_timestamp_seconds" {
				if at := time.Unix(int64(s.value), 0).Truncate(scrapeInterval).Add(scrapeInterval); at.After(r.now) {
					r.now = at
				}
			}
		}
	}
	require.False(t, r.now.IsZero(), "no fixture tells the time of its last collection")
	return r, scraped
}

func readScrape(t *testing.T, path string) []sample {
	t.Helper()
	body, err := os.ReadFile(path)
	require.NoError(t, err)
	p, err := textparse.New(body, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
	require.NoError(t, err)
	var out []sample
	grows := false
	for {
		entry, err := p.Next()
		if err != nil {
			require.ErrorContains(t, err, "EOF", path)
			return out
		}
		if entry == textparse.EntryType {
			name, kind := p.Type()
			grows = kind != model.MetricTypeGauge && growing.Match(name)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		s := sample{grows: grows}
		p.Labels(&s.labels)
		_, _, s.value = p.Series()
		out = append(out, s)
	}
}

// scrape appends the fixtures as if they had been exposed at that time: timestamps within move along.
func (r *replay) scrape(t *testing.T, at time.Time, scraped map[string][]sample, instances []string, target labels.Labels) {
	t.Helper()
	shift := at.Sub(r.now).Seconds()
	appender := r.storage.Appender(t.Context())
	add := func(job, instance string, series labels.Labels, value float64) {
		builder := labels.NewBuilder(series)
		builder.Set("job", job).Set("instance", instance)
		target.Range(func(l labels.Label) { builder.Set(l.Name, l.Value) })
		_, err := appender.Append(0, builder.Labels(), at.UnixMilli(), value)
		require.NoError(t, err)
	}
	for _, job := range slices.Sorted(maps.Keys(scraped)) {
		for _, instance := range instances {
			add(job, instance, labels.FromStrings(model.MetricNameLabel, "up"), 1)
			for _, s := range scraped[job] {
				value := s.value
				if s.grows {
					value *= 1 + at.Sub(r.now.Add(-5*week)).Minutes()/5
				}
				if strings.HasSuffix(s.labels.Get(model.MetricNameLabel), "_timestamp_seconds") {
					value += shift
				}
				add(job, instance, s.labels, value)
			}
		}
	}
	require.NoError(t, appender.Commit())
}

// ruleGroups loads the rules of the bundle in the order of its tiers, for the rules manager to evaluate as a
// Prometheus server would.
func (r *replay) ruleGroups(t *testing.T) []*rules.Group {
	t.Helper()
	logger := promslog.NewNopLogger()
	manager := rules.NewManager(&rules.ManagerOptions{
		ExternalURL:  &url.URL{Scheme: "http", Host: "prometheus"},
		QueryFunc:    rules.EngineQueryFunc(r.engine, r.storage),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Context:      t.Context(),
		AppendableV2: r.storage,
		Queryable:    r.storage,
		Logger:       logger,
		Parser:       parser.NewParser(parser.Options{}),
	})
	var out []*rules.Group
	for _, tier := range []string{"thresholds.yaml", "adapters/*.yaml", "native/*.yaml", "signals/*.yaml", "alerts/*.yaml"} {
		paths, err := filepath.Glob(filepath.Join("..", "rules", tier))
		require.NoError(t, err)
		for _, path := range paths {
			groups, errs := manager.LoadGroups(scrapeInterval, labels.EmptyLabels(), "", nil, false, path)
			require.Empty(t, errs)
			for _, key := range slices.Sorted(maps.Keys(groups)) {
				for _, alert := range groups[key].AlertingRules() {
					// A fresh server writes no ALERTS before it has looked for those of its former self.
					alert.SetRestored(true)
				}
				out = append(out, groups[key])
			}
		}
	}
	return out
}

// instant evaluates at the end of the time range.
func (r *replay) instant(t *testing.T, expr string) (promql.Vector, error) {
	t.Helper()
	query, err := r.engine.NewInstantQuery(t.Context(), r.storage, nil, expr, r.now)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(t.Context())
	if result.Err != nil {
		return nil, result.Err
	}
	if scalar, err := result.Scalar(); err == nil {
		return promql.Vector{{T: scalar.T, F: scalar.V}}, nil
	}
	vector, err := result.Vector()
	// The query's memory is reused once it is closed.
	return slices.Clone(vector), err
}

// over evaluates across the time range and returns the labels of the series found.
func (r *replay) over(t *testing.T, expr string) ([]labels.Labels, error) {
	t.Helper()
	query, err := r.engine.NewRangeQuery(t.Context(), r.storage, nil, expr, r.now.Add(-timeRange), r.now, scrapeInterval)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(t.Context())
	if result.Err != nil {
		return nil, result.Err
	}
	matrix, err := result.Matrix()
	if err != nil {
		return nil, err
	}
	var out []labels.Labels
	for _, series := range matrix {
		out = append(out, series.Metric)
	}
	return out, nil
}

// labelValues answers a variable's query as the label values API does: what existed within the time range.
func (r *replay) labelValues(t *testing.T, selector, label string) ([]string, error) {
	t.Helper()
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector(selector)
	if err != nil {
		return nil, err
	}
	querier, err := r.storage.Querier(r.now.Add(-timeRange).UnixMilli(), r.now.UnixMilli())
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, querier.Close()) }()
	values, _, err := querier.LabelValues(t.Context(), label, &storage.LabelHints{}, matchers...)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(values)), nil
}
