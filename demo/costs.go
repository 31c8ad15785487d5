package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

// costs simulates a bill in US dollars, and GPUs of the shop with a price per hour.
type costs struct {
	stack      *stack.Stack
	exporter   string // path of the program
	prometheus string // address at which Prometheus will be
	pace       speedup.Factor
	opened     time.Time
}

var _ part = (*costs)(nil)

// Prices. An hour of a GPU at C$4.11 is C$3,000 in a month.
const (
	gpuHourCAD    = 4.11
	cadPerUSD     = 1.37 // Canadian dollars for a US dollar
	shopUSD       = 9.0  // an hour
	researchUSD   = 3.0  // the same for research
	monitoringUSD = 0.3  // the same for monitoring
)

// hoursPerMonth is the mean over a year.
const hoursPerMonth = 730

func (c *costs) summary() string { return "1 bill" }

func (c *costs) path(name string) string { return filepath.Join(c.stack.Dir(), "costs", name) }

func (c *costs) prepare(_ context.Context, now time.Time) error {
	c.opened = now
	if err := os.MkdirAll(c.path("bills"), 0o755); err != nil {
		return fmt.Errorf("prepare the bill: %w", err)
	}
	return c.deliver(now, 0)
}

// deliver writes the bill of the month so far and of the week before it, as the provider does every few hours. forgotten is
// the additional cost of research in US dollars an hour for the last three days.
func (c *costs) deliver(now time.Time, forgotten float64) error {
	var b strings.Builder
	b.WriteString("BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ServiceName,ServiceCategory,ServiceSubcategory,Tags\n")
	now = now.UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	for hour := month.AddDate(0, 0, -9); hour.Before(now.Truncate(time.Hour)); hour = hour.Add(time.Hour) {
		research := researchUSD
		if hour.After(now.AddDate(0, 0, -3)) {
			research += forgotten
		}
		for _, line := range []struct {
			department, service, category, sub string
			usd                                float64
		}{
			{"shop", "Compute Engine", "Compute", "Virtual Machines", shopUSD},
			{"research", "Compute Engine", "Compute", "Virtual Machines", research},
			{"shop", "Cloud Monitoring", "Management and Governance", "Observability", monitoringUSD},
		} {
			fmt.Fprintf(&b, "%[1]g,%[1]g,USD,%[2]s,%[3]s,%[4]s,Usage,%[5]s,%[6]s,%[7]s,\"{\"\"department\"\": \"\"%[8]s\"\"}\"\n",
				line.usd, time.Date(hour.Year(), hour.Month(), 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339),
				hour.Format(time.RFC3339), hour.Add(time.Hour).Format(time.RFC3339), line.service, line.category, line.sub, line.department)
		}
	}
	next := c.path("bill.next")
	if err := os.WriteFile(next, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("deliver the bill: %w", err)
	}
	if err := os.Rename(next, c.path(filepath.Join("bills", "bill.csv"))); err != nil {
		return fmt.Errorf("deliver the bill: %w", err)
	}
	return nil
}

// busyLastWeek is the share of time in which the recommender used its GPU before its new version.
const busyLastWeek = 0.3

// Cost of the recommender then, in a second and for an inference.
const (
	perSecond    = gpuHourCAD / 3600 * busyLastWeek
	perInference = perSecond / inferencesPerSecond
)

// history writes the cost of the model and of an inference a week ago.
func (c *costs) history(_ context.Context, out io.Writer, now time.Time) error {
	week, step := c.pace.Duration(7*24*time.Hour), c.pace.Duration(time.Minute)
	for metric, value := range map[string]float64{"model:ml_cost_per_inference:cad1d": perInference, "model:ml_cost_spend:mean1d": perSecond} {
		if _, err := fmt.Fprintf(out, "# TYPE %s gauge\n", metric); err != nil {
			return err
		}
		for at := now.Add(-week - 2*step); at.Before(now.Add(-week).Add(c.pace.Duration(3 * time.Hour))); at = at.Add(step) {
			if _, err := fmt.Fprintf(out, "%s{%smodel=%q,method=\"busy_time\"} %g %d.%03d\n", metric, where, recommender, value,
				at.Unix(), at.Nanosecond()/1e6); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *costs) start(ctx context.Context) (watched, error) {
	config := fmt.Sprintf(`
state: %s
bills:
  interval: 1s
  sources: [{name: cloud, folder: %s, settle: 0s}]
  departments: [{from_tag: department}]
budgets:
  - {department: shop, monthly_cad: %.0f}
  - {department: research, monthly_cad: %.0f}
exchange: {online: false, rates: {USD: %g}}
prices: {gpu_hours: [{gpu: "*", price: %g}]}
metering:
  prometheus: http://%s
  step: %s
  lag: %s
  holders:
    - {pod: support-bot-*, department: shop, model: %s}
    - {pod: recommender-*, department: shop, model: %s}
    - {pod: "*", department: research}
`, c.path("state"), c.path("bills"), 1.15*(shopUSD+monitoringUSD)*cadPerUSD*hoursPerMonth, 1.25*researchUSD*cadPerUSD*hoursPerMonth, cadPerUSD, gpuHourCAD,
		c.prometheus, duration(c.pace, 5*time.Minute), duration(c.pace, 2*time.Minute), bot, recommender)
	file := c.path("cost.yaml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return watched{}, fmt.Errorf("write the exporter's configuration: %w", err)
	}
	server, err := c.stack.StartExporter(ctx, stack.ExporterConfig{Name: "cost-exporter", Path: c.exporter, Args: []string{"--config.file=" + file}})
	return watched{Server: server, job: "cost"}, err
}

func (c *costs) conditions() []condition {
	return []condition{
		{"the bill has two departments", `count(ml_cost_month_end_projected_cad)`, 2},
		{"an inference has a cost now and a week ago", `count(model:ml_cost_per_inference:growth1w)`, 1},
	}
}

func (c *costs) incidents() []incident {
	all := []incident{
		{
			object:      "research",
			name:        "cost of the idle GPU",
			description: "the idle GPU costs C$3,000 a month",
			apply:       func(context.Context, time.Time) error { return nil },
			early:       true,
			alerts:      []expected{{alert: "MLCostIdleGPUWaste", labels: labels{"department": "research"}, measured: number("C$ %.0f a month")}},
		},
		{
			object:      recommender,
			name:        "cost per inference",
			description: "with its new version each inference takes three times as much GPU time",
			apply:       func(context.Context, time.Time) error { return nil },
			early:       true,
			alerts:      []expected{{alert: "MLCostPerInferenceTrend", labels: labels{"model": recommender}, measured: percent("more than a week ago")}},
		},
	}
	// In the first days of a month its projection does not alert.
	if c.opened.Day() > 4 {
		all = append(all, incident{
			object:      "research",
			name:        "forgotten cluster",
			description: "a training cluster has run unused for three days; it appears in today's bill",
			apply:       func(_ context.Context, now time.Time) error { return c.deliver(now, 40) },
			slow:        true,
			alerts:      []expected{{alert: "MLCostMonthEndOverBudget", labels: labels{"department": "research"}, measured: number("C$ %.0f by the end of the month")}},
		})
	}
	return all
}

func (c *costs) run(context.Context) error { return nil }
