// Package fiscal computes where a fiscal month begins and ends, and projects a sum to its end.
//
// Input: instants and amounts.
//
// Output: periods and projections. Months are those of the time zone of the books, so in Toronto March has 743 hours
// and November 721.
//
// State: none.
package fiscal

import (
	"fmt"
	"time"

	// Minimal containers have no time zone database.
	_ "time/tzdata"
)

// DefaultZone is the default time zone of the books.
const DefaultZone = "America/Toronto"

// Calendar divides time into fiscal months and years.
type Calendar struct {
	zone      *time.Location
	yearStart time.Month
}

// New returns the calendar of a time zone of the IANA database. Its years begin with the given month.
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

// Period is the time from Start, inclusive, to End, exclusive.
type Period struct{ Start, End time.Time }

// Month is the fiscal month that contains an instant.
func (c Calendar) Month(t time.Time) Period {
	year, month, _ := t.In(c.zone).Date()
	return Period{c.first(year, month), c.first(year, month+1)}
}

// Year is the fiscal year that contains an instant.
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

// Contains reports whether an instant is in the period.
func (p Period) Contains(t time.Time) bool { return !t.Before(p.Start) && t.Before(p.End) }

// Length is the duration of the period. A clock change makes it an hour shorter or longer.
func (p Period) Length() time.Duration { return p.End.Sub(p.Start) }

// Progress is the share of the period that has passed at an instant, from 0 to 1.
func (p Period) Progress(t time.Time) float64 {
	return min(max(t.Sub(p.Start).Seconds()/p.Length().Seconds(), 0), 1)
}

// Project returns the sum at the end of the period: the given sum, which is complete up to through, plus the hourly
// rate for each later hour. The rate is that of the last days. The mean of the period so far would be dominated by a
// single purchase on its first day.
func (p Period) Project(sum, perHour float64, through time.Time) float64 {
	if through.Before(p.Start) {
		through = p.Start
	}
	return sum + perHour*max(p.End.Sub(through).Hours(), 0)
}
