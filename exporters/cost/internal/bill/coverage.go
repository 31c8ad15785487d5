package bill

import "time"

// maxCoverage bounds the number of hours and accounts that are counted separately in a billing period.
const maxCoverage = 1 << 14

// Coverage describes which hours and accounts of a billing period a file contains.
type Coverage struct {
	// Hours has the number of rows by the hour in which charges begin, in hours since 1970.
	Hours map[int64]int64
	// Accounts has the number of rows by sub-account, or else by billing account.
	Accounts map[string]int64
	Rows     int64
	// Charges reports whether there are rows other than corrections, credits and adjustments.
	Charges bool
}

// plus is the coverage of two files together.
func (c Coverage) plus(o Coverage) Coverage {
	return Coverage{Hours: sumOf(c.Hours, o.Hours), Accounts: sumOf(c.Accounts, o.Accounts), Rows: c.Rows + o.Rows, Charges: c.Charges || o.Charges}
}

func sumOf[K comparable](a, b map[K]int64) map[K]int64 {
	all := make(map[K]int64, max(len(a), len(b)))
	for _, m := range []map[K]int64{a, b} {
		for key, n := range m {
			all[key] += n
		}
	}
	return all
}

// shared is the share of the rows that another coverage can contain too: the same number in the same hours, and the
// same number of the same accounts.
func (c Coverage) shared(o Coverage) float64 {
	return min(sharedBy(c.Hours, o.Hours), sharedBy(c.Accounts, o.Accounts))
}

func sharedBy[K comparable](a, b map[K]int64) float64 {
	var rows, both int64
	for key, n := range a {
		rows += n
		both += min(n, b[key])
	}
	return float64(both) / float64(max(rows, 1))
}

// covered counts the rows of a billing period, by hour and by account number.
type covered struct {
	hours    map[int64]int64
	accounts []int64
}

// coveredOf returns the counts of a billing period.
func (t *tally) coveredOf(period int64) *covered {
	c := t.covered[period]
	if c == nil {
		c = &covered{hours: map[int64]int64{}}
		t.covered[period] = c
	}
	return c
}

// accountNumber returns the number of an account. Accounts above the limit share the number 0.
func (t *tally) accountNumber(name string) uint32 {
	id, known := t.accounts[name]
	if !known && len(t.accounts) < maxCoverage {
		id = uint32(len(t.accounts) + 1)
		t.accounts[name] = id
	}
	return id
}

// cover counts rows of a booking.
func (t *tally) cover(b *booking, fields [][]byte, rows int64) {
	account := t.subAccounts.get(t.field(fields, colSubAccount))
	if account.text == "" {
		account = t.billingAccounts.get(t.field(fields, colBillingAccount))
	}
	for int(account.number) >= len(b.covered.accounts) {
		b.covered.accounts = append(b.covered.accounts, 0)
	}
	b.covered.accounts[account.number] += rows
	b.rows += rows
}

// forgetMoments drops the remembered times after it has counted their hours.
func (t *tally) forgetMoments() {
	for _, b := range t.moments {
		if b.problem != nil {
			continue
		}
		hour := b.start / int64(time.Hour)
		if _, known := b.covered.hours[hour]; known || len(b.covered.hours) < maxCoverage {
			b.covered.hours[hour] += b.rows
		}
	}
	clear(t.moments)
}

// coverage is the coverage of all rows, by billing period.
func (t *tally) coverage() map[time.Time]Coverage {
	t.forgetMoments()
	names := make([]string, len(t.accounts)+1)
	for name, number := range t.accounts {
		names[number] = name
	}
	all := make(map[time.Time]Coverage, len(t.covered))
	for period, of := range t.covered {
		c := Coverage{Hours: of.hours, Accounts: map[string]int64{}}
		for number, rows := range of.accounts {
			if rows > 0 {
				c.Accounts[names[number]] += rows
				c.Rows += rows
			}
		}
		if c.Rows > 0 {
			all[time.Unix(0, period).UTC()] = c
		}
	}
	return all
}
