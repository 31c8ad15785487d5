// Package fields counts features, predictions and confidences by frozen bins.
//
// In flow observations. Out flow, for each version of a model, how many values of each field fell into each bin, and the
// baselines to compare that with: the data it was trained on, and its first days in production. Bins are cut once, from
// the training data or from the first inferences, and belong to the baseline store, as the baselines do: the first
// replica's are everybody's. A Keeper owns the counts and what is kept until there are bins.
package fields

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/season"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// kind is the kind of baselines that belong to versions of models.
const kind = "model"

// maxCells bounds the values that all samples together keep; 40 MB or so.
const maxCells = 1 << 20

// Options of a Keeper.
type Options struct {
	Store *baseline.Store
	// Sample is how many inferences bins are cut from; after SampleWait fewer will do.
	Sample     int
	SampleWait time.Duration
	// Days are learned for the production baseline; 0 is none.
	Days   int
	Choice tables.Choice
	// Training opens the training data of a version, if there is any; an error says that this is not known yet.
	Training func(ctx context.Context, model, version string) (Training, bool, error)
	// Fields bounds the fields that are counted.
	Fields *limit.Limiter
	// Zone is the time zone of the models' days and nights; UTC if nil.
	Zone *time.Location
	// Slow is how often the store is looked at for a version that has its bins.
	Slow   time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

// Training is the data that a version was trained on.
type Training struct {
	Source   *tables.Source
	Relation tables.Relation
	// Prediction and Confidence are the columns of those; empty where there are none.
	Prediction, Confidence string
	// Done ends the use of the data, if it is not nil. The error, if any, is why it came to nothing.
	Done func(error)
}

// training is the training data for one look at a version. It is opened when it is first needed: it may be a download.
type training struct {
	ask       func() (Training, bool, error)
	asked, ok bool
	data      Training
	err       error
}

func (t *training) open() (Training, bool, error) {
	if !t.asked {
		t.asked = true
		t.data, t.ok, t.err = t.ask()
	}
	return t.data, t.ok, t.err
}

func (t *training) close(err error) {
	if t.data.Done != nil {
		t.data.Done(err)
	}
}

// Keeper keeps the fields of all models.
type Keeper struct {
	Options
	descs  descs
	cells  atomic.Int64
	woken  chan struct{}
	cycles sync.Mutex

	mu       sync.Mutex
	trackers map[*Tracker]struct{}
	shown    snapshots
	mixed    mixtures
}

var _ prometheus.Collector = (*Keeper)(nil)

type descs struct {
	values, ratio, baselineValues, firstDay, days, wantedDays, frozen *prometheus.Desc
}

// Declare declares the metrics of a Keeper in the reference.
func Declare(c *catalogue.Catalogue) { newDescs(c) }

func newDescs(c *catalogue.Catalogue) descs {
	model := func(more ...string) []string { return append([]string{"model", "version"}, more...) }
	return descs{
		values:         c.Counter("ml_model_field_values_total", "Values of the field that fell into the bin.", model("field", "role", "bin")...),
		ratio:          c.Gauge("ml_model_field_baseline_ratio", "Share of the baseline's values that fall into the bin. The baselines season and season_5m are the production baseline at the time of the day of the last hour and of the last five minutes.", model("field", "role", "bin", "baseline")...),
		baselineValues: c.Gauge("ml_model_field_baseline_values", "Values, nulls included, of the field in the baseline.", model("field", "role", "baseline")...),
		firstDay:       c.Gauge("ml_model_baseline_first_day_timestamp_seconds", "Start of the first day of the production baseline.", model()...),
		days:           c.Gauge("ml_model_baseline_days", "Days that the production baseline holds.", model()...),
		wantedDays:     c.Gauge("ml_model_baseline_wanted_days", "Days after which the production baseline is frozen.", model()...),
		frozen:         c.Gauge("ml_model_baseline_frozen", "Whether the production baseline is frozen (1) or still learning (0).", model()...),
	}
}

// New makes a Keeper.
func New(o Options) (*Keeper, error) {
	if o.Store == nil || o.Sample < 1 || o.Training == nil || o.Fields == nil || o.Now == nil || o.Logger == nil {
		return nil, errors.New("a keeper of fields needs a store, a sample of 1 or more, a source of training data, a limit, a clock and a logger")
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	return &Keeper{Options: o, descs: newDescs(new(catalogue.Catalogue)), woken: make(chan struct{}, 1), trackers: make(map[*Tracker]struct{})}, nil
}

// Track begins to count the fields of a version.
func (k *Keeper) Track(model, version string) *Tracker {
	t := &Tracker{model: model, version: version, keeper: k, subject: k.Store.Subject(kind, subjectName(model, version))}
	t.restart(k.Now())
	k.mu.Lock()
	k.trackers[t] = struct{}{}
	k.mu.Unlock()
	k.wake()
	return t
}

func subjectName(model, version string) string {
	if version == "" {
		return model
	}
	return model + "@" + version
}

// Forget ends what Track began.
func (k *Keeper) Forget(t *Tracker) {
	k.mu.Lock()
	delete(k.trackers, t)
	k.mu.Unlock()
	k.hide(t)
	t.close()
}

func (t *Tracker) key() string { return t.model + "\x1f" + t.version }

func (t *Tracker) seasonKey() string { return t.key() + "\x1fseason" }

// hide takes the baselines of a version away.
func (k *Keeper) hide(t *Tracker) {
	k.shown.Delete(t.key())
	k.mixed.set(t.seasonKey(), nil)
}

// wake makes Run begin a cycle now.
func (k *Keeper) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

// Run makes a cycle whenever a sample is full, until ctx ends. Cycles by the clock are the caller's.
func (k *Keeper) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.woken:
			// A failure is told by the next cycle of the clock.
			_ = k.Cycle(ctx)
		}
	}
}

