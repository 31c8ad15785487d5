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
	By      string // The labels that tell its objects apart.
	Limit   string // The recorded limit: an object's own, else the default. Empty if there is none.
	LimitBy string // The labels of the limit, where it is for several objects.
	Most    int    // How many objects are drawn, by default ten.
}

// top are the objects that were worst at any moment of the time range.
func (s Signal) top() string {
	return fmt.Sprintf("topk(%d, ", cmp.Or(s.Most, 10)) + "max_over_time(" + s.Scope.Recorded(s.Series) + "[$__range] @ end()))"
}

// Worst are the series of the worst objects.
func (s Signal) Worst() string {
	return s.Scope.Recorded(s.Series) + "\nand on (" + s.By + ")\n" + s.top()
}

// Limits are the limits of the objects that Worst shows.
func (s Signal) Limits() string {
	return s.Scope.Recorded(s.Limit) + "\nand on (" + cmp.Or(s.LimitBy, s.By) + ")\n" + s.top()
}

// WorstOf draws a signal's worst objects and their limits. The legend names the lowest of the limits.
func WorstOf(text Text, s Signal, legend string) *timeseries.PanelBuilder {
	return Limit(Timeseries(text)).
		Min(0).
		WithTarget(Range("worst", s.Worst(), legend)).
		WithTarget(Range("limit", "min("+s.Limits()+")", "limit")).
		WithTarget(Range("limits", s.Limits(), "limit of "+legend))
}

// LimitFor is a limit for everybody, drawn only where there is something to compare with it.
func LimitFor(threshold, series string) string {
	return "ml:threshold:" + threshold + " and on () group(" + series + ")"
}
