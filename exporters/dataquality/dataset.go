package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// dataset profiles one table. It is used by one goroutine.
type dataset struct {
	cfg         DatasetConfig
	source      *tables.Source
	relation    tables.Relation
	learner     *learner
	upstreams   []upstream
	comparisons []comparison
	checks      []tables.Check
	defaults    map[string]float64
	overrides   map[override]float64
	// columns bounds the columns that ever have series.
	columns *limit.Limiter
	// problems are of what could not be opened beside the table itself.
	problems []error
	// leftOut are the columns past the limit: each is counted and logged once.
	leftOut map[string]bool
	// unreadable are the files that the last profile left out.
	unreadable []string
	logger     *slog.Logger
	now        func() time.Time
	// saidUnknown says that the log has the columns whose baseline has values that its bins do not know.
	saidUnknown bool

	// rooms are where segments are opened, and children those that there are, by name.
	rooms    *rooms
	children map[string]*dataset

	// latest outlives an empty window, so that a stale dataset stays stale.
	latest time.Time
	// empty says that the last window had no rows though the table has.
	empty bool
	// rowsPerSecond is the mean of the last window, by which the recent one is sized.
	rowsPerSecond float64
	// recentWas is the length of the last recent window, 0 before the first.
	recentWas time.Duration
	past      past
	// good is what was stored as goodJSON; see readGood.
	good     lastGood
	goodJSON []byte
	// incidents are the signals that are beyond their limits, with their causes, and asked the times of the statements for these.
	incidents map[incidentKey]*incident
	asked     []time.Time
	// sorted are the bins of columns, as they were last; see order.
	sorted map[binsOf][]string
	// shown are the names of categories, by column; see hidden.
	shown map[string]hiddenOf
	// batch makes the metrics of each profile.
	batch exporter.Batch
}

type upstream struct {
	name     string
	source   *tables.Source
	relation tables.Relation
}

type comparison struct {
	against string
	source  *tables.Source
	query   string
}

// cycle is what one profile found.
type cycle struct {
	now    time.Time
	window tables.Window
	// future is after what the window can have.
	future time.Time
	// segments are the ways to divide the dataset, with what was counted of each part.
	segments    []segmentation
	schema      []tables.Column
	changes     []change
	profile     tables.Profile
	latest      time.Time
	outside     tables.Outside
	duplicates  []tables.Duplicates
	checked     []tables.Checked
	upstreams   []upstreamRows
	comparisons []compared
	baselines   []compareWith
	production  baseline.Production
	definition  baseline.Definition
	learned     bool // production was read
	snapshot    snapshot
	good        lastGood
	// days are those of a window of whole days, which ended at dayEnd; 0 for one that ends now.
	days   int
	dayEnd time.Time
	// empty says that the table has records, and none in the window.
	empty bool
	// counted says that there is more of the past to compare with.
	counted bool
	// recent is what the window has from recentFrom on; without counts where no recent window is counted.
	recentFrom time.Time
	recent     tables.Profile
	// seasonRecent is what recent is compared with, by column.
	seasonRecent map[string]shares
	// gap is what usualGap found, once gapKnown.
	gap              time.Duration
	hasGap, gapKnown bool
}

type upstreamRows struct {
	name string
	rows int64
}

type compared struct {
	against              string
	compared, mismatched int64
}

