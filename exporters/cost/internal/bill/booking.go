package bill

import (
	"fmt"
	"strings"
	"time"
)

// farBefore and farAfter are how far the charge of a line may be from the billing period that it is on: a correction comes
// up to a year late, and a charge begins within its period or soon after. What is further off has a wrong year.
const (
	farBefore = 400 * 24 * time.Hour
	farAfter  = 62 * 24 * time.Hour
)

// runningLength is the longest charge whose pace tells what is to come.
const runningLength = 48 * time.Hour

// moment is all that says when a line counts.
type moment struct {
	period, start, end int64
	kind, class        uint32
}

// booking is when it counts.
type booking struct {
	period         int64
	day, rateDay   int32
	running, delta bool
	problem        *Problem
	// start is when it begins, rows how many lines have these times, and covered what their billing period has.
	start, rows int64
	covered     *covered
}

const day = 24 * time.Hour

// book says when lines count that have their times in common.
func (t *tally) book(m moment) *booking {
	period, start, end := time.Unix(0, m.period).UTC(), time.Unix(0, m.start).UTC(), time.Unix(0, m.end).UTC()
	problem := func(c column, at time.Time, want string) *booking {
		return &booking{period: m.period, problem: &Problem{Column: t.reader.name(c), Value: at.Format(time.RFC3339), Want: want}}
	}
	switch {
	case end.Before(start):
		return problem(colEnd, end, "a time that is not before ChargePeriodStart "+start.Format(time.RFC3339))
	case period.Sub(start) > farBefore, start.Sub(period) > 31*day+farAfter:
		return problem(colStart, start, fmt.Sprintf("a time from %d days before to %d days after the billing period of %s",
			farBefore/day, farAfter/day, period.Format("2006-01")))
	}
	kind, class := t.texts[m.kind], t.texts[m.class]
	correction := strings.EqualFold(class, "Correction")
	length := end.Sub(start)
	booked := dateOf(start.Add(min(length/2, 12*time.Hour)).In(t.reader.options.Zone))
	if correction || strings.EqualFold(kind, "Purchase") {
		// Those are on the invoice of their period, which is the month in whose books they are: a purchase half an hour into
		// November by UTC, while it is October in Toronto, and what is given back in November for October.
		first := dateOf(period)
		last := time.Date(first.Year(), first.Month()+1, 0, 0, 0, 0, 0, time.UTC)
		booked = time.Unix(min(max(booked.Unix(), first.Unix()), last.Unix()), 0).UTC()
	}
	return &booking{
		period: m.period, start: m.start, covered: t.coveredOf(m.period), day: daysOf(booked), rateDay: daysOf(dateOf(start)),
		running: strings.EqualFold(kind, "Usage") && !correction && length <= runningLength,
		delta:   correction || strings.EqualFold(kind, "Credit") || strings.EqualFold(kind, "Adjustment"),
	}
}

// dateOf is the day of a time in its zone, as midnight in UTC.
func dateOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func daysOf(date time.Time) int32 { return int32(date.Unix() / int64(day/time.Second)) }

func dateFrom(days int32) time.Time {
	return time.Unix(int64(days)*int64(day/time.Second), 0).UTC()
}
