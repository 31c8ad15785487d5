package fiscal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fiscal"
)

func calendar(t *testing.T, zone string, yearStart time.Month) fiscal.Calendar {
	t.Helper()
	c, err := fiscal.New(zone, yearStart)
	require.NoError(t, err)
	return c
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	require.NoError(t, err)
	return v
}

func TestMonthsFollowTheTimeZone(t *testing.T) {
	c := calendar(t, fiscal.DefaultZone, time.January)
	for name, tc := range map[string]struct {
		instant, start, end string
		hours               float64
	}{
		"the last second of a month is in it":       {"2026-01-31T23:59:59-05:00", "2026-01-01T00:00:00-05:00", "2026-02-01T00:00:00-05:00", 744},
		"midnight begins the next":                  {"2026-02-01T00:00:00-05:00", "2026-02-01T00:00:00-05:00", "2026-03-01T00:00:00-05:00", 672},
		"midnight in UTC is still the month before": {"2026-02-01T00:00:00Z", "2026-01-01T00:00:00-05:00", "2026-02-01T00:00:00-05:00", 744},
		"March has an hour less":                    {"2026-03-15T12:00:00Z", "2026-03-01T00:00:00-05:00", "2026-04-01T00:00:00-04:00", 743},
		"November has an hour more":                 {"2026-11-15T12:00:00Z", "2026-11-01T00:00:00-04:00", "2026-12-01T00:00:00-05:00", 721},
		"February of a leap year has 29 days":       {"2028-02-29T12:00:00Z", "2028-02-01T00:00:00-05:00", "2028-03-01T00:00:00-05:00", 696},
		"December ends with the year":               {"2026-12-31T12:00:00Z", "2026-12-01T00:00:00-05:00", "2027-01-01T00:00:00-05:00", 744},
	} {
		t.Run(name, func(t *testing.T) {
			p := c.Month(at(t, tc.instant))
			require.True(t, p.Start.Equal(at(t, tc.start)), p.Start)
			require.True(t, p.End.Equal(at(t, tc.end)), p.End)
			require.Equal(t, tc.hours, p.Length().Hours())
			require.True(t, p.Contains(at(t, tc.instant)))
			require.False(t, p.Contains(p.End))
		})
	}
}

func TestFiscalYearBeginsWithItsMonth(t *testing.T) {
	c := calendar(t, fiscal.DefaultZone, time.April)
	require.True(t, c.Year(at(t, "2026-03-31T23:00:00-04:00")).Start.Equal(at(t, "2025-04-01T00:00:00-04:00")))
	require.True(t, c.Year(at(t, "2026-04-01T00:00:00-04:00")).End.Equal(at(t, "2027-04-01T00:00:00-04:00")))
}

func TestProgressAndProjection(t *testing.T) {
	p := calendar(t, "Etc/UTC", time.January).Month(at(t, "2026-04-10T00:00:00Z"))
	require.Zero(t, p.Progress(at(t, "2026-03-01T00:00:00Z")))
	require.Equal(t, 0.5, p.Progress(at(t, "2026-04-16T00:00:00Z")))
	require.Equal(t, 1.0, p.Progress(at(t, "2026-06-01T00:00:00Z")))

	require.Equal(t, 1500+2.0*360, p.Project(1500, 2, at(t, "2026-04-16T00:00:00Z")), "half of the month is to come")
	require.Equal(t, 720*2.0, p.Project(0, 2, at(t, "2026-03-30T00:00:00Z")), "bills are still behind in the month before")
	require.Equal(t, 1500.0, p.Project(1500, 2, p.End), "nothing is to come")
}

func TestInvalidCalendarsAreRefused(t *testing.T) {
	for zone, month := range map[string]time.Month{"": 1, "Local": 1, "Toronto": 1, "Etc/UTC": 13} {
		_, err := fiscal.New(zone, month)
		require.ErrorContains(t, err, "expected", zone)
	}
}
