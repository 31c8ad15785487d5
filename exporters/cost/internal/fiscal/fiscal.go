// Package fiscal knows where a month of money begins and ends, and where it is heading.
//
// Input: instants and amounts. Output: periods and projections. Months are those of the time zone in which the books
// are kept, so in Toronto March has 743 hours and November 721. The package keeps no state.
package fiscal

import (
	"fmt"
	"time"

	// The zones of a minimal container.
	_ "time/tzdata"
)

// DefaultZone is where the books are kept unless the configuration says otherwise.
const DefaultZone = "America/Toronto"

// Calendar divides time into fiscal months and years.
type Calendar struct {
	zone      *time.Location
	yearStart time.Month
}

// New returns the calendar of a time zone of the IANA database, whose years begin with a month.
func New(zone string, yearStart time.Month) (Calendar, error) {
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return Calendar{}, fmt.Errorf("time zone %q: expected a name of the IANA database, such as %s", zone, DefaultZone)
	}
	if yearStart < time.January || yearStart > time.December {
		return Calendar{}, fmt.Errorf("first month of the year %d: expected 1 to 12", yearStart)
	}
	return Calendar{zone: location, yearStart: yearStart}, nil
}

// Zone is the calendar's time zone.
func (c Calendar) Zone() *time.Location { return c.zone }

// Period is a time from Start up to and without End.
type Period struct{ Start, End time.Time }

// Month is the fiscal month of an instant.
func (c Calendar) Month(t time.Time) Period {
	year, month, _ := t.In(c.zone).Date()
	return Period{c.first(year, month), c.first(year, month+1)}
}

// Year is the fiscal year of an instant.
func (c Calendar) Year(t time.Time) Period {
	year, month, _ := t.In(c.zone).Date()
	if month < c.yearStart {
		year--
	}
	return Period{c.first(year, c.yearStart), c.first(year+1, c.yearStart)}
}

func (c Calendar) first(year int, month time.Month) time.Time {
	return time.Date(year, month, 1, 0, 0, 0, 0, c.zone)
}

// Contains says whether an instant is in the period.
func (p Period) Contains(t time.Time) bool { return !t.Before(p.Start) && t.Before(p.End) }

// Length is how long the period lasts, which the change of clocks makes an hour shorter or longer.
func (p Period) Length() time.Duration { return p.End.Sub(p.Start) }

// Progress is the share of the period that has passed at an instant, from 0 to 1.
func (p Period) Progress(t time.Time) float64 {
	return min(max(t.Sub(p.Start).Seconds()/p.Length().Seconds(), 0), 1)
}

// Project returns where a sum stands at the end of the period: what it is, and the hourly rate for each hour after
// through, up to which the sum is complete. The rate is that of the last days and not of the period so far, which one
// purchase on its first day would dominate.
func (p Period) Project(sum, perHour float64, through time.Time) float64 {
	if through.Before(p.Start) {
		through = p.Start
	}
	return sum + perHour*max(p.End.Sub(through).Hours(), 0)
}
