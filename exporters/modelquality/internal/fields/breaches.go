package fields

import (
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
)

// Causes configures the search for probable causes.
type Causes struct {
	// Window is the longer of the two windows that are compared with the baseline; the other is a twelfth of it. 0 disables the search.
	Window time.Duration
	// Memory limits the samples of all versions, in bytes.
	Memory int64
	// Fields limits the fields that are searched for a cause.
	Fields int
	// Limits returns the limits of the alerts for a field of a model.
	Limits func(model, field string) Limits
}

// Limits are the limits that a change must exceed, as in the rules, for the longer and the shorter window.
type Limits struct {
	Long, Short drift.Limits
	// Own means that the configuration sets the limit of PSI for the field or the model.
	Own bool
	// Broken is the limit of the share of broken values. BrokenBin is the share of the baseline below which a bin counts as broken.
	Broken, BrokenBin float64
}

// Signals of a field, named after their thresholds.
const (
	signalDrift  = "drift_psi"
	signalBroken = "broken_ratio"
)

// incidentKey identifies an incident of a version.
type incidentKey struct{ field, signal string }

// breach is a field that exceeds its limit.
type breach struct {
	incidentKey
	column int   // index of the field in the sample
	since  int64 // start of the window, in Unix nanoseconds
	// bins maps the bins of the field to the compared bins; size is the number of these. baseline has their shares, and values is the
	// number of values in the baseline.
	bins     []int32
	size     int
	baseline []float64
	values   float64
}

// breaches returns the fields for which the alerts of drift and of broken values fire, in the shorter or otherwise in the longer window.
func (k *Keeper) breaches(t *Tracker, c *counters, now time.Time) []breach {
	var all []breach
	for _, short := range []bool{true, false} {
		window := k.Causes.Window
		if short {
			window /= 12
		}
		since := now.Add(-window).UnixNano()
		counts := make([][]int64, len(c.sampled))
		c.mu.Lock()
		for i, f := range c.sampled {
			if f.field != nil && !c.omits(f.name) {
				counts[i] = make([]int64, len(f.field.bins))
			}
		}
		c.recent.Count(since, counts)
		c.mu.Unlock()
		for i, f := range c.sampled {
			if counts[i] == nil {
				continue
			}
			shares, values, swing, ok := t.expected(f, now.Add(-window), now)
			if !ok {
				continue
			}
			for _, b := range k.judge(t, f, counts[i], shares, values, swing, short) {
				if b.column, b.since = i, since; !slices.ContainsFunc(all, func(o breach) bool { return o.incidentKey == b.incidentKey }) {
					all = append(all, b)
				}
			}
		}
	}
	return all
}

// expected returns the shares of a field's bins in a window, from a frozen production baseline.
func (t *Tracker) expected(f sampledField, from, to time.Time) (byBin []float64, values, swing float64, ok bool) {
	for _, l := range t.learned {
		counts, has := l.counts.Fields[f.name]
		if !has || !l.frozen {
			continue
		}
		var bins []string
		var s []float64
		if l.season != nil {
			bins, s, values, ok = l.season.Mix(f.name, from, to)
			swing, _ = l.season.Swing(f.name, from, to)
		}
		if !ok {
			bins, s, values = shares(counts)
		}
		byBin = make([]float64, len(f.field.bins))
		for i, bin := range bins {
			if at := slices.Index(f.field.bins, bin); at >= 0 {
				byBin[at] = s[i]
			}
		}
		return byBin, values, swing, values > 0
	}
	return nil, 0, 0, false
}

// judge compares the counts of a field with the expected shares.
func (k *Keeper) judge(t *Tracker, f sampledField, counts []int64, shares []float64, values, swing float64, short bool) []breach {
	limits := k.Causes.Limits(t.model, f.label())
	l := limits.Long
	if short {
		l = limits.Short
	}
	if expected := swing * l.Z * l.Z; !limits.Own {
		l.PSI = max(l.PSI, expected)
	}
	observed, baseline, all := make(map[string]int64), make(map[string]float64), make([]int32, len(counts))
	var n float64
	for i, bin := range f.field.bins {
		observed[bin], baseline[bin], all[i] = counts[i], shares[i], int32(i)
		n += float64(counts[i])
	}
	var found []breach
	if x, ok := drift.CompareShares(observed, baseline, values); ok && x.Exceeds(l) {
		found = append(found, breach{incidentKey: incidentKey{f.name, signalDrift}, bins: all, size: len(all), baseline: shares, values: values})
	}
	if !isInput(f.name) || n < l.Values {
		return found
	}
	// Broken values are values that the model has not learned.
	broken, share, expected := make([]int32, len(counts)), 0.0, 0.0
	for i, bin := range f.field.bins {
		if shares[i] < limits.BrokenBin || slices.Contains([]string{binning.Null, binning.Unseen, binning.NaN, binning.Inf}, bin) {
			broken[i] = 1
			share, expected = share+float64(counts[i])/n, expected+shares[i]
		}
	}
	chance := l.Z*math.Sqrt((expected+1/n)/n+(expected+1/values)/values) + l.Z*l.Z/(3*n)
	if excess := share - expected; excess > limits.Broken && excess > chance {
		found = append(found, breach{incidentKey: incidentKey{f.name, signalBroken}, bins: broken, size: 2, baseline: []float64{1 - expected, expected}, values: values})
	}
	return found
}
