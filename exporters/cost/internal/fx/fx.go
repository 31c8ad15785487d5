// Package fx converts money into Canadian dollars at the rate of the day.
//
// Input: the daily rates of the Bank of Canada and the European Central Bank, and rates from the configuration.
//
// Output: a Book, which has the value of one unit of a currency in Canadian dollars on a day.
//
// State: a Keeper owns the rates, in memory and in one file, so that the exporter can start when neither bank answers.
//
// The rate of a day is the last one published on or before that day, because neither bank publishes on holidays. Money
// without a rate is not converted, and never counts as zero.
package fx

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// CAD is the currency of every amount that the exporter publishes.
const CAD = "CAD"

// Sources of rates, best first.
const (
	BankOfCanada = "bank_of_canada"
	ECB          = "ecb"
	Configured   = "config"
)

// rank orders the sources. Of two rates for one day the one with the smaller rank counts.
var rank = map[string]int{BankOfCanada: 0, ECB: 1, Configured: 2}

// dayFormat is the format of days. A day is the date on which the bank published the rate.
const dayFormat = time.DateOnly

// maxGap is the greatest age of a rate that is used for a day. The longest closure of both banks, around Christmas, is
// five days.
const maxGap = 10 * 24 * time.Hour

// Rate is the value of one unit of Currency in Canadian dollars.
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

// ISO reports whether a text has the form of an ISO 4217 code. Virtual currencies of price lists, such as tokens, do
// not.
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

// Book has rates by currency, ordered by day. It is immutable.
type Book struct {
	byCurrency map[string][]Rate
	// fixed are the rates of the configuration, for days without another rate.
	fixed map[string]float64
}

// NewBook returns a book of rates and of fixed rates. If several sources have a rate for one day, the best source
// counts. Fixed rates are for days without any other.
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

// At returns the rate of a currency at an instant: that of the last day on or before it, in UTC. It returns false if
// there is no rate.
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

// Latest returns the newest published rate of each currency, or else the fixed one, which has no day. The order is that
// of the currency codes.
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

// Spans returns the book as spans of days in order. The rate of a span is the one that At returns on each of its days.
// Spans are for conversion in SQL.
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
		// Fill the gaps between the published rates.
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

// endOfTime is later than every bill, and within the range of dates that databases accept.
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

// Span is a rate for the days from From, inclusive, to To, exclusive.
type Span struct {
	Currency string
	From, To time.Time
	CAD      float64
}

// Observed is the time at which the rate was observed. The Bank of Canada publishes by 16:30 of the day in Ottawa, the
// European Central Bank at about 16:00 in Frankfurt.
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
