package dataquality

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// watched is a dataset with its loop.
type watched struct {
	dataset *dataset
	stop    func(context.Context) bool
}

// watch starts the loop of a dataset.
func (e *Exporter) watch(cfg DatasetConfig) error {
	// Half of the series are for columns with bins, half for all others.
	columns := e.env.Limit("columns", 2*cfg.Columns.Max)
	d := e.connections.dataset(cfg, columns, time.Now) //nolint:forbidigo // The real clock enters here.
	timeout := time.Duration(cfg.Timeout)
	stop, err := e.env.StartLoop(exporter.Loop{
		Name:     "dataset/" + cfg.Name,
		Interval: time.Duration(cfg.Interval),
		// A profile may first wait for a slot.
		Timeout: time.Duration(cfg.Interval) + timeout,
		Collect: func(ctx context.Context) error { return e.profile(ctx, d, timeout) },
	})
	if err != nil {
		return err
	}
	e.watched[cfg.Name] = watched{d, stop}
	return nil
}

// profile waits for a slot, runs one profile and publishes its results.
func (e *Exporter) profile(ctx context.Context, d *dataset, timeout time.Duration) error {
	select {
	case e.slots <- struct{}{}:
		defer func() { <-e.slots }()
	case <-ctx.Done():
		return fmt.Errorf("waited too long for other profiles: %w", ctx.Err())
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := d.now()
	c := &cycle{now: start}
	err := e.connections.resolve(d)
	if err == nil {
		c, err = d.run(ctx)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("profile took longer than %s: %w", timeout, err)
	}
	if errors.Is(parent.Err(), context.Canceled) {
		return err // A reload ended it. The complete results of the last profile are better than incomplete ones.
	}
	// The results stay valid through two failed profiles. After that they expire: no data is better than outdated data.
	validFor := 2*time.Duration(d.cfg.Interval) + timeout
	e.Set(d.cfg.Name, d.metrics(e.descs, c, d.now().Sub(start), err), validFor)
	segments, segmentsErr := d.profileSegments(ctx, c)
	for _, s := range segments {
		e.Set(s.dataset.cfg.Name, s.dataset.metrics(e.descs, s.cycle, s.took, s.err), validFor)
	}
	return errors.Join(err, segmentsErr)
}

// dataset profiles one table. Only one goroutine uses it at a time.
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
	// columns bounds the number of columns that ever have series.
	columns *limit.Limiter
	// problems are errors of sources and tables other than the dataset's own table.
	problems []error
	// leftOut are the columns beyond the limit. Each is counted and logged once.
	leftOut map[string]bool
	// unreadable are the files that the last profile skipped.
	unreadable []string
	logger     *slog.Logger
	now        func() time.Time
	// loggedUnknownValues reports that sayUnknown has run, which logs only once.
	loggedUnknownValues bool

	// connections opens the sources of segments. children are the datasets of the segments, by name.
	connections *connections
	children    map[string]*dataset

	// latest is the time of the latest record. It is kept while the window is empty, so that the age of a stale dataset keeps
	// growing.
	latest time.Time
	// empty reports that the last window had no rows although the table has rows.
	empty bool
	// rowsPerSecond is the mean rate of the last window. It determines the length of the recent window.
	rowsPerSecond float64
	// recentWas is the length of the last recent window, 0 before the first.
	recentWas time.Duration
	// volumeWas is the same for the volume.
	volumeWas time.Duration
	past      past
	// good is goodJSON decoded; see readGood.
	good     lastGood
	goodJSON []byte
	// incidents are the open incidents with their causes. asked has the times of the search statements, for the hourly limit.
	incidents map[incidentKey]*incident
	asked     []time.Time
	// sorted caches the sorted bins of columns; see order.
	sorted map[binsOf][]string
	// publishedNames caches the published names of categories by column; see hidden.
	publishedNames map[string]hiddenOf
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

// cycle holds the results of one profile.
type cycle struct {
	now    time.Time
	window tables.Window
	// future is the end of the period that a record may have. Later records count as records in the future.
	future time.Time
	// segments are the splits of the dataset with the counts of each segment.
	segments    []segmentation
	schema      []tables.Column
	changes     []change
	profile     tables.Profile
	latest      time.Time
	outside     tables.OutsideWindow
	duplicates  []tables.Duplicates
	checked     []tables.Checked
	upstreams   []upstreamRows
	comparisons []compared
	baselines   []compareWith
	production  baseline.Production
	definition  baseline.Definition
	learned     bool // whether production was read
	snapshot    snapshot
	good        lastGood
	// days is the number of whole days in the window, and dayEnd its end. days is 0 if the window ends now.
	days   int
	dayEnd time.Time
	// empty reports that the table has records, but none in the window.
	empty bool
	// counted reports that this cycle counted rows of the past.
	counted bool
	// recent has the counts of the rows from recentFrom on. It is empty if the cycle has no recent window.
	recentFrom time.Time
	recent     tables.Profile
	// volumeRows are the rows from volumeFrom on, the recent window for the volume.
	volumeFrom time.Time
	volumeRows int64
	// seasonRecent has the baseline shares that recent is compared with, by column.
	seasonRecent map[string]shares
	// gap caches the result of longestPastGap once gapKnown is set.
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

// run makes one profile. It returns a cycle even if steps failed; the error joins all failures.
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
	c.counted = d.countPast(ctx, c)
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
	failed("accept", d.acceptLearned(ctx, c, definition))
	d.noteUnreadable(c.profile.Unreadable)
	failed("freshness", d.noteLatest(ctx, c, c.future))
	if failed("segments", d.countOfSegments(ctx, c)) {
		c.segments = nil
	}
	failed("records outside the window", d.countOutsideWindow(ctx, c, c.future))
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

// noteLatest determines the time of the latest record.
func (d *dataset) noteLatest(ctx context.Context, c *cycle, future time.Time) error {
	c.latest = c.profile.Latest
	var errs []error
	if d.cfg.TimestampColumn != "" && c.latest.IsZero() {
		// The window has no rows: read the time of the last record before it.
		var err error
		if c.latest, err = d.source.Latest(ctx, d.relation, c.window.To); err != nil || c.latest.IsZero() {
			c.latest = d.latest
			errs = append(errs, err)
		}
	}
	if err := d.checkEpoch(c); err != nil {
		c.latest = d.latest
		return errors.Join(append(errs, err)...)
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
	d.limitByDue(c)
	d.noteEmpty(c)
	return errors.Join(errs...)
}

// conclude updates the baselines and names the snapshot. complete reports that every step of the profile succeeded.
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

// count counts the window. If the schema changed since it was read, count reads it again and retries once.
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

// fields returns what to count: columns with a layout by its bins, and the nulls of all others up to the limit.
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
			d.dropColumn(c.Name)
		}
	}
	return f
}

