// Package bill reads bills in the FOCUS format of the FinOps Foundation.
//
// Input: files of FOCUS 1.0 and later, with columns that it does not know: CSV, also compressed, and Parquet. Output:
// Sheets: exact sums by day, currency, department and service, in the currency of the bill. Converting is the caller's, so
// that a rate which is corrected does not need the file again. CSV is read in one pass; Parquet by a database in memory,
// which a Reader owns. Nothing of a file is kept but its sums.
//
// It is lenient about what is unambiguous: real exports write NULL as text, times without a zone, and tags in many forms.
// About money it is strict: a line whose cost, currency or time cannot be read is counted and named, and never zero.
package bill

import (
	"fmt"
	"time"

	"github.com/shopspring/decimal"
)

// Cost is the column that is summed. Never add one to the other: effective cost spreads a purchase over the time for which
// it was made, billed cost has it on the day of its invoice.
type Cost string

// The costs of FOCUS that can be summed. ListCost and ContractedCost count purchases of commitments twice.
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

// Unallocated is the department of lines that no rule matches.
const Unallocated = "unallocated"

// Rule gives lines to a department. All of its conditions must hold; the first rule that matches decides.
type Rule struct {
	// Department is the name, unless it is taken from a tag or the sub-account of the line. A line without that tag
	// goes on to the next rule.
	Department     string
	FromTag        string
	FromSubAccount bool

	// Conditions; empty ones hold always. Texts match whole and in any case. Tag keys match in any case and without the
	// blanks that some exports put before them.
	Tags       map[string]string
	SubAccount string // id or name
	Service    string
	Provider   string
	// Resource is a glob of the resource's id, and Description one of the charge's: * stands for any text, ? for one character.
	Resource    string
	Description string
}

// GPURule says how many GPUs a machine has that lines pay for.
type GPURule struct {
	Rule
	GPUs float64
}

// Line is a sum of lines that have everything else in common.
type Line struct {
	// Period is the first day of the billing period, by UTC, which a later delivery replaces as a whole.
	Period time.Time
	// Day is the day, in the time zone of the books and as midnight in UTC, in which the middle of the charge is: a day of a
	// provider that counts by UTC belongs to the day that it shares most hours with. Of a longer charge the first day
	// decides, so that what is bought for a year is not bought in its middle. Purchases and corrections are within the month
	// of their billing period.
	Day time.Time
	// RateDay is the day on which the charge begins in UTC, which has the rate.
	RateDay    time.Time
	Currency   string
	Department string
	Service    string
	Category   string // ServiceCategory
	// Observability says that the line pays for watching the rest.
	Observability bool
	// Running is usage by the hour or day, whose pace tells what is to come. A purchase, a tax or a fee for a month does
	// not come again tomorrow.
	Running bool
	// Metered says that the line pays for what is metered as well.
	Metered bool
	// Rate is what one unit of the currency is worth in Canadian dollars by the invoice itself; zero where it does not say.
	Rate   decimal.Decimal
	Amount decimal.Decimal
	// GPUHours are the hours of GPUs that the line pays for.
	GPUHours float64
	Rows     int64
	// Total is the number of a running total, which a later one of the same number replaces; 0 for other lines.
	Total uint64
}

// Problem is a line that could not be read.
type Problem struct { //nolint:errname // It is a line of a report first.
	File string
	// Line is the line of a CSV file in which the record begins; the header is line 1. Of Parquet it counts rows.
	Line   int64
	Column string
	Value  string
	Want   string
}

func (p Problem) Error() string {
	return fmt.Sprintf("%s: line %d: %s: is %q, expected %s", p.File, p.Line, p.Column, p.Value, p.Want)
}

// Sheet is what one file has.
type Sheet struct {
	Lines []Line
	Rows  int64
	// Periods are the billing periods of the lines.
	Periods map[time.Time]Coverage
	// Rejected is how many rows are not among the lines; Problems are the first of them.
	Rejected int64
	Problems []Problem
	// UnreadTags is how many rows have tags of which nobody can say what they mean. It is counted where rules need tags.
	UnreadTags int64
	// Through is the end of the last running usage, up to which the bill is complete; zero if there is none.
	Through time.Time
}
