// Package fields counts features, predictions and confidences by frozen bins.
//
// Input: observations. Output for each version of a model: the number of values of each field in each bin, and the baselines to compare
// them with, which are the training data and the first days in production. State: a Keeper has the counts, and samples until bins are final.
// Bins and baselines are in the baseline store, which all replicas share. The first replica cuts the bins: from the training data, or from
// the first inferences and, once, again from all learned days. Then they do not change until they are reset.
package fields

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/season"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// maxCells limits the values in all samples together, to about 40 MB.
const maxCells = 1 << 20

// Options configure a Keeper.
type Options struct {
	Store *baseline.Store
	// Sample is the number of inferences from which bins are cut. After SampleWait, fewer are enough.
	Sample     int
	SampleWait time.Duration
	// Days is the number of days that the production baseline learns; 0 disables it.
	Days   int
	Choice tables.Choice
	// Reveal has the fields whose categories are never hidden.
	Reveal reveal.Policy
	// Training opens the training data of a version and reports whether there is any. An error means that this is not known yet.
	Training func(ctx context.Context, model, version string) (Training, bool, error)
	// Fields returns the limit on the counted fields of a model.
	Fields func(model string) *limit.Limiter
	// Season has the time zone of the seasons, UTC if nil, and which hours are compared.
	Season season.Settings
	// Slow is the interval of store reads for a version that has its bins.
	Slow time.Duration
	// Causes configures the search for probable causes.
	Causes Causes
	Now    func() time.Time
	Logger *slog.Logger
}

// Keeper manages the fields of all models.
type Keeper struct {
	Options
	descs     descs
	memory    *recent.Memory // nil if the search for causes is disabled
	published publishedCauses
	cells     atomic.Int64
	woken     chan struct{}
	cycles    sync.Mutex

	models map[string]*model // guarded by cycles

	mu        sync.Mutex
	trackers  map[*Tracker]struct{}
	forgotten []*Tracker // since the last cycle
	snapshots snapshots
	mixed     mixtures
}

var _ prometheus.Collector = (*Keeper)(nil)

type descs struct {
	values, ratio, baselineValues, swing, firstDay, days, wantedDays, frozen, inherited, mismatches, withoutBins *prometheus.Desc
	cause                                                                                                        causeDescs
}

// Declare declares the metrics of a Keeper in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	model := func(more ...string) []string { return append([]string{"model", "version"}, more...) }
	return descs{
		values:         c.Counter("ml_model_field_values_total", "Values of the field that are in the bin.", model("field", "role", "bin")...),
		ratio:          c.Gauge("ml_model_field_baseline_ratio", "Share of the baseline's values that are in the bin. The baselines season and season_5m are the production baseline at the time of day of the last hour and of the last five minutes.", model("field", "role", "bin", "baseline")...),
		baselineValues: c.Gauge("ml_model_field_baseline_values", "Values of the field in the baseline, including nulls.", model("field", "role", "baseline")...),
		swing:          c.Gauge("ml_model_field_baseline_swing", "Mean population stability index between each day of the production baseline and the whole baseline, less the part explained by chance. For the baselines season and season_5m, the same for the hours at that time of day. Absent if too few days or hours have enough values.", model("field", "role", "baseline")...),
		withoutBins:    c.Gauge("ml_model_field_without_bins_info", "A field that is not counted, and the reason.", model("field", "role", "reason")...),
		mismatches:     c.Counter("ml_model_embedding_mismatches_total", "Embeddings whose dimensions differ from those of the baseline. They count in the bin nan of the field.", model("field")...),
		firstDay:       c.Gauge("ml_model_baseline_first_day_timestamp_seconds", "Start of the first day of the production baseline. Inputs (features) belong to the model, outputs to the version.", model("role")...),
		days:           c.Gauge("ml_model_baseline_days", "Days in the production baseline.", model("role")...),
		wantedDays:     c.Gauge("ml_model_baseline_wanted_days", "Days after which the production baseline is frozen.", model("role")...),
		frozen:         c.Gauge("ml_model_baseline_frozen", "Whether the published production baseline is frozen (1) or still learning (0). While a version learns the baseline of its outputs, the baseline of the previous version is published.", model("role")...),
		cause:          newCauseDescs(c, model),
		inherited:      c.Gauge("ml_model_baseline_inherited_info", "The previous version, whose outputs are the published production baseline while the version learns its own.", model("from_version")...),
	}
}

