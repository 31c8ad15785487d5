package engine

import (
	"errors"
	"math"
	"time"
)

// Held is a set of samples that a source exposes repeatedly without a change, such as the last profile of a dataset. Repeated
// scrapes are only counted. The samples are stored when they change, or before rules are evaluated. A Held belongs to one
// target, and a series to at most one Held of a scrape. Neither list may be modified.
type Held struct {
	series []*Series
	values []float64
	// n unstaged scrapes, step milliseconds apart
	start, step int64
	n           int
	seen        int64 // last scrape that contained it
	live        bool  // whether the previous scrape contained it
}

// farthestStep is the maximum number of milliseconds between two samples of a run.
const farthestStep = int64(24 * time.Hour / time.Millisecond)

// NewHeld returns a Held of series, which the target's Scrape returned, and their values.
func NewHeld(series []*Series, values []float64) (*Held, error) {
	if len(series) != len(values) {
		return nil, errors.New("as many values as series are wanted")
	}
	return &Held{series: series, values: values, seen: math.MinInt64}, nil
}

// last returns the time of the last unstaged scrape.
func (h *Held) last() int64 { return h.start + h.step*int64(h.n-1) }

// Held adds the samples to this scrape.
func (s *Scrape) Held(h *Held) {
	if h.seen == s.at {
		return
	}
	h.seen = s.at
	s.nowHeld = append(s.nowHeld, h)
	if !h.live {
		// Stage earlier values of these series first.
		for _, series := range h.series {
			if before := series.held; before != nil && before != h {
				s.stageHeld(before)
			}
		}
	}
	switch {
	case h.n == 1 && s.at-h.start <= farthestStep:
		h.step = s.at - h.start
		h.n++
	case h.n > 1 && s.at == h.last()+h.step:
		h.n++
	default:
		s.stageHeld(h)
		h.start, h.step, h.n = s.at, 0, 1
	}
}

// stageHeld stages the counted scrapes.
func (s *Scrape) stageHeld(h *Held) {
	if h.n == 0 {
		return
	}
	for i, series := range h.series {
		s.stage(series, h.start, h.values[i], nil, h.step, h.n)
	}
	h.n = 0
}

// discard discards everything that this scrape wrote.
func (s *Scrape) discard() {
	for _, series := range s.now {
		series.unstage(s.at)
		series.seen = math.MinInt64
	}
	for _, h := range s.nowHeld {
		h.seen = math.MinInt64
		if h.n > 0 && h.last() == s.at {
			h.n--
		}
	}
	s.now, s.nowHeld = s.now[:0], s.nowHeld[:0]
}

// follow ends the series that the previous scrape contained and this one does not.
func (s *Scrape) follow() {
	for _, h := range s.nowHeld {
		if h.live {
			continue
		}
		h.live = true
		for _, series := range h.series {
			series.owner, series.held = s, h
		}
	}
	end := func(series *Series) {
		if series.owner != s || series.seen == s.at || series.held != nil && series.held.seen == s.at {
			return
		}
		s.stage(series, s.at, staleNaN, nil, 0, 1)
		series.owner = nil
	}
	for _, h := range s.liveHeld {
		if h.seen == s.at {
			continue
		}
		s.stageHeld(h)
		h.live = false
		for _, series := range h.series {
			if series.held == h {
				series.held = nil
			}
			end(series)
		}
	}
	for _, series := range s.live {
		end(series)
	}
	s.live, s.now = s.now, s.live
	s.liveHeld, s.nowHeld = s.nowHeld, s.liveHeld
}