// Cycle looks after every version: it adopts or cuts bins, counts training data and adds days. One version's failure
// does not stop another.
func (k *Keeper) Cycle(ctx context.Context) error {
	k.cycles.Lock()
	defer k.cycles.Unlock()
	k.mu.Lock()
	trackers := slices.SortedFunc(maps.Keys(k.trackers), func(a, b *Tracker) int { return cmp.Compare(a.key(), b.key()) })
	k.mu.Unlock()
	var errs []error
	for _, t := range trackers {
		if err := k.look(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("model %q version %q: %w", t.model, t.version, err))
		}
	}
	return errors.Join(errs...)
}

// look is one cycle of one version.
func (k *Keeper) look(ctx context.Context, t *Tracker) (err error) {
	now := k.Now()
	c := t.counters.Load()
	if c != nil {
		k.closeHour(t, c, now)
		k.showSeason(t, c, now)
		if !t.failed && len(t.pending) == 0 && now.Sub(t.looked) < k.Slow {
			return nil
		}
	}
	t.looked, t.failed = now, true
	data := &training{ask: func() (Training, bool, error) { return k.Training(ctx, t.model, t.version) }}
	defer func() { data.close(err) }()
	view, err := t.subject.View(ctx)
	if err != nil {
		return err
	}
	d, err := view.Definition(ctx)
	if errors.Is(err, baseline.ErrNotFound) {
		if c != nil {
			t.restart(now) // somebody has reset it
			k.hide(t)
		}
		if !t.ready(now) {
			t.failed = false
			return nil
		}
		if d, err = k.define(ctx, t, data); err != nil {
			return err
		}
		if view, err = t.subject.View(ctx); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if c == nil || c.id != d.ID {
		c = t.adopt(k.bounded(t, d))
		k.Logger.Info("Counting the fields of a model", "model", t.model, "version", t.version, "fields", len(c.all), "bins_from", d.Edges)
		k.closeHour(t, c, now)
	}
	if err := k.publish(ctx, t, view, d, data); err != nil {
		return err
	}
	t.failed = false
	return nil
}

// bounded leaves out the fields past the limit.
func (k *Keeper) bounded(t *Tracker, d baseline.Definition) baseline.Definition {
	kept := make(map[string]binning.Layout, len(d.Fields))
	for _, name := range sortedKeys(d.Fields) {
		if k.Fields.Fold(t.key()+"\x1f"+name) != limit.Other {
			kept[name] = d.Fields[name]
		}
	}
	d.Fields = kept
	return d
}

// define cuts bins: from the training data, if there is any, for the fields that it has, and from the sample for all
// others.
func (k *Keeper) define(ctx context.Context, t *Tracker, data *training) (baseline.Definition, error) {
	t.mu.Lock()
	d := baseline.Definition{Edges: baseline.EdgesProduction, Fields: t.sample.cut(k.Choice)}
	served := slices.Clone(t.sample.names)
	t.mu.Unlock()
	trained, ok, err := data.open()
	if err != nil {
		return baseline.Definition{}, err
	}
	if ok {
		layouts, err := trained.cut(ctx, served, k.Choice)
		if err != nil {
			return baseline.Definition{}, fmt.Errorf("training data: %w", err)
		}
		if len(layouts) > 0 {
			d.Edges = baseline.EdgesTraining
			maps.Copy(d.Fields, layouts)
		}
	}
	return t.subject.CreateDefinition(ctx, d)
}

// column is where a field is in the training data.
func (t Training) column(field string) string {
	switch field {
	case prediction:
		return t.Prediction
	case confidence:
		return t.Confidence
	}
	return strings.TrimPrefix(field, input)
}

// cut cuts bins for the fields that the training data has.
func (t Training) cut(ctx context.Context, served []string, choice tables.Choice) (map[string]binning.Layout, error) {
	schema, err := t.Source.Schema(ctx, t.Relation)
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string) // by column
	for _, field := range served {
		if column := t.column(field); column != "" {
			fields[column] = field
		}
	}
	schema = slices.DeleteFunc(schema, func(c tables.Column) bool { return fields[c.Name] == "" })
	cut, err := t.Source.Cut(ctx, t.Relation, schema, tables.Window{}, choice, nil)
	if err != nil {
		return nil, err
	}
	if cut.Rows == 0 {
		return nil, errors.New("no rows")
	}
	layouts := make(map[string]binning.Layout)
	for column, layout := range cut.Layouts {
		// Ages of training data say when it was written, not how old a feature is when it is used.
		if layout.Kind != binning.Aged {
			layouts[fields[column]] = layout
		}
	}
	return layouts, nil
}