// run makes one profile. It returns what was found even if a part of it failed;
// the error then joins all failures.
func (d *dataset) run(ctx context.Context) (*cycle, error) {
	now := d.now()
	c := &cycle{now: now}
	if d.cfg.TimestampColumn != "" {
		c.window.To = now.Add(time.Duration(d.cfg.ClockSkew))
		if d.cfg.Window > 0 {
			c.window.From = now.Add(-time.Duration(d.cfg.Window))
		}
	}
	errs := slices.Clone(d.problems)
	failed := func(doing string, err error) bool {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", doing, err))
		}
		return err != nil
	}

	schema, err := d.source.Schema(ctx, d.relation)
	if err != nil {
		return c, err
	}
	c.schema = schema
	d.overrides = d.cfg.Thresholds.overrides(schema)
	c.future = c.window.To
	c.counted = d.lookBack(ctx, c)
	failed("whole days", d.wholeDays(ctx, c))

	view, definition, err := d.learner.define(ctx, schema, c.window)
	if err != nil && !errors.Is(err, errNothingYet) {
		failed("baseline", err)
	}
	expected := definition.Schema
	if len(d.cfg.Schema) > 0 {
		expected = make([]baseline.Column, len(d.cfg.Schema))
		for i, e := range d.cfg.Schema {
			expected[i] = baseline.Column{Name: e.Name, Type: e.Type}
		}
	}
	if len(expected) > 0 && len(schema) > 0 {
		if c.schema, err = d.source.Conform(ctx, d.relation, schema, typesOf(expected)); err != nil {
			return c, errors.Join(append(errs, err)...)
		}
		c.changes = changes(expected, c.schema)
		failed("accept", d.acceptChanges(ctx, c))
	}

	if definition.ID != "" {
		c.segments, err = d.cfg.segments(definition, c.schema)
		failed("segments", err)
	}
	d.openRecent(c)
	if c.profile, err = d.count(ctx, c, definition.Fields); err != nil {
		return c, errors.Join(append(errs, err)...)
	}
	d.noteRate(c)
	d.noteUnreadable(c.profile.Unreadable)
	failed("freshness", d.noteLatest(ctx, c, c.future))
	if failed("segments", d.countOfSegments(ctx, c)) {
		c.segments = nil
	}
	failed("records outside the window", d.lookOutside(ctx, c, c.future))
	failed("keys", d.countDuplicates(ctx, c))
	failed("checks", d.runChecks(ctx, c))

	for _, u := range d.upstreams {
		rows, err := u.source.Rows(ctx, u.relation, c.window)
		if !failed(fmt.Sprintf("upstream %q", u.name), err) {
			c.upstreams = append(c.upstreams, upstreamRows{u.name, rows})
		}
	}
	for _, m := range d.comparisons {
		n, err := m.source.Numbers(ctx, m.query, c.window, "compared_rows", "mismatched_rows")
		if !failed(fmt.Sprintf("comparison with %q", m.against), err) {
			c.comparisons = append(c.comparisons, compared{m.against, n[0], n[1]})
		}
	}
	err = errors.Join(errors.Join(errs...), d.conclude(ctx, c, view, definition, len(errs) == 0))
	d.explainBreaches(ctx, c)
	return c, err
}

// noteLatest finds the time of the latest record.
func (d *dataset) noteLatest(ctx context.Context, c *cycle, future time.Time) error {
	c.latest = c.profile.Latest
	var errs []error
	if d.cfg.TimestampColumn != "" && c.latest.IsZero() {
		// Nothing in the window: how long ago was the last record?
		var err error
		if c.latest, err = d.source.Latest(ctx, d.relation, c.window.To); err != nil || c.latest.IsZero() {
			c.latest = d.latest
			errs = append(errs, err)
		}
	}
	if c.days > 0 {
		c.latest = c.dayEnd
		today, err := d.source.Latest(ctx, d.relation, future)
		if err == nil && !today.Before(c.window.To) {
			c.latest = c.now
		}
		errs = append(errs, err)
	}
	d.latest = c.latest
	d.noteEmpty(c)
	return errors.Join(errs...)
}

// conclude learns from what was counted and names the snapshot; complete says that all of it was.
func (d *dataset) conclude(ctx context.Context, c *cycle, view *baseline.View, definition baseline.Definition, complete bool) error {
	var errs []error
	if definition.ID != "" {
		c.definition = definition
		if err := d.learn(ctx, view, definition, c); err != nil {
			errs = append(errs, fmt.Errorf("baseline: %w", err))
		}
	}
	if err := d.identify(ctx, view, c, complete && len(errs) == 0); err != nil {
		errs = append(errs, fmt.Errorf("snapshot: %w", err))
	}
	return errors.Join(errs...)
}

// count profiles the window. If a column vanished between reading the schema
// and counting, it reads the schema again, once.
func (d *dataset) count(ctx context.Context, c *cycle, layouts map[string]binning.Layout) (tables.Profile, error) {
	p, err := d.countWindows(ctx, c, d.fields(c.schema, layouts))
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	schema, schemaErr := d.source.Schema(ctx, d.relation)
	if schemaErr != nil || slices.Equal(schema, c.schema) {
		return p, err
	}
	c.schema = schema
	return d.countWindows(ctx, c, d.fields(schema, layouts))
}

// fields says what to count: the columns with a layout by its bins, and the
// nulls of all others up to the limit.
func (d *dataset) fields(schema []tables.Column, layouts map[string]binning.Layout) tables.Fields {
	f := make(tables.Fields)
	for name, l := range layouts {
		d.columns.Fold(name)
		f[name] = &l
	}
	for _, c := range schema {
		if _, ok := f[c.Name]; ok || d.leftOut[c.Name] || tables.MatchesAny(d.cfg.Columns.Exclude, c.Name) {
			continue
		}
		if d.columns.Fold(c.Name) != limit.Other || c.Name == limit.Other {
			f[c.Name] = nil
		} else {
			d.leaveOut(c.Name)
		}
	}
	return f
}

