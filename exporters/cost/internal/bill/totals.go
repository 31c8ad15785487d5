package bill

import (
	"hash/maphash"
	"strings"
	"time"
)

// LiteLLM's export contains, for each hour or day, the rows of its daily spend table that have changed. Each row is the
// running total of a day for one API key and model. A later row replaces the same row of an earlier file, whatever else
// the files contain. FOCUS has no field for this. The rows are recognised by the type of their billing account and by
// their unit.
const (
	totalsAccountType = "API Key"
	totalsUnit        = "Requests"
)

// totalsColumns identify a running total.
var totalsColumns = []column{
	colStart, colBillingAccount, colSubAccount, colResource, colService, colProviderName, colDescription, colTags,
}

// isTotal reports whether a record is a running total.
func (t *tally) isTotal(fields [][]byte) bool {
	return t.layout[colBillingAccountType] >= 0 && strings.EqualFold(t.accountTypes.get(t.field(fields, colBillingAccountType)).text, totalsAccountType) &&
		strings.EqualFold(t.units.get(t.field(fields, colUnit)).text, totalsUnit)
}

// identity is the number of a running total. It is never 0.
func (t *tally) identity(fields [][]byte) uint64 {
	var h maphash.Hash
	h.SetSeed(t.reader.seed)
	for _, c := range totalsColumns {
		_, _ = h.Write(t.value(t.field(fields, c)))
		_ = h.WriteByte(0)
	}
	return max(h.Sum64(), 1)
}

// totalRow is a running total of a billing period. place is the delivery and the file that contains it.
type (
	totalRow struct {
		period time.Time
		row    uint64
	}
	position struct{ delivery, sheet int }
)

// newestTotals are the places of the running totals that count: the last one of each, with deliveries in the order of
// their time.
func newestTotals(deliveries []accepted) map[totalRow]position {
	newest := make(map[totalRow]position)
	for i, d := range deliveries {
		for j, sheet := range d.sheets {
			for _, line := range sheet.Lines {
				if line.Total != 0 {
					newest[totalRow{line.Period, line.Total}] = position{i, j}
				}
			}
		}
	}
	return newest
}
