package bill

import "slices"

// plus is what two files cover.
func (c Coverage) plus(o Coverage) Coverage {
	hours := slices.Concat(c.Hours, o.Hours)
	slices.Sort(hours)
	return Coverage{Hours: slices.Compact(hours), Rows: c.Rows + o.Rows, Charges: c.Charges || o.Charges}
}

// shared is which share of the hours another coverage has as well.
func (c Coverage) shared(o Coverage) float64 {
	if len(c.Hours) == 0 {
		return 0
	}
	n := 0
	for _, hour := range c.Hours {
		if _, found := slices.BinarySearch(o.Hours, hour); found {
			n++
		}
	}
	return float64(n) / float64(len(c.Hours))
}
