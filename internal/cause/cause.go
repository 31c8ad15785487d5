// Package cause finds which rows explain a change of a column.
//
// Input: a sample of rows of now and, where there are any, of an earlier window: the bin of the changed column and the values of
// other columns in each row; or counts by value, for a change of the number of rows. Output: at most three causes, each a value
// of a column or of two, with the share of the change that disappears when its rows are left out. Where no single value explains
// half of the change, there is none. State: none. It never looks at the column's own values as a cause of its change.
//
// For a set of rows A, and the shares p of now and r of before of the column's bins:
//
//	change(rows) = sum over bins of w (p - r), with w = +1/2 where the share rose beyond chance, -1/2 where it fell
//	explained(A) = 1 - |change(rows outside A)| / change(all rows)
//
// A value that most rows have explains nothing unless the other rows are as before. Of several sets that explain the change, the
// most likely one counts: the log likelihood of the changed rows is higher the fewer unchanged rows are among them, so a value
// that merely goes along with the cause has less of it.
package cause

import (
	"cmp"
	"math"
	"slices"
)

// Sample are rows. All slices but those of Baseline have one element for each row.
type Sample struct {
	// Bins are those of the changed column, from 0 to Size-1.
	Bins []int32
	Size int
	// Now is false for rows of the earlier window.
	Now     []bool
	Columns []Column
	// Baseline has the shares of the bins of so many Values, for where the sample has no rows of before, or rows that had changed too.
	Baseline []float64
	Values   float64
}

// Column is a column that may have the cause: the code of its value in each row. Codes are small, from 0 on.
type Column struct {
	Name  string
	Codes []int32
}

// Term is a value of a column.
type Term struct {
	Column int
	Code   int32
}

// Cause is a set of rows that explains a change: those that have the value of each term.
type Cause struct {
	Terms []Term
	// Explained is the share of the change that disappears without these rows, and Rows their share of all.
	Explained, Rows float64
	// Lead is by how much more likely it is than what is next, in log likelihood. Who can wait for more rows does so where it is small.
	Lead float64
}

// Finding is what was found.
type Finding struct {
	// Causes are the probable ones, the one that explains most first.
	Causes []Cause
	// Rose are the bins that have a larger share than before, beyond chance.
	Rose []bool
	// Compared says that rows of before were the measure, and not the baseline.
	Compared bool
}

// Bounds of what is claimed.
const (
	maxCauses = 3
	// leastExplained is the share of a change below which no value is called its cause. Without rows of before, what columns have
	// to do with each other anyway is not known: a value whose rows are always different can make up for a change.
	leastExplained, leastUncompared = 0.5, 0.8
	// leastFurther is the least share of the change that a second or third cause explains.
	leastFurther = 0.1
	// leastRows is how many rows a value has to have, and outsideRows how many have to be without it.
	leastRows, outsideRows = 10, 30
	// changeErrors is how many standard errors a change has to be from none; explainedErrors is how many standard errors what is explained has to be
	// from noChance.
	changeErrors, explainedErrors, noChance = 5, 3, 0.2
	// pairsOf is how many of the values that explain the change alone are looked at together with others: of a pair that explains it, one
	// does so alone.
	pairsOf = 12
	// sooner is what a pair has to have more of the likelihood than one value, beside a constant for there being so many pairs.
	sooner, pairPenalty = 1.1, 10
	// prior is the weight, in rows, of the whole in the shares that are expected of a value: of the few rows that a value had before,
	// a rare bin is missing by chance, and its rows of now would be infinitely unlikely.
	prior = 1000
)

// tally counts rows by bin, of now and of before.
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
	// explained is of the change that is to be explained, with its standard error; score is the gain in log likelihood.
	explained, err, score float64
	// lead is by how much the score is higher than that of the next set of other rows.
	lead float64
}

// search is the state of one call of Find.
type search struct {
	sample   Sample
	compared bool
	weights  []float64
	// left are the rows that no cause has taken yet.
	left []bool
}

// Find looks for the causes of the change of a column.
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

// compare decides what the rows of now are compared with, and which bins say what changed.
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
		f.compared = toBefore > toBaseline/2 // Else the rows of before had changed, too.
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

// reference is the share of the bin that is expected, with the variance of its estimate.
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

// change is how far rows are from what was expected of them, with its standard error.
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

// best is the most likely set of the rows that are left, if one explains their change.
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
	for _, a := range single[:min(len(single), pairsOf)] {
		for c, column := range f.sample.Columns {
			if c == a.terms[0].Column {
				continue
			}
			for code, t := range f.byCode(column, &a.terms[0]) {
				// One of the two explains the change already, so that the rows of before are no less of a measure than of it.
				if p, ok := f.judge(all, t, leastExplained, a.terms[0], Term{c, int32(code)}); ok {
					pairs = append(pairs, p)
				}
			}
		}
	}
	byScore(pairs)
	if len(pairs) > 0 {
		switch least := sooner*best.score + pairPenalty; {
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

// byScore puts the most likely set first; of those that have the same rows, that of the first column.
func byScore(sets []set) {
	slices.SortStableFunc(sets, func(a, b set) int { return cmp.Compare(b.score, a.score) })
}

// byCode counts the rows that are left by the value of a column; of those that have another value, too, if one is given.
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

// least is the share of a change that a value has to explain.
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

// judge says how much of the change of all rows a set of them explains; it is not ok if that is too little, or may be chance.
func (f *search) judge(all, in tally, least float64, terms ...Term) (set, bool) {
	s := set{terms: slices.Clone(terms), tally: in}
	out := all.minus(in)
	if max(sum(in.now), sum(in.before)) < leastRows || sum(out.now) < outsideRows {
		return s, false
	}
	change, _ := f.change(all)
	after, err := f.change(out)
	s.explained, s.err = 1-math.Abs(after)/change, err/change
	if s.explained < least || s.explained-explainedErrors*s.err < noChance {
		return s, false
	}
	s.score = f.score(all, in, out)
	return s, true
}

// score is by how much the rows of the set, if they are the cause, are more likely than as they were before.
func (f *search) score(all, in, out tally) float64 {
	n, rows := sum(in.now), sum(all.now)
	m, before := sum(in.before), sum(all.before)
	grown, was := 0.0, 0.0
	if f.compared && n > 0 {
		was = m / before
		grown = max(0, 1-was*rows/n) // The share of the set's rows that it would not have with its share of before.
	}
	score, restBefore := 0.0, max(sum(out.before), 1)
	for x := range in.now {
		whole, _ := f.reference(all, x)
		whole = (whole*1000 + 0.5) / (1000 + 0.5*float64(len(in.now)))
		expected := whole
		if f.compared {
			inside := (in.before[x] + prior*whole) / (m + prior)
			expected = (1-grown)*inside + grown*whole
			// Rows that are missing are replaced by others.
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
