package binning

import "strconv"

// UpTo returns the name of a bin of confidence, which is its upper bound.
func UpTo(bound float64) string { return strconv.FormatFloat(bound, 'g', -1, 64) }
