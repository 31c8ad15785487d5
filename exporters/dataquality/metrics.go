package dataquality

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/owner"
	"github.com/sightglass-ml/sightglass/internal/reveal"
	"github.com/sightglass-ml/sightglass/internal/tables"
)

// Catalogue returns the metrics of the exporter for the reference.
func Catalogue() *catalogue.Catalogue {
	c := newCatalogue()
	newDescs(c)
	return c
}

func newCatalogue() *catalogue.Catalogue {
	return &catalogue.Catalogue{Prefix: "ml_dataset_", Labels: []string{"dataset"}}
}

// Thresholds that a dataset can override. The names are those of rules/thresholds.yaml.
const (
	signalNulls      = "null_ratio"
	signalDrift      = "drift_psi"
	signalUnseen     = "unseen_ratio"
	signalRowDrop    = "row_drop_ratio"
	signalMismatch   = "mismatch_ratio"
	signalFreshness  = "freshness_seconds"
	signalVolume     = "volume_deviation_ratio"
	signalDuplicates = "duplicate_ratio"
	signalFuture     = "future_ratio"
	signalOutOfRange = "out_of_range_ratio"
	signalMeanShift  = "mean_shift_deviations"
	// These cannot be overridden.
	signalSignificance = "drift_significance_z"
	signalMinRows      = "drift_min_rows"
	signalDriftNoise   = "drift_noise_psi"
	signalNullGrowth   = "null_growth_ratio"
	signalGapFactor    = "freshness_gap_factor"
	signalGrace        = "freshness_grace_seconds"
	// Thresholds of the recent window.
	signalSudden        = "sudden_significance_z"
	signalSuddenFactor  = "drift_sudden_factor"
	signalSuddenMinRows = "drift_sudden_min_rows"
)

// descs has the descriptors of all metrics, in the order of docs/metrics.md.
type descs struct {
	rows, window, windowEmpty, latest, nulls, future                *prometheus.Desc
	unreadable                                                      *prometheus.Desc
	schemaChanges, schemaChangeInfo                                 *prometheus.Desc
	values, baselineRatio, baselineRows, baselineSwing              *prometheus.Desc
	min, max, mean, stddev, outOfRange, withoutBins                 *prometheus.Desc
	sum, zeros                                                      *prometheus.Desc
	baselineMin, baselineMax, baselineMean, baselineSD              *prometheus.Desc
	upstreamRows, mismatchedRows, comparedRows                      *prometheus.Desc
	firstDay, days, wantedDays, frozen                              *prometheus.Desc
	snapshotInfo, lastGoodSnapshotInfo                              *prometheus.Desc
	passedSnapshotInfo, snapshotsWatched                            *prometheus.Desc
	profileSuccess, profileDuration, profileFinish                  *prometheus.Desc
	threshold                                                       *prometheus.Desc
	duplicates, duplicatesSample, checkFailed, checkLimit           *prometheus.Desc
	recentRows, recentWindow, recentNulls, recentValues             *prometheus.Desc
	volumeRows, volumeWindow                                        *prometheus.Desc
	pastRows, recentPastRows, usualGap, baselineNulls               *prometheus.Desc
	dayElapsed                                                      *prometheus.Desc
	causeInfo, causeRows, causeSince, causeGradual, causePartitions *prometheus.Desc
	causeStatement                                                  *prometheus.Desc
	owner                                                           owner.Info
}

