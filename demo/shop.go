package demo

import (
	"fmt"
	"strings"
	"time"
)

// The sample data is that of a shop. Every feed has a formula for its rows per minute and one for each column. They depend
// only on the minute and the row. So the same time always has the same rows: the loading job needs no state, and past weeks
// can be counted without being stored.

// table is a dataset of the shop and its exporter settings.
type table struct {
	name string
	// format is parquet, csv or json.
	format string
	// window is the exporter's window; 0 is the whole table.
	window time.Duration
	// feed generates the rows of a growing table, query those of one that is replaced at each load.
	feed  *feed
	query string
	// time is the timestamp column of the query, if it has one.
	time string
	// static tables are written once; others are loaded every minute, unless they are stopped.
	static, stopped bool
	// training is the number of rows of the training data; 0 is none.
	training int
	// archiveDays is the number of days of the real calendar, before today, that the table has for its production baseline.
	// baselineDays is the number of days that the baseline needs.
	archiveDays, baselineDays int
	// volumeHistory writes weeks of row counts into Prometheus before it starts.
	volumeHistory bool
	// freshness overrides the default threshold.
	freshness time.Duration
	// exclude are columns without bins.
	exclude []string
	// upstream is the feed of the upstream, for the row drop.
	upstream *feed
	// against and comparison define the point-in-time comparison.
	against, comparison string
}

// feed is a stream of records.
type feed struct {
	name string
	// perMinute is the number of records in minute m.
	perMinute string
	// time is the name of the timestamp column.
	time string
	// columns has the SQL of each column for record j of minute m; ts is the time of the record.
	columns []column
	// keep is an SQL condition for a record to arrive; empty keeps all.
	keep string
}

type column struct{ name, sql string }

// random returns SQL for a number from 0 to 1 that depends only on the row and the salt.
func random(salt string) string {
	return "((hash(m, j, '" + salt + "') >> 11)::DOUBLE / 9007199254740992)"
}

// pick returns SQL for one of the values; earlier values are more frequent.
func pick(salt string, values ...string) string {
	// A geometric series with the ratio 0.7, typical of popularity.
	var b strings.Builder
	share, sum, total := 1.0, 0.0, 0.0
	for range values {
		total += share
		share *= 0.7
	}
	share = 1
	b.WriteString("CASE")
	for _, v := range values[:len(values)-1] {
		sum += share / total
		share *= 0.7
		fmt.Fprintf(&b, " WHEN %s < %.4f THEN '%s'", random(salt), sum, v)
	}
	fmt.Fprintf(&b, " ELSE '%s' END", values[len(values)-1])
	return b.String()
}

// amount returns SQL for a positive number with the given mean and a skewed distribution.
func amount(salt string, mean float64) string {
	return fmt.Sprintf("round(-ln(1 - %s) * %g, 2)", random(salt), mean)
}

// ofPayments returns SQL that selects a number of payments in 10 000. Multiplication by a prime selects exactly that number
// of any 10 000 consecutive rows, evenly spread.
func ofPayments(n int) string { return fmt.Sprintf("(m * 400 + j) * 7919 %% 10000 < %d", n) }

// pilot returns SQL for the payment provider: the one on trial has this number of payments in 10 000.
func pilot(n int, others ...string) string {
	return "CASE WHEN " + ofPayments(n) + " THEN '" + newProvider + "' ELSE " + pick("provider", others...) + " END"
}

// A payment provider on trial with one payment in a hundred. Later it has more payments, whose merchant categories are its own codes.
const (
	newProvider    = "newpay"
	newCategory    = "newpay:5814"
	paidByNewpay   = 100
	unmappedNewpay = 497
)

// season returns SQL for records a minute: more on Friday, on Saturday and in the evening, with random variation.
func season(perMinute float64) string {
	return fmt.Sprintf("%g * [1.0, 0.95, 0.97, 1.0, 1.15, 1.3, 1.1][1 + (m %% 10080) // 1440]"+
		" * (1 + 0.5 * sin(2 * pi() * ((m %% 1440) / 1440 - 0.4)))"+
		" * (0.9 + 0.2 * ((hash(m, 'noise') >> 11)::DOUBLE / 9007199254740992))", perMinute)
}

