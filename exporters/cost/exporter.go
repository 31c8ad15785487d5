// Package cost converts bills and usage into Canadian dollars.
//
// Input: bills in the FOCUS format, prices, exchange rates, and usage that the user's own Prometheus measured.
//
// Output: the billed cost of departments in the fiscal month and its projection, and counters of the cost of
// inferences, idle GPUs and observability.
//
// State: exchange rates and counters are in the state folder. All other values are a snapshot that the Exporter owns.
//
// It never counts a row or an interval twice, and never counts a value that it cannot read as zero.
package cost

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/metering"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/exporter"
	"github.com/sightglass-ml/sightglass/internal/limit"
	"github.com/sightglass-ml/sightglass/internal/state"
)

// Load reads and checks a configuration file.
func Load(path string) (Config, error) { return config.Load[Config](path) }

// Spec describes the exporter's binary.
func Spec() exporter.Spec[Config] {
	books := &handover{}
	return exporter.Spec[Config]{
		Name:           "cost_exporter",
		Description:    "Publishes what inference costs in Canadian dollars: bills, budgets, prices and idle GPUs.",
		DefaultAddress: ":10913",
		Load:           Load,
		Start: func(_ context.Context, env *exporter.Env, cfg Config) (exporter.Instance, error) {
			return start(env, cfg, time.Now, books)
		},
		Watching: func(cfg Config) []any {
			names := make([]string, len(cfg.Bills.Sources))
			for i, s := range cfg.Bills.Sources {
				names[i] = s.Name
			}
			prometheus := "none"
			if cfg.Metering != nil {
				prometheus = cfg.Metering.Prometheus
			}
			return []any{"bills", strings.Join(names, ","), "prometheus", prometheus, "exchange_online", cfg.Exchange.Online, "state", string(cfg.State)}
		},
	}
}

// Exporter is the exporter with one configuration.
type Exporter struct {
	cfg   Config
	descs descs
	now   func() time.Time
	log   *slog.Logger

	rates    *fx.Keeper
	book     prices.Book
	reader   *bill.Reader
	ledgers  []*ledger
	meter    *metering.Meter // nil without metering
	limits   limits
	snapshot exporter.Snapshot
	handover *handover

	mu          sync.Mutex // guards the fields below
	billsRead   bool       // whether bills were searched
	unconverted map[string]float64
	counted     map[string]int64
}

type limits struct{ departments, services, series *limit.Limiter }

var (
	_ exporter.Instance = (*Exporter)(nil)
	_ exporter.Stopper  = (*Exporter)(nil)
	_ exporter.Readier  = (*Exporter)(nil)

	_ exporter.Reloader[Config] = (*Exporter)(nil)
)

func start(env *exporter.Env, cfg Config, now func() time.Time, books *handover) (_ exporter.Instance, err error) {
	e := &Exporter{
		cfg: cfg, descs: newDescs(&catalogue.Catalogue{Prefix: "ml_cost_"}), now: now, log: env.Logger,
		limits:   limits{env.Limit("departments", cfg.Bills.MaxDepartments), env.Limit("services", cfg.Bills.MaxServices), env.Limit("metered_series", 0)},
		handover: books, unconverted: map[string]float64{}, counted: map[string]int64{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Stop(context.Background()))
		}
	}()
	if err := state.Writable(string(cfg.State)); err != nil {
		return nil, cfg.Wrap("state", err)
	}
	if e.rates, err = e.openRates(); err != nil {
		return nil, cfg.Wrap("exchange", err)
	}
	if e.book, err = prices.NewBook(cfg.entries, e.rate); err != nil {
		return nil, cfg.Wrap("prices", err)
	}
	if cfg.Metering != nil {
		e.book = e.book.WithAliases(cfg.Metering.Aliases)
	}
	if err := e.openBills(); err != nil {
		return nil, cfg.Wrap("bills", err)
	}
	if cfg.Metering != nil {
		if e.meter, err = e.openMeter(*cfg.Metering); err != nil {
			return nil, cfg.Wrap("metering", err)
		}
	}
	loops := []exporter.Loop{{Name: "exchange", Interval: time.Duration(cfg.Exchange.Interval), Timeout: time.Duration(cfg.Exchange.Timeout), Collect: e.rates.Refresh}}
	if len(e.ledgers) > 0 {
		loops = append(loops, exporter.Loop{Name: "bills", Interval: time.Duration(cfg.Bills.Interval), Timeout: time.Duration(cfg.Bills.Timeout), Collect: e.readBills})
	}
	if m := cfg.Metering; m != nil {
		loops = append(loops, exporter.Loop{Name: "metering", Interval: time.Duration(m.Step), Timeout: max(time.Duration(m.Step), time.Minute), Collect: e.meter.Cycle})
	}
	for _, l := range loops {
		if err := env.Loop(l); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Ready implements exporter.Readier. The counters are published at once. Metering waits until the previous instance has
// released its lock.
func (e *Exporter) Ready() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.ledgers) > 0 && !e.billsRead {
		return errors.New("bills have not been read yet")
	}
	return nil
}

// Describe implements prometheus.Collector. It sends nothing, because the series depend on the configuration and the
// bills.
func (e *Exporter) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	e.snapshot.Collect(ch)
	var out exporter.Metrics
	now := e.now()
	period := e.cfg.calendar.Month(now)
	out.Gauge(e.descs.periodStart, float64(period.Start.Unix()))
	out.Gauge(e.descs.periodEnd, float64(period.End.Unix()))
	for department, amount := range e.budgets(now) {
		out.Gauge(e.descs.budget, amount, department)
	}
	for _, r := range e.rates.Book().Latest() {
		out.Gauge(e.descs.rate, r.CAD, r.Currency, fx.CAD, r.Source)
		if !r.Day.IsZero() {
			out.Gauge(e.descs.observed, float64(r.Observed().Unix()), r.Currency, fx.CAD)
		}
	}
	out.Counter(e.descs.refused, e.rates.Rejected())
	for _, p := range e.book.List(now, e.usedModels()) {
		out.Gauge(e.descs.price, p.CAD, p.Resource, string(p.Unit))
	}
	e.mu.Lock()
	for currency, rows := range e.unconverted {
		out.Counter(e.descs.unconverted, rows, currency)
	}
	e.mu.Unlock()
	if e.meter != nil {
		e.collectMeter(&out)
	}
	for _, m := range out {
		ch <- m
	}
}

// Reload implements exporter.Reloader. If the configuration has changed, a new instance replaces this one. It takes over the bills that
// are read, unless what a row costs whom has changed.
func (e *Exporter) Reload(_ context.Context, cfg Config) error {
	if config.Equal(e.cfg, cfg) {
		return nil
	}
	e.handover.leave(e)
	return exporter.ErrReplace
}

// Stop implements exporter.Stopper.
func (e *Exporter) Stop(context.Context) error {
	var errs []error
	for _, l := range e.ledgers {
		errs = append(errs, l.close())
	}
	if e.reader != nil {
		errs = append(errs, e.reader.Close())
	}
	if e.meter != nil {
		errs = append(errs, e.meter.Close())
	}
	return errors.Join(errs...)
}
