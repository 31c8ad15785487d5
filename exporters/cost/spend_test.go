package cost

import (
	"context"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fiscal"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
)

// charge is a line of the synthetic bill. Amounts are in hundredths of the currency.
type charge struct {
	period             time.Time // first day of the billing period
	start, end         time.Time
	category, class    string
	billed, effective  int64
	currency           string
	team, sub, service string
}

// twoYears is a bill for 2025 and 2026 of three providers:
//   - search has a machine for C$1 an hour, in the books' currency, and each month a credit of C$20 on the 15th;
//   - shop pays US dollars by the UTC day, less on weekends and more from month to month, and gets a correction of -US$5
//     for the 10th of each month with the bill of the month after;
//   - A commitment of €8 760 a year, used at €24 a day, has no department.
func twoYears() []charge {
	var all []charge
	begin, end := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for day := begin; day.Before(end); day = day.AddDate(0, 0, 1) {
		period := time.Date(day.Year(), day.Month(), 1, 0, 0, 0, 0, time.UTC)
		next := day.AddDate(0, 0, 1)
		for hour := day; hour.Before(next); hour = hour.Add(time.Hour) {
			all = append(all, charge{period: period, start: hour, end: hour.Add(time.Hour), category: "Usage", billed: 100, effective: 100, currency: "CAD", team: "search", service: "Machines"})
		}
		age := int64(day.Sub(begin).Hours() / 24)
		usage := 9000 + 7*age + 1000*(age*age%7) // a trend, and something that looks like chance
		if day.Weekday() == time.Saturday || day.Weekday() == time.Sunday {
			usage /= 2
		}
		all = append(all,
			charge{period: period, start: day, end: next, category: "Usage", billed: usage, effective: usage, currency: "USD", sub: "Shop", service: "Models"},
			charge{period: period, start: day, end: next, category: "Usage", effective: 2400, currency: "EUR", service: "Commitments"})
		switch {
		case day.YearDay() == 1:
			all = append(all, charge{period: period, start: day, end: day.AddDate(1, 0, 0), category: "Purchase", billed: 876000, currency: "EUR", service: "Commitments"})
		case day.Day() == 10:
			all = append(all, charge{period: period.AddDate(0, 1, 0), start: day, end: next, category: "Usage", class: "Correction", billed: -500, effective: -500, currency: "USD", sub: "Shop", service: "Models"})
		case day.Day() == 15:
			all = append(all, charge{period: period, start: day, end: next, category: "Credit", billed: -2000, effective: -2000, currency: "CAD", team: "search", service: "Machines"})
		}
	}
	return all
}

func writeBill(t testing.TB, path string, charges []charge) {
	t.Helper()
	var b strings.Builder
	b.WriteString("BilledCost,EffectiveCost,BillingCurrency,BillingPeriodStart,ChargePeriodStart,ChargePeriodEnd,ChargeCategory,ChargeClass,ServiceName,ServiceCategory,SubAccountName,Tags,x_Unknown\n")
	for _, c := range charges {
		tags := "NULL"
		if c.team != "" {
			tags = fmt.Sprintf(`"{"" team"": ""%s""}"`, c.team)
		}
		fmt.Fprintf(&b, "%s,%s,%s,%s,%s,%s,%s,%s,%s,Compute,%s,%s,?\n", money(c.billed), money(c.effective), c.currency, c.period.Format(time.RFC3339),
			c.start.Format(time.RFC3339), c.end.Format(time.RFC3339), c.category, c.class, c.service, c.sub, tags)
	}
	require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o600))
}

func money(cents int64) string { return big.NewRat(cents, 100).FloatString(2) }

// rateOf is the rate of a weekday, in ten-thousandths; it is published on weekdays alone.
func rateOf(currency string, day time.Time) (tenThousandths int64) {
	for day.Weekday() == time.Saturday || day.Weekday() == time.Sunday {
		day = day.AddDate(0, 0, -1)
	}
	base := map[string]int64{"USD": 13500, "EUR": 14800}[currency]
	return base + int64(day.YearDay()%90)
}

func twoYearsOfRates() fx.Book {
	var rates []fx.Rate
	for day := time.Date(2024, 12, 20, 0, 0, 0, 0, time.UTC); day.Year() < 2027; day = day.AddDate(0, 0, 1) {
		if day.Weekday() == time.Saturday || day.Weekday() == time.Sunday {
			continue
		}
		for _, currency := range []string{"EUR", "USD"} {
			rates = append(rates, fx.Rate{Currency: currency, Day: day, CAD: float64(rateOf(currency, day)) / 1e4, Source: fx.BankOfCanada})
		}
	}
	return fx.NewBook(rates, nil)
}

