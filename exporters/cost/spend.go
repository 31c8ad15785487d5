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

// paceDays are the days whose mean is the pace of what is to come: a week has every weekday once.
const paceDays = 7

// spend is what bills say about one fiscal month, in Canadian dollars.
type spend struct {
	period fiscal.Period
	// through is up to when all bills are complete; zero without any.
	through time.Time
	billed  map[allocation]decimal.Decimal
	// monthToDate and projected are by department.
	monthToDate, projected map[string]decimal.Decimal
	observability, rest    decimal.Decimal
	// total is the sum of every line of the month, added up apart from the departments.
	total decimal.Decimal
	// closed are the months before, by their name and department.
	closed map[closedMonth]decimal.Decimal
	// comparable is what this month and the closed ones have for what is metered as well, and gpuHours the hours of GPUs in them.
	comparable map[closedMonth]decimal.Decimal
	gpuHours   map[string]float64
	// unconverted counts rows of the month and of the pace without a rate, by currency.
	unconverted map[string]int64
}

// closedMonths is how many months that are over are kept: what comes late comes within a quarter.
const closedMonths = 3

// monthLayout is how months are written.
const monthLayout = "2006-01"

// closedMonth is what a department had in a month that is over.
type closedMonth struct{ department, month string }

// allocation is a cell of the bill.
type allocation struct{ department, service, category string }

// add adds to a sum in a map.
func add[K comparable](sums map[K]decimal.Decimal, key K, amount decimal.Decimal) {
	sums[key] = sums[key].Add(amount)
}

// summarise makes the sums of the fiscal month of an instant from the bills of all sources.
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

// add adds one source, whose bill may be complete up to another time than those of others.
func (s *spend) add(b bill.Bill, rates fx.Book, calendar fiscal.Calendar, now time.Time) {
	through := b.Through
	if through.After(now) {
		through = now // Usage that has not happened yet is a mistake of the bill.
	}
	if s.through.IsZero() || through.Before(s.through) {
		s.through = through
	}
	first, next := date(s.period.Start), date(s.period.End)
	oldestClosed := first.AddDate(0, -closedMonths, 0)
	// The last whole days of the bill. One that is younger than a week has its pace from the days that it has.
	paceTo := date(through.In(calendar.Zone()))
	paceFrom, oldest := paceTo.AddDate(0, 0, -paceDays), paceTo
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

// inCAD is what a line costs in Canadian dollars: by the rate of the invoice where that has one, else by the bank's of the day.
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

// midnight is the beginning of a day in the zone of the books.
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

// unreconciled is what the departments' cells do not explain of the bill. Anything but zero is a mistake in here.
func (s spend) unreconciled() decimal.Decimal {
	rest := s.total
	for _, amount := range s.billed {
		rest = rest.Sub(amount)
	}
	return rest
}

// cells are the allocations, the largest first, so that a limit on labels folds the small ones.
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
