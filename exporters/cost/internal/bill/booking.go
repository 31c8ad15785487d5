package bill

import (
	"fmt"
	"strings"
	"time"
)

// farBefore and farAfter bound the distance of a charge from its billing period. A correction arrives up to a year
// late. Other charges begin within their period or soon after. A larger distance means that the year is wrong.
const (
	farBefore = 400 * 24 * time.Hour
	farAfter  = 62 * 24 * time.Hour
)

// runningLength is the longest charge that counts as running usage.
const runningLength = 48 * time.Hour

// moment has all fields that decide when a row counts.
type moment struct {
	period, start, end int64
	kind, class        uint32
}

// booking is the day on which rows count, or the problem with their times.
type booking struct {
	period         int64
	day, rateDay   int32
	running, delta bool
	problem        *Problem
	// start is the beginning of the charge. rows is the number of rows with these times. covered is the coverage of
	// their billing period.
	start, rows int64
	covered     *covered
}

const day = 24 * time.Hour

// book returns the booking of rows with the same times.
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
		// Purchases and corrections are on the invoice of their period, so they belong to that month of the books.
		// Examples: a purchase half an hour into November in UTC, while it is still October in Toronto; a correction in
		// November for October.
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

// dateOf is the date of a time in its own zone, as midnight in UTC.
func dateOf(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

func daysOf(date time.Time) int32 { return int32(date.Unix() / int64(day/time.Second)) }

func dateFrom(days int32) time.Time {
	return time.Unix(int64(days)*int64(day/time.Second), 0).UTC()
}
