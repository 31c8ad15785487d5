package binning

import "slices"

// Extended returns the layout of a field whose baseline turns out to have more values, and leaves all bins as they are: a numeric one has
// the new extremes, of a categorical one the new categories count as Other. Counts by the layout can be converted; see Converted.
func (l Layout) Extended(m Moments, categories []string) Layout {
	more := l
	switch {
	case l.Ranged && m.Values > 0:
		if low := nextBelow(m.Min); low < l.Edges[0] {
			more.Edges = slices.Concat([]float64{low}, more.Edges)
		}
		if m.Max > l.Edges[len(l.Edges)-1] {
			more.Edges = append(slices.Clone(more.Edges), m.Max)
		}
	case l.Kind == Categorical && !l.Open:
		f := NewFinder(l, false)
		categories = slices.DeleteFunc(slices.Clone(categories), func(c string) bool { return f.Category(c) != f.unknown })
		slices.Sort(categories)
		if categories = slices.Compact(categories); len(categories) > 0 {
			more.Rest = slices.Concat(l.Rest, categories)
		}
	}
	if more.Validate() != nil {
		return l // There are too many.
	}
	return more
}

// Converted converts counts of baseline values by the layout from, which was extended to this one.
func (l Layout) Converted(from Layout, counts map[string]int64) map[string]int64 {
	converted := make(map[string]int64, len(counts)+2)
	for _, bin := range l.Bins() {
		converted[bin] = 0
	}
	old, now := from.Bins(), l.Bins()
	before := 0 // Bins that precede the old intervals.
	if len(from.Edges) > 0 {
		before = max(0, slices.Index(l.Edges, from.Edges[0]))
	}
	for bin, n := range counts {
		i := slices.Index(old, bin)
		switch {
		case l.Kind == Numeric && i >= len(old)-len(from.Edges)-1:
			bin = now[i+before]
		case bin == Unseen && len(l.Rest) > len(from.Rest):
			bin = Other
		}
		converted[bin] += n
	}
	return converted
}
