package cost

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/metering"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/exporter"
)

// Catalogue declares every metric of the exporter.
func Catalogue() *catalogue.Catalogue {
	c := &catalogue.Catalogue{Prefix: "ml_cost_"}
	newDescs(c)
	return c
}

type descs struct {
	billed, monthToDate, projected, budget                 *prometheus.Desc
	billedObservability, billedInfrastructure              *prometheus.Desc
	periodStart, periodEnd, through, rows, rejected        *prometheus.Desc
	unreadTags, closedMonth                                *prometheus.Desc
	unconverted, unreconciled                              *prometheus.Desc
	rate, observed, refused                                *prometheus.Desc
	price                                                  *prometheus.Desc
	spend, gpu, idle, observability, infrastructure, value *prometheus.Desc
	units, total, loaded                                   *prometheus.Desc
	meteredMonth, meteredGPUHours                          *prometheus.Desc
	billedMonth, billedGPUHours                            *prometheus.Desc
	unpriced, gap, meteredThrough                          *prometheus.Desc
}

func newDescs(c *catalogue.Catalogue) descs {
	return descs{
		billed:               c.Gauge("billed_cad", "Billed cost of the fiscal month so far. Credits and corrections lower it.", "department", "cloud_service", "category"),
		monthToDate:          c.Gauge("month_to_date_cad", "Billed cost of the department in the fiscal month so far.", "department"),
		projected:            c.Gauge("month_end_projected_cad", "Month to date, plus the mean of the last seven complete days for the days that are not billed yet.", "department"),
		budget:               c.Gauge("budget_cad", "Budget of the department for the fiscal month.", "department"),
		billedObservability:  c.Gauge("billed_observability_cad", "Billed cost of observability in the fiscal month so far."),
		billedInfrastructure: c.Gauge("billed_monitored_infrastructure_cad", "Billed cost of everything but observability in the fiscal month so far."),
		periodStart:          c.Gauge("fiscal_period_start_timestamp_seconds", "Start of the fiscal month."),
		periodEnd:            c.Gauge("fiscal_period_end_timestamp_seconds", "End of the fiscal month."),
		through:              c.Gauge("billing_data_through_timestamp_seconds", "Time up to which the source's bill is complete.", "source"),
		rows:                 c.Gauge("bill_rows", "Rows of the source's bills.", "source"),
		rejected:             c.Gauge("bill_rejected_rows", "Rows of the source's bills that cannot be read and do not count.", "source"),
		unreadTags:           c.Gauge("bill_unread_tags_rows", "Rows of the source's bills with tags that cannot be read, where rules for departments need them.", "source"),
		closedMonth:          c.Gauge("closed_month_cad", "Billed cost of one of the last three completed fiscal months. Later deliveries change it.", "department", "month"),
		billedMonth:          c.Gauge("billed_month_cad", "Billed cost in this fiscal month and the last three of what is also metered (bills.metered), for comparison with ml_cost_metered_month_cad.", "department", "month"),
		billedGPUHours:       c.Gauge("billed_gpu_hours", "Billed GPU hours in this fiscal month and the last three, by the rules under bills.gpu_machines.", "month"),
		unconverted:          c.Counter("unconverted_rows_total", "Rows of bills without an exchange rate, which do not count.", "currency"),
		unreconciled:         c.Gauge("unreconciled_cad", "Difference between a total and the sum of its parts. Any value but 0 is a bug of the exporter.", "check"),
		rate:                 c.Gauge("fx_rate", "Newest exchange rate: value of one unit of the currency from in the currency to.", "from", "to", "source"),
		observed:             c.Gauge("fx_observation_timestamp_seconds", "Time at which that rate was observed.", "from", "to"),
		refused:              c.Counter("fx_rejected_rates_total", "Exchange rates that were rejected as implausible."),
		price:                c.Gauge("price_cad", "Price of one unit.", "resource", "unit"),
		spend:                c.Counter("spend_cad_total", "Metered cost: usage times price.", "department", "resource", "model", "basis", "method"),
		total:                c.Counter("total_cad_total", "Total metered cost: GPUs, used or idle, and purchased services."),
		loaded:               c.Counter("loaded_cad_total", "Fully loaded cost: the model's own cost, plus its weighted share of the cost that belongs to no model. The sum over all models is the total.", "department", "model", "weight"),
		meteredMonth:         c.Gauge("metered_month_cad", "Metered cost of this fiscal month and the last three, idle GPUs included, to compare with bills.", "department", "month"),
		meteredGPUHours:      c.Gauge("metered_gpu_hours", "GPU hours seen in metrics in this fiscal month and the last three, used or idle.", "month"),
		gpu:                  c.Counter("gpu_cad_total", "Cost of all GPUs, used or idle."),
		idle:                 c.Counter("gpu_idle_cad_total", "Cost of GPUs while they were idle.", "kind", "department"),
		observability:        c.Counter("observability_cad_total", "Metered cost of observability."),
		infrastructure:       c.Counter("monitored_infrastructure_cad_total", "Metered cost of everything but observability."),
		value:                c.Counter("value_cad_total", "Value of successful inferences.", "model"),
		units:                c.Counter("metered_units_total", "Requests, successful requests and tokens of the same time as the metered cost, for costs per unit.", "model", "resource"),
		unpriced:             c.Counter("unpriced_units_total", "Units that were used but have no price.", "resource", "model"),
		gap:                  c.Counter("metering_gap_seconds_total", "Time that was not priced, because Prometheus was down (no_data) or unreachable for too long (too_old).", "reason"),
		meteredThrough:       c.Gauge("metered_through_timestamp_seconds", "End of the last interval whose usage is priced."),
	}
}