var (
	merchantCategories = []string{"grocery", "fuel", "restaurant", "clothing", "electronics", "travel", "pharmacy", "books"}
	paymentProviders   = []string{"moneris", "stripe", "adyen", "nuvei"}
)

var (
	payments = feed{name: "payments", perMinute: "400", time: "paid_at", columns: []column{
		{"payment_id", "m * 400 + j"},
		{"paid_at", "ts"},
		{"merchant_category", pick("category", merchantCategories...)},
		{"payment_provider", pilot(paidByNewpay, paymentProviders...)},
		{"channel", pick("channel", "web", "app", "store")},
		{"currency", pick("currency", "CAD", "USD", "EUR")},
		{"amount_cad", amount("amount", 48)},
	}}
	orders = feed{name: "orders_daily_fact", perMinute: season(14), time: "ordered_at", columns: []column{
		{"order_id", "m * 1000 + j"},
		{"ordered_at", "ts"},
		{"warehouse", pick("warehouse", "Toronto", "Montreal", "Vancouver", "Calgary", "Halifax")},
		{"items", "1 + (" + random("items") + " * 6)::INTEGER"},
		{"total_cad", amount("total", 86)},
		{"gift", random("gift") + " < 0.08"},
	}}
	shipments = feed{name: "shipments", perMinute: season(3), time: "shipped_at", columns: []column{
		{"shipment_id", "m * 1000 + j"},
		{"shipped_at", "ts"},
		{"carrier", pick("carrier", "Canada Post", "Purolator", "UPS", "FedEx")},
		{"province", pick("province", "ON", "QC", "BC", "AB", "MB", "NS", "NB", "SK")},
		{"weight_kg", amount("weight", 3.2)},
	}}
	clickstream = feed{name: "clickstream", perMinute: "80", time: "event_time", columns: []column{
		{"event_time", "ts"},
		{"page", pick("page", "/", "/search", "/product", "/cart", "/checkout", "/account")},
		{"device", pick("device", "phone", "desktop", "tablet")},
		{"load_ms", "(80 - ln(1 - " + random("load") + ") * 400)::INTEGER"},
	}}
	refunds = feed{name: "refunds", perMinute: season(5), time: "refunded_at", columns: []column{
		{"refund_id", "m * 1000 + j"},
		{"refunded_at", "ts"},
		{"reason", pick("reason", "size", "damaged", "late", "changed mind", "other")},
		{"amount_cad", amount("amount", 52)},
		// 3 % of the refunds are null, within the limit.
		{"note_length", "CASE WHEN " + random("silent") + " > 0.03 THEN (" + random("note") + " * 200)::INTEGER END"},
	}}
	// 5 % of the requests are rejected, within the limit of lost rows.
	refundRequests = feed{name: "refund_requests", perMinute: "1.05 * " + season(5), time: "requested_at", columns: []column{
		{"refund_id", "m * 1000 + j"},
		{"requested_at", "ts"},
	}}
	inventory = feed{name: "inventory", perMinute: "4", time: "moved_at", columns: []column{
		{"moved_at", "ts"},
		{"warehouse", pick("warehouse", "Toronto", "Montreal", "Vancouver", "Calgary", "Halifax")},
		{"movement", pick("movement", "sale", "delivery", "return", "correction")},
		{"quantity", "1 + (" + random("quantity") + " * 40)::INTEGER"},
	}}
)

// customerRows is a multiple of 100, so that shares in whole per cent are exact.
const customerRows = 24_000

// customers is a dimension table: all rows are replaced at each load, the newest change first. $nulls is the percentage of
// customers without household_income, and :now the time of the load.
const customers = `
SELECT
  j AS customer_id,
  :now - INTERVAL (j * 100) MILLISECOND AS updated_at,
  ` + `CASE WHEN j % 100 >= $nulls THEN (30000 + ((hash(j, 'income') >> 11)::DOUBLE / 9007199254740992) * 120000)::INTEGER END AS household_income,
  ['new', 'regular', 'vip'][1 + (hash(j, 'segment') % 3)::INTEGER] AS segment,
  ['ON', 'QC', 'BC', 'AB', 'MB'][1 + (hash(j, 'province') % 5)::INTEGER] AS province,
  CASE WHEN j % 25 <> 0 THEN 1940 + (hash(j, 'year') % 65)::INTEGER END AS birth_year
FROM range(24000) AS rows (j)`

