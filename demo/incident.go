package demo

import (
	"context"
	"fmt"
	"time"
)

// incident is a fault that the demonstration injects, with the alerts to expect.
type incident struct {
	// name is a short name for tables; story describes the incident in a sentence.
	name, story string
	// object is the affected object.
	object string
	// happen injects the fault at now.
	happen func(ctx context.Context, now time.Time) error
	// alerts are the alerts that must fire. The first is the one that the incident is about.
	alerts []expected
	// early incidents exist before the watch begins. Their alerts do not count as false alarms.
	early bool
	// slow incidents take long to detect. The next incident does not wait for them.
	slow bool
	// meanwhile incidents take a while to detect, too. The next incident does not wait for them.
	meanwhile bool
	// goal, if not 0, is the maximum time to a notification, in the shop's time.
	goal time.Duration
}

// expected is an alert that an incident must cause.
type expected struct {
	alert string
	// labels distinguish it from other alerts of the same name.
	labels labels
	// silenced means that another alert of the incident may inhibit this one.
	silenced bool
	// says are texts that its message must contain.
	says []string
	// measured describes the alert's value. Durations are in uncompressed time.
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
