package tables

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A column has 100 rows on each of some days from Thursday, October 1, 2026 on.
func TestColumnsWhoseValuesAreReplaced(t *testing.T) {
	week := func(day time.Time) string {
		year, week := day.ISOWeek()
		return fmt.Sprintf("%d-W%02d", year, week)
	}
	for name, tc := range map[string]struct {
		class    Class
		days     int
		value    func(day time.Time, i, row int) string // of the ith day
		replaced bool
	}{
		"weeks": {Text, 30, func(day time.Time, _, _ int) string { return week(day) }, true},
		"weeks as numbers": {Integer, 30, func(day time.Time, _, _ int) string {
			_, week := day.ISOWeek()
			return fmt.Sprint(202600 + week)
		}, true},
		"weekly batches":                   {Text, 30, func(_ time.Time, i, _ int) string { return fmt.Sprintf("batch-%04d", 45+i/7) }, true},
		"weekly batches of several parts":  {Text, 30, func(_ time.Time, i, row int) string { return fmt.Sprintf("batch-%04d-%d", 45+i/7, row%5) }, true},
		"weekly batches, replaced at noon": {Text, 30, func(_ time.Time, i, row int) string { return fmt.Sprintf("batch-%04d", 45+(2*i+row%2)/14) }, true},
		"weekly batches, of which some are late": {Text, 30, func(_ time.Time, i, row int) string {
			if row < 5 {
				i -= 3
			}
			return fmt.Sprintf("batch-%04d", 45+i/7)
		}, true},
		"numbers of weekly batches":       {Integer, 30, func(_ time.Time, i, _ int) string { return fmt.Sprint(45 + i/7) }, true},
		"months of a quarter":             {Text, 90, func(day time.Time, _, _ int) string { return day.Format("2006-01") }, true},
		"a month":                         {Text, 30, func(day time.Time, _, _ int) string { return day.Format("2006-01") }, true},
		"a month and a day":               {Integer, 30, func(day time.Time, _, _ int) string { return day.AddDate(0, 0, 9).Format("200601") }, true},
		"days":                            {Text, 30, func(day time.Time, _, _ int) string { return day.Format(time.DateOnly) }, true},
		"days, of three days":             {Text, 3, func(day time.Time, _, _ int) string { return day.Format(time.DateOnly) }, true},
		"the day of the week":             {Text, 30, func(day time.Time, _, _ int) string { return day.Weekday().String() }, false},
		"the day of the week as a number": {Integer, 30, func(day time.Time, _, _ int) string { return fmt.Sprint(int(day.Weekday())) }, false},
		"the end of the month":            {Boolean, 90, func(day time.Time, _, _ int) string { return fmt.Sprint(day.AddDate(0, 0, 1).Day() == 1) }, false},
		"a flag of weekends":              {Text, 30, func(day time.Time, _, _ int) string { return fmt.Sprint(day.Weekday()%6 == 0) }, false},
		"a constant":                      {Text, 30, func(time.Time, int, int) string { return "CA" }, false},
		"a constant number":               {Integer, 30, func(time.Time, int, int) string { return "200000" }, false},
		"months of births":                {Text, 30, func(_ time.Time, i, row int) string { return fmt.Sprintf("20%02d-%02d", row%20, 1+(row+i)%12) }, false},
		"a category that is renamed":      {Text, 30, func(_ time.Time, i, _ int) string { return []string{"visa", "VISA"}[i/15] }, false},
		"a category that is introduced": {Text, 30, func(_ time.Time, i, row int) string {
			if i > 15 && row < 60 {
				return "newpay"
			}
			return "visa"
		}, false},
		"two names in the first days": {Text, 30, func(_ time.Time, i, _ int) string { return []string{"v1", "v2", "v3"}[min(i/2, 2)] }, false},
		"rare categories, each of one day": {Text, 30, func(_ time.Time, i, row int) string {
			if row < 5 {
				return fmt.Sprint("promotion ", i)
			}
			return "none"
		}, false},
		"a measurement that grows": {Integer, 30, func(_ time.Time, i, row int) string { return fmt.Sprint(i/2 + row%5) }, false},
		"few values a day":         {Text, 30, func(_ time.Time, i, row int) string { return fmt.Sprint("shop ", (i*37+row*(1+i))%40) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var windows []ColumnOutline
			for i := range tc.days {
				day := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i)
				w := ColumnOutline{Values: 100, Categories: make(map[string]int64)}
				for row := range 100 {
					w.Categories[tc.value(day, i, row)]++
				}
				w.Distinct = int64(len(w.Categories))
				windows = append(windows, w)
			}
			require.Equal(t, tc.replaced, turnsOver(tc.class, windows))
		})
	}
}
