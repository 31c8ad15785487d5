package bill

import (
	"bytes"
	"time"
)

// Years that a bill can be of. A year outside is a mistake of its writer, such as 0001-01-01 for nothing.
const (
	firstYear = 2000
	lastYear  = 2099
)

// parseInstant reads a time by what is unambiguous of what real files have: FOCUS wants 2026-01-31T00:00:00Z; others come
// without T, Z or seconds, with fractions of any length, with another zone, as a day, and as Azure's 01/31/2026 00:00. A
// year has four digits: of 11/1/26 nobody can say which number is the year.
func parseInstant(text []byte) (time.Time, bool) {
	s := cursor{bytes.TrimSpace(text)}
	year, month, day, ok := s.date()
	if !ok || year < firstYear || year > lastYear || month < 1 || month > 12 || day < 1 {
		return time.Time{}, false
	}
	var hour, minute, second, nanos, offset int
	if len(s.rest) > 0 {
		if hour, minute, second, nanos, offset, ok = s.clock(); !ok {
			return time.Time{}, false
		}
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day {
		return time.Time{}, false // 31 November is no day.
	}
	return t.Add(-time.Duration(offset) * time.Second), true
}

// cursor reads a text from its beginning.
type cursor struct{ rest []byte }

// number reads a number of least to most digits.
func (c *cursor) number(least, most int) (n int, ok bool) {
	i := 0
	for i < len(c.rest) && i < most && c.rest[i] >= '0' && c.rest[i] <= '9' {
		n = 10*n + int(c.rest[i]-'0')
		i++
	}
	c.rest = c.rest[i:]
	return n, i >= least
}

// skip reads one of some characters.
func (c *cursor) skip(chars string) bool {
	if len(c.rest) == 0 || bytes.IndexByte([]byte(chars), c.rest[0]) < 0 {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *cursor) date() (year, month, day int, ok bool) {
	if len(c.rest) > 4 && c.rest[4] == '-' {
		year, ok = c.number(4, 4)
		ok = ok && c.skip("-")
		if ok {
			month, ok = c.number(1, 2)
		}
		ok = ok && c.skip("-")
		if ok {
			day, ok = c.number(1, 2)
		}
		return year, month, day, ok
	}
	month, ok = c.number(1, 2)
	ok = ok && c.skip("/")
	if ok {
		day, ok = c.number(1, 2)
	}
	ok = ok && c.skip("/")
	if ok {
		year, ok = c.number(4, 4)
	}
	return year, month, day, ok
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
			_, _ = c.number(0, 20) // finer than a nanosecond
		}
	}
	offset, ok = c.zone()
	return hour, minute, second, nanos, offset, ok
}

// zone reads nothing, Z, UTC, or an offset such as -05:00, in seconds.
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
