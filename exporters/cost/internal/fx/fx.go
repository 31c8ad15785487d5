// Package fx converts money into Canadian dollars at the rate of its day.
//
// Input: the daily rates that the Bank of Canada and the European Central Bank publish, and rates from the
// configuration. Output: a Book: what one unit of a currency was worth in Canadian dollars on a day. A Keeper owns the
// rates, in memory and in one file, so that neither bank has to answer when the exporter starts.
//
// A rate is what was published last on or before the day, for neither bank publishes on holidays. What has no rate is not
// converted, and never counts as zero.
package fx

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// CAD is the currency of every amount that leaves the exporter.
const CAD = "CAD"

// Sources of rates, the better one first.
const (
	BankOfCanada = "bank_of_canada"
	ECB          = "ecb"
	Configured   = "config"
)

// rank orders sources: of two rates of one day the one with the smaller rank counts.
var rank = map[string]int{BankOfCanada: 0, ECB: 1, Configured: 2}

// dayFormat is how days are written; a day is the one that its bank was open on.
const dayFormat = time.DateOnly

// maxGap is how old the last rate may be on a day. The longest closure of both banks, around Christmas, is five days.
const maxGap = 10 * 24 * time.Hour

// Rate is what one unit of Currency was worth in Canadian dollars.
type Rate struct {
	Currency string    `json:"currency"`
	Day      time.Time `json:"day"` // midnight in UTC of the day
	CAD      float64   `json:"cad"`
	Source   string    `json:"source"`
}

func (r Rate) valid() error {
	switch {
	case !ISO(r.Currency) || r.Currency == CAD:
		return fmt.Errorf("currency %q: expected an ISO 4217 code other than CAD", r.Currency)
	case !(r.CAD > 0) || math.IsInf(r.CAD, 0):
		return fmt.Errorf("rate of %s is %v, expected a positive number", r.Currency, r.CAD)
	case !r.Day.Equal(r.Day.Truncate(24 * time.Hour)):
		return fmt.Errorf("day of %s is %s, expected midnight in UTC", r.Currency, r.Day)
	}
	return nil
}

// ISO says whether a text can be a code of ISO 4217. Virtual currencies of price lists, such as tokens, cannot.
func ISO(code string) bool {
	if len(code) != 3 {
		return false
	}
	for _, c := range []byte(code) {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// Book has rates by currency, each in the order of days. It is not changed after it was made.
type Book struct {
	byCurrency map[string][]Rate
	// fixed are the rates of the configuration, for any day without another.
	fixed map[string]float64
}

// NewBook makes a book of rates, of which the better source counts where several have the same day, and of fixed rates for
// what none of them knows.
func NewBook(rates []Rate, fixed map[string]float64) Book {
	best := make(map[string]map[time.Time]Rate)
	for _, r := range rates {
		days := best[r.Currency]
		if days == nil {
			days = make(map[time.Time]Rate)
			best[r.Currency] = days
		}
		if other, ok := days[r.Day]; !ok || rank[r.Source] < rank[other.Source] {
			days[r.Day] = r
		}
	}
	b := Book{byCurrency: make(map[string][]Rate, len(best)), fixed: fixed}
	for currency, days := range best {
		b.byCurrency[currency] = slices.SortedFunc(maps.Values(days), func(a, b Rate) int { return a.Day.Compare(b.Day) })
	}
	return b
}

// At returns the rate of a currency at an instant: that of the last day on or before it, by UTC. It is false for what
// cannot be converted.
func (b Book) At(currency string, t time.Time) (Rate, bool) {
	day := t.UTC().Truncate(24 * time.Hour)
	if currency == CAD {
		return Rate{Currency: CAD, Day: day, CAD: 1}, true
	}
	rates := b.byCurrency[currency]
	n, found := slices.BinarySearchFunc(rates, day, func(r Rate, day time.Time) int { return r.Day.Compare(day) })
	if !found {
		n--
	}
	if n >= 0 && day.Sub(rates[n].Day) <= maxGap {
		return rates[n], true
	}
	if rate, ok := b.fixed[currency]; ok {
		return Rate{Currency: currency, Day: day, CAD: rate, Source: Configured}, true
	}
	return Rate{}, false
}

// Latest returns the newest published rate of each currency, else the fixed one, which has no day, in the order of their
// codes.
func (b Book) Latest() []Rate {
	var all []Rate
	for _, rates := range b.byCurrency {
		all = append(all, rates[len(rates)-1])
	}
	for currency, rate := range b.fixed {
		if len(b.byCurrency[currency]) == 0 {
			all = append(all, Rate{Currency: currency, CAD: rate, Source: Configured})
		}
	}
	slices.SortFunc(all, func(a, b Rate) int { return cmp.Compare(a.Currency, b.Currency) })
	return all
}

// Spans returns the book as spans of days, each with the rate that At gives on each of its days, in order. It serves
// those who convert with SQL.
func (b Book) Spans() []Span {
	var all []Span
	for currency, rates := range b.byCurrency {
		for i, r := range rates {
			end := r.Day.Add(maxGap + 24*time.Hour)
			if i+1 < len(rates) && rates[i+1].Day.Before(end) {
				end = rates[i+1].Day
			}
			all = append(all, Span{currency, r.Day, end, r.CAD})
		}
	}
	for currency, rate := range b.fixed {
		// In what the published rates leave open.
		from := time.Time{}
		for _, s := range spansOf(all, currency) {
			if from.Before(s.From) {
				all = append(all, Span{currency, from, s.From, rate})
			}
			from = s.To
		}
		all = append(all, Span{currency, from, endOfTime, rate})
	}
	slices.SortFunc(all, func(a, b Span) int { return cmp.Or(cmp.Compare(a.Currency, b.Currency), a.From.Compare(b.From)) })
	return all
}

// endOfTime is after every bill, and within what databases can hold.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

func spansOf(all []Span, currency string) []Span {
	var out []Span
	for _, s := range all {
		if s.Currency == currency {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Span) int { return a.From.Compare(b.From) })
	return out
}

// Span is a rate for the days from From up to and without To.
type Span struct {
	Currency string
	From, To time.Time
	CAD      float64
}

// Observed is when the rate was observed: the Bank of Canada publishes by 16:30 of its day in Ottawa, the European Central
// Bank at about 16:00 in Frankfurt.
func (r Rate) Observed() time.Time {
	zone, hour, minute := "America/Toronto", 16, 30
	if r.Source == ECB {
		zone, hour, minute = "Europe/Berlin", 16, 0
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		return r.Day
	}
	return time.Date(r.Day.Year(), r.Day.Month(), r.Day.Day(), hour, minute, 0, 0, location)
}
