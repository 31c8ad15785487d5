// Package engine evaluates Prometheus rules in virtual time: a replay of months takes minutes.
//
// Input: rule files, targets that are scraped on the engine's clock, and a range of time. Output: the transitions of every
// alert, in order of time. State: the samples that rules can still read, in memory; Run starts with none. It never reads the
// real clock, and its results do not depend on the number of goroutines.
//
// Prometheus's own code parses and evaluates expressions and runs alerting rules: `for`, `keep_firing_for`, labels and the
// identity of alerts. The storage and the order of evaluation are different, for a clock that runs ten thousand times as
// fast:
//
//   - The storage keeps runs of equal samples. A month of 8 000 series at one sample a minute is 350 million samples.
//     Prometheus's TSDB takes minutes to append them one by one, although most of them repeat the previous one.
//   - Rules are evaluated over blocks of a day, each rule by one range query after the rules that it reads. At every
//     step a rule sees what the others recorded at that step; a real Prometheus may see what they recorded one
//     evaluation before. Rules that may read their own series, also by the labels, are evaluated step by step, as in
//     Prometheus.
//   - An expression without ranges, offsets and time() is evaluated only where an input changed (see view).
//     Arithmetic on series that match one to one is calculated in columns (see columns), and so are functions of
//     ranges and subqueries (see ranges) and aggregations (see aggregates). In every block, the result is compared
//     with Prometheus's engine at one step. A difference ends the replay with an error.
//   - Rules that read their own series are also evaluated over the block, in rounds, until a round repeats the
//     results of the one before; see circle.
//   - Samples that a source repeats between two scrapes are counted, and stored when they change (see Held).
//   - While the rules of a block are evaluated, the targets are scraped for the next block, concurrently, since they
//     are independent.
//   - Rules without any input samples are not evaluated.
//
// Every rule is evaluated at every interval of its group. Only evaluations whose result cannot differ are skipped.
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
	// Interval is the time between two evaluations; one minute by default, as in Prometheus.
	Interval time.Duration
	// ScrapeInterval is the time between two scrapes; Interval by default.
	ScrapeInterval time.Duration
	// Lookback is the maximum age of a sample that an instant selector returns; 5 minutes by default, as in Prometheus.
	Lookback time.Duration
	// Concurrency is the number of rules that are evaluated concurrently; 2 by default.
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
	if o.Interval >= o.Lookback {
		return fmt.Errorf("interval is %s, expected less than %s, the look-back: a recorded series would be stale before its next sample", o.Interval, o.Lookback)
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("concurrency is %d, expected 1 or more", o.Concurrency)
	}
	if len(o.Rules.groups) == 0 {
		return errors.New("no rules: load them with LoadRules")
	}
	return nil
}

// State is the state of an alert after a transition.
type State string

// The states of an alert. A pending alert that ends without firing becomes Inactive, one that fired becomes Resolved.
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
	// Labels are the labels of the alert, including alertname.
	Labels labels.Labels
	// Value is the value of the expression at that time. For an alert that ends, it is the last one.
	Value float64
	// ActiveAt is when the alert became pending.
	ActiveAt time.Time
}

// A Replay is a range of time to replay.
type Replay struct {
	// From is the time of the first evaluation; To is exclusive.
	From, To time.Time
	Targets  []Target
	// Feed, if set, stores samples of [from, to) from another source, also in addition to targets. The samples of each series must come
	// in order of time.
	Feed func(ctx context.Context, from, to time.Time, store func(labels labels.Labels, at time.Time, v float64)) error
	// Alerts receives every transition in order.
	Alerts func(Transition)
	// Progress, if set, receives the time that the replay has reached.
	Progress func(at time.Time)
	// Stored receives the samples of the metrics in Record after each block, staleness markers included.
	Stored func(labels labels.Labels, at time.Time, v float64)
	Record []string
}

// Stats are the statistics of a replay.
type Stats struct {
	Scrapes, Samples     int
	Queries              int
	MostSeries, MostRuns int // maximum stored at the same time
	// Errors are the rules that failed, in file order.
	Errors []RuleError
}

// Engine evaluates rules in virtual time. It can be used for only one Run.
type Engine struct {
	opts   Options
	units  []unit
	rules  []*rule // in file order
	store  *store
	promql *promql.Engine
	reach  func(name string) int64
	// readsAlerts reports that a rule reads ALERTS, so that alerts are stored.
	readsAlerts bool
	queries     atomic.Int64
	memory      arenas
	circles     atomic.Int64 // cycles that were evaluated over a block
	stepByStep  bool         // evaluate all cycles step by step, for tests
	failures    failures
	stats       Stats
	used        bool
}

// New returns a new engine.
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

// reach returns, for a metric name, how many milliseconds back the rules read.
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
