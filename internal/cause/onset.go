package cause

import (
	"math"
	"slices"
	"time"
)

// Onset is when rows began to be affected.
type Onset struct {
	// Since is the time of the first affected row after which there are more of them; zero if the window has no beginning of it.
	Since time.Time
	// Gradual says that their share still grew for long after.
	Gradual bool
}

// leastRise is the critical value of the largest difference between two halves of a bridge, by Kolmogorov's distribution: chance
// exceeds it in one of 1000.
const leastRise = 1.95

// Since finds the moment from which on a larger share of the rows is affected: the point that divides them into the most unlike
// halves.
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
