// Package bill reads bills in the FOCUS format of the FinOps Foundation.
//
// Input: files of FOCUS 1.0 and later as CSV, also compressed, and as Parquet. Unknown columns are ignored.
//
// Output: Sheets with exact sums by day, currency, department and service, in the currency of the bill. The caller
// converts them, so that a corrected exchange rate does not need the file again.
//
// State: CSV is read in one pass. Parquet is read by an in-memory database that a Reader owns. Only the sums of a file
// are kept.
//
// Unambiguous variants are accepted, because real exports write NULL as text, times without a zone, and tags in many
// forms. A row whose cost, currency or time cannot be read is counted and reported. It never counts as zero.
package bill

import (
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// Cost is the column that is summed. Never add one to the other. Effective cost spreads a purchase over the time that
// it covers. Billed cost has it on the day of its invoice.
type Cost string

// The FOCUS costs that can be summed. ListCost and ContractedCost count purchases of commitments twice.
const (
	Effective Cost = "effective"
	Billed    Cost = "billed"
)

func (c Cost) column() string {
	if c == Billed {
		return "BilledCost"
	}
	return "EffectiveCost"
}

// Unallocated is the department of rows that no rule matches.
const Unallocated = "unallocated"

// Rule allocates rows to a department. All of its conditions must hold. The first rule that matches decides.
type Rule struct {
	// Department is the name, unless the name comes from a tag or the sub-account of the row. A row without that tag
	// continues with the next rule.
	Department     string
	FromTag        string
	FromSubAccount bool

	// Conditions. An empty one always holds. Texts match completely and ignore case. Tag keys ignore case and the
	// blanks that some exports put before them.
	Tags       map[string]string
	SubAccount string // id or name
	Service    string
	Provider   string
	// Resource is a glob of the resource's id, and Description one of the charge's description: * matches any text, ?
	// one character.
	Resource    string
	Description string
}

// GPURule is the number of GPUs in the machines that rows pay for.
type GPURule struct {
	Rule
	GPUs float64
}

// Line is a sum of rows that are equal in all other fields.
type Line struct {
	// Period is the first day of the billing period in UTC. A later delivery replaces complete periods.
	Period time.Time
	// Day is the day that contains the middle of the charge, in the time zone of the books and as midnight in UTC. So a
	// day of a provider that uses UTC belongs to the day with which it shares most hours. A longer charge belongs to
	// its first day, so that a purchase for a year is not in the middle of that year. Purchases and corrections stay
	// within the month of their billing period.
	Day time.Time
	// RateDay is the day in UTC on which the charge begins. Its exchange rate is used.
	RateDay    time.Time
	Currency   string
	Department string
	Service    string
	Category   string // ServiceCategory
	// Observability reports whether the row pays for observability.
	Observability bool
	// Running is usage by the hour or day, which is projected. A purchase, a tax or a monthly fee does not repeat the
	// next day.
	Running bool
	// Metered reports whether the row pays for metered usage.
	Metered bool
	// Rate is the value of one unit of the currency in Canadian dollars according to the invoice. It is zero if the
	// invoice has none.
	Rate   decimal.Decimal
	Amount decimal.Decimal
	// GPUHours are the GPU hours that the row pays for.
	GPUHours float64
	Rows     int64
	// Total identifies a running total, which a later row with the same number replaces. It is 0 for other rows.
	Total uint64
}

// Problem is a row that could not be read.
type Problem struct { //nolint:errname // It is a line of a report first.
	File string
	// Line is the line of a CSV file on which the record begins. The header is line 1. In Parquet it is the number of
	// the row.
	Line   int64
	Column string
	Value  string
	Want   string
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s: line %d: %s: is %q, expected %s", p.File, p.Line, p.Column, p.Value, p.Want)
}

// Sheet is the content of one file.
type Sheet struct {
	Lines []Line
	Rows  int64
	// Periods are the billing periods of the rows.
	Periods map[time.Time]Coverage
	// Rejected is the number of rows that are not in the lines. Problems are the first of them.
	Rejected int64
	Problems []Problem
	// UnreadTags is the number of rows whose tags cannot be read. It is counted only if rules need tags.
	UnreadTags int64
	// Through is the end of the last running usage, up to which the bill is complete. It is zero if there is none.
	Through time.Time
}
