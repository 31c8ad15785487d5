// Package binning defines how the values of a field are counted.
//
// Input: statistics of a baseline's field: quantiles of numbers, or categories of texts. Output: a Layout, the frozen and ordered list
// of bins that every later count of that field uses. Counts of different hours and replicas can therefore be added and compared. State:
// none. Layouts are values; the baseline store keeps them. The package never reads data.
package binning

import (
	"fmt"
	"hash/fnv"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is the method that assigns a field's values to bins.
type Kind string

const (
	// Numeric fields are counted in the intervals between Edges.
	Numeric Kind = "numeric"
	// Categorical fields (strings, booleans, numbers with few distinct values) have a bin for each category in Top.
	Categorical Kind = "categorical"
	// Aged fields are points in time. They are counted in intervals of their age in seconds when they are counted.
	Aged Kind = "age"
)

// Bins that do not stand for a value or an interval of values.
const (
	// Null counts missing values. Every field has this bin, so a growing share of nulls is drift.
	Null = "null"
	// Unseen counts values that the baseline does not have.
	Unseen = "unseen"
	// Other counts values that are in the baseline but too rare for a bin of their own.
	Other = "other"
	// NaN counts floating-point values that are NaN.
	NaN = "nan"
	// Inf counts both infinities. They have a bin of their own, because they come from a faulty computation and are not very large
	// measurements.
	Inf = "inf"
	// Future counts points in time after the moment of counting.
	Future = "future"
)

// AgeEdges are the upper bounds, in seconds, of the bins of an Aged field. All fields have the same ones, because quantiles of ages
// would change with every change of the window, and because people can read these.
var AgeEdges = []float64{60, 300, 900, 3600, 6 * 3600, 24 * 3600, 7 * 24 * 3600, 30 * 24 * 3600, 365 * 24 * 3600}

// Limits of a valid layout. They limit the number of series of a field and the length of the query that counts it.
const (
	MaxEdges      = 100
	MaxCategories = 100
	MaxKnown      = 2000
	// MaxDimensions is the size of the largest embeddings in use, such as 4096 of e5-mistral and Qwen3-Embedding-8B.
	MaxDimensions = 4096
)

// Layout defines how the values of a field are counted. The zero value is not valid; use a constructor.
type Layout struct {
	Kind Kind `json:"kind"`
	// Edges are the upper bounds, inclusive and in ascending order, between intervals: values of the field for Numeric, ages in seconds
	// for Aged. A Numeric field without edges in the baseline counts all values in one interval.
	Edges []float64 `json:"edges,omitempty"`
	// Float means that values can be NaN or infinite.
	Float bool `json:"float,omitempty"`
	// NaNMissing means that NaN is a missing number, as in files written by pandas. It has no bin of its own and counts as Null.
	NaNMissing bool `json:"nan_missing,omitempty"`
	// Ranged means that the first and the last interval of a Numeric field lie beyond the minimum and the maximum of the baseline. The
	// baseline has no value there.
	Ranged bool `json:"ranged,omitempty"`
	// Centroid is the mean direction of the baseline's embeddings. If it is set, the values of the field are embeddings, and Edges
	// divide their cosine distances from it.
	Centroid []float32 `json:"centroid,omitempty"`
	// Top are the categories with a bin of their own, the most frequent first.
	Top []string `json:"top,omitempty"`
	// Rest are the categories of the baseline that share the bin Other.
	Rest []string `json:"rest,omitempty"`
	// Open means that the baseline has more categories than Rest can list. Every category outside Top then counts as Other, and none as
	// Unseen.
	Open bool `json:"open,omitempty"`
}

// NewNumeric returns the layout of a numeric field from the quantiles of its baseline. The first is the minimum (the quantile 0), which
// gets no edge of its own. Values that are not finite are ignored. A value that two or more of the quantiles share is a heavy tie, such
// as zero amounts or a constant. It gets an interval of its own. Otherwise values that change from the tie to just below it would stay
// in the same bin, and the drift would not be detected.
func NewNumeric(quantiles []float64, float bool) Layout {
	finite := slices.DeleteFunc(slices.Clone(quantiles), func(v float64) bool {
		return math.IsNaN(v) || math.IsInf(v, 0)
	})
	slices.Sort(finite)
	l := Layout{Kind: Numeric, Float: float}
	for i := 0; i < len(finite); {
		v, ties := finite[i], 0
		for ; i < len(finite) && finite[i] == v; i++ {
			ties++
		}
		last := math.Inf(-1)
		if len(l.Edges) > 0 {
			last = l.Edges[len(l.Edges)-1]
		}
		if under := nextBelow(v); ties > 1 && under > last && under < v {
			l.Edges = append(l.Edges, under)
		}
		if isMinimum := ties == i; ties > 1 || !isMinimum {
			l.Edges = append(l.Edges, v)
		}
	}
	return l
}

// NewRanged returns the layout of a numeric field from evenly spaced quantiles of its baseline, such as 200, and its minimum and
// maximum. It handles three things that bins of equal shares would hide:
//   - A heavy tie, a value as frequent as a whole bin, gets an interval of its own. The other values get quantiles of their own,
//     however few they are. Otherwise, if most amounts are 0, all other amounts would share one bin.
//   - The top decile is divided near the 99th percentile.
//   - Values below the minimum and above the maximum get an interval each.
func NewRanged(quantiles []float64, minimum, maximum float64, bins int, float bool) Layout {
	l := Layout{Kind: Numeric, Float: float}
	finite := slices.DeleteFunc(slices.Clone(quantiles), func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
	if len(finite) == 0 {
		return l
	}
	slices.Sort(finite)
	l.Ranged = true
	l.Edges = append(l.Edges, nextBelow(min(minimum, finite[0])), max(maximum, finite[len(finite)-1]), finite[(len(finite)-1)*99/100])
	heavy := max(2, len(finite)/bins)
	ties := 0
	var rest []float64
	for i := 0; i < len(finite); {
		next := i
		for next < len(finite) && finite[next] == finite[i] {
			next++
		}
		if next-i >= heavy {
			l.Edges = append(l.Edges, nextBelow(finite[i]), finite[i])
			ties++
		} else {
			rest = append(rest, finite[i:next]...)
		}
		i = next
	}
	for parts, i := max(minIntervals, bins-ties), 1; i < parts; i++ {
		// An edge is the last value of its interval.
		if last := i*len(rest)/parts - 1; last >= 0 {
			l.Edges = append(l.Edges, rest[last])
		}
	}
	slices.Sort(l.Edges)
	l.Edges = slices.Compact(l.Edges)
	if len(l.Edges) > MaxEdges {
		l.Edges = append(l.Edges[:MaxEdges-1], l.Edges[len(l.Edges)-1])
	}
	return l
}

// minIntervals is the minimum number of intervals for the values that are not heavy ties.
const minIntervals = 4

// OutOfRange returns the number of values beyond the baseline's minimum and maximum. ok is false if the layout does not have these.
func (l Layout) OutOfRange(counts map[string]int64) (n int64, ok bool) {
	if !l.Ranged {
		return 0, false
	}
	bins := l.Bins()
	return counts[bins[len(bins)-1]] + counts[bins[len(bins)-1-len(l.Edges)]], true
}

// Spellings returns the texts that mean the same category, the category itself first. A whole number means the same with and without ".0",
// which is appended when a column becomes floating point, and ".00" of decimals. among are all categories of the layout: none of them is
// a spelling of another. If they are the two values of a boolean, all spellings of booleans mean the same.
func Spellings(category string, among map[string]bool) []string {
	all := []string{category}
	add := func(spelling string) {
		if spelling != category && !among[spelling] {
			all = append(all, spelling)
		}
	}
	whole, decimal := strings.CutSuffix(category, ".00")
	if !decimal {
		whole = strings.TrimSuffix(category, ".0")
	}
	if wholeNumber.MatchString(whole) {
		for _, zeros := range []string{"", ".0", ".00"} {
			add(whole + zeros)
		}
	}
	for _, pair := range booleans {
		if len(among) != 2 || !among[pair[0]] || !among[pair[1]] {
			continue
		}
		value := slices.Index(pair[:], category)
		for _, other := range booleans {
			for _, spelling := range Spellings(other[value], nil) {
				if !slices.Contains(all, spelling) {
					add(spelling)
				}
			}
		}
	}
	return all
}

// booleans are the spellings of false and true.
var booleans = [][2]string{{"false", "true"}, {"False", "True"}, {"FALSE", "TRUE"}, {"f", "t"}, {"0", "1"}}

// JoinSpellings adds the frequency of 1.0 and 1.00 to that of the shortest spelling that is present.
func JoinSpellings[N int | int64](categories map[string]N) {
	for category, n := range categories {
		for _, other := range Spellings(category, nil) {
			if _, both := categories[other]; both && len(other) < len(category) {
				categories[other] += n
				delete(categories, category)
				break
			}
		}
	}
}

var wholeNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)

// nextBelow returns the largest number less than v. As an inclusive upper edge, it excludes v from the interval.
func nextBelow(v float64) float64 { return max(math.Nextafter(v, math.Inf(-1)), -math.MaxFloat64) }

// nextAbove returns the smallest number greater than v. Adding 0 converts negative zero to zero.
func nextAbove(v float64) float64 { return math.Nextafter(v, math.Inf(1)) + 0 }

// NewCategorical returns the layout of a categorical field from the categories of its baseline, the most frequent first. The first top
// categories get a bin each. open means that categories has only the most frequent ones.
func NewCategorical(categories []string, top int, open bool) Layout {
	top = min(top, len(categories))
	l := Layout{Kind: Categorical, Top: slices.Clone(categories[:top]), Open: open}
	if !open {
		l.Rest = slices.Clone(categories[top:])
	}
	return l
}

// NewAged returns the layout of a field of points in time.
func NewAged() Layout {
	return Layout{Kind: Aged, Edges: slices.Clone(AgeEdges)}
}

// Categories returns the set of all categories.
func (l Layout) Categories() map[string]bool {
	all := make(map[string]bool, len(l.Top)+len(l.Rest))
	for _, c := range slices.Concat(l.Top, l.Rest) {
		all[c] = true
	}
	return all
}

// Bins returns the names of all bins in a fixed order: Null, then the other bins that stand for no value, then intervals or categories.
func (l Layout) Bins() []string {
	bins := []string{Null}
	switch l.Kind {
	case Numeric:
		if l.Float && !l.NaNMissing {
			bins = append(bins, NaN)
		}
		if l.Float {
			bins = append(bins, Inf)
		}
		lower := "(-Inf"
		for _, e := range l.Edges {
			var upper string
			bound := lower
			if upper, lower = FormatNumber(e)+"]", "("+FormatNumber(e); exclusive(e) {
				v := FormatNumber(nextAbove(e))
				upper, lower = v+")", "["+v
			}
			bins = append(bins, bound+","+upper)
		}
		bins = append(bins, lower+",+Inf)")
	case Aged:
		bins = append(bins, Future)
		lower := "0s"
		for _, e := range l.Edges {
			upper := formatAge(e)
			bins = append(bins, "("+lower+","+upper+"]")
			lower = upper
		}
		bins = append(bins, "("+lower+",+Inf)")
	case Categorical:
		if !l.Open {
			bins = append(bins, Unseen)
		}
		if l.Open || len(l.Rest) > 0 {
			bins = append(bins, Other)
		}
		for _, c := range l.Top {
			bins = append(bins, CategoryBin(c))
		}
	}
	return bins
}

// Validate returns an error if a layout that was read from a store or built by hand cannot be used for counting.
func (l Layout) Validate() error {
	switch l.Kind {
	case Numeric, Aged:
		if len(l.Edges) > MaxEdges {
			return fmt.Errorf("%d edges, at most %d are possible", len(l.Edges), MaxEdges)
		}
		for i, e := range l.Edges {
			if math.IsNaN(e) || math.IsInf(e, 0) {
				return fmt.Errorf("edge %d is %v, expected a finite number", i, e)
			}
			if i > 0 && e <= l.Edges[i-1] {
				return fmt.Errorf("edge %d (%v) is not above edge %d (%v)", i, e, i-1, l.Edges[i-1])
			}
		}
		if l.Ranged && (l.Kind != Numeric || len(l.Edges) == 0) {
			return fmt.Errorf("a layout of kind %q with %d edges has no minimum and maximum", l.Kind, len(l.Edges))
		}
		if len(l.Top) > 0 || len(l.Rest) > 0 || l.Open {
			return fmt.Errorf("a layout of kind %q has no categories", l.Kind)
		}
		if err := l.validateCentroid(); err != nil {
			return err
		}
	case Categorical:
		if len(l.Top) > MaxCategories || len(l.Rest) > MaxKnown {
			return fmt.Errorf("%d named and %d other categories, at most %d and %d are possible", len(l.Top), len(l.Rest), MaxCategories, MaxKnown)
		}
		if len(l.Edges) > 0 || l.Float || l.Ranged || l.Centroid != nil {
			return fmt.Errorf("a layout of kind %q has no edges and no centroid", l.Kind)
		}
		seen := make(map[string]bool, len(l.Top)+len(l.Rest))
		for _, c := range slices.Concat(l.Top, l.Rest) {
			if seen[c] {
				return fmt.Errorf("category %q is there twice", c)
			}
			seen[c] = true
		}
	default:
		return fmt.Errorf("unknown kind %q, expected %q, %q or %q", l.Kind, Numeric, Categorical, Aged)
	}
	return nil
}

func (l Layout) validateCentroid() error {
	if len(l.Centroid) == 0 {
		return nil
	}
	if len(l.Centroid) > MaxDimensions || l.Kind != Numeric || !l.Float {
		return fmt.Errorf("a centroid of %d dimensions in a layout of kind %q, expected up to %d and %q with NaN", len(l.Centroid), l.Kind, MaxDimensions, Numeric)
	}
	for i, x := range l.Centroid {
		if x := float64(x); math.IsNaN(x) || math.Abs(x) > 1 {
			return fmt.Errorf("number %d of the centroid is %v, expected -1 to 1", i, x)
		}
	}
	return nil
}

// maxCategoryRunes limits the length of a category's label value.
const maxCategoryRunes = 64

// CategoriesOf returns the categories that a bin of a categorical field counts. With except, the bin counts all others instead. Null
// has none.
func (l Layout) CategoriesOf(bin string) (categories []string, except bool) {
	switch {
	case bin == Null:
		return nil, false
	case bin == Other && l.Open:
		return l.Top, true
	case bin == Other:
		return l.Rest, false
	case bin == Unseen:
		return slices.Concat(l.Top, l.Rest), true
	}
	if i := slices.IndexFunc(l.Top, func(category string) bool { return CategoryBin(category) == bin }); i >= 0 {
		return l.Top[i : i+1], false
	}
	return nil, false
}

// CategoryBin returns the name of a category's bin. It is the category itself, or its quoted form if the category equals a reserved bin
// name, is empty, is not printable or begins with a quote. A long category is cut and gets a hash of the full text, so that different
// categories have different names.
func CategoryBin(category string) string {
	name := category
	switch name {
	case Null, Unseen, Other, NaN, Inf, Future, "":
		name = strconv.Quote(name)
	default:
		if name[0] == '"' || !printable(name) {
			name = strconv.Quote(name)
		}
	}
	if utf8.RuneCountInString(name) <= maxCategoryRunes {
		return name
	}
	h := fnv.New64a()
	h.Write([]byte(category))
	return fmt.Sprintf("%s…%016x", string([]rune(name)[:maxCategoryRunes-17]), h.Sum64())
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) })
}

// exclusive reports whether an edge was made by below: the next number above it has a shorter text. The name of its interval is then
// "below 5" instead of "up to 4.999999999999999".
func exclusive(e float64) bool {
	return len(FormatNumber(nextAbove(e))) < len(FormatNumber(e))-2
}

// FormatNumber writes an edge as it appears in bin names and in SQL: the shortest decimal that parses to the same float64.
func FormatNumber(v float64) string {
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func formatAge(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch day := 24 * time.Hour; {
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return FormatNumber(seconds) + "s"
}