// publish writes the series of the month.
func (e *Exporter) publish(out *exporter.Metrics, s spend) {
	folded := make(map[allocation]float64)
	for _, cell := range s.cells() {
		folded[allocation{e.limits.departments.Fold(cell.department), e.limits.services.Fold(cell.service), cell.category}] += s.billed[cell].InexactFloat64()
	}
	for cell, amount := range folded {
		out.Gauge(e.descs.billed, amount, cell.department, cell.service, cell.category)
	}
	month, projected := map[string]float64{}, map[string]float64{}
	for department := range s.monthToDate {
		name := e.limits.departments.Fold(department)
		month[name] += s.monthToDate[department].InexactFloat64()
		projected[name] += s.projected[department].InexactFloat64()
	}
	for department := range month {
		out.Gauge(e.descs.monthToDate, month[department], department)
		out.Gauge(e.descs.projected, projected[department], department)
	}
	closed := map[closedMonth]float64{}
	for c, amount := range s.closed {
		closed[closedMonth{e.limits.departments.Fold(c.department), c.month}] += amount.InexactFloat64()
	}
	for c, amount := range closed {
		out.Gauge(e.descs.closedMonth, amount, c.department, c.month)
	}
	billed := map[closedMonth]float64{}
	for c, amount := range s.comparable {
		billed[closedMonth{e.limits.departments.Fold(c.department), c.month}] += amount.InexactFloat64()
	}
	for c, amount := range billed {
		out.Gauge(e.descs.billedMonth, amount, c.department, c.month)
	}
	for month, hours := range s.gpuHours {
		out.Gauge(e.descs.billedGPUHours, hours, month)
	}
	out.Gauge(e.descs.billedObservability, s.observability.InexactFloat64())
	out.Gauge(e.descs.billedInfrastructure, s.rest.InexactFloat64())
	out.Gauge(e.descs.unreconciled, s.unreconciled().InexactFloat64(), "bill")

	e.mu.Lock()
	defer e.mu.Unlock()
	// A row without a rate stays in every reading. Each is counted once.
	for currency, rows := range s.unconverted {
		e.unconverted[currency] += float64(max(rows-e.counted[currency], 0))
	}
	e.counted = s.unconverted
}

// budgets are the budgets that are valid in the month of an instant.
func (e *Exporter) budgets(now time.Time) map[string]float64 {
	period := e.cfg.calendar.Month(now)
	started := make(map[string]Month)
	budgets := make(map[string]float64)
	for _, b := range e.cfg.Budgets {
		if last, ok := started[b.Department]; b.From.after(period) || ok && last.String() > b.From.String() {
			continue
		}
		started[b.Department], budgets[b.Department] = b.From, b.Monthly
	}
	return budgets
}

func (e *Exporter) collectMeter(out *exporter.Metrics) {
	samples, end := e.meter.Samples()
	if !end.IsZero() {
		out.Gauge(e.descs.meteredThrough, float64(end.Unix()))
	}
	gpu, loaded := e.meter.Unreconciled()
	out.Gauge(e.descs.unreconciled, gpu, "gpu")
	out.Gauge(e.descs.unreconciled, loaded, "loaded")
	for _, s := range samples {
		switch s.Counter {
		case metering.Spend:
			out.Counter(e.descs.spend, s.Sum, s.Department, s.Resource, s.Model, "metered", metering.Method)
		case metering.GPUTotal:
			out.Counter(e.descs.gpu, s.Sum)
		case metering.Total:
			out.Counter(e.descs.total, s.Sum)
		case metering.Loaded:
			out.Counter(e.descs.loaded, s.Sum, s.Department, s.Model, string(e.cfg.Metering.Loaded))
		case metering.Monthly:
			out.Gauge(e.descs.meteredMonth, s.Sum, s.Department, s.Kind)
		case metering.GPUHours:
			out.Gauge(e.descs.meteredGPUHours, s.Sum, s.Kind)
		case metering.Idle:
			out.Counter(e.descs.idle, s.Sum, s.Kind, s.Department)
		case metering.Observability:
			out.Counter(e.descs.observability, s.Sum)
		case metering.Infrastructure:
			out.Counter(e.descs.infrastructure, s.Sum)
		case metering.Value:
			out.Counter(e.descs.value, s.Sum, s.Model)
		case metering.Unpriced:
			out.Counter(e.descs.unpriced, s.Sum, s.Resource, s.Model)
		case metering.Units:
			out.Counter(e.descs.units, s.Sum, s.Model, s.Resource)
		case metering.GapSeconds:
			out.Counter(e.descs.gap, s.Sum, s.Kind)
		}
	}
}