func newDescs(c *catalogue.Catalogue) descs {
	return descs{
		rows:                 c.Gauge("rows", "Rows in the profiled window."),
		window:               c.Gauge("window_seconds", "Length of the profiled window. Absent if the whole table is profiled."),
		windowEmpty:          c.Gauge("window_empty", "Whether the table has records, but none in the profiled window (1)."),
		latest:               c.Gauge("latest_record_timestamp_seconds", "Time of the latest record that is not in the future. For a column of dates, the end of the latest day."),
		nulls:                c.Gauge("column_nulls", "Missing values of the column in the profiled window.", "column"),
		future:               c.Gauge("future_rows", "Records with a time in the future, beyond clock_skew."),
		unreadable:           c.Gauge("unreadable_files", "Files that cannot be read and were left out. Absent unless on_unreadable is skip."),
		schemaChanges:        c.Gauge("schema_changes", "Columns that differ from the expected schema.", "change"),
		schemaChangeInfo:     c.Gauge("schema_change_info", "A column that differs from the expected schema, with its expected and its actual type.", "column", "change", "expected", "actual"),
		values:               c.Gauge("column_values", "Values of the column in the profiled window that are in the bin.", "column", "bin"),
		baselineRatio:        c.Gauge("column_baseline_ratio", "Share of the baseline's values that are in the bin. For a window shorter than a day, the baseline season is the production baseline at the window's time of day. season_recent is the same for the recent window.", "column", "bin", "baseline"),
		baselineRows:         c.Gauge("column_baseline_rows", "Values of the column in the baseline, including nulls.", "column", "baseline"),
		baselineSwing:        c.Gauge("column_baseline_swing", "Mean population stability index between each day of the production baseline and the whole baseline, less the part explained by chance. For the baselines season and season_recent, the same for the hours at that time of day. Absent if too few days or hours have enough values.", "column", "baseline"),
		baselineNulls:        c.Gauge("column_baseline_null_ratio", "Share of the column's values that are missing in its baseline. For a column without bins, and before the first day is learned, the share in its first days.", "column"),
		recentRows:           c.Gauge("recent_rows", "Rows in the recent window. Absent if the table has too few rows an hour for a recent window."),
		recentWindow:         c.Gauge("recent_window_seconds", "Length of the recent window. It is counted in the same scan as the profiled window."),
		volumeRows:           c.Gauge("recent_volume_rows", "Rows in the recent window for the volume, which needs fewer rows than the recent window and may be shorter."),
		volumeWindow:         c.Gauge("recent_volume_window_seconds", "Length of the recent window for the volume."),
		recentNulls:          c.Gauge("recent_column_nulls", "Missing values of the column in the recent window.", "column"),
		recentValues:         c.Gauge("recent_column_values", "Values of the column in the recent window that are in the bin.", "column", "bin"),
		pastRows:             c.Gauge("past_rows", "Rows of the profiled window that long ago, less the share that typically has not arrived yet. The label shift is an hour, for changes to and from daylight saving time.", "ago", "shift"),
		recentPastRows:       c.Gauge("recent_past_rows", "Rows of the recent window for the volume that long ago, less the share that typically has not arrived yet.", "ago"),
		dayElapsed:           c.Gauge("day_elapsed_seconds", "Seconds since the start of the day in the dataset's time zone. A new day may differ from the same weekday of the last weeks, such as a holiday."),
		usualGap:             c.Gauge("usual_gap_seconds", "Longest time without a record within an hour of this time of day, in previous days and weeks."),
		min:                  c.Gauge("column_min", "Minimum of the column's finite values in the profiled window.", "column"),
		max:                  c.Gauge("column_max", "Maximum of the column's finite values in the profiled window.", "column"),
		mean:                 c.Gauge("column_mean", "Mean of the column's finite values in the profiled window.", "column"),
		stddev:               c.Gauge("column_stddev", "Standard deviation of the column's finite values in the profiled window.", "column"),
		sum:                  c.Gauge("column_sum_of_values", "Sum of the column's finite values in the profiled window.", "column"),
		zeros:                c.Gauge("column_zeros", "Values of the column in the profiled window that are 0.", "column"),
		outOfRange:           c.Gauge("column_out_of_range_values", "Values of the column in the profiled window that are below the minimum or above the maximum of the baseline. Absent while the baseline is learning.", "column"),
		baselineMin:          c.Gauge("column_baseline_min", "Minimum of the column's finite values in the baseline that defines its bins.", "column", "baseline"),
		baselineMax:          c.Gauge("column_baseline_max", "Maximum of the column's finite values in the baseline that defines its bins.", "column", "baseline"),
		baselineMean:         c.Gauge("column_baseline_mean", "Mean of the column's finite values in the baseline that defines its bins. Absent for a window shorter than a day, which the whole baseline does not describe.", "column", "baseline"),
		baselineSD:           c.Gauge("column_baseline_stddev", "Standard deviation of the column's finite values in the baseline that defines its bins. Absent if the mean is absent.", "column", "baseline"),
		withoutBins:          c.Gauge("column_without_bins_info", "A column of which only missing values are counted, and the reason.", "column", "reason"),
		upstreamRows:         c.Gauge("upstream_rows", "Rows of the upstream stage in the same window.", "upstream"),
		mismatchedRows:       c.Gauge("mismatched_rows", "Rows whose values differ from those of the compared store at the same point in time.", "against"),
		comparedRows:         c.Gauge("compared_rows", "Rows that were compared with the other store.", "against"),
		duplicates:           c.Gauge("duplicate_keys", "Rows in the profiled window that repeat the key of another row.", "key"),
		duplicatesSample:     c.Gauge("duplicate_keys_sample_ratio", "Share of the keys in which duplicates were counted. 1 means that the number is exact.", "key"),
		checkFailed:          c.Gauge("check_failed_rows", "Rows in the profiled window that fail the check.", "check"),
		checkLimit:           c.Gauge("check_limit_ratio", "Configured share of the rows that may fail the check.", "check", "severity"),
		firstDay:             c.Gauge("baseline_first_day_timestamp_seconds", "Start of the first day of the production baseline."),
		days:                 c.Gauge("baseline_days", "Days in the production baseline."),
		wantedDays:           c.Gauge("baseline_wanted_days", "Days after which the production baseline is frozen."),
		frozen:               c.Gauge("baseline_frozen", "Whether the production baseline is frozen (1) or still learning (0)."),
		snapshotInfo:         c.Gauge("snapshot_info", "The snapshot that was profiled last, and a digest of its content.", "snapshot", "digest"),
		lastGoodSnapshotInfo: c.Gauge("last_good_snapshot_info", "The last profiled snapshot that passed every check.", "snapshot", "digest"),
		passedSnapshotInfo:   c.Gauge("passed_snapshot_info", "A snapshot that passed every check and can be read again: a version of snapshot_query, or a table without a window. The last 100 are kept.", "snapshot", "digest"),
		snapshotsWatched:     c.Gauge("snapshots_watched_timestamp_seconds", "Time of the first profile of a snapshot that can be read again. Only models made after it are compared with the snapshots that passed."),
		causeInfo:            c.Gauge("cause_info", "Share of the change of a column, or of the number of rows, that disappears when the rows with this value are left out, from 0 to 1. At most three series for each signal that exceeds its limit. 0 without cause_column and cause_value means that no single segment explains the change.", "column", "signal", "cause_column", "cause_value"),
		causeRows:            c.Gauge("cause_rows_ratio", "Share of the rows that have the value.", "column", "signal", "cause_column", "cause_value"),
		causeSince:           c.Gauge("cause_first_seen_timestamp_seconds", "Time of the first affected row. Absent if rows were affected before the window.", "column", "signal", "cause_column", "cause_value"),
		causeGradual:         c.Gauge("cause_gradual", "Whether the share of affected rows kept growing long after the first one (1) or rose at once (0). Absent if rows were affected before the window.", "column", "signal", "cause_column", "cause_value"),
		causePartitions:      c.Gauge("cause_partitions_ratio", "Share of the partitions of the window, or of the values of causes.partition, that have affected rows. Absent if there are fewer than two.", "column", "signal", "cause_column", "cause_value"),
		causeStatement:       c.Gauge("cause_statement_info", "The SQL statement that lists rows of the cause. Without a cause it lists the affected rows of the column. For a loss of rows it lists rows of an earlier time. Absent above 1000 bytes.", "column", "signal", "cause_column", "cause_value", "statement"),
		profileSuccess:       c.Gauge("profile_success", "Whether the last profile succeeded (1) or failed (0)."),
		profileDuration:      c.Gauge("profile_duration_seconds", "Duration of the last profile."),
		profileFinish:        c.Gauge("profile_timestamp_seconds", "Time at which the last successful profile ended."),
		threshold:            c.Gauge("threshold", "A configured threshold that overrides the default of the rules. column is empty for the whole dataset.", "signal", "column"),
		owner:                owner.Declare(c, "owner_info", "dataset"),
	}
}

// metrics returns the samples of one profile. After an error it returns only samples that are still correct.
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
			// A replaced table changes every column. The metric schemaChanges has the number.
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
	d.passedMetrics(m, c, gauge)
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
	columns := slices.Sorted(maps.Keys(c.profile.Nulls))
	for _, column := range columns {
		gauge(m.nulls, float64(c.profile.Nulls[column]), column)
	}
	d.numberMetrics(m, c, gauge)
	for column, reason := range c.definition.Left {
		if _, counted := c.profile.Nulls[column]; counted {
			gauge(m.withoutBins, 1, column, reason) // Columns beyond the limit have no series: their number is unbounded.
		}
	}
	for _, column := range slices.Sorted(maps.Keys(c.profile.Values)) {
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
		if share, ok := c.baselineNullShare(column); ok {
			gauge(m.baselineNulls, share, column)
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

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