// count counts the training data by the bins.
func (t Training) count(ctx context.Context, d baseline.Definition, now time.Time) (baseline.Counts, error) {
	schema, err := t.Source.Schema(ctx, t.Relation)
	if err != nil {
		return baseline.Counts{}, err
	}
	layouts := make(tables.Fields)
	for name, layout := range d.Fields {
		if column := t.column(name); column != "" {
			layouts[column] = &layout
		}
	}
	p, err := t.Source.Count(ctx, t.Relation, schema, tables.Window{}, layouts, now)
	if err != nil {
		return baseline.Counts{}, err
	}
	counts := baseline.Counts{Definition: d.ID, Rows: p.Rows, Fields: make(map[string]map[string]int64)}
	for name := range d.Fields {
		if bins, ok := p.Values[t.column(name)]; ok {
			counts.Fields[name] = bins
		}
	}
	return counts, nil
}

// closeHour counts the hour that has ended, and the day that has.
func (k *Keeper) closeHour(t *Tracker, c *counters, now time.Time) {
	if hour := now.Truncate(time.Hour); !hour.Equal(t.hour) {
		if counted := c.snapshot(); !t.hour.IsZero() {
			t.hours.Add(c.definition, t.hour.UTC().Hour(), since(t.atHour, counted).Fields)
			t.atHour = counted
		} else {
			// What was counted before, from the sample, is of the first hour.
			t.atHour = baseline.Counts{}
		}
		t.hour = hour
	}
	k.closeDay(t, c, now)
}

// closeDay puts the counts of a day that has ended where they wait to be stored.
func (k *Keeper) closeDay(t *Tracker, c *counters, now time.Time) {
	today := baseline.DayOf(now)
	switch {
	case t.day == "":
		t.day = today
	case t.day != today:
		counted := c.snapshot()
		day := since(t.atDawn, counted)
		if day.Rows > 0 && k.Days > 0 {
			t.pending = append(t.pending, pendingDay{t.day, day, t.hours})
		}
		t.day, t.atDawn, t.hours = today, counted, baseline.Hours{}
	}
	// A store that is away for days must not make this grow.
	if n := len(t.pending) - 3; n > 0 {
		t.pending = slices.Delete(t.pending, 0, n)
	}
}

// publish stores what is due, reads the baselines and shows them.
func (k *Keeper) publish(ctx context.Context, t *Tracker, view *baseline.View, d baseline.Definition, data *training) error {
	var out exporter.Metrics
	trainingErr := k.training(ctx, t, view, d, data, &out)
	productionErr := k.production(ctx, t, view, &out)
	// What was read stays while the store cannot be read: baselines do not change.
	if trainingErr == nil && productionErr == nil {
		k.shown.Set(t.key(), out, 365*24*time.Hour)
	}
	return errors.Join(trainingErr, productionErr)
}

func (k *Keeper) training(ctx context.Context, t *Tracker, view *baseline.View, d baseline.Definition, data *training, out *exporter.Metrics) error {
	counts, err := view.Training(ctx)
	if errors.Is(err, baseline.ErrNotFound) {
		trained, ok, unknown := data.open()
		if !ok || unknown != nil {
			return unknown
		}
		if counts, err = trained.count(ctx, d, k.Now()); err == nil {
			counts, err = t.subject.CreateTraining(ctx, counts)
		}
	}
	if err != nil {
		return fmt.Errorf("training data: %w", err)
	}
	k.show(t, counts, baseline.EdgesTraining, out)
	return nil
}

