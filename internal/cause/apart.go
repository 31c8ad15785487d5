package cause

import "math"

// Apart returns the share of a column's change that is absent in other rows, such as those of another version. now and before are the
// counts of the other rows by bin. ok is false if they have a fifth of the change or more, or if one of the two has too few rows.
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
	return share, share >= leastUncompared && share-explainedErrors*math.Hypot(err, otherErr)/change >= chanceShare
}

// Spread counts the groups of the current rows, such as replicas or partitions (of), and the affected groups (with). A group is affected
// if its share of affected rows reaches the midpoint between the earlier and the current share of all rows. Groups with too few rows do
// not count. A negative number means that a row has no group.
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