// featureRows is the number of customers in a training set.
const featureRows = 20_000

// trainingFeatures joins the labels of this quarter with a snapshot of the feature store. $snapshot is the quarter of that
// snapshot. All quarters have the same distributions; only the customers behind the values differ.
const trainingFeatures = `
SELECT
  j AS customer_id,
  :now - INTERVAL (1 + j % 600) SECOND AS label_time,
  (hash(j, 'orders', '$snapshot') % 12)::INTEGER AS orders_90d,
  round(-ln(1 - ((hash(j, 'basket', '$snapshot') >> 11)::DOUBLE / 9007199254740992)) * 74, 2) AS avg_basket_cad,
  (hash(j, 'days', '$snapshot') % 90)::INTEGER AS days_since_order,
  hash(j, 'churn') % 10 = 0 AS churned
FROM range(20000) AS rows (j)`

// featureStore has the features of each customer with their start of validity. One customer in 250 was corrected late, within
// the limit of mismatches.
const featureStore = `
SELECT j AS customer_id, valid_from,
  (hash(j, 'orders', quarter) % 12)::INTEGER + (quarter = '2026Q3' AND j % 250 = 0)::INTEGER AS orders_90d,
  round(-ln(1 - ((hash(j, 'basket', quarter) >> 11)::DOUBLE / 9007199254740992)) * 74, 2) AS avg_basket_cad
FROM range(20000) AS rows (j),
  (VALUES ('2026Q2', :now - INTERVAL 91 DAY), ('2026Q3', :now - INTERVAL 1 DAY)) AS snapshots (quarter, valid_from)`

// pointInTime compares each training row with the feature store at the time of its label.
const pointInTime = `SELECT count(*) AS compared_rows,
  count(*) FILTER (WHERE t.orders_90d <> f.orders_90d OR t.avg_basket_cad <> f.avg_basket_cad) AS mismatched_rows
FROM read_parquet(%s) AS t
ASOF JOIN read_parquet(%s) AS f
  ON t.customer_id = f.customer_id AND t.label_time >= f.valid_from`

// The quarters of the feature store's snapshots.
const (
	lastQuarter = "2026Q2"
	thisQuarter = "2026Q3"
)

// healthyNulls is exactly at the threshold, which must not alert.
const (
	healthyNulls = "5"
	brokenNulls  = "8"
)

// shop returns the datasets. Each incident has a dataset of its own; inventory and refunds stay healthy.
func shop() []table {
	const hour, day = time.Hour, 24 * time.Hour
	return []table{
		{name: "payments", format: "parquet", window: hour, feed: &payments, training: 50_000},
		{name: "customers", format: "parquet", query: strings.ReplaceAll(customers, "$nulls", healthyNulls), time: "updated_at", training: customerRows},
		{name: "orders_daily_fact", format: "parquet", window: day, feed: &orders, training: 20_000, volumeHistory: true},
		{name: "shipments", format: "parquet", window: day, feed: &shipments, training: 20_000, volumeHistory: true},
		{name: "clickstream", format: "json", window: hour, feed: &clickstream, training: 20_000, freshness: 15 * time.Minute},
		{
			name: "training_features", format: "parquet", query: strings.ReplaceAll(trainingFeatures, "$snapshot", thisQuarter), static: true,
			training: featureRows, exclude: []string{"label_time"}, against: "feature_store", comparison: pointInTime,
		},
		{
			name: "refunds", format: "parquet", window: day, feed: &refunds, upstream: &refundRequests,
			archiveDays: 8, baselineDays: 7, volumeHistory: true,
		},
		{name: "inventory", format: "csv", window: day, feed: &inventory, archiveDays: 12, baselineDays: 30, volumeHistory: true},
	}
}