// New makes a Keeper.
func New(o Options) (*Keeper, error) {
	if o.Store == nil || o.Sample < 1 || o.Training == nil || o.Fields == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a keeper of fields needs a store, a sample of 1 or more, a source of training data, a limit, a clock and a logger")
	}
	if o.Season.Zone == nil {
		o.Season.Zone = time.UTC
	}
	k := &Keeper{Options: o, descs: newDescs(new(catalogue.Catalogue)), woken: make(chan struct{}, 1), models: make(map[string]*model), trackers: make(map[*Tracker]struct{})}
	if o.Causes.Window > 0 {
		k.memory = recent.NewMemory(o.Causes.Memory)
	}
	return k, nil
}

// Track starts to count the fields of a version.
func (k *Keeper) Track(model, version string) *Tracker {
	t := &Tracker{model: model, version: version, keeper: k, sent: make(map[string]bool)}
	t.restart(k.Now())
	k.mu.Lock()
	k.trackers[t] = struct{}{}
	k.mu.Unlock()
	k.wake()
	return t
}

// Forget ends counting that Track started.
func (k *Keeper) Forget(t *Tracker) {
	k.mu.Lock()
	delete(k.trackers, t)
	k.forgotten = append(k.forgotten, t)
	k.mu.Unlock()
	k.hide(t)
	t.close()
}

func (t *Tracker) key() string { return t.model + "\x1f" + t.version }

func (t *Tracker) seasonKey() string { return t.key() + "\x1fseason" }

// hide removes the published baselines of a version.
func (k *Keeper) hide(t *Tracker) {
	k.snapshots.Delete(t.key())
	k.mixed.set(t.seasonKey(), nil)
	k.published.set(t.key(), nil)
}

// wake makes Run start a cycle immediately.
func (k *Keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

// Run runs a cycle whenever a sample is full, until ctx ends. The caller runs the periodic cycles.
func (k *Keeper) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.woken:
			// The next periodic cycle reports a failure.
			_ = k.Cycle(ctx)
		}
	}
}

// Cycle processes every version: it adopts or cuts bins, counts training data and adds days. A version that fails does not stop the others.
func (k *Keeper) Cycle(ctx context.Context) error {
	k.cycles.Lock()
	defer k.cycles.Unlock()
	now := k.Now()
	var errs []error
	for _, m := range k.byModel(now) {
		m.closeHour(now)
		for _, t := range m.trackers {
			if err := k.collectVersion(ctx, m, t); err != nil {
				errs = append(errs, fmt.Errorf("model %q version %q: %w", t.model, t.version, err))
			}
		}
		if len(m.trackers) > 0 {
			continue
		}
		// The last day of a model that is no longer served.
		if m.waiting() {
			if err := m.read(ctx, now); err != nil {
				errs = append(errs, fmt.Errorf("model %q: %w", m.name, err))
			}
		}
		if m.idle() {
			delete(k.models, m.name)
		}
	}
	return errors.Join(errs...)
}

// byModel returns the models in order, each with the versions that are served. It adds the last counts of forgotten versions.
func (k *Keeper) byModel(now time.Time) []*model {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range k.models {
		m.trackers = nil
	}
	for _, t := range slices.SortedFunc(maps.Keys(k.trackers), func(a, b *Tracker) int { return cmp.Compare(a.key(), b.key()) }) {
		if k.models[t.model] == nil {
			k.models[t.model] = k.newModel(t.model, now)
		}
		m := k.models[t.model]
		m.trackers = append(m.trackers, t)
	}
	for _, t := range k.forgotten {
		if m := k.models[t.model]; m != nil {
			m.record(t)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(k.trackers)), func(o *Tracker) bool { return o.key() == t.key() }) {
			k.hide(t) // A concurrent cycle may have published it again.
		}
	}
	k.forgotten = nil
	models := make([]*model, 0, len(k.models))
	for _, name := range slices.Sorted(maps.Keys(k.models)) {
		models = append(models, k.models[name])
	}
	return models
}

// Describe implements prometheus.Collector. It sends nothing, because the metrics depend on the received spans.
func (k *Keeper) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (k *Keeper) Collect(ch chan<- prometheus.Metric) {
	k.snapshots.Collect(ch)
	k.mu.Lock()
	trackers := slices.Collect(maps.Keys(k.trackers))
	k.mu.Unlock()
	var out exporter.Metrics
	k.collectMixtures(&out)
	k.published.collect(&out, k.descs.cause)
	for _, t := range trackers {
		c := t.counters.Load()
		if c == nil {
			continue
		}
		c.mismatches(func(name string, n int64, _, _ int) {
			field, _ := labels(name)
			out.Counter(k.descs.mismatches, float64(n), t.model, t.version, field)
		})
		for name, bins := range c.snapshot().Fields {
			label, role := labels(name)
			for bin, n := range bins {
				out.Counter(k.descs.values, float64(n), t.model, t.version, label, role, reveal.Name(c.all[name].hidden, bin))
			}
		}
	}
	for _, m := range out {
		ch <- m
	}
}
