package binning

import "math"

// Moments summarize the finite values of a numeric field.
type Moments struct {
	// Values is the number of values. If it is 0, the other fields have no meaning.
	Values int64   `json:"values"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Mean   float64 `json:"mean"`
	// Stddev is the population standard deviation of these values, not an estimate for a larger population.
	Stddev float64 `json:"stddev"`
	// Sum and Zeros (the number of values that are 0) are known only for newly counted values. They are not stored.
	Sum   float64 `json:"-"`
	Zeros int64   `json:"-"`
}

// Plus returns the moments of both sets of values together (Chan, Golub and
// LeVeque, "Updating formulae and a pairwise algorithm for computing sample
// variances", 1979).
func (m Moments) Plus(o Moments) Moments {
	switch {
	case m.Values == 0:
		return o
	case o.Values == 0:
		return m
	}
	n, k := float64(m.Values), float64(o.Values)
	delta := o.Mean - m.Mean
	squares := n*m.Stddev*m.Stddev + k*o.Stddev*o.Stddev + delta*delta*n*k/(n+k)
	return Moments{
		Values: m.Values + o.Values,
		Min:    min(m.Min, o.Min), Max: max(m.Max, o.Max),
		Mean: m.Mean + delta*k/(n+k), Stddev: math.Sqrt(squares / (n + k)),
		Sum: m.Sum + o.Sum, Zeros: m.Zeros + o.Zeros,
	}
}

// Valid reports whether the moments can be stored and published.
func (m Moments) Valid() bool {
	for _, v := range []float64{m.Min, m.Max, m.Mean, m.Stddev, m.Sum} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return m.Values > 0
}
