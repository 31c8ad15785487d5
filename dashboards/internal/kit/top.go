package kit

import (
	"cmp"
	"fmt"
)

// Read writes a series into a query, so that one query can be written for each step of a chart and for its whole time range.
type Read struct{ over, window string }

// The three ways to read a series: at each step, and its highest or lowest value in the time range.
var (
	eachStep = Read{}
	highest  = Read{over: "max_over_time", window: "[$__range] @ end()"}
	lowest   = Read{over: "min_over_time", window: "[$__range] @ end()"}
)

// Value reads a gauge.
func (r Read) Value(series string) string {
	if r.over == "" {
		return series
	}
	return r.over + "(" + series + r.window + ")"
}

// Rate reads a counter. Over the whole range its increase has the same order.
func (r Read) Rate(series string) string {
	if r.window == "" {
		return "rate(" + series + "[$__rate_interval])"
	}
	return "increase(" + series + r.window + ")"
}

// Increase reads how much a counter grew in an interval, or in the whole range.
func (r Read) Increase(interval, series string) string {
	return "increase(" + series + cmp.Or(r.window, "["+interval+"]") + ")"
}

// Top draws the k series that are highest in the time range. They are chosen once for the whole range: topk at each step can choose others,
// so that a chart has any number of lines.
func Top(k int, of func(Read) string) string { return of(eachStep) + "\nand\n" + TopOf(k, of) }

// Bottom is Top for series whose low values are bad.
func Bottom(k int, of func(Read) string) string {
	return of(eachStep) + "\nand\n" + fmt.Sprintf("bottomk(%d, %s)", k, of(lowest))
}

// Oldest draws the k series whose last timestamps in the time range are the oldest.
func Oldest(k int, of func(Read) string) string {
	return of(eachStep) + "\nand\n" + fmt.Sprintf("bottomk(%d, %s)", k, of(highest))
}

// TopOf selects the k series that are highest in the time range.
func TopOf(k int, of func(Read) string) string { return fmt.Sprintf("topk(%d, %s)", k, of(highest)) }

// Of draws what belongs to the selected objects, which the labels identify.
func Of(expr, by, selected string) string { return expr + "\nand on (" + by + ")\n" + selected }
