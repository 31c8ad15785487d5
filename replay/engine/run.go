package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

const (
	// coarseBlock is the time that one query covers while nothing is wrong: each query has a cost of its own, and a block that is
	// found to hold an alert is evaluated again from there.
	coarseBlock = 6 * time.Hour
	// exactBlock is the least that is evaluated at every interval around an alert.
	exactBlock = time.Hour
)

// Run replays a range of time. It returns what it cost.
func (e *Engine) Run(ctx context.Context, replay Replay) (Stats, error) {
	if e.used {
		return Stats{}, errors.New("an engine runs once; make another with New")
	}
	e.used = true
	if !replay.From.Before(replay.To) {
		return Stats{}, fmt.Errorf("replay from %s to %s: expected an end after the start", replay.From.UTC(), replay.To.UTC())
	}
	scrapes := make([]*Scrape, len(replay.Targets))
	for i, t := range replay.Targets {
		var err error
		if scrapes[i], err = newScrape(e.store, t); err != nil {
			return Stats{}, err
		}
	}
	from, to := aligned(replay.From, e.opts.Interval), aligned(replay.To, e.opts.Interval)
	r := &runner{Engine: e, replay: replay, scrapes: scrapes, scraped: aligned(replay.From, e.opts.ScrapeInterval)}
	for pos := from; pos.Before(to); {
		end := minTime(pos.Truncate(coarseBlock).Add(coarseBlock), to)
		if err := r.scrape(ctx, end); err != nil {
			return e.stats, err
		}
		for pos.Before(end) {
			next, err := r.evaluate(ctx, pos, end)
			if err != nil {
				return e.stats, err
			}
			pos = next
		}
		series, runs := e.store.size()
		e.stats.MostSeries, e.stats.MostRuns = max(e.stats.MostSeries, series), max(e.stats.MostRuns, runs)
		e.store.trim(end.UnixMilli(), e.reach)
		if replay.Progress != nil {
			replay.Progress(end)
		}
	}
	e.stats.Queries = int(e.queries.Load())
	for _, rule := range e.rules {
		if f := e.failures.byID[rule.index]; f != nil {
			e.stats.Errors = append(e.stats.Errors, *f)
		}
	}
	return e.stats, nil
}

// aligned is the first multiple of the interval at or after t.
func aligned(t time.Time, interval time.Duration) time.Time {
	ms, step := t.UnixMilli(), interval.Milliseconds()
	return time.UnixMilli((ms + step - 1) / step * step).UTC()
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// runner is the state of one Run.
type runner struct {
	*Engine
	replay  Replay
	scrapes []*Scrape
	scraped time.Time // The next scrape.
	hot     time.Time // Evaluation is exact until then.
}

// scrape makes the scrapes before end.
func (r *runner) scrape(ctx context.Context, end time.Time) error {
	for ; r.scraped.Before(end); r.scraped = r.scraped.Add(r.opts.ScrapeInterval) {
		if r.replay.Advance != nil {
			if err := r.replay.Advance(ctx, r.scraped); err != nil {
				return fmt.Errorf("advance to %s: %w", r.scraped, err)
			}
		}
		for i, s := range r.scrapes {
			if err := s.scrape(ctx, r.replay.Targets[i].Source, r.scraped.UnixMilli()); err != nil {
				return fmt.Errorf("scrape %s: %w", r.replay.Targets[i].Instance, err)
			}
			r.stats.Scrapes++
			r.stats.Samples += len(s.live)
		}
	}
	return nil
}

// evaluate evaluates from pos, at most to end, and returns how far it came.
func (r *runner) evaluate(ctx context.Context, pos, end time.Time) (time.Time, error) {
	coarse := r.opts.CoarseStep > r.opts.Interval && !pos.Before(r.hot) && !r.unsettled()
	if coarse {
		for _, span := range r.replay.Exact {
			if span.overlaps(pos, end) {
				if first := span.Start.Truncate(exactBlock); first.After(pos) {
					end = minTime(end, first)
				} else {
					coarse = false
				}
			}
		}
	}
	if !coarse {
		end = minTime(end, pos.Truncate(exactBlock).Add(exactBlock))
		b := newBlock(pos, end, r.opts.Interval, r.opts.Interval)
		if err := r.evaluateBlock(ctx, b); err != nil {
			return pos, err
		}
		r.stats.Exact += end.Sub(pos)
		r.keep(pos, end)
		r.tell(b)
		return end, nil
	}
	b := newBlock(pos, end, r.opts.CoarseStep, r.opts.Interval)
	before := make([]map[*Series]bool, len(r.rules))
	for i, rule := range r.rules {
		before[i] = rule.live // Evaluation makes another.
	}
	if err := r.evaluateBlock(ctx, b); err != nil {
		return pos, err
	}
	if b.firstHit == b.end {
		r.stats.Coarse += end.Sub(pos)
		r.keep(pos, end)
		return end, nil
	}
	// What was true there may have begun after the step before.
	exactFrom := time.UnixMilli(b.firstHit).UTC().Add(-r.opts.CoarseStep + r.opts.Interval).Truncate(r.opts.Interval)
	if exactFrom.Before(pos) {
		exactFrom = pos
	}
	r.hot = exactFrom.Add(exactBlock)
	r.rewind(before, exactFrom)
	r.stats.Coarse += exactFrom.Sub(pos)
	r.keep(pos, exactFrom)
	return exactFrom, nil
}

// unsettled tells whether an alert is pending, or firing in a way that a coarse step could misjudge: its expression may
// lapse for an interval, and only keep_firing_for makes one alert of it.
func (r *runner) unsettled() bool {
	for _, rule := range r.rules {
		if rule.alert == nil || rule.constant {
			continue
		}
		if r.readsAlerts && !rule.idle() {
			return true
		}
		for _, a := range rule.alert.ActiveAlerts() {
			if a.State.String() == string(Pending) || rule.keep < r.opts.CoarseStep || !a.KeepFiringSince.IsZero() {
				return true
			}
		}
	}
	return false
}

// rewind forgets what rules recorded at and after a time of the last block.
func (r *runner) rewind(before []map[*Series]bool, to time.Time) {
	at := to.UnixMilli()
	for i, rule := range r.rules {
		live := map[*Series]bool{}
		again := func(s *Series) {
			s.cut(at)
			// What was recorded by the evaluation before.
			if last, ok := s.last(); ok && !last.stale() && last.end() >= at-max(rule.interval, r.opts.Interval.Milliseconds()) {
				live[s] = true
			}
		}
		for s := range before[i] {
			again(s)
		}
		for s := range rule.touched {
			again(s)
		}
		rule.live = live
	}
}

// keep tells the samples of one block that the replay was asked to record.
func (r *runner) keep(from, to time.Time) {
	if r.replay.Stored == nil {
		return
	}
	for _, name := range r.replay.Record {
		for _, s := range r.store.family(name).list() {
			for i := range s.runs {
				one := &s.runs[i]
				for k := one.from(from.UnixMilli()); k < one.n && one.at(k) < to.UnixMilli(); k++ {
					r.replay.Stored(s.labels, time.UnixMilli(one.at(k)).UTC(), one.v)
				}
			}
		}
	}
}

// tell passes on the transitions of a block, in order of time.
func (r *runner) tell(b *block) {
	slices.SortStableFunc(b.transitions, func(a, b numbered) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.rule, b.rule), labels.Compare(a.Labels, b.Labels))
	})
	if r.replay.Alerts == nil {
		return
	}
	for _, t := range b.transitions {
		r.replay.Alerts(t.Transition)
	}
}
