package alertmanager

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Hours are working hours, Monday to Friday. The interval off-hours mutes outside of them. The zero value changes nothing.
type Hours struct {
	// Zone is a time zone such as America/Toronto.
	Zone string
	// From and To are times of the day, such as 08:00 and 18:00.
	From, To string
}

// ParseHours parses working hours such as 08:00-18:00, and a time zone. Either may be empty.
func ParseHours(zone, hours string) (h Hours, err error) {
	if _, err = time.LoadLocation(zone); err != nil || zone == "Local" {
		return Hours{}, fmt.Errorf("time zone %q: want a name such as America/Toronto or UTC", zone)
	}
	h.Zone = zone
	if hours == "" {
		return h, nil
	}
	var begins, ends time.Time
	from, to, found := strings.Cut(hours, "-")
	begins, err = time.Parse("15:04", from)
	if err == nil {
		ends, err = time.Parse("15:04", to)
	}
	if !found || err != nil || len(from) != len("08:00") || len(to) != len("18:00") || !begins.Before(ends) {
		return Hours{}, fmt.Errorf("working hours %q: want two times of one day, the earlier first, such as 08:00-18:00", hours)
	}
	h.From, h.To = from, to
	return h, nil
}

// The interval off-hours in the file: its zone, the end of the night and the start of the evening.
var (
	zoneInFile = regexp.MustCompile(`(?m)^(\s+location: )\S+$`)
	fromInFile = regexp.MustCompile(`(start_time: '00:00', end_time: ')08:00(')`)
	toInFile   = regexp.MustCompile(`(start_time: ')18:00(', end_time: '24:00')`)
)

// apply writes the hours into the configuration.
func (h Hours) apply(files map[string][]byte) error {
	const name = "alertmanager.yaml"
	text := files[name]
	for _, change := range []struct {
		pattern *regexp.Regexp
		before  string
		value   string
		after   string
	}{{zoneInFile, "${1}", h.Zone, ""}, {fromInFile, "${1}", h.From, "${2}"}, {toInFile, "${1}", h.To, "${2}"}} {
		if change.value == "" {
			continue
		}
		if !change.pattern.Match(text) {
			return errors.New(name + " has no off-hours to change; this is a bug of Sightglass")
		}
		text = change.pattern.ReplaceAll(text, []byte(change.before+change.value+change.after))
	}
	files[name] = text
	return nil
}
