package cause

import (
	"math"
	"slices"
	"time"
)

// Onset describes when rows began to be affected.
type Onset struct {
	// Since is the time of the first affected row after the share of affected rows rose. It is zero if the share did not rise in the window.
	Since time.Time
	// Gradual means that the share kept growing long after Since.
	Gradual bool
}

// leastRise is the critical value of the maximum of a Brownian bridge, by Kolmogorov's distribution. Chance exceeds it in one of 1000
// cases.
const leastRise = 1.95

// Since finds the time at which the share of affected rows rose: the point that divides the rows into the two most different parts.
func Since(times []time.Time, affected []bool) Onset {
	order := make([]int, len(times))
	total := 0.0
	for i := range order {
		order[i] = i
		if affected[i] {
			total++
		}
	}
	n := float64(len(times))
	share := total / max(n, 1)
	if total == 0 || share == 1 {
		return Onset{}
	}
	slices.SortStableFunc(order, func(a, b int) int { return times[a].Compare(times[b]) })
	at, lowest, so := 0, 0.0, 0.0
	for i, row := range order {
		if so -= share; affected[row] {
			so++
		}
		if so < lowest {
			at, lowest = i+1, so
		}
	}
	if -lowest/math.Sqrt(n*share*(1-share)) < leastRise {
		return Onset{}
	}
	after := order[at:]
	after = after[slices.IndexFunc(after, func(row int) bool { return affected[row] }):] // There is one: the sum is 0 at the end.
	third := len(after) / 3
	return Onset{Since: times[after[0]], Gradual: third >= leastRows && rate(after[:third], affected) < rate(after[len(after)-third:], affected)/2}
}

func rate(rows []int, affected []bool) float64 {
	n := 0
	for _, row := range rows {
		n += truth(affected[row])
	}
	return float64(n) / max(float64(len(rows)), 1)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
