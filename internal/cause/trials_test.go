package cause_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sightglass-ml/sightglass/internal/cause"
)

// trials is how many there are of the benchmark and, of another seed, of the test.
const trials = 200

// kinds of causes that are planted.
const (
	oneValue   = "one value"
	twoColumns = "two columns together"
	noSegment  = "no segment"
)

// outcome of one trial.
type outcome struct {
	planted       string
	claims, right int // right is 1 if the claims are exactly what was planted
	wrong         int // 1 if something else was claimed
}

// outcomes of trials, added up.
type outcomes struct{ trials, right, wrong, claimed, planted, found int }

func (o outcomes) precision() float64 {
	return float64(o.found) / math.Max(float64(o.claimed), 1)
}
func (o outcomes) recall() float64 { return float64(o.found) / math.Max(float64(o.planted), 1) }

func run(seed uint64, n int, compared bool) (all outcomes, byKind map[string]outcomes) {
	byKind = make(map[string]outcomes)
	for i := range n {
		o := trial(rand.New(rand.NewPCG(seed, uint64(i))), []string{oneValue, twoColumns, noSegment}[i%3], compared)
		for _, sum := range []*outcomes{&all, ptr(byKind[o.planted])} {
			sum.trials++
			sum.right += o.right
			sum.wrong += o.wrong
			if o.claims > 0 {
				sum.claimed++
			}
			if o.planted != noSegment {
				sum.planted++
				sum.found += o.right
			}
			if sum != &all {
				byKind[o.planted] = *sum
			}
		}
	}
	return all, byKind
}

func ptr(o outcomes) *outcomes { return &o }

// columns of a table of payments: a common value that is everywhere, a column that goes along with another one, and numbers.
var columns = []struct {
	name   string
	shares []float64
}{
	{"country", []float64{0.92, 0.04, 0.02, 0.01, 0.01}},
	{"provider", []float64{0.34, 0.25, 0.15, 0.1, 0.08, 0.05, 0.03}},
	{"channel", []float64{0.55, 0.3, 0.15}},
	{"device", []float64{0.4, 0.35, 0.15, 0.1}},
	{"store", slices.Repeat([]float64{1. / 25}, 25)},
	{"amount", slices.Repeat([]float64{1. / 10}, 10)},
	{"companion", []float64{0.6, 0.25, 0.15}},
}

const companion = 6