// learn adds what is due to the baselines and reads them.
func (d *dataset) learn(ctx context.Context, view *baseline.View, definition baseline.Definition, c *cycle) error {
	training, trainingErr := d.learner.training(ctx, view, definition)
	if trainingErr == nil && d.cfg.Baselines.Training != nil {
		c.baselines = append(c.baselines, compareWith{name: baseline.EdgesTraining, shares: sharesOf(training)})
	}
	var err error
	c.production, view, err = d.learner.production(ctx, view, definition, c, d.cfg.daysPerCycle())
	if errors.Is(err, baseline.ErrOtherBins) {
		// Another replica has refined the bins meanwhile: they are those of the next profile.
		d.logger.Debug("The bins were refined while this profile went on.", "reason", err)
		return trainingErr
	}
	if err != nil {
		return errors.Join(trainingErr, err)
	}
	c.learned = d.cfg.Baselines.Production.Days > 0
	if len(c.production.Days) == 0 {
		return trainingErr
	}
	production := compareWith{name: baseline.EdgesProduction, learning: !c.production.Frozen(), shares: sharesOf(c.production.Counts)}
	if !d.cfg.short() && c.recentFrom.IsZero() {
		c.baselines = append(c.baselines, production)
		return trainingErr
	}
	s, err := d.learner.season(ctx, view, definition, c.production)
	if s != nil {
		production.shares = withDays(production.shares, s)
	}
	if !c.recentFrom.IsZero() {
		c.seasonRecent = production.shares
		if s != nil {
			c.seasonRecent = seasonShares(s, definition, c.production, c.recentFrom, c.now)
		}
	}
	if !d.cfg.short() {
		c.baselines = append(c.baselines, production)
		return errors.Join(trainingErr, err)
	}
	// Without a season the short window is compared with the whole.
	slot := compareWith{name: baselineSeason, learning: production.learning, shares: production.shares}
	if s != nil {
		slot.shares = seasonShares(s, definition, c.production, c.window.From, c.now)
	}
	production.replaced = true
	c.baselines = append(c.baselines, production, slot)
	return errors.Join(trainingErr, err)
}

