package bill

import (
	"bytes"
	"time"
)

// Valid years of a bill. A year outside of them is an error, such as 0001-01-01 for an empty value.
const (
	firstYear = 2000
	lastYear  = 2099
)

// instant is a time, in Unix nanoseconds. A date such as 11/10/2026 has two readings. at is the reading with the month
// first, as Azure writes it. dayFirst is the other one. A reading that is not a date, such as 31/10 with the month
// first, is not set. See monthFirst.
type instant struct {
	at, dayFirst             int64
	slashed                  bool
	isMonthFirst, isDayFirst bool
}

func (i instant) ok() bool { return i.isMonthFirst || i.isDayFirst }

// in returns the reading in the given order.
func (i instant) in(monthFirst bool) (at int64, ok bool) {
	if monthFirst {
		return i.at, i.isMonthFirst
	}
	return i.dayFirst, i.isDayFirst
}

// parseInstant reads the unambiguous times that occur in real files. FOCUS requires 2026-01-31T00:00:00Z. Files also
// have times without T, Z or seconds, with fractions of any length, with another zone, as a day, and as Azure's
// 01/31/2026 00:00. A year must have four digits, because in 11/1/26 it is not clear which number is the year.
func parseInstant(text []byte) instant {
	s := cursor{bytes.TrimSpace(text)}
	slashed := !s.yearFirst()
	a, b, c, ok := s.date()
	year, month, day := a, b, c
	if slashed {
		year, month, day = c, a, b
	}
	if !ok || year < firstYear || year > lastYear {
		return instant{}
	}
	var hour, minute, second, nanos, offset int
	if len(s.rest) > 0 {
		if hour, minute, second, nanos, offset, ok = s.clock(); !ok {
			return instant{}
		}
	}
	at := func(month, day int) (int64, bool) {
		t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
		return t.Add(-time.Duration(offset) * time.Second).UnixNano(), month <= 12 && t.Day() == day // 31 November is not a day.
	}
	i := instant{slashed: slashed}
	i.at, i.isMonthFirst = at(month, day)
	if i.dayFirst, i.isDayFirst = i.at, i.isMonthFirst; slashed {
		i.dayFirst, i.isDayFirst = at(day, month)
	}
	return i
}

// monthFirst reports the order of the dates of a record. A billing period begins on the first of a month, and nearly
// all charges are within their period. If neither decides and the dates have two readings, sure is false.
func monthFirst(period, start, end instant) (yes, sure bool) {
	begins := func(monthFirst bool) (time.Time, bool) {
		at, ok := period.in(monthFirst)
		t := time.Unix(0, at).UTC()
		return t, ok && (!period.slashed || t.Day() == 1)
	}
	can := func(monthFirst bool) bool {
		_, begin := begins(monthFirst)
		_, first := start.in(monthFirst)
		_, last := end.in(monthFirst)
		return begin && first && last
	}
	switch month, day := can(true), can(false); {
	case month != day:
		return month, true
	case !month:
		return false, false
	}
	within := func(monthFirst bool) bool {
		begin, _ := begins(monthFirst)
		for _, i := range []instant{start, end} {
			at, _ := i.in(monthFirst)
			if i.slashed {
				t := time.Unix(0, at).UTC()
				return !t.Before(begin) && t.Before(begin.AddDate(0, 1, 0))
			}
		}
		return true
	}
	// If both readings are possible, as on the first of January, both are the same day.
	month, day := within(true), within(false)
	return month, month || day
}

// cursor reads a text from its beginning.
type cursor struct{ rest []byte }

// number reads a number with at least least and at most most digits.
func (c *cursor) number(least, most int) (n int, ok bool) {
	i := 0
	for i < len(c.rest) && i < most && c.rest[i] >= '0' && c.rest[i] <= '9' {
		n = 10*n + int(c.rest[i]-'0')
		i++
	}
	c.rest = c.rest[i:]
	return n, i >= least
}

// skip reads one character if it is one of chars.
func (c *cursor) skip(chars string) bool {
	if len(c.rest) == 0 || bytes.IndexByte([]byte(chars), c.rest[0]) < 0 {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// yearFirst reports whether a date begins with its year.
func (c *cursor) yearFirst() bool {
	return len(c.rest) > 4 && (c.rest[4] == '-' || c.rest[4] == '/' && c.rest[1] != '/')
}

// date reads the three numbers of a date. The first or the last of them has four digits.
func (c *cursor) date() (first, second, third int, ok bool) {
	least, most, separator := [3]int{1, 1, 4}, [3]int{2, 2, 4}, "/"
	if c.yearFirst() {
		least, most, separator = [3]int{4, 1, 1}, [3]int{4, 2, 2}, string(c.rest[4:5])
	}
	var n [3]int
	for i := range n {
		if n[i], ok = c.number(least[i], most[i]); !ok || i < 2 && !c.skip(separator) {
			return 0, 0, 0, false
		}
	}
	return n[0], n[1], n[2], true
}

func (c *cursor) clock() (hour, minute, second, nanos, offset int, ok bool) {
	if !c.skip("T t") {
		return 0, 0, 0, 0, 0, false
	}
	if hour, ok = c.number(1, 2); !ok || hour > 23 || !c.skip(":") {
		return 0, 0, 0, 0, 0, false
	}
	if minute, ok = c.number(2, 2); !ok || minute > 59 {
		return 0, 0, 0, 0, 0, false
	}
	if c.skip(":") {
		if second, ok = c.number(2, 2); !ok || second > 59 {
			return 0, 0, 0, 0, 0, false
		}
		if c.skip(".") {
			before := len(c.rest)
			if nanos, ok = c.number(1, 9); !ok {
				return 0, 0, 0, 0, 0, false
			}
			for range 9 - (before - len(c.rest)) {
				nanos *= 10
			}
			_, _ = c.number(0, 20) // digits finer than a nanosecond
		}
	}
	if c.rest = bytes.TrimSpace(c.rest); len(c.rest) >= 2 && (c.rest[1] == 'M' || c.rest[1] == 'm') {
		// Times with AM or PM, as spreadsheets write them: 12:30 AM is half an hour after midnight.
		afternoon := c.rest[0] == 'P' || c.rest[0] == 'p'
		if hour < 1 || hour > 12 || !afternoon && c.rest[0] != 'A' && c.rest[0] != 'a' {
			return 0, 0, 0, 0, 0, false
		}
		if hour %= 12; afternoon {
			hour += 12
		}
		c.rest = c.rest[2:]
	}
	offset, ok = c.zone()
	return hour, minute, second, nanos, offset, ok
}

// zone reads an empty zone, Z, UTC, or an offset such as -05:00. The result is in seconds.
func (c *cursor) zone() (int, bool) {
	c.rest = bytes.TrimSpace(c.rest)
	if len(c.rest) == 0 || bytes.EqualFold(c.rest, []byte("Z")) || bytes.EqualFold(c.rest, []byte("UTC")) {
		return 0, true
	}
	sign := 1
	if c.rest[0] == '-' {
		sign = -1
	}
	if !c.skip("+-") {
		return 0, false
	}
	hours, ok := c.number(2, 2)
	if !ok || hours > 15 {
		return 0, false
	}
	minutes := 0
	if len(c.rest) > 0 {
		c.skip(":")
		if minutes, ok = c.number(2, 2); !ok || minutes > 59 {
			return 0, false
		}
	}
	return sign * (3600*hours + 60*minutes), len(c.rest) == 0
}
