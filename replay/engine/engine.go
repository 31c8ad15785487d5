// Package engine runs Prometheus rules in virtual time: months in minutes.
//
// Input: rule files, targets that are scraped on the engine's clock, and a range of time. Output: the transitions of every alert, in order
// of time. State: the samples that the rules can still reach, in memory; Run starts without samples.
//
// These parts are Prometheus's own: the parser, the engine that evaluates expressions, and the alerting rule with its `for`,
// `keep_firing_for`, labels and the alerts' identity. The storage and the order of evaluation are our own code, because they must be ten
// thousand times as fast as real time:
//
//   - The storage keeps runs of equal samples. A month of 8 000 series at one sample a minute is 350 million samples, most of which repeat
//     the previous one. Prometheus's TSDB takes minutes to append them one by one.
//   - Rules are evaluated over blocks of hours, each by one range query, after the rules that they read. At every step a rule sees what the
//     others recorded at that step, while a real Prometheus may see what they recorded one evaluation before. A rule that may read its own
//     series, considering labels too, sees what it recorded at the previous step, as in Prometheus.
//   - An expression without ranges, offsets and time() is evaluated only where an input changed (see view). Plain arithmetic on series that
//     match without ambiguity is calculated in columns (see columns), as are functions of ranges and subqueries (see ranges) and
//     aggregations (see aggregates). In every block, the result is compared with Prometheus's engine at one step, and a difference ends the
//     replay with an error.
//   - Rules that read their own series are also evaluated over the block, round after round, until the results of a round equal those of
//     the previous round; see circle.
//   - Samples that a source holds between two scrapes are counted, and stored when they change (see Held).
//   - While the rules of a block are evaluated, the next block is scraped, each target separately, because targets are independent.
//   - Rules without any present input are not evaluated.
//
// Every rule is evaluated at every interval of its group, unless the evaluation cannot have another result.
//
// The package never reads the real clock, and the result does not depend on the number of goroutines.
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

// Options configure the evaluation. Rules are required.
type Options struct {
	Rules Rules
	// Interval is the time between two evaluations; by default a minute, as in Prometheus.
	Interval time.Duration
	// ScrapeInterval is the time between two scrapes; Interval by default.
	ScrapeInterval time.Duration
	// Lookback is the largest age of a sample that an instant sees; by default 5 minutes, as in Prometheus.
	Lookback time.Duration
	// Concurrency is the number of rules that are evaluated at the same time; 2 by default.
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

// State is the state of an alert.
type State string

// States of an alert. An alert that was pending and never fired becomes Inactive; one that fired becomes Resolved.
const (
	Pending  State = "pending"
	Firing   State = "firing"
	Resolved State = "resolved"
	Inactive State = "inactive"
)

// A Transition is a change of an alert's state.
type Transition struct {
	At    time.Time
	State State
	// Labels are the alert's labels, including alertname.
	Labels labels.Labels
	// Value is the value of the expression at that time; for an alert that ends, its last value.
	Value float64
	// ActiveAt is the time at which the alert became pending.
	ActiveAt time.Time
}

// A Replay is one run over a range of time.
type Replay struct {
	// From is the first evaluation, To is after the last.
	From, To time.Time
	Targets  []Target
	// Feed, if set, stores the samples of [from, to) that were scraped elsewhere. It can be combined with targets. The samples of each
	// series must be in order of time.
	Feed func(ctx context.Context, from, to time.Time, store func(labels labels.Labels, at time.Time, v float64)) error
	// Alerts receives every transition, in order.
	Alerts func(Transition)
	// Progress, if set, receives from time to time the time that the replay has reached.
	Progress func(at time.Time)
	// Stored receives the samples of the metrics in Record after each block, including staleness markers.
	Stored func(labels labels.Labels, at time.Time, v float64)
	Record []string
}

// Stats are the resources that a replay used.
type Stats struct {
	Scrapes, Samples     int
	Queries              int
	MostSeries, MostRuns int // In memory at the same time.
	// Errors are rules that failed, in file order.
	Errors []RuleError
}

// Engine evaluates rules in virtual time. It can be used for one Run.
type Engine struct {
	opts   Options
	units  []unit
	rules  []*rule // In file order.
	store  *store
	promql *promql.Engine
	reach  func(name string) int64
	// readsAlerts means that a rule reads ALERTS, so that they must be stored.
	readsAlerts bool
	queries     atomic.Int64
	memory      arenas
	circles     atomic.Int64 // Number of cycles that were evaluated over a block.
	stepByStep  bool         // Evaluate all cycles step by step, for tests.
	failures    failures
	stats       Stats
	used        bool
}

// New returns an engine.
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

// reach returns how many milliseconds back the rules read a metric.
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
