package cost

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fiscal"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
)

// projectionDays is the number of days whose mean projects the rest of the month. Seven days have every weekday once.
const projectionDays = 7

// spend is the content of all bills for one fiscal month, in Canadian dollars.
type spend struct {
	period fiscal.Period
	// through is the time up to which all bills are complete. It is zero without bills.
	through time.Time
	billed  map[allocation]decimal.Decimal
	// monthToDate and projected are by department.
	monthToDate, projected map[string]decimal.Decimal
	observability, rest    decimal.Decimal
	// total is the sum of every row of the month. It is computed independently of the departments.
	total decimal.Decimal
	// closed are the sums of earlier months, by month and department.
	closed map[closedMonth]decimal.Decimal
	// comparable is the cost of metered usage in this month and the closed ones. gpuHours are their GPU hours.
	comparable map[closedMonth]decimal.Decimal
	gpuHours   map[string]float64
	// unconverted counts rows without a rate, by currency, in the month and in the days of the projection.
	unconverted map[string]int64
}

// closedMonths is the number of complete months that are kept. Late charges arrive within a quarter.
const closedMonths = 3

// monthLayout is the format of months.
const monthLayout = "2006-01"

// closedMonth identifies the sum of a department in a complete month.
type closedMonth struct{ department, month string }

// allocation is a cell of the bill.
type allocation struct{ department, service, category string }

// add adds an amount to a sum in a map.
func add[K comparable](sums map[K]decimal.Decimal, key K, amount decimal.Decimal) {
	sums[key] = sums[key].Add(amount)
}

// summarise computes the sums of the fiscal month of an instant from the bills of all sources.
func summarise(bills []bill.Bill, rates fx.Book, calendar fiscal.Calendar, now time.Time) spend {
	s := spend{
		period: calendar.Month(now), billed: make(map[allocation]decimal.Decimal), monthToDate: make(map[string]decimal.Decimal),
		projected: make(map[string]decimal.Decimal), unconverted: make(map[string]int64), closed: make(map[closedMonth]decimal.Decimal),
		comparable: make(map[closedMonth]decimal.Decimal), gpuHours: make(map[string]float64),
	}
	for _, b := range bills {
		s.add(b, rates, calendar, now)
	}
	return s
}

// add adds one source. Its bill may be complete up to another time than the bills of other sources.
func (s *spend) add(b bill.Bill, rates fx.Book, calendar fiscal.Calendar, now time.Time) {
	through := b.Through
	if through.After(now) {
		through = now // Usage in the future is an error of the bill.
	}
	if s.through.IsZero() || through.Before(s.through) {
		s.through = through
	}
	first, next := date(s.period.Start), date(s.period.End)
	oldestClosed := first.AddDate(0, -closedMonths, 0)
	// These are the last complete days of the bill. If the bill has less than a week, the projection uses the days that
	// it has.
	paceTo := date(through.In(calendar.Zone()))
	paceFrom, oldest := paceTo.AddDate(0, 0, -projectionDays), paceTo
	pace, month := make(map[string]decimal.Decimal), make(map[string]decimal.Decimal)
	for _, l := range b.Lines {
		inMonth := !l.Day.Before(first) && l.Day.Before(next)
		inPace := l.Running && !l.Day.Before(paceFrom) && l.Day.Before(paceTo)
		inClosed := !l.Day.Before(oldestClosed) && l.Day.Before(first)
		if !inMonth && !inPace && !inClosed {
			continue
		}
		amount, ok := inCAD(l, rates)
		if !ok {
			s.unconverted[l.Currency] += l.Rows
			continue
		}
		if inMonth || inClosed {
			if l.Metered {
				add(s.comparable, closedMonth{l.Department, l.Day.Format(monthLayout)}, amount)
			}
			if l.GPUHours != 0 {
				s.gpuHours[l.Day.Format(monthLayout)] += l.GPUHours
			}
		}
		if inMonth {
			s.total = s.total.Add(amount)
			add(s.billed, allocation{l.Department, l.Service, l.Category}, amount)
			add(month, l.Department, amount)
			if l.Observability {
				s.observability = s.observability.Add(amount)
			} else {
				s.rest = s.rest.Add(amount)
			}
		}
		if inClosed {
			add(s.closed, closedMonth{l.Department, l.Day.Format(monthLayout)}, amount)
		}
		if inPace {
			add(pace, l.Department, amount)
			if l.Day.Before(oldest) {
				oldest = l.Day
			}
		}
	}
	hours := midnight(paceTo, calendar).Sub(midnight(oldest, calendar)).Hours()
	for department := range union(month, pace) {
		perHour := 0.0
		if hours > 0 {
			perHour = pace[department].InexactFloat64() / hours
		}
		add(s.monthToDate, department, month[department])
		add(s.projected, department, decimal.NewFromFloat(s.period.Project(month[department].InexactFloat64(), perHour, through)))
	}
}

// inCAD converts the cost of a row to Canadian dollars, by the rate of the invoice if it has one, else by the bank's
// rate of the day.
func inCAD(l bill.Line, rates fx.Book) (decimal.Decimal, bool) {
	if !l.Rate.IsZero() {
		return l.Amount.Mul(l.Rate), true
	}
	rate, ok := rates.At(l.Currency, l.RateDay)
	return l.Amount.Mul(decimal.NewFromFloat(rate.CAD)), ok
}

// date is the day of an instant in its own zone, as midnight in UTC.
func date(t time.Time) time.Time {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// midnight is the start of a day in the time zone of the books.
func midnight(day time.Time, calendar fiscal.Calendar) time.Time {
	y, m, d := day.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, calendar.Zone())
}

func union(a, b map[string]decimal.Decimal) map[string]bool {
	all := make(map[string]bool, len(a)+len(b))
	for k := range a {
		all[k] = true
	}
	for k := range b {
		all[k] = true
	}
	return all
}

// unreconciled is the bill minus the sum of the departments' cells. Anything other than zero is a bug in this package.
func (s spend) unreconciled() decimal.Decimal {
	rest := s.total
	for _, amount := range s.billed {
		rest = rest.Sub(amount)
	}
	return rest
}

// cells are the allocations, largest first, so that a limit on labels folds the small ones.
func (s spend) cells() []allocation {
	all := make([]allocation, 0, len(s.billed))
	for a := range s.billed {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b allocation) int {
		return cmp.Or(s.billed[b].Abs().Cmp(s.billed[a].Abs()), strings.Compare(a.department, b.department),
			strings.Compare(a.service, b.service), strings.Compare(a.category, b.category))
	})
	return all
}
