package demo

import (
	"context"
	"fmt"
	"time"
)

// incident is a fault that the demonstration injects, with the alerts to expect.
type incident struct {
	// name is a short name for tables; description is a sentence.
	name, description string
	// object is the affected object.
	object string
	// apply injects the fault at now.
	apply func(ctx context.Context, now time.Time) error
	// alerts are the alerts that must fire. The first is the one that the incident is about.
	alerts []expected
	// early incidents start before monitoring. Their alerts do not count as false alarms.
	early bool
	// slow incidents take long to detect. The next incident does not wait for them.
	slow bool
	// concurrent incidents are injected after the slow ones. The next incident does not wait for them either.
	concurrent bool
	// goal, if not 0, is the maximum time to a notification, in the shop's time.
	goal time.Duration
}

// expected is an alert that an incident must cause.
type expected struct {
	alert string
	// labels distinguish it from other alerts of the same name.
	labels labels
	// mayBeInhibited means that another alert of the incident may inhibit this one.
	mayBeInhibited bool
	// contains has texts that its message must contain.
	contains []string
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
