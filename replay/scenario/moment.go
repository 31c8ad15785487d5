package scenario

import (
	"fmt"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Moment is a point in time: a date, a date and a time in UTC, or a duration from the start of the replay.
type Moment struct {
	time   time.Time
	offset time.Duration
	set    bool
}

// Want completes "want …" in messages.
func (Moment) Want() string {
	return "a duration from the start such as 40d10h, a date such as 2026-03-01, or a time such as 2026-03-01T10:30:00Z"
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Moment) UnmarshalText(text []byte) error {
	s := string(text)
	for _, layout := range []string{time.RFC3339, time.DateOnly, "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			*m = Moment{time: t.UTC(), set: true}
			return nil
		}
	}
	var d config.Duration
	if err := d.UnmarshalText(text); err != nil {
		return fmt.Errorf("%q; want %s", s, m.Want())
	}
	*m = Moment{offset: time.Duration(d), set: true}
	return nil
}

// relative reports whether the moment is a duration from the start.
func (m Moment) relative() bool { return m.set && m.time.IsZero() }

// IsZero reports whether the moment was not set.
func (m Moment) IsZero() bool { return !m.set }

// From returns the time of the moment in a replay that begins at start.
func (m Moment) From(start time.Time) time.Time {
	if !m.time.IsZero() {
		return m.time
	}
	return start.Add(m.offset)
}

// Date is a calendar day.
type Date struct{ day time.Time }

// Want completes "want …" in messages.
func (Date) Want() string { return "a date such as 2026-03-01" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(text []byte) (err error) {
	if d.day, err = time.Parse(time.DateOnly, string(text)); err != nil {
		return fmt.Errorf("%q; want %s", text, d.Want())
	}
	return nil
}

// IsZero reports whether the date was not set.
func (d Date) IsZero() bool { return d.day.IsZero() }

// Start returns the first instant of the day, in UTC.
func (d Date) Start() time.Time { return d.day }

// String returns the date as it is written.
func (d Date) String() string { return d.day.Format(time.DateOnly) }