// sumCAD adds the charges up in fractions, without what is tested: those that are in the middle of their time between two
// instants, had been delivered in a billing period, and satisfy a condition.
func sumCAD(charges []charge, department string, from, to, delivered time.Time, counts func(charge) bool) *big.Rat {
	sum := new(big.Rat)
	for _, c := range charges {
		whose := bill.Unallocated
		if c.team != "" {
			whose = c.team
		} else if c.sub != "" {
			whose = strings.ToLower(c.sub)
		}
		middle := c.start.Add(c.end.Sub(c.start) / 2)
		if c.class == "Correction" {
			middle = c.period.Add(12 * time.Hour) // It is in the books of the month that it is billed in.
		}
		if whose != department || middle.Before(from) || !middle.Before(to) || c.period.After(delivered) || !counts(c) {
			continue
		}
		amount := big.NewRat(c.effective, 100)
		if c.currency != fx.CAD {
			amount.Mul(amount, big.NewRat(rateOf(c.currency, c.start), 10000))
		}
		sum.Add(sum, amount)
	}
	return sum
}

// asOf is the bill as it was delivered when everything before the day had been.
func asOf(b bill.Bill, day time.Time) bill.Bill {
	y, m, d := day.Date()
	cut, period := time.Date(y, m, d, 0, 0, 0, 0, time.UTC), time.Date(y, m, 1, 0, 0, 0, 0, time.UTC)
	lines := b.Lines
	b.Lines = nil
	for _, l := range lines {
		if l.Day.Before(cut) && !l.Period.After(period) {
			b.Lines = append(b.Lines, l)
		}
	}
	b.Through = day
	return b
}

func TestTwoYearsOfBills(t *testing.T) {
	t.Parallel()
	calendar, err := fiscal.New(fiscal.DefaultZone, time.January)
	require.NoError(t, err)
	reader, err := bill.NewReader(bill.Options{
		Cost: bill.Effective, Zone: calendar.Zone(), TempDir: t.TempDir(),
		Rules: []bill.Rule{{FromTag: "team"}, {Department: "shop", SubAccount: "Shop"}},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, reader.Close()) }()
	dir := t.TempDir()
	charges := twoYears()
	writeBill(t, filepath.Join(dir, "bill.csv"), charges)
	ledger, err := bill.Folder(reader, dir, bill.LedgerOptions{Deliveries: bill.Auto, Grouping: bill.ByFolder, Now: time.Now, Logger: promslog.NewNopLogger()})
	require.NoError(t, err)
	whole, err := ledger.Read(context.Background())
	require.NoError(t, err)
	require.Zero(t, whole.Rejected)
	require.EqualValues(t, len(charges), whole.Rows)
	rates := twoYearsOfRates()

	running := func(c charge) bool { return c.category == "Usage" && c.class == "" }
	all := func(charge) bool { return true }
	departments := []string{"search", "shop", bill.Unallocated}
	// check compares the gauges at the beginning of a day with sums in fractions.
	check := func(day time.Time) spend {
		now := day.Add(6 * time.Hour)
		s := summarise([]bill.Bill{asOf(whole, day)}, rates, calendar, now)
		require.Empty(t, s.unconverted)
		require.True(t, s.unreconciled().IsZero())
		start, end := s.period.Start, s.period.End
		delivered := time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, time.UTC)
		week := day.AddDate(0, 0, -projectionDays)
		if first := time.Date(2024, 12, 31, 0, 0, 0, 0, calendar.Zone()); week.Before(first) {
			week = first // The bill is younger than a week.
		}
		for _, department := range departments {
			month := sumCAD(charges, department, start, day, delivered, all)
			require.Zero(t, month.Cmp(s.monthToDate[department].Rat()), "%s on %s: month to date is %s, want %s", department, day, s.monthToDate[department], month.FloatString(6))
			pace, _ := sumCAD(charges, department, week, day, delivered, running).Float64()
			sum, _ := month.Float64()
			require.InDelta(t, sum+pace/day.Sub(week).Hours()*end.Sub(day).Hours(), s.projected[department].InexactFloat64(), 1e-6, "%s on %s: projection", department, day)
		}
		return s
	}

	local := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, calendar.Zone())
	}
	for name, tc := range map[string]struct {
		day  time.Time
		want string // of search, which pays C$1 an hour
	}{
		"before the clocks go forward":               {local(2026, 3, 8), "168"},
		"the day after has 23 hours more":            {local(2026, 3, 9), "191"},
		"after the credit":                           {local(2026, 3, 16), "339"},
		"on the last day of a month of 743 hours":    {local(2026, 3, 31), "699"},
		"the month begins anew":                      {local(2026, 4, 1), "0"},
		"after the day of 25 hours":                  {local(2025, 11, 3), "49"},
		"on the last day of a February of 28 days":   {local(2026, 2, 28), "628"},
		"on the last day of the year":                {local(2026, 12, 31), "700"},
		"on the first day for which there is a bill": {local(2025, 1, 2), "24"},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tc.want, check(tc.day).monthToDate["search"].String()) })
	}

	// The projected end of each month after ten, fifteen and twenty days, compared with the actual one.
	var report strings.Builder
	for _, after := range []int{10, 15, 20} {
		var sum, worst float64
		for month := range 24 {
			begin := local(2025, time.January+time.Month(month), 1)
			s := check(begin.AddDate(0, 0, after))
			projected, actual := 0.0, 0.0
			for _, department := range departments {
				projected += s.projected[department].InexactFloat64()
				final, _ := sumCAD(charges, department, s.period.Start, s.period.End, s.period.End, all).Float64()
				actual += final
			}
			off := math.Abs(projected/actual - 1)
			sum, worst = sum+off, math.Max(worst, off)
		}
		fmt.Fprintf(&report, "after %d days: mean %.2f %%, largest %.2f %%\n", after, 100*sum/24, 100*worst)
		require.Less(t, worst, 0.10, "the projection after %d days", after)
	}
	t.Logf("error of the projected month end over 24 months:\n%s", report.String())
}

