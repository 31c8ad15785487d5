// Package drift compares two distributions over the same bins.
//
// Input: counts of an observed window, and counts or shares of a baseline. Output: the population stability index (PSI) with its error
// margin from sampling. State: none. It computes in Go what rules/signals/data.yaml computes in PromQL, for code that runs without
// Prometheus: the exporter's choice of the last good snapshot, and the command line. A test compares the two.
package drift

import "math"

// Floor is the smallest share of a bin in the formula. Without it, an empty bin would make the index infinite.
const Floor = 1e-4

// Index is the population stability index of a window against a baseline.
type Index struct {
	// PSI is the sum over bins of (p - q) ln(p / q). p is the observed share and q the baseline's share, each at least Floor.
	PSI float64
	// Noise is the expected index without drift: (B-1)(1/n + 1/m) with B bins, n observed and m baseline values.
	Noise float64
	// unit is 1/n + 1/m, the index's scale. Without drift, PSI/unit follows a chi-squared distribution with B-1 degrees of freedom.
	unit float64
	bins int
	// sample is the smaller of n and m.
	sample float64
}

// Compare computes the index over all bins that are not empty in both. It returns false if one of the two has no values.
func Compare(observed, baseline map[string]int64) (Index, bool) {
	m := total(baseline)
	shares := make(map[string]float64, len(baseline))
	for bin, n := range baseline {
		shares[bin] = float64(n) / max(m, 1)
	}
	return CompareShares(observed, shares, m)
}

// CompareShares is Compare with a baseline given as the shares of the bins and the number m of values that the shares come from.
func CompareShares(observed map[string]int64, baseline map[string]float64, m float64) (Index, bool) {
	n := total(observed)
	if n == 0 || m <= 0 {
		return Index{}, false
	}
	x := Index{unit: 1/n + 1/m, sample: min(n, m)}
	for bin := range observed {
		x.add(float64(observed[bin])/n, baseline[bin])
	}
	for bin, share := range baseline {
		if _, both := observed[bin]; !both {
			x.add(0, share)
		}
	}
	x.Noise = float64(x.bins-1) * x.unit
	return x, true
}

// CompareBins is Compare with counts as slices that have the same order of bins.
func CompareBins(observed, baseline []int64) (Index, bool) {
	var n, m int64
	for i := range observed {
		n, m = n+observed[i], m+baseline[i]
	}
	if n == 0 || m == 0 {
		return Index{}, false
	}
	x := Index{unit: 1/float64(n) + 1/float64(m), sample: float64(min(n, m))}
	for i := range observed {
		x.add(float64(observed[i])/float64(n), float64(baseline[i])/float64(m))
	}
	x.Noise = float64(x.bins-1) * x.unit
	return x, true
}

// add adds a bin, unless it is empty on both sides.
func (x *Index) add(observed, baseline float64) {
	if observed == 0 && baseline == 0 {
		return
	}
	x.bins++
	p, q := math.Max(observed, Floor), math.Max(baseline, Floor)
	x.PSI += (p - q) * math.Log(p/q)
}

// Critical returns the index that chance alone exceeds with the probability that a standard normal variable exceeds z. It is the
// chi-squared quantile of B-1 degrees of freedom by the Wilson–Hilferty approximation (Proceedings of the National Academy of Sciences
// 17, 1931), times 1/n + 1/m.
func (x Index) Critical(z float64) float64 {
	k := float64(x.bins - 1)
	if k < 1 {
		return 0
	}
	root := 1 - 2/(9*k) + z*math.Sqrt(2/(9*k))
	return k * root * root * root * x.unit
}

// Limits are the conditions for a drift.
type Limits struct {
	// PSI is the minimum of the index less its noise. Z is the argument of Critical.
	PSI, Z float64
	// Values is the minimum number of values on each side. Noise is the maximum noise: with too few values for each bin, a bin that is
	// empty by chance adds more to the index than Noise accounts for.
	Values, Noise float64
}

// Exceeds reports a drift: enough values, a significant index, and an index above the limit.
func (x Index) Exceeds(l Limits) bool {
	return x.sample >= l.Values && x.Noise <= l.Noise && x.PSI > x.Critical(l.Z) && x.PSI-x.Noise > l.PSI
}

func total(counts map[string]int64) float64 {
	var sum int64
	for _, n := range counts {
		sum += n
	}
	return float64(sum)
}
