package world

import (
	"math"

	"github.com/sightglass-ml/sightglass/internal/binning"
)

// sums are the sums from which moments are computed. A number near the values is subtracted first, to avoid cancellation in the squares.
type sums struct {
	n, zeros               int64
	min, max, sum, squares float64
}

func (s *sums) add(v, near float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if s.n == 0 || v < s.min {
		s.min = v
	}
	if s.n == 0 || v > s.max {
		s.max = v
	}
	s.n++
	if v == 0 {
		s.zeros++
	}
	s.sum += v - near
	s.squares += (v - near) * (v - near)
}

func (s *sums) plus(o *sums) {
	switch {
	case o.n == 0:
		return
	case s.n == 0:
		*s = *o
		return
	}
	s.min, s.max = min(s.min, o.min), max(s.max, o.max)
	s.n, s.zeros, s.sum, s.squares = s.n+o.n, s.zeros+o.zeros, s.sum+o.sum, s.squares+o.squares
}

func (s *sums) moments(near float64) binning.Moments {
	mean := s.sum / float64(s.n)
	return binning.Moments{
		Values: s.n, Min: s.min, Max: s.max, Mean: near + mean, Stddev: math.Sqrt(max(0, s.squares/float64(s.n)-mean*mean)),
		Sum: s.sum + near*float64(s.n), Zeros: s.zeros,
	}
}

// near returns a number near the values of a layout.
func near(l binning.Layout) float64 {
	if len(l.Edges) == 0 {
		return 0
	}
	return l.Edges[len(l.Edges)/2]
}

// measure adds rows to the sums of their hour and minutes.
func (c *counter) measure(b *batch, h int64, from, to int, byMinute bool) {
	of := c.sums.at(h)
	minutes := c.minuteSums.at(h)
	v := &b.cols[c.col]
	for i := from; i < to; i++ {
		if v.null[i] {
			continue
		}
		if of == nil {
			of = new(sums)
			c.sums.set(h, of)
		}
		of.add(v.num[i], c.near)
		if !byMinute {
			continue
		}
		if minutes == nil {
			minutes = new([60]sums)
			c.minuteSums.set(h, minutes)
		}
		minutes[b.minute[i]].add(v.num[i], c.near)
	}
}

// moments returns the moments of a window.
func (t *table) moments(c *counter, from, to int64) binning.Moments {
	var all sums
	first, last := floor(from, hour), floor(min(to-1, t.through*minute+hour*24), hour)
	for h := first; h <= last; h++ {
		of := c.sums.at(h)
		if of == nil {
			continue
		}
		if h*hour >= from && (h+1)*hour <= to {
			all.plus(of)
			continue
		}
		minutes := c.minuteSums.at(h)
		if minutes == nil || from%minute != 0 && h == first || to%minute != 0 && h == last {
			t.rowsOf(c, h, from, to, func(b *batch, i int) {
				if v := &b.cols[c.col]; !v.null[i] {
					all.add(v.num[i], c.near)
				}
			})
			continue
		}
		for m := range int64(60) {
			if at := (h*60 + m) * minute; at >= from && at+minute <= to {
				all.plus(&minutes[m])
			}
		}
	}
	if all.n == 0 {
		return binning.Moments{}
	}
	return all.moments(c.near)
}
