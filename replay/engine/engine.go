// Package engine runs Prometheus rules in virtual time: months in minutes.
//
// Input: rule files, targets that are scraped on the engine's clock, and a range of time. Output: what became of every
// alert, in order of time. State: the samples that the rules can still reach, in memory; Run starts with none.
//
// What is Prometheus's own: the parser, the engine that evaluates expressions, and the alerting rule with its `for`,
// `keep_firing_for`, labels and the alerts' identity. What is not: the storage and the order of evaluation, which are made
// for a clock that runs ten thousand times as fast.
//
//   - The storage keeps runs of equal samples. A month of 8 000 series at one sample a minute is 350 million samples, and
//     Prometheus's TSDB takes minutes to append them, one by one; most of them repeat the one before.
//   - Rules are evaluated over blocks of hours, each by one range query, after the rules that they read: at every step a rule
//     sees what the others recorded at that step, while a real Prometheus may see what they recorded one evaluation
//     before. Rules that may read their own series, by the labels too, go step by step, as in Prometheus.
//   - An expression without ranges, offsets and time() is evaluated only where an input changed (see view). What of it is
//     plain arithmetic on series that match without ambiguity is calculated in columns (see columns), and so are functions of
//     ranges and subqueries (see ranges) and aggregations (see aggregates); in every block, the result is compared with
//     Prometheus's engine at one step, and a difference ends the replay with an error.
//   - Rules that read their own series are evaluated over the block as well, round after round, until the results of a round are
//     those that it began with; see circle.
//   - Samples that a source holds between two scrapes are counted, and stored when they change (see Held).
//   - While the rules of a block are evaluated, the next block is scraped: each target by itself, since none knows the others.
//   - Rules of which nothing is there are not evaluated.
//
// Every rule is evaluated at every interval of its group; nothing is skipped that could have another result.
//
// The package never reads the real clock, and the result does not depend on how many goroutines work.
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

const defaultInterval = time.Minute

// Options are how rules are evaluated. Rules must be given.
type Options struct {
	Rules Rules
	// Interval is the time between two evaluations: Prometheus's default of a minute.
	Interval time.Duration
	// ScrapeInterval is the time between two scrapes; Interval by default.
	ScrapeInterval time.Duration
	// Lookback is how old a sample an instant still sees: Prometheus's default of 5 minutes.
	Lookback time.Duration
	// Concurrency is how many rules are evaluated at the same time; 2 by default.
	Concurrency int
}

func (o *Options) complete() error {
	defaults := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	defaults(&o.Interval, defaultInterval)
	defaults(&o.ScrapeInterval, o.Interval)
	defaults(&o.Lookback, 5*time.Minute)
	if o.Concurrency == 0 {
		o.Concurrency = 2
	}
	for name, d := range map[string]time.Duration{"interval": o.Interval, "scrape interval": o.ScrapeInterval, "lookback": o.Lookback} {
		if d < time.Millisecond || d > 24*time.Hour {
			return fmt.Errorf("%s is %s, expected 1ms to 24h", name, d)
		}
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("concurrency is %d, expected 1 or more", o.Concurrency)
	}
	if len(o.Rules.groups) == 0 {
		return errors.New("no rules: load them with LoadRules")
	}
	return nil
}

// State is what became of an alert.
type State string

// The states of an alert. An alert that was pending and never fired is Inactive afterwards, one that fired is Resolved.
const (
	Pending  State = "pending"
	Firing   State = "firing"
	Resolved State = "resolved"
	Inactive State = "inactive"
)

// A Transition is an alert that changes its state.
type Transition struct {
	At    time.Time
	State State
	// Labels are the alert's, alertname among them.
	Labels labels.Labels
	// Value is the expression's at that time; of an alert that ends, its last.
	Value float64
	// ActiveAt is when the alert became pending.
	ActiveAt time.Time
}

// A Replay is one run over a range of time.
type Replay struct {
	// From is the first evaluation, To is after the last.
	From, To time.Time
	Targets  []Target
	// Feed stores the samples of [from, to) that were scraped elsewhere, if it is set; it may be there beside targets. Of each
	// series, samples must come in order of time.
	Feed func(ctx context.Context, from, to time.Time, store func(labels labels.Labels, at time.Time, v float64)) error
	// Alerts is told every transition, in order.
	Alerts func(Transition)
	// Progress is told now and then how far the replay is, if it is set.
	Progress func(at time.Time)
	// Stored is told the samples of the metrics that Record names, after each block, staleness markers included.
	Stored func(labels labels.Labels, at time.Time, v float64)
	Record []string
}

// Stats say what a replay cost.
type Stats struct {
	Scrapes, Samples     int
	Queries              int
	MostSeries, MostRuns int // Held at the same time.
	// Errors are rules that failed, in file order.
	Errors []RuleError
}

// Engine evaluates rules in virtual time. It may be used for one Run.
type Engine struct {
	opts   Options
	units  []unit
	rules  []*rule // In file order.
	store  *store
	promql *promql.Engine
	reach  func(name string) int64
	// readsAlerts: a rule reads ALERTS, so they are stored.
	readsAlerts bool
	queries     atomic.Int64
	memory      arenas
	circles     atomic.Int64 // That were evaluated over a block.
	stepByStep  bool         // All of them go step by step, for tests.
	failures    failures
	stats       Stats
	used        bool
}

// New returns an engine that has evaluated nothing yet.
func New(opts Options) (*Engine, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	units, err := compile(opts.Rules, opts.Interval)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		opts: opts, units: units, store: newStore(), failures: failures{byID: map[int]*RuleError{}},
		promql: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 200_000_000, Timeout: time.Hour, LookbackDelta: opts.Lookback, Parser: newParser(),
			EnableAtModifier: true, EnableNegativeOffset: true,
			NoStepSubqueryIntervalFn: func(int64) int64 { return opts.Interval.Milliseconds() },
		}),
	}
	for _, u := range units {
		e.rules = append(e.rules, u.rules...)
	}
	slices.SortFunc(e.rules, func(a, b *rule) int { return a.index - b.index })
	e.reach = reach(e.rules, opts.Lookback)
	for _, r := range e.rules {
		for _, sel := range r.reads {
			e.readsAlerts = e.readsAlerts || sel.mayRead("ALERTS") || sel.mayRead("ALERTS_FOR_STATE")
		}
	}
	return e, nil
}

// reach tells how many milliseconds back the rules read a metric.
func reach(rules []*rule, lookback time.Duration) func(name string) int64 {
	named := map[string]int64{}
	var patterns []selector
	for _, r := range rules {
		for _, sel := range r.reads {
			if sel.name == "" {
				patterns = append(patterns, sel)
				continue
			}
			named[sel.name] = max(named[sel.name], (sel.reach + lookback).Milliseconds())
		}
	}
	return func(name string) int64 {
		far := max(named[name], lookback.Milliseconds())
		for _, sel := range patterns {
			if sel.mayRead(name) {
				far = max(far, (sel.reach + lookback).Milliseconds())
			}
		}
		return far
	}
}
