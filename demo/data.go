package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

// data is the part with the tables.
type data struct {
	*warehouse
	stack    *stack.Stack
	exporter string // path of the program
	pace     speedup.Factor
	opened   time.Time
}

var _ part = (*data)(nil)

func (d *data) summary() string { return fmt.Sprintf("%d tables", len(d.tables)) }

func (d *data) prepare(ctx context.Context, now time.Time) error {
	d.opened = now
	return d.warehouse.prepare(ctx, now)
}

func (d *data) history(ctx context.Context, out io.Writer, now time.Time) error {
	return d.warehouse.history(ctx, out, "dataset:ml_rows:current", where, now)
}

func (d *data) start(ctx context.Context) (watched, error) {
	config, err := exporterConfig(d.warehouse, d.tables, d.pace, d.opened)
	if err != nil {
		return watched{}, err
	}
	path := filepath.Join(d.stack.Dir(), "dataquality.yaml")
	if err := os.WriteFile(path, config, 0o644); err != nil {
		return watched{}, fmt.Errorf("write the exporter's configuration: %w", err)
	}
	server, err := d.stack.StartExporter(ctx, stack.ExporterConfig{
		Name: "dataquality-exporter", Path: d.exporter, Args: []string{"--config.file=" + path},
	})
	return watched{Server: server, job: "dataquality"}, err
}

func (d *data) conditions() []condition {
	var all, seasonal, trained, compared, frozen int
	for _, t := range d.tables {
		all++
		if t.volumeHistory {
			seasonal++
		}
		if t.training > 0 {
			trained++
		}
		if t.against != "" {
			compared++
		}
		if t.archiveDays >= t.baselineDays && t.baselineDays > 0 {
			frozen++
		}
	}
	return []condition{
		{"every dataset is profiled", `count(ml_dataset_profile_success == 1)`, all},
		{"every volume has a seasonal band", `count(dataset:ml_rows:lower and dataset:ml_rows:upper)`, seasonal},
		{"every training baseline is read", `count(count by (dataset) (dataset_column:ml_drift:psi_critical{baseline="training"}))`, trained},
		{"the production baseline is learned", `count(ml_dataset_baseline_frozen == 1)`, frozen},
		{"the comparison with the feature store has a result", `count(dataset:ml_mismatch:ratio)`, compared},
	}
}

// damage returns a function that damages a table.
func (d *data) damage(name string, change func(*table)) func(context.Context, time.Time) error {
	return func(ctx context.Context, now time.Time) error { return d.warehouse.damage(ctx, name, change, now) }
}

// damageFeed changes a copy of a feed. The original remains, since the history is computed from it.
func damageFeed(t *table, change func(*feed)) {
	f := *t.feed
	f.columns = slices.Clone(f.columns)
	change(&f)
	t.feed = &f
}

// replaceColumn replaces the name and content of a column.
func replaceColumn(f *feed, name string, change func(column) column) {
	for i, c := range f.columns {
		if c.name == name {
			f.columns[i] = change(c)
		}
	}
}

// incidents implements part. The stale feed needs time until its age exceeds the limit; the others run one after the other
// while it does.
func (d *data) incidents() []incident {
	return []incident{
		{
			object:      "clickstream",
			name:        "stale feed",
			description: "the feed stops; the limit for the age of its newest record is 15 minutes",
			apply:       d.damage("clickstream", func(t *table) { t.stopped = true }),
			slow:        true,
			alerts:      []expected{{alert: "MLDatasetStale", labels: labels{"dataset": "clickstream"}, measured: age}},
		},
		{
			object:      "payments",
			name:        "unmapped provider",
			description: "the payment provider newpay goes live with unmapped codes: merchant_category has a new value in 4.97 % of the rows",
			apply: d.damage("payments", func(t *table) {
				damageFeed(t, func(f *feed) {
					replaceColumn(f, "merchant_category", func(c column) column {
						c.sql = "CASE WHEN " + ofPayments(unmappedNewpay) + " THEN '" + newCategory + "' ELSE " + c.sql + " END"
						return c
					})
					replaceColumn(f, "payment_provider", func(c column) column {
						return column{c.name, pilot(unmappedNewpay+paidByNewpay, paymentProviders...)}
					})
				})
			}),
			alerts: []expected{
				{
					alert: "MLDatasetBroken", labels: labels{"dataset": "payments", "column": "merchant_category"}, measured: percent("broken"),
					contains: []string{"Probable cause: payment_provider = newpay", "Ask the owner of payment_provider = newpay for a mapping", "List the rows with: SELECT * FROM", "Retraining is held back for these models: " + risk},
				},
				{alert: "MLDatasetUnseenCategories", labels: labels{"dataset": "payments", "column": "merchant_category"}, measured: percent("unseen"), mayBeInhibited: true},
			},
		},
		{
			object:      "customers",
			name:        "more nulls",
			description: "nulls in household_income rise from " + healthyNulls + " % to " + brokenNulls + " %",
			apply:       d.damage("customers", func(t *table) { t.query = strings.ReplaceAll(customers, "$nulls", brokenNulls) }),
			alerts:      []expected{{alert: "MLDatasetNullRatioHigh", labels: labels{"dataset": "customers", "column": "household_income"}, measured: percent("null")}},
		},
		{
			object:      "orders_daily_fact",
			name:        "62 % of rows lost",
			description: "the daily load loses 62 % of its rows",
			apply: d.damage("orders_daily_fact", func(t *table) {
				damageFeed(t, func(f *feed) { f.keep = "hash(m, j, 'lost') % 100 >= 62" })
			}),
			alerts: []expected{{alert: "MLDatasetVolumeAnomaly", labels: labels{"dataset": "orders_daily_fact"}, measured: number("%.0f rows")}},
			goal:   5 * time.Minute,
		},
		{
			object:      "shipments",
			name:        "renamed column",
			description: "an upstream release renames the column carrier to carrier_name",
			apply: d.damage("shipments", func(t *table) {
				damageFeed(t, func(f *feed) {
					replaceColumn(f, "carrier", func(c column) column { return column{"carrier_name", c.sql} })
				})
			}),
			alerts: []expected{{alert: "MLDatasetSchemaChanged", labels: labels{"dataset": "shipments"}, measured: number("%.0f schema changes")}},
		},
		{
			object:      "training_features",
			name:        "wrong snapshot",
			description: "the training set is built from last quarter's snapshot of the features",
			apply:       d.damage("training_features", func(t *table) { t.query = strings.ReplaceAll(trainingFeatures, "$snapshot", lastQuarter) }),
			alerts:      []expected{{alert: "MLDatasetFeatureMismatch", labels: labels{"dataset": "training_features"}, measured: percent("mismatched")}},
		},
	}
}
