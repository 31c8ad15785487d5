package demo

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// incident is something that goes wrong in the shop, and what has to be said about it.
type incident struct {
	// name is a short one for tables, story the long one.
	name, story string
	dataset     string
	// damage changes how the table is loaded from then on.
	damage func(*table)
	// alerts must fire, the first one being the point of the incident.
	alerts []expected
	// slow incidents take their time to show; the next one does not wait for them.
	slow bool
	// goal, if not 0, is the time of the shop within which people must have been told.
	goal time.Duration
}

// expected is an alert that an incident must raise.
type expected struct {
	alert, column string
	// measured says in words what the alert's value is; what lasts is in unscaled time.
	measured func(v float64, r Result) string
}

// damageFeed changes a feed and leaves the original, from which the history comes, as it is.
func damageFeed(t *table, change func(*feed)) {
	f := *t.feed
	f.columns = slices.Clone(f.columns)
	change(&f)
	t.feed = &f
}

// replaceColumn changes name and content of a column.
func replaceColumn(f *feed, name string, change func(column) column) {
	for i, c := range f.columns {
		if c.name == name {
			f.columns[i] = change(c)
		}
	}
}

func percent(of string) func(float64, Result) string {
	return func(v float64, _ Result) string { return fmt.Sprintf("%.1f %% %s", 100*v, of) }
}

func number(format string) func(float64, Result) string {
	return func(v float64, _ Result) string { return fmt.Sprintf(format, v) }
}

func age(v float64, r Result) string {
	return "newest record " + r.Unscaled(time.Duration(v*float64(time.Second))).String() + " old"
}

// incidents returns what is to go wrong, in order. The stale feed is first, since it has to get old before anybody can
// tell; the others follow each other meanwhile.
func incidents() []incident {
	return []incident{
		{
			dataset: "clickstream",
			name:    "stale feed",
			story:   "the feed stops; its newest record may be 15 minutes old",
			damage:  func(t *table) { t.stopped = true },
			slow:    true,
			alerts:  []expected{{alert: "MLDatasetStale", measured: age}},
		},
		{
			dataset: "payments",
			name:    "unmapped provider",
			story:   "a payment provider that nobody mapped: merchant_category has a new value in 4.97 % of the rows",
			damage: func(t *table) {
				damageFeed(t, func(f *feed) {
					replaceColumn(f, "merchant_category", func(c column) column {
						// Multiplying by a prime spreads exactly 497 of any 10 000 rows in a row.
						c.sql = "CASE WHEN (m * 400 + j) * 7919 % 10000 < 497 THEN 'paywave:5814' ELSE " + c.sql + " END"
						return c
					})
				})
			},
			alerts: []expected{
				{alert: "MLDatasetDrift", column: "merchant_category", measured: number("PSI %.3f")},
				{alert: "MLDatasetUnseenCategories", column: "merchant_category", measured: percent("unseen")},
			},
		},
		{
			dataset: "customers",
			name:    "more nulls",
			story:   "nulls in household_income rise from " + healthyNulls + " % to " + brokenNulls + " %",
			damage:  func(t *table) { t.query = strings.ReplaceAll(customers, "$nulls", brokenNulls) },
			alerts:  []expected{{alert: "MLDatasetNullRatioHigh", column: "household_income", measured: percent("null")}},
		},
		{
			dataset: "orders_daily_fact",
			name:    "62 % of rows lost",
			story:   "the daily load loses 62 % of its rows",
			damage: func(t *table) {
				damageFeed(t, func(f *feed) { f.keep = "hash(m, j, 'lost') % 100 >= 62" })
			},
			alerts: []expected{{alert: "MLDatasetVolumeAnomaly", measured: number("%.0f rows")}},
			goal:   5 * time.Minute,
		},
		{
			dataset: "shipments",
			name:    "renamed column",
			story:   "the column carrier is called carrier_name after a release upstream",
			damage: func(t *table) {
				damageFeed(t, func(f *feed) {
					replaceColumn(f, "carrier", func(c column) column { return column{"carrier_name", c.sql} })
				})
			},
			alerts: []expected{{alert: "MLDatasetSchemaChanged", measured: number("%.0f schema changes")}},
		},
		{
			dataset: "training_features",
			name:    "wrong snapshot",
			story:   "the training set is built from last quarter's snapshot of the features",
			damage:  func(t *table) { t.query = strings.ReplaceAll(trainingFeatures, "$snapshot", lastQuarter) },
			alerts:  []expected{{alert: "MLDatasetFeatureMismatch", measured: percent("mismatched")}},
		},
	}
}