// learn adds due days to the baselines and reads the baselines.
func (d *dataset) learn(ctx context.Context, view *baseline.View, definition baseline.Definition, c *cycle) error {
	training, trainingErr := d.learner.training(ctx, view, definition)
	if trainingErr == nil && d.cfg.Baselines.Training != nil {
		// Training data has no hours: a part of a day is not compared with it.
		short := !c.window.From.IsZero() && c.length() < day
		c.baselines = append(c.baselines, compareWith{name: baseline.EdgesTraining, notJudged: short, shares: sharesOf(training)})
	}
	var err error
	c.production, view, err = d.learner.production(ctx, view, definition, c, d.cfg.daysPerCycle())
	if errors.Is(err, baseline.ErrOtherBins) {
		// Another replica has refined the bins. The next profile uses them.
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
	// Without a season the short window is compared with the whole baseline.
	slot := compareWith{name: baselineSeason, learning: production.learning, shares: production.shares}
	if s != nil {
		slot.shares = seasonShares(s, definition, c.production, c.window.From, c.now)
	}
	production.notJudged = true
	c.baselines = append(c.baselines, production, slot)
	return errors.Join(trainingErr, err)
}

// identify names the snapshot. If it passes every check, it becomes the last good one.
func (d *dataset) identify(ctx context.Context, view *baseline.View, c *cycle, complete bool) error {
	// The digest covers all counts. The checks ignore unseen values that foldUnseen moves.
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
	changed = d.lasting() && c.good.watch(c.now) || changed
	if complete {
		why := d.failedCheck(c)
		switch {
		case why != "":
			d.logger.Debug("The snapshot is not a good one.", "snapshot", c.snapshot.Name, "reason", why)
		case c.good.Snapshot != c.snapshot:
			c.good.accept(c.snapshot, c.now)
			if !d.begins(c) {
				c.good.noteVolume(c.profile.Rows, c.now)
			}
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
