package binning

import "strconv"

// UpTo is the name of a bin of confidence, by its upper bound.
func UpTo(bound float64) string { return strconv.FormatFloat(bound, 'g', -1, 64) }
