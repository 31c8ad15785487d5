package fields

import (
	"math"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/internal/binning"
	"github.com/sightglass-ml/sightglass/internal/drift"
)

// Causes says how causes of changes are looked for.
type Causes struct {
	// Window is the longer of the two windows that are looked at; the other one is a twelfth of it. 0 is no search.
	Window time.Duration
	// Memory bounds the samples of all versions, in bytes.
	Memory int64
	// Fields bounds the fields that may have the cause.
	Fields int
	// Limits are those of the alerts, for a field of a model.
	Limits func(model, field string) Limits
}

// Limits are what a change has to be beyond, as in the rules: of the longer window, and of the shorter one.
type Limits struct {
	Long, Short drift.Limits
	// Own says that the limit of the index is one that the configuration sets for the field or the model.
	Own bool
	// Broken is the share of broken values, and BrokenBin the share of the baseline below which a bin is one of those.
	Broken, BrokenBin float64
}

// Signals of a field, by the names of their thresholds.
const (
	signalDrift  = "drift_psi"
	signalBroken = "broken_ratio"
)

// incidentKey tells the incidents of a version apart.
type incidentKey struct{ field, signal string }

// breach is a field that is beyond its limit.
type breach struct {
	incidentKey
	place int   // of the field in the sample
	since int64 // the window, in nanoseconds since 1970
	// bins are those by which the change is judged, by the bins of the field; baseline has their shares, of so many values.
	bins     []int32
	size     int
	baseline []float64
	values   float64
}

// breaches are what the alerts of drift and of broken values fire for: of the shorter window, or else of the longer one.
func (k *Keeper) breaches(t *Tracker, c *counters, now time.Time) []breach {
	var all []breach
	for _, short := range []bool{true, false} {
		window := k.Causes.Window
		if short {
			window /= 12
		}
		since := now.Add(-window).UnixNano()
		counts := make([][]int64, len(c.sampled))
		for i, f := range c.sampled {
			if f.field != nil {
				counts[i] = make([]int64, len(f.field.bins))
			}
		}
		c.mu.Lock()
		c.recent.Count(since, counts)
		c.mu.Unlock()
		for i, f := range c.sampled {
			if f.field == nil {
				continue
			}
			shares, values, swing, ok := t.expected(f, now.Add(-window), now)
			if !ok {
				continue
			}
			for _, b := range k.judge(t, f, counts[i], shares, values, swing, short) {
				if b.place, b.since = i, since; !slices.ContainsFunc(all, func(o breach) bool { return o.incidentKey == b.incidentKey }) {
					all = append(all, b)
				}
			}
		}
	}
	return all
}

// expected are the shares of the bins of a field in a window, by a production baseline that is frozen.
func (t *Tracker) expected(f sampledField, from, to time.Time) (byBin []float64, values, swing float64, ok bool) {
	for _, l := range t.learned {
		counts, has := l.whole.Fields[f.name]
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

// judge compares the counts of a field with what is expected.
func (k *Keeper) judge(t *Tracker, f sampledField, counts []int64, shares []float64, values, swing float64, short bool) []breach {
	limits := k.Causes.Limits(t.model, f.label())
	l := limits.Long
	if short {
		l = limits.Short
	}
	if usual := swing * l.Z * l.Z; !limits.Own {
		l.PSI = max(l.PSI, usual)
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
	// Broken values are those that the model has not learned.
	broken, share, usual := make([]int32, len(counts)), 0.0, 0.0
	for i, bin := range f.field.bins {
		if shares[i] < limits.BrokenBin || slices.Contains([]string{binning.Null, binning.Unseen, binning.NaN, binning.Inf}, bin) {
			broken[i] = 1
			share, usual = share+float64(counts[i])/n, usual+shares[i]
		}
	}
	chance := l.Z*math.Sqrt((usual+1/n)/n+(usual+1/values)/values) + l.Z*l.Z/(3*n)
	if excess := share - usual; excess > limits.Broken && excess > chance {
		found = append(found, breach{incidentKey: incidentKey{f.name, signalBroken}, bins: broken, size: 2, baseline: []float64{1 - usual, usual}, values: values})
	}
	return found
}
