package cause

import "math"

// Apart says how much of the change of a column rows elsewhere, such as those of another version, do not have. It is not ok if they have
// a fifth of it or more, or if there are too few of either to tell. Now and before count the rows elsewhere by bin.
func Apart(s Sample, now, before []float64) (share float64, ok bool) {
	all := newTally(s.Size)
	for i, bin := range s.Bins {
		all.add(bin, s.Now[i])
	}
	f := &search{sample: s}
	f.compare(all)
	change, err := f.change(all)
	other, otherErr := f.change(tally{now, before})
	if change < changeErrors*err || sum(now) < outsideRows || math.IsInf(otherErr, 0) {
		return 0, false
	}
	share = 1 - math.Abs(other)/change
	return share, share >= leastUncompared && share-explainedErrors*math.Hypot(err, otherErr)/change >= noChance
}

// Spread counts the groups of rows of now, such as replicas or partitions, and those of them that have the affected rows: half as many or
// more than all rows have, above what was there before. Groups of too few rows do not count; a group below 0 is none.
func Spread(group []int32, now, affected []bool) (with, of int) {
	rows, hit := make(map[int32]float64), make(map[int32]float64)
	var n, all, m, was float64
	for row, g := range group {
		a := float64(truth(affected[row]))
		if !now[row] {
			m, was = m+1, was+a
			continue
		}
		n, all = n+1, all+a
		if g >= 0 {
			rows[g]++
			hit[g] += a
		}
	}
	least := (all/max(n, 1) + was/max(m, 1)) / 2
	for g, r := range rows {
		if r < outsideRows {
			continue
		}
		of++
		if hit[g]/r >= least && hit[g] > 0 {
			with++
		}
	}
	return with, of
}
