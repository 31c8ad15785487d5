package bill

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// ownRate is the exchange rate in a row.
type ownRate struct {
	text  string // empty if the row has none
	valid bool
}

// books is the currency of the books.
const books = "CAD"

func (t *tally) readRate(raw []byte, r *ownRate) {
	r.text = string(t.value(raw))
	rate, err := decimal.NewFromString(r.text)
	r.valid = r.text == "" || err == nil && rate.IsPositive()
}

// inverse marks the text of a rate from the currency of the books to that of the bill.
const inverse = "1/"

// rateOf is the number of the exchange rate in a row, or the number of no rate if it is not to or from Canadian
// dollars. Azure's x_BillingExchangeRate is from the currency of the prices to that of the bill. Other providers write
// the value of one unit of the bill's currency, without a pricing currency.
func (t *tally) rateOf(fields [][]byte, currency uint32) (uint32, bool) {
	r := t.rates.get(t.field(fields, colExchangeRate))
	if !r.valid || r.text == "" || t.texts[currency] == books {
		return noName, r.valid
	}
	switch strings.ToUpper(t.pricing.get(t.field(fields, colPricingCurrency)).text) {
	case "":
		return t.name(r.text), true
	case books:
		return t.name(inverse + r.text), true
	}
	return noName, true
}

// rateFrom is the value of one unit, from the text that rateOf has kept.
func rateFrom(text string) decimal.Decimal {
	number, inverted := strings.CutPrefix(text, inverse)
	rate, err := decimal.NewFromString(number)
	if err != nil || !inverted {
		return rate
	}
	return decimal.NewFromInt(1).DivRound(rate, rateDigits)
}

// rateDigits is the number of digits after the point of an inverted rate.
const rateDigits = 12

// gpuHours are the GPU hours that a record pays for: the consumed quantity if its unit is a time, else the length of
// the charge.
func (t *tally) gpuHours(fields [][]byte, m moment) (float64, bool) {
	if len(t.rules.gpus) == 0 || !strings.EqualFold(t.texts[m.kind], "Usage") {
		return 0, true // A purchase in advance is used later.
	}
	for i, need := range t.rules.gpus {
		if !t.bits.all(need) {
			continue
		}
		perUnit := 0.0
		unit := strings.ToLower(t.units.get(t.field(fields, colUnit)).text)
		for _, known := range []struct {
			begins string
			hours  float64
		}{{"h", 1}, {"1 h", 1}, {"gpu-h", 1}, {"gpu h", 1}, {"min", 1. / 60}, {"s", 1. / 3600}} {
			if strings.HasPrefix(unit, known.begins) {
				perUnit = known.hours
			}
		}
		text := string(t.value(t.field(fields, colQuantity)))
		if perUnit == 0 || text == "" {
			return t.rules.gpusOf[i] * time.Duration(m.end-m.start).Hours(), true
		}
		quantity, err := strconv.ParseFloat(text, 64)
		return t.rules.gpusOf[i] * perUnit * quantity, err == nil && !math.IsNaN(quantity) && !math.IsInf(quantity, 0)
	}
	return 0, true
}