// trial makes a table in which a column changes and asks for the cause.
func trial(r *rand.Rand, planted string, compared bool) outcome {
	rows := int(2000 * math.Pow(12, r.Float64()))
	bins := []int{2, 2, 6, 12}[r.IntN(4)] // Nulls or unseen values, and drift.
	base := make([]float64, bins)
	if bins == 2 {
		base[0], base[1] = 0.995, 0.005
	} else {
		var sum float64
		for i := range base {
			base[i] = 0.3 + r.Float64()
			sum += base[i]
		}
		for i := range base {
			base[i] /= sum
		}
	}
	// What the column has to do with another one anyway: rows of some values lie elsewhere.
	kin := 1 + r.IntN(5)
	var cause1, cause2 cause.Term
	cause1.Column = 1 + r.IntN(5)
	shareOf := func(t cause.Term) float64 { return columns[t.Column].shares[t.Code] }
	pick := func(column int, least, most float64) int32 {
		var fit []int32
		for code, share := range columns[column].shares {
			if share >= least && share <= most {
				fit = append(fit, int32(code))
			}
		}
		if len(fit) == 0 {
			return 0
		}
		return fit[r.IntN(len(fit))]
	}
	cause1.Code = pick(cause1.Column, 0.03, 0.4)
	if planted == twoColumns {
		cause1.Column = []int{1, 2, 3}[r.IntN(3)]
		cause1.Code = pick(cause1.Column, 0.2, 0.6)
		cause2.Column = []int{1, 2, 3}[(slices.Index([]int{1, 2, 3}, cause1.Column)+1)%3]
		cause2.Code = pick(cause2.Column, 0.2, 0.6)
	}
	affected := shareOf(cause1)
	switch planted {
	case twoColumns:
		affected *= shareOf(cause2)
	case noSegment:
		affected = 1
	}
	// The whole changes by what an alert takes: a few percent of nulls, a fifth of the rows in other bins. A rare value changes all over.
	strength := []float64{0.05, 0.2}[min(bins/3, 1)] * (0.8 + r.Float64()) / affected
	strength = min(strength, 0.95)
	target := bins - 1 - r.IntN(max(bins/3, 1))
	grows := planted == oneValue && r.IntN(3) == 0 // The value is new, as a provider that nobody has mapped.
	if grows {
		strength = 0.95
	}

	s := cause.Sample{Size: bins, Baseline: make([]float64, bins), Values: float64(rows)}
	s.Columns = make([]cause.Column, len(columns))
	for i, c := range columns {
		s.Columns[i].Name = c.name
	}
	total := rows
	if compared {
		total *= 2
	}
	row := make([]int32, len(columns))
	for i := range total + rows { // The last ones are the baseline.
		now, baseline := i < rows, i >= total
		for c := range columns {
			row[c] = draw(r, columns[c].shares)
		}
		if grows && row[cause1.Column] == cause1.Code && !now {
			row[cause1.Column] = (cause1.Code + 1) % int32(len(columns[cause1.Column].shares))
		}
		if r.Float64() < 0.85 { // It goes along with the cause.
			row[companion] = 0
			if row[cause1.Column] == cause1.Code {
				row[companion] = 1
			}
		}
		bin := draw(r, base)
		if bins > 2 && row[kin]%3 == 1 && r.Float64() < 0.3 {
			bin = row[kin] % int32(bins)
		}
		in := row[cause1.Column] == cause1.Code
		switch planted {
		case twoColumns:
			in = in && row[cause2.Column] == cause2.Code
		case noSegment:
			in = true
		}
		if now && in && r.Float64() < strength {
			bin = int32(target)
		}
		if baseline {
			s.Baseline[bin] += 1 / float64(rows)
			continue
		}
		s.Bins, s.Now = append(s.Bins, bin), append(s.Now, now)
		for c := range columns {
			s.Columns[c].Codes = append(s.Columns[c].Codes, row[c])
		}
	}
	want := []cause.Term{cause1}
	switch planted {
	case twoColumns:
		want = append(want, cause2)
		slices.SortFunc(want, func(a, b cause.Term) int { return a.Column - b.Column })
	case noSegment:
		want = nil
	}
	o := outcome{planted: planted}
	found := cause.Find(s).Causes
	o.claims = len(found)
	switch {
	case want == nil && len(found) == 0, want != nil && len(found) == 1 && slices.Equal(found[0].Terms, want):
		o.right = 1
	case len(found) > 0:
		o.wrong = 1
	}
	return o
}

func draw(r *rand.Rand, shares []float64) int32 {
	at := r.Float64()
	for i, share := range shares {
		if at -= share; at < 0 {
			return int32(i)
		}
	}
	return int32(len(shares) - 1)
}

func TestLong_PlantedCausesAreFound(t *testing.T) {
	for name, compared := range map[string]bool{"with rows of before": true, "with a baseline alone": false} {
		t.Run(name, func(t *testing.T) {
			all, _ := run(20, trials, compared)
			if right := float64(all.right) / trials; compared && right < 0.95 {
				t.Errorf("right in %.1f %% of the trials, expected 95 %% or more: %+v", 100*right, all)
			}
			if wrong := float64(all.wrong) / trials; wrong >= 0.02 {
				t.Errorf("wrong claims in %.1f %% of the trials, expected less than 2 %%: %+v", 100*wrong, all)
			}
		})
	}
}

// BenchmarkCause prints precision and recall; see make bench-cause.
func BenchmarkCause(b *testing.B) {
	for b.Loop() {
		for _, compared := range []bool{true, false} {
			all, byKind := run(2026, trials, compared)
			against := "an earlier window"
			if !compared {
				against = "the baseline alone"
			}
			fmt.Printf("\ncompared with %s: right in %.1f %% of %d trials, wrong claims in %.1f %%; precision %.3f, recall %.3f\n", against,
				100*float64(all.right)/trials, trials, 100*float64(all.wrong)/trials, all.precision(), all.recall())
			for _, kind := range []string{oneValue, twoColumns, noSegment} {
				o := byKind[kind]
				fmt.Printf("  %-20s %3d of %3d right, %d wrong claims\n", kind, o.right, o.trials, o.wrong)
			}
		}
	}
}
