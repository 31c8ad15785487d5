// Package cause finds which rows explain a change of a column.
//
// Input: a sample of the current rows and, if possible, of an earlier window: for each row the bin of the changed column and the values
// of other columns; or counts by value, for a change of the number of rows. Output: at most three causes. A cause is a value of one
// column, or values of two columns, with the share of the change that disappears without its rows. If no single value explains half of
// the change, there is no cause. State: none. The package never reports values of the changed column as a cause of its change.
//
// For a set of rows A, and the current shares p and the earlier shares r of the column's bins:
//
//	change(rows) = sum over bins of w (p - r), with w = +1/2 where the share rose beyond chance, -1/2 where it fell
//	explained(A) = 1 - |change(rows outside A)| / change(all rows)
//
// A value that most rows have explains the change only if the other rows did not change. If several sets explain the change, the most
// likely one is the cause. The fewer unchanged rows a set contains, the higher is the log likelihood of its rows. A value that is only
// correlated with the cause therefore has a lower likelihood.
package cause

import (
	"cmp"
	"math"
	"slices"
)

// Sample has the rows. All slices except Baseline have one element for each row.
type Sample struct {
	// Bins are the bins of the changed column, from 0 to Size-1.
	Bins []int32
	Size int
	// Now is true for the current rows and false for rows of the earlier window.
	Now     []bool
	Columns []Column
	// Baseline has the shares of the bins, computed from this many Values. It is used if the sample has no earlier rows, or if these had
	// changed too.
	Baseline []float64
	Values   float64
}

// Column is a candidate column, with the code of its value in each row. Codes are small numbers from 0.
type Column struct {
	Name  string
	Codes []int32
}

// Term is a value of a column.
type Term struct {
	Column int
	Code   int32
}

// Cause is a set of rows that explains a change: the rows that have the value of every term.
type Cause struct {
	Terms []Term
	// Explained is the share of the change that disappears without these rows. Rows is their share of all rows.
	Explained, Rows float64
	// Lead is the difference of the log likelihood to the next candidate. If it is small, a caller that can wait for more rows should wait.
	Lead float64
}

// Finding is the result of a search.
type Finding struct {
	// Causes are the probable causes. The first explains most of the change.
	Causes []Cause
	// Rose marks the bins whose share rose by more than chance explains.
	Rose []bool
	// Compared means that the current rows were compared with earlier rows, not with the baseline.
	Compared bool
}

// Limits for reporting a cause.
const (
	maxCauses = 3
	// leastExplained is the minimum share of the change that a cause explains; leastUncompared applies without earlier rows. Then the usual
	// relation between the columns is unknown, and a value whose rows always differ can look like a cause.
	leastExplained, leastUncompared = 0.5, 0.8
	// leastFurther is the minimum share of the change that a second or third cause explains.
	leastFurther = 0.1
	// leastRows is the minimum number of rows with the value, outsideRows that of rows without it.
	leastRows, outsideRows = 10, 30
	// changeErrors is the minimum size of a change in standard errors. explainedErrors is the minimum number of standard errors by which
	// the explained share exceeds chanceShare.
	changeErrors, explainedErrors, chanceShare = 5, 3, 0.2
	// maxPaired is the number of single values that are combined with others. It is enough to combine values that explain the change alone,
	// because in a pair that explains it, one of the values does.
	maxPaired = 12
	// pairFactor and pairPenalty define by how much the log likelihood of a pair must exceed that of the best single value: by a factor, and by
	// a constant because there are many pairs.
	pairFactor, pairPenalty = 1.1, 10
	// prior is the weight, in rows, of the shares of all rows in the expected shares of a value. Without it, a rare bin that is missing by
	// chance in the few earlier rows of a value would make its current rows infinitely unlikely.
	prior = 1000
)

// tally has the current and the earlier number of rows of each bin.
type tally struct{ now, before []float64 }

func newTally(size int) tally { return tally{make([]float64, size), make([]float64, size)} }

func (t tally) add(bin int32, now bool) {
	if now {
		t.now[bin]++
	} else {
		t.before[bin]++
	}
}

func (t tally) minus(o tally) tally {
	d := newTally(len(t.now))
	for i := range d.now {
		d.now[i], d.before[i] = t.now[i]-o.now[i], t.before[i]-o.before[i]
	}
	return d
}

