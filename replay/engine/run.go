package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"
)

// blockLength is the period of one range query. A longer one has fewer queries, whose cost is partly fixed, but needs more
// memory.
const blockLength = 24 * time.Hour

// Run replays a range of time and returns its statistics.
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
	after := func(pos time.Time) time.Time {
		end := pos.Truncate(blockLength).Add(blockLength)
		if end.After(to) {
			end = to
		}
		return end
	}
	if err := r.advance(ctx, nil, after(from)); err != nil {
		return e.stats, err
	}
	for pos := from; pos.Before(to); {
		end := after(pos)
		if err := r.publish(ctx); err != nil {
			return e.stats, err
		}
		if err := r.feed(ctx, pos, end); err != nil {
			return e.stats, err
		}
		b := newBlock(pos, end, e.opts.Interval)
		if err := r.advance(ctx, b, after(end)); err != nil {
			return e.stats, err
		}
		r.keep(pos, end)
		r.passAlerts(b)
		series, runs := e.store.size()
		e.stats.MostSeries, e.stats.MostRuns = max(e.stats.MostSeries, series), max(e.stats.MostRuns, runs)
		e.store.trim(end.UnixMilli(), e.reach)
		if replay.Progress != nil {
			replay.Progress(end)
		}
		pos = end
	}
	e.stats.Queries = int(e.queries.Load())
	for _, s := range scrapes {
		e.stats.Scrapes += s.scrapes
		e.stats.Samples += s.stored
	}
	for _, rule := range e.rules {
		if f := e.failures.byID[rule.index]; f != nil {
			e.stats.Errors = append(e.stats.Errors, *f)
		}
	}
	return e.stats, nil
}

// aligned returns the first multiple of the interval at or after t.
func aligned(t time.Time, interval time.Duration) time.Time {
	ms, step := t.UnixMilli(), interval.Milliseconds()
	return time.UnixMilli((ms + step - 1) / step * step).UTC()
}

// runner is the state of one Run.
type runner struct {
	*Engine
	replay  Replay
	scrapes []*Scrape
	scraped time.Time // time of the next scrape
}

// feed stores the samples that Replay.Feed provides.
func (r *runner) feed(ctx context.Context, from, to time.Time) error {
	if r.replay.Feed == nil {
		return nil
	}
	err := r.replay.Feed(ctx, from, to, func(ls labels.Labels, at time.Time, v float64) {
		r.store.get(ls).append(at.UnixMilli(), v, nil, 0, 1)
		r.stats.Samples++
	})
	if err != nil {
		return fmt.Errorf("read the samples from %s to %s: %w", from.UTC(), to.UTC(), err)
	}
	return nil
}

// publish shows the rules what was scraped: each target has its own series.
func (r *runner) publish(ctx context.Context) error {
	all, _ := errgroup.WithContext(ctx)
	for _, s := range r.scrapes {
		all.Go(s.publish)
	}
	return all.Wait()
}

// advance evaluates the rules of a block, if there is one, and makes the scrapes before end, which they have nothing in common
// with. It does as much at the same time as there are cores, and the first target comes first: where it takes the longest, as one
// that works on several things at once does, the cores have work to the end.
func (r *runner) advance(ctx context.Context, b *block, end time.Time) error {
	all, cancelled := errgroup.WithContext(ctx)
	all.SetLimit(runtime.GOMAXPROCS(0))
	scrape := func(i int) {
		all.Go(func() error {
			return r.scrapes[i].through(cancelled, &r.replay.Targets[i], r.scraped, end, r.opts.ScrapeInterval)
		})
	}
	if len(r.scrapes) > 0 {
		scrape(0)
	}
	if b != nil {
		all.Go(func() error { return r.evaluateBlock(cancelled, b) })
	}
	for i := 1; i < len(r.scrapes); i++ {
		scrape(i)
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for r.scraped.Before(end) {
		r.scraped = r.scraped.Add(r.opts.ScrapeInterval)
	}
	return nil
}

// keep passes the samples of the recorded metrics in one block to Replay.Stored.
func (r *runner) keep(from, to time.Time) {
	if r.replay.Stored == nil {
		return
	}
	for _, name := range r.replay.Record {
		for _, s := range r.store.family(name).list() {
			for i := range s.runs {
				one := &s.runs[i]
				for k := one.indexFrom(from.UnixMilli()); k < one.n && one.at(k) < to.UnixMilli(); k++ {
					r.replay.Stored(s.labels, time.UnixMilli(one.at(k)).UTC(), one.v)
				}
			}
		}
	}
}

// passAlerts passes the transitions of a block to Replay.Alerts, ordered by time.
func (r *runner) passAlerts(b *block) {
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
