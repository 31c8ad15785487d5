package bill

import (
	"hash/maphash"
	"strings"
	"time"
)

// LiteLLM's export has, for each hour or day, the rows of its table of daily spend that have changed in it: each is the running
// total of a day, of one API key and model. A later one takes the place of the same one before, whatever else is in its file.
// FOCUS has no word for that; they are told by the type of their billing account and their unit.
const (
	totalsAccountType = "API Key"
	totalsUnit        = "Requests"
)

// totalsColumns tell one running total from another.
var totalsColumns = []column{
	colStart, colBillingAccount, colSubAccount, colResource, colService, colProviderName, colDescription, colTags,
}

// isTotal says whether a record is a running total.
func (t *tally) isTotal(fields [][]byte) bool {
	return t.layout[colBillingAccountType] >= 0 && strings.EqualFold(t.accountTypes.of(t.field(fields, colBillingAccountType)).text, totalsAccountType) &&
		strings.EqualFold(t.units.of(t.field(fields, colUnit)).text, totalsUnit)
}

// identity is the number of a running total, which is not 0.
func (t *tally) identity(fields [][]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(t.reader.seed)
	for _, c := range totalsColumns {
		_, _ = h.Write(t.value(t.field(fields, c)))
		_ = h.WriteByte(0)
	}
	return max(h.Sum64(), 1)
}

// totalRow is a running total of a billing period; place is the delivery and the file that has it.
type (
	totalRow struct {
		period time.Time
		row    uint64
	}
	place struct{ delivery, sheet int }
)

// newestTotals are the places of the running totals that count: the last of each, of deliveries in the order of their time.
func newestTotals(deliveries []accepted) map[totalRow]place {
	newest := make(map[totalRow]place)
	for i, d := range deliveries {
		for j, sheet := range d.sheets {
			for _, line := range sheet.Lines {
				if line.Total != 0 {
					newest[totalRow{line.Period, line.Total}] = place{i, j}
				}
			}
		}
	}
	return newest
}