func (k *Keeper) production(ctx context.Context, t *Tracker, view *baseline.View, out *exporter.Metrics) error {
	if k.Days == 0 {
		return nil
	}
	for len(t.pending) > 0 {
		if _, err := t.subject.AddDayByHour(ctx, t.pending[0].day, t.pending[0].counts, t.pending[0].hours); err != nil {
			return fmt.Errorf("production baseline: %w", err)
		}
		t.pending = t.pending[1:]
		var err error
		if view, err = t.subject.View(ctx); err != nil {
			return err
		}
	}
	p, err := view.Production(ctx, k.Days)
	if err != nil {
		return fmt.Errorf("production baseline: %w", err)
	}
	out.Gauge(k.descs.wantedDays, float64(k.Days), t.model, t.version)
	out.Gauge(k.descs.days, float64(len(p.Days)), t.model, t.version)
	frozen := 0.0
	if p.Frozen() {
		frozen = 1
	}
	out.Gauge(k.descs.frozen, frozen, t.model, t.version)
	if len(p.Days) > 0 {
		start, err := p.Days[0].Start()
		if err != nil {
			return err
		}
		out.Gauge(k.descs.firstDay, float64(start.Unix()), t.model, t.version)
		k.show(t, p.Counts, baseline.EdgesProduction, out)
	}
	if err := k.season(ctx, t, view, p); err != nil {
		return err
	}
	t.shown = time.Time{}
	k.showSeason(t, t.counters.Load(), k.Now())
	return nil
}

// season reads what the production baseline was like at each time of the day.
func (k *Keeper) season(ctx context.Context, t *Tracker, view *baseline.View, p baseline.Production) error {
	s, err := view.Season(ctx, p, k.Zone)
	if err != nil {
		return fmt.Errorf("hours of the production baseline: %w", err)
	}
	if without := len(view.WithoutHours(p)); without > 0 && !t.told {
		t.told = true
		k.Logger.Warn("Days of the production baseline have no hours, since an earlier version learned them. Five minutes and an hour are compared with the other days' hours, or with the whole baseline if there are none; to learn hours, reset the production baseline.",
			"model", t.model, "version", t.version, "days", len(p.Days), "days_without_hours", without)
	}
	t.season = &learned{s, p.Counts}
	return nil
}

// learned is the production baseline, and its season where there is one.
type learned struct {
	season *season.Season
	whole  baseline.Counts
}

// Baselines of the short windows: what the production baseline was like at the time of the day of the last hour and of the
// last five minutes. The hour is not the five minutes: where a night becomes a day, they are of different hours.
const (
	seasonHour    = "season"
	seasonMinutes = "season_5m"
)

// seasonEvery is how often what the short windows are compared with is mixed anew.
const seasonEvery = time.Minute

// showSeason makes the series of what the short windows are compared with now.
func (k *Keeper) showSeason(t *Tracker, c *counters, now time.Time) {
	l := t.season
	if l == nil || c == nil || len(l.whole.Fields) == 0 || now.Sub(t.shown) < seasonEvery {
		return
	}
	t.shown = now
	k.mixed.set(t.seasonKey(), append(l.mix(t, c, seasonHour, time.Hour, now), l.mix(t, c, seasonMinutes, 5*time.Minute, now)...))
}

// show makes the series of one baseline, for the fields that are counted.
func (k *Keeper) show(t *Tracker, counts baseline.Counts, name string, out *exporter.Metrics) {
	c := t.counters.Load()
	for field, bins := range counts.Fields {
		if c == nil || c.all[field] == nil {
			continue
		}
		var total int64
		for _, n := range bins {
			total += n
		}
		label, role := labels(field)
		out.Gauge(k.descs.baselineValues, float64(total), t.model, t.version, label, role, name)
		for bin, n := range bins {
			out.Gauge(k.descs.ratio, float64(n)/float64(max(total, 1)), t.model, t.version, label, role, bin, name)
		}
	}
}

// labels are the values of the labels field and role.
func labels(field string) (name, role string) {
	role, name, _ = strings.Cut(field, "/")
	return name, role
}

// Describe implements prometheus.Collector. What is there depends on what is sent.
func (k *Keeper) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (k *Keeper) Collect(ch chan<- prometheus.Metric) {
	k.shown.Collect(ch)
	k.mu.Lock()
	trackers := slices.Collect(maps.Keys(k.trackers))
	k.mu.Unlock()
	var out exporter.Metrics
	k.collectMixtures(&out)
	for _, t := range trackers {
		c := t.counters.Load()
		if c == nil {
			continue
		}
		for name, bins := range c.snapshot().Fields {
			label, role := labels(name)
			for bin, n := range bins {
				out.Counter(k.descs.values, float64(n), t.model, t.version, label, role, bin)
			}
		}
	}
	for _, m := range out {
		ch <- m
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
