package kit

import (
	"cmp"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// Signal is a recorded series that an alert compares with a limit.
type Signal struct {
	Scope   Scope
	Series  string
	By      string // The labels that identify its objects.
	Limit   string // The recorded limit: an object's own, otherwise the default. Empty if there is none.
	LimitBy string // The labels of the limit, if it applies to several objects.
	Most    int    // The number of displayed objects; ten by default.
}

// top selects the objects with the worst value in the time range.
func (s Signal) top() string {
	return fmt.Sprintf("topk(%d, ", cmp.Or(s.Most, 10)) + "max_over_time(" + s.Scope.Recorded(s.Series) + "[$__range] @ end()))"
}

// Worst selects the series of the worst objects.
func (s Signal) Worst() string {
	return s.Scope.Recorded(s.Series) + "\nand on (" + s.By + ")\n" + s.top()
}

// Limits selects the limits of the objects that Worst shows.
func (s Signal) Limits() string {
	return s.Scope.Recorded(s.Limit) + "\nand on (" + cmp.Or(s.LimitBy, s.By) + ")\n" + s.top()
}

// WorstOf shows a signal's worst objects and their limits. The legend has the lowest of the limits.
func WorstOf(text Text, s Signal, legend string) *timeseries.PanelBuilder {
	return Limit(Timeseries(text)).
		Min(0).
		WithTarget(Range("worst", s.Worst(), legend)).
		WithTarget(Range("limit", "min("+s.Limits()+")", "limit")).
		WithTarget(Range("limits", s.Limits(), "limit of "+legend))
}

// LimitFor is the limit of all objects. It is shown only if there is a series to compare with it.
func LimitFor(threshold, series string) string {
	return "ml:threshold:" + threshold + " and on () group(" + series + ")"
}
