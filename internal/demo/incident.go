package demo

import (
	"context"
	"fmt"
	"time"
)

// incident is something that goes wrong in the shop, and what has to be said about it.
type incident struct {
	// name is a short one for tables, story the long one.
	name, story string
	// object is what it happens to.
	object string
	// happen makes it happen at now.
	happen func(ctx context.Context, now time.Time) error
	// alerts must fire, the first one being the point of the incident.
	alerts []expected
	// early ones are there when the watch begins. They do not count as alarms of a healthy shop.
	early bool
	// slow ones take their time to show; the next one does not wait for them.
	slow bool
	// meanwhile says that the next one does not wait for it either, since it takes a while to be detected.
	meanwhile bool
	// goal, if not 0, is the time of the shop within which people must have been told.
	goal time.Duration
}

// expected is an alert that an incident must raise.
type expected struct {
	alert string
	// labels are those that tell it from others of the same name.
	labels labels
	// silenced says that another of the incident's alerts says the same and may come soon enough to silence it.
	silenced bool
	// says are what its message has to contain.
	says []string
	// measured says in words what the alert's value is; what lasts is in unscaled time.
	measured func(v float64, r Result) string
}

type labels = map[string]string

func percent(of string) func(float64, Result) string {
	return func(v float64, _ Result) string { return fmt.Sprintf("%.1f %% %s", 100*v, of) }
}

func number(format string) func(float64, Result) string {
	return func(v float64, _ Result) string { return fmt.Sprintf(format, v) }
}

func age(v float64, r Result) string {
	return "newest record " + r.Unscaled(time.Duration(v*float64(time.Second))).String() + " old"
}