// identify names the snapshot and, if it passes every check, makes it the last
// good one.
func (d *dataset) identify(ctx context.Context, view *baseline.View, c *cycle, complete bool) error {
	// The digest is of what was counted; the checks leave out what says nothing yet.
	sum, err := digest(c.schema, c.profile, d.cfg.TimestampColumn, func(column string, bins map[string]int64) []string { return order(d, column, bins) })
	if err != nil {
		return err
	}
	if c.definition.ID != "" {
		d.foldUnseen(c)
	}
	c.snapshot = snapshot{Name: sum, Digest: sum}
	switch {
	case d.cfg.SnapshotQuery != "":
		if c.snapshot.Name, err = d.source.Text(ctx, d.cfg.SnapshotQuery); err != nil {
			c.snapshot = snapshot{}
			return err
		}
	case !c.window.From.IsZero():
		c.snapshot.Name = interval(c.window)
	}
	if view == nil {
		return nil
	}
	if err := d.readGood(ctx, view, c); err != nil {
		return err
	}
	changed := d.noteNulls(c)
	changed = d.noteArrived(c) || changed
	if complete {
		why := d.failedCheck(c)
		switch {
		case why != "":
			d.logger.Debug("The snapshot is not a good one.", "snapshot", c.snapshot.Name, "reason", why)
		case c.good.Snapshot != c.snapshot:
			c.good.accept(c.snapshot, c.profile.Rows, c.now)
			if d.lasting() {
				c.good.pass(c.snapshot, c.now)
			}
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return d.writeGood(ctx, view, c)
}

// metrics are the samples of one profile. With an error only those are there
// that are true all the same.
func (d *dataset) metrics(m descs, c *cycle, took time.Duration, err error) []prometheus.Metric {
	out := &d.batch
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		out.Gauge(desc, v, d.cfg.Name, labels...)
	}
	for o, v := range d.overrides {
		gauge(m.threshold, v, o.signal, o.column)
	}
	if info := m.owner.Metric(d.cfg.Name, d.cfg.Owned); info != nil {
		out.Add(info)
	}
	gauge(m.profileSuccess, truth(err == nil))
	gauge(m.profileDuration, took.Seconds())
	if c.schema != nil {
		counts := make(map[string]int)
		for _, ch := range c.changes {
			counts[ch.kind]++
		}
		for _, kind := range []string{added, removed, typeChanged} {
			gauge(m.schemaChanges, float64(counts[kind]), kind)
		}
		for i, ch := range c.changes {
			// A table that was replaced by another one changes every
			// column; the count says how many.
			if i == maxChangeInfos {
				break
			}
			gauge(m.schemaChangeInfo, 1, ch.column, ch.kind, ch.expected, ch.actual)
		}
	}
	if d.cfg.Baselines.Production.Days > 0 {
		gauge(m.wantedDays, float64(d.cfg.Baselines.Production.Days))
	}
	if c.learned {
		gauge(m.days, float64(len(c.production.Days)))
		gauge(m.frozen, truth(c.production.Frozen()))
		if len(c.production.Days) > 0 {
			if start, err := c.production.Days[0].Start(); err == nil {
				gauge(m.firstDay, seconds(start))
			}
		}
	}
	if c.good.Snapshot.Name != "" {
		gauge(m.lastGoodSnapshotInfo, 1, c.good.Snapshot.Name, c.good.Snapshot.Digest)
	}
	c.passedMetrics(m, gauge)
	if c.profile.Nulls == nil {
		return out.Take()
	}
	if err == nil {
		gauge(m.profileFinish, seconds(d.now()))
	}
	gauge(m.rows, float64(c.profile.Rows))
	if d.cfg.TimestampColumn != "" {
		gauge(m.future, float64(c.outside.Future))
		gauge(m.windowEmpty, truth(c.empty))
	}
	if d.cfg.OnUnreadable == tables.SkipUnreadable {
		gauge(m.unreadable, float64(len(c.profile.Unreadable)))
	}
	if !c.window.From.IsZero() {
		gauge(m.window, c.length().Seconds())
	}
	if !c.latest.IsZero() {
		gauge(m.latest, seconds(c.latest))
	}
	columns := sortedKeys(c.profile.Nulls)
	for _, column := range columns {
		gauge(m.nulls, float64(c.profile.Nulls[column]), column)
	}
	d.numberMetrics(m, c, gauge)
	for column, reason := range c.definition.Left {
		if _, counted := c.profile.Nulls[column]; counted {
			gauge(m.withoutBins, 1, column, reason) // Of columns past the limit, as many as the table has, there are no series.
		}
	}
	for _, column := range sortedKeys(c.profile.Values) {
		bins := c.profile.Values[column]
		hidden := d.hidden(c, column)
		for _, bin := range order(d, column, bins) {
			gauge(m.values, float64(bins[bin]), column, reveal.Name(hidden, bin))
		}
		for _, b := range c.baselines {
			s, ok := b.shares[column]
			if !ok {
				continue
			}
			gauge(m.baselineRows, s.values, column, b.name)
			if s.swing != nil {
				gauge(m.baselineSwing, *s.swing, column, b.name)
			}
			for _, bin := range order(d, column, s.bins) {
				gauge(m.baselineRatio, s.bins[bin], column, reveal.Name(hidden, bin), b.name)
			}
		}
	}
	d.recentMetrics(m, c, gauge)
	d.pastMetrics(m, c, gauge)
	for _, column := range columns {
		if share, ok := c.usualNulls(column); ok {
			gauge(m.usualNulls, share, column)
		}
	}
	d.checkMetrics(m, c, gauge)
	d.causeMetrics(m, gauge)
	for _, u := range c.upstreams {
		gauge(m.upstreamRows, float64(u.rows), u.name)
	}
	for _, x := range c.comparisons {
		gauge(m.comparedRows, float64(x.compared), x.against)
		gauge(m.mismatchedRows, float64(x.mismatched), x.against)
	}
	if c.snapshot.Name != "" {
		gauge(m.snapshotInfo, 1, c.snapshot.Name, c.snapshot.Digest)
	}
	return out.Take()
}

// order are the bins of a column, sorted. They are mostly those of the last time.
func order[V any](d *dataset, column string, bins map[string]V) []string {
	key := binsOf{column, len(bins)}
	sorted := d.sorted[key]
	if len(sorted) == len(bins) && !slices.ContainsFunc(sorted, func(bin string) bool {
		_, ok := bins[bin]
		return !ok
	}) {
		return sorted
	}
	if d.sorted == nil || len(d.sorted) > maxSorted {
		d.sorted = make(map[binsOf][]string)
	}
	d.sorted[key] = sortedKeys(bins)
	return d.sorted[key]
}

// binsOf are so many bins of a column: there are few sets of them, such as with and without the bin of unseen values.
type binsOf struct {
	column string
	n      int
}

// maxSorted bounds the sets of bins that are kept: a dataset has fewer.
const maxSorted = 10_000

// maxChangeInfos bounds the series that describe single schema changes.
const maxChangeInfos = 50

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// hiddenOf is what is hidden of categories.
type hiddenOf struct {
	categories []string
	hidden     map[string]string
}

// hidden are the categories of a column that are not shown as they are: the same as last time while its bins are.
func (d *dataset) hidden(c *cycle, column string) map[string]string {
	layout := c.definition.Fields[column]
	last, ok := d.shown[column]
	if ok && slices.Equal(last.categories, layout.Top) {
		return last.hidden
	}
	if d.shown == nil {
		d.shown = make(map[string]hiddenOf)
	}
	now := hiddenOf{layout.Top, reveal.Policy(d.cfg.Columns.Reveal).Hidden(column, layout)}
	d.shown[column] = now
	return now.hidden
}