func sum(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

// set is a set of rows that may be the cause.
type set struct {
	terms []Term
	tally tally
	// explained is the share of the change, err its standard error, and score the gain in log likelihood.
	explained, err, score float64
	// lead is the difference of the score to the next set with other rows.
	lead float64
}

// search is the state of one call of Find.
type search struct {
	sample   Sample
	compared bool
	weights  []float64
	// left marks the rows that no cause contains yet.
	left []bool
}

// Find searches for the causes of a change of a column.
func Find(s Sample) Finding {
	all := newTally(s.Size)
	left := make([]bool, len(s.Bins))
	for i, bin := range s.Bins {
		all.add(bin, s.Now[i])
		left[i] = true
	}
	f := &search{sample: s, left: left}
	f.compare(all)
	finding := Finding{Rose: f.rose(), Compared: f.compared}
	change, err := f.change(all)
	if change < changeErrors*err || sum(all.now) < outsideRows {
		return finding
	}
	rows, rest := sum(all.now), all
	for remaining := change; len(finding.Causes) < maxCauses; {
		best, ok := f.best(rest)
		if !ok {
			break
		}
		rest = rest.minus(best.tally)
		f.take(best.terms)
		after, err := f.change(rest)
		explained := (remaining - math.Abs(after)) / change
		if len(finding.Causes) > 0 && explained < leastFurther {
			break
		}
		finding.Causes = append(finding.Causes, Cause{Terms: best.terms, Explained: explained, Rows: sum(best.tally.now) / rows, Lead: best.lead})
		if remaining = after; remaining < leastFurther*change || remaining < changeErrors*err {
			break
		}
	}
	return finding
}

// compare decides whether the current rows are compared with earlier rows or with the baseline, and which bins measure the change.
func (f *search) compare(all tally) {
	n, m := sum(all.now), sum(all.before)
	f.compared = m >= outsideRows
	base := f.sample.Baseline
	if f.compared && base != nil {
		var toBefore, toBaseline float64
		for x := range all.now {
			toBefore += math.Abs(all.now[x]/n-all.before[x]/m) / 2
			toBaseline += math.Abs(all.now[x]/n-base[x]) / 2
		}
		f.compared = toBefore > toBaseline/2 // Otherwise the earlier rows had changed too.
	}
	f.weights = make([]float64, f.sample.Size)
	for x := range f.weights {
		r, err := f.reference(all, x)
		p := all.now[x] / max(n, 1)
		switch noise := 2 * math.Sqrt((p*(1-p)+1/max(n, 1))/max(n, 1)+err); {
		case p-r > noise:
			f.weights[x] = 0.5
		case r-p > noise:
			f.weights[x] = -0.5
		}
	}
}

// reference returns the expected share of the bin, and the variance of its estimate.
func (f *search) reference(t tally, x int) (share, variance float64) {
	m := sum(t.before)
	if f.compared {
		share = t.before[x] / max(m, 1)
	} else {
		m = f.sample.Values
		if f.sample.Baseline != nil {
			share = f.sample.Baseline[x]
		}
	}
	return share, (share*(1-share) + 1/max(m, 1)) / max(m, 1)
}

func (f *search) rose() []bool {
	rose := make([]bool, len(f.weights))
	for x, w := range f.weights {
		rose[x] = w > 0
	}
	return rose
}

// change returns the difference of the rows from the expected shares, and its standard error.
func (f *search) change(t tally) (change, err float64) {
	n := sum(t.now)
	if n == 0 {
		return 0, math.Inf(1)
	}
	mean, square := f.moments(t.now, n)
	variance := (square - mean*mean + 1/n) / n
	if f.compared {
		m := sum(t.before)
		if m == 0 {
			return 0, math.Inf(1)
		}
		was, wasSquare := f.moments(t.before, m)
		return mean - was, math.Sqrt(variance + (wasSquare-was*was+1/m)/m)
	}
	was, wasSquare := 0.0, 0.0
	if f.sample.Baseline != nil {
		was, wasSquare = f.moments(f.sample.Baseline, 1)
	}
	return mean - was, math.Sqrt(variance + (wasSquare-was*was)/max(f.sample.Values, 1))
}

func (f *search) moments(counts []float64, n float64) (mean, square float64) {
	for x, w := range f.weights {
		mean += w * counts[x] / n
		square += w * w * counts[x] / n
	}
	return mean, square
}

// best returns the most likely set of the remaining rows. It returns false if no set explains their change.
func (f *search) best(all tally) (set, bool) {
	var single []set
	for c, column := range f.sample.Columns {
		for code, t := range f.byCode(column, nil) {
			if s, ok := f.judge(all, t, f.least(), Term{c, int32(code)}); ok {
				single = append(single, s)
			}
		}
	}
	if len(single) == 0 {
		return set{}, false
	}
	byScore(single)
	best := single[0]
	best.lead = best.score
	for _, s := range single[1:] {
		if !same(s.tally, best.tally) {
			best.lead = best.score - s.score
			break
		}
	}
	var pairs []set
	for _, a := range single[:min(len(single), maxPaired)] {
		for c, column := range f.sample.Columns {
			if c == a.terms[0].Column {
				continue
			}
			for code, t := range f.byCode(column, &a.terms[0]) {
				// leastExplained suffices even without earlier rows, because a.terms[0] alone already explains the change.
				if p, ok := f.judge(all, t, leastExplained, a.terms[0], Term{c, int32(code)}); ok {
					pairs = append(pairs, p)
				}
			}
		}
	}
	byScore(pairs)
	if len(pairs) > 0 {
		switch least := pairFactor*best.score + pairPenalty; {
		case pairs[0].score > least:
			pairs[0].lead = pairs[0].score - least
			best = pairs[0]
		case pairs[0].score > best.score:
			best.lead = min(best.lead, least-pairs[0].score)
		}
	}
	slices.SortFunc(best.terms, func(a, b Term) int { return cmp.Compare(a.Column, b.Column) })
	return best, true
}

func same(a, b tally) bool { return slices.Equal(a.now, b.now) && slices.Equal(a.before, b.before) }

// byScore sorts by likelihood, the most likely set first. Sets with the same rows keep the order of the columns.
func byScore(sets []set) {
	slices.SortStableFunc(sets, func(a, b set) int { return cmp.Compare(b.score, a.score) })
}

// byCode counts the remaining rows by the value of a column. If also is given, it counts only rows that have this value too.
func (f *search) byCode(c Column, also *Term) []tally {
	var tallies []tally
	for i, code := range c.Codes {
		for int(code) >= len(tallies) {
			tallies = append(tallies, newTally(f.sample.Size))
		}
		if f.left[i] && (also == nil || f.sample.Columns[also.Column].Codes[i] == also.Code) {
			tallies[code].add(f.sample.Bins[i], f.sample.Now[i])
		}
	}
	return tallies
}

// least returns the minimum share of the change that a value must explain.
func (f *search) least() float64 {
	if f.compared {
		return leastExplained
	}
	return leastUncompared
}

// take removes the rows of a cause.
func (f *search) take(terms []Term) {
	for i := range f.left {
		in := true
		for _, t := range terms {
			in = in && f.sample.Columns[t.Column].Codes[i] == t.Code
		}
		f.left[i] = f.left[i] && !in
	}
}

// judge computes which share of the change of all rows a set explains. It returns false if the share is too small or may be chance.
func (f *search) judge(all, in tally, least float64, terms ...Term) (set, bool) {
	s := set{terms: slices.Clone(terms), tally: in}
	out := all.minus(in)
	if max(sum(in.now), sum(in.before)) < leastRows || sum(out.now) < outsideRows {
		return s, false
	}
	change, _ := f.change(all)
	after, err := f.change(out)
	s.explained, s.err = 1-math.Abs(after)/change, err/change
	if s.explained < least || s.explained-explainedErrors*s.err < chanceShare {
		return s, false
	}
	s.score = f.score(all, in, out)
	return s, true
}

// score returns the gain in log likelihood of the set's rows if the set is the cause, compared with unchanged shares.
func (f *search) score(all, in, out tally) float64 {
	n, rows := sum(in.now), sum(all.now)
	m, before := sum(in.before), sum(all.before)
	grown, was := 0.0, 0.0
	if f.compared && n > 0 {
		was = m / before
		grown = max(0, 1-was*rows/n) // The share of the set's rows that exceeds its earlier share of all rows.
	}
	score, restBefore := 0.0, max(sum(out.before), 1)
	for x := range in.now {
		whole, _ := f.reference(all, x)
		whole = (whole*1000 + 0.5) / (1000 + 0.5*float64(len(in.now)))
		expected := whole
		if f.compared {
			inside := (in.before[x] + prior*whole) / (m + prior)
			expected = (1-grown)*inside + grown*whole
			// Other rows take the place of missing rows.
			if lost := was*rows - n; lost > 0 && in.before[x] > 0 {
				outside := (out.before[x] + prior*whole) / (restBefore + prior)
				score += lost * inside * math.Log(inside/outside)
			}
		}
		if in.now[x] > 0 {
			score += in.now[x] * math.Log(in.now[x]/n/expected)
		}
	}
	return score
}
