package world

import (
	"context"
	"math"
	"time"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
)

// costs is the spending of departments, published as by the cost exporter. The amounts are simulated here, because the exporter reads bills
// and a Prometheus, which a replay does not have. A test compares the metric names with the exporter's catalogue.
type costs struct {
	w       *World
	list    []*department
	through int64
	sink    *sink
}

type department struct {
	*scenario.Department
	traffic *traffic
	faults  []*fault

	spent, idle, requests, value float64
	today                        float64
	days                         []float64 // cost of each complete day
	ended                        []time.Time
}

var _ engine.Source = (*costs)(nil)

func (w *World) newCosts() *costs {
	c := &costs{w: w, through: minuteOf(w.scenario.From())}
	for i := range w.scenario.Costs.Departments {
		d := &w.scenario.Costs.Departments[i]
		c.list = append(c.list, &department{
			Department: d, traffic: newTraffic(d.Traffic, w.seed, d.Name, 60*d.RequestsPerSecond, w.scenario.From(), w.scenario.Holidays),
			faults: occurrences(w.scenario, func(e *scenario.Event) bool { return e.Department == d.Name }),
		})
	}
	return c
}

// advance simulates the spending up to a time.
func (c *costs) advance(_ context.Context, at time.Time) error {
	for now := minuteOf(at); c.through < now; c.through++ {
		for _, d := range c.list {
			d.minute(c.w.seed, c.through)
		}
	}
	return nil
}

func (d *department) minute(seed uint64, m int64) {
	gpus, dearer := float64(d.GPUs), 1.0
	for _, w := range d.faults {
		switch p := w.progress(m); w.Kind {
		case scenario.BudgetOverrun:
			gpus *= 1 + w.Size*p
		case scenario.CostCreep:
			dearer *= 1 + w.Size*p
		}
	}
	r := random(seed, d.Name+"/costs", m)
	cost := gpus * d.GPUHour / 60 * dearer
	idle := math.Min(1, d.Idle*math.Exp(0.1*r.NormFloat64()))
	n := float64(poisson(r, d.traffic.rate(m)))
	d.spent += cost * (1 - idle)
	d.idle += cost * idle
	d.today += cost
	d.requests += n
	// The value of an inference is twice its cost while nothing is wrong.
	d.value += n * 2 * float64(d.GPUs) * d.GPUHour / 3600 / d.RequestsPerSecond
	if at := timeOf(m + 1); at.Equal(at.Truncate(24 * time.Hour)) {
		d.days, d.ended = append(d.days, d.today), append(d.ended, at)
		d.today = 0
	}
}

// month returns the bill of the month to date, and the projected cost of the month at the mean of the last seven complete days.
func (d *department) month(at time.Time) (toDate, projected float64) {
	begin, end := monthOf(at)
	through := begin
	var last []float64
	for i, cost := range d.days {
		if d.ended[i].After(begin) && !d.ended[i].After(at) {
			toDate += cost
			through = d.ended[i]
		}
	}
	if n := len(d.days); n > 0 {
		last = d.days[max(0, n-7):]
	}
	mean := float64(d.GPUs) * d.GPUHour * 24
	if len(last) > 0 {
		mean = 0
		for _, cost := range last {
			mean += cost / float64(len(last))
		}
	}
	return toDate, toDate + mean*end.Sub(through).Hours()/24
}

func monthOf(at time.Time) (begin, end time.Time) {
	begin = time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return begin, begin.AddDate(0, 1, 0)
}

// Scrape implements engine.Source.
func (c *costs) Scrape(_ context.Context, at time.Time, to *engine.Scrape) error {
	if c.sink == nil || c.sink.scrape != to {
		c.sink = newSink(to)
	}
	put := func(v float64, name string, labels ...string) { to.Float(c.sink.one(name, labels...), v) }
	put(1, "sightglass_config_last_reload_successful")
	begin, end := monthOf(at)
	put(float64(begin.Unix()), "ml_cost_fiscal_period_start_timestamp_seconds")
	put(float64(end.Unix()), "ml_cost_fiscal_period_end_timestamp_seconds")
	put(float64(at.Unix()), "ml_cost_metered_through_timestamp_seconds")
	put(float64(at.Truncate(24*time.Hour).Unix()), "ml_cost_billing_data_through_timestamp_seconds", "source", "replay")
	for _, d := range c.list {
		toDate, projected := d.month(at)
		put(d.Budget, "ml_cost_budget_cad", "department", d.Name)
		put(toDate, "ml_cost_month_to_date_cad", "department", d.Name)
		put(projected, "ml_cost_month_end_projected_cad", "department", d.Name)
		put(d.spent, "ml_cost_spend_cad_total", "department", d.Name, "resource", "gpu", "model", d.Model, "basis", "metered", "method", "occupied")
		put(d.idle, "ml_cost_gpu_idle_cad_total", "kind", "allocated", "department", d.Name)
		put(d.requests, "ml_cost_metered_units_total", "model", d.Model, "resource", "request")
		put(0.99*d.requests, "ml_cost_metered_units_total", "model", d.Model, "resource", "successful_request")
		put(d.value, "ml_cost_value_cad_total", "model", d.Model)
	}
	return nil
}