func TestLateChargesChangeClosedMonths(t *testing.T) {
	t.Parallel()
	calendar, err := fiscal.New(fiscal.DefaultZone, time.January)
	require.NoError(t, err)
	day := func(text string) time.Time {
		d, err := time.Parse(time.DateOnly, text)
		require.NoError(t, err)
		return d
	}
	line := func(on string, cad int64) bill.Line {
		return bill.Line{Period: day(on[:8] + "01"), Day: day(on), RateDay: day(on), Currency: fx.CAD, Department: "search", Amount: decimal.New(cad, 0)}
	}
	b := bill.Bill{Lines: []bill.Line{line("2026-07-31", 1), line("2026-08-01", 2), line("2026-10-31", 300), line("2026-11-01", 40)}, Through: day("2026-11-02")}
	closed := func() map[closedMonth]string {
		all := map[closedMonth]string{}
		for month, amount := range summarise([]bill.Bill{b}, twoYearsOfRates(), calendar, day("2026-11-02")).closed {
			all[month] = amount.String()
		}
		return all
	}
	require.Equal(t, map[closedMonth]string{{"search", "2026-08"}: "2", {"search", "2026-10"}: "300"}, closed(), "the last three")
	b.Lines = append(b.Lines, line("2026-10-30", -25))
	require.Equal(t, "275", closed()[closedMonth{"search", "2026-10"}])
}

func TestBillsAreComparedByMonthAndAtTheInvoicesRate(t *testing.T) {
	t.Parallel()
	calendar, err := fiscal.New(fiscal.DefaultZone, time.January)
	require.NoError(t, err)
	line := func(on string, amount int64, change func(*bill.Line)) bill.Line {
		day, err := time.Parse(time.DateOnly, on)
		require.NoError(t, err)
		l := bill.Line{Period: day, Day: day, RateDay: day, Currency: "USD", Department: "search", Amount: decimal.New(amount, 0), Metered: true}
		if change != nil {
			change(&l)
		}
		return l
	}
	own := func(rate string) func(*bill.Line) {
		return func(l *bill.Line) { l.Rate = decimal.RequireFromString(rate) }
	}
	s := summarise([]bill.Bill{{Through: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), Lines: []bill.Line{
		line("2026-11-03", 100, own("1.3905")),
		line("2026-10-20", 100, own("1.40")),
		line("2026-10-20", 50, func(l *bill.Line) { l.Metered, l.Rate = false, decimal.New(2, 0) }), // storage
		line("2026-10-21", 0, func(l *bill.Line) { l.GPUHours, l.Rate = 744, decimal.New(1, 0) }),
		line("2026-07-31", 7, own("1")), // too old
	}}}, fx.NewBook(nil, nil), calendar, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
	require.Empty(t, s.unconverted, "the invoice's own rate needs no bank")
	require.Equal(t, "139.05", s.monthToDate["search"].String())
	got := map[closedMonth]string{}
	for month, amount := range s.comparable {
		got[month] = amount.String()
	}
	require.Equal(t, map[closedMonth]string{{"search", "2026-11"}: "139.05", {"search", "2026-10"}: "140"}, got)
	require.Equal(t, map[string]float64{"2026-10": 744}, s.gpuHours)
	require.Equal(t, "240", s.closed[closedMonth{"search", "2026-10"}].String())
}
