package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Held samples are stored as if each scrape had written them, even if scrapes fail.
func TestHeldSamplesEqualThoseOfEachScrape(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		scrapes := map[string]*Scrape{}
		for _, how := range []string{"one by one", "held"} {
			s, err := newScrape(newStore(), Target{Job: "j", Instance: "i", Source: SourceFunc(nil)})
			require.NoError(t, err)
			scrapes[how] = s
		}
		// Three groups of four series each. A group has some of them at a time, and one may be written by itself.
		type group struct {
			series []int
			values []float64
			held   *Held
		}
		var groups [3]group
		var log string
		at := int64(0)
		for range 60 {
			at += 60_000 * int64(1+max(0, r.IntN(12)-10))
			for g := range groups {
				if r.IntN(3) > 0 && groups[g].series != nil {
					continue
				}
				groups[g] = group{}
				for n := range 4 {
					if r.IntN(3) > 0 {
						groups[g].series, groups[g].values = append(groups[g].series, 4*g+n), append(groups[g].values, float64(r.IntN(2)))
					}
				}
			}
			single, absentGroup, fate := r.IntN(20), r.IntN(12), r.IntN(12)
			if r.IntN(20) == 0 {
				for _, s := range scrapes {
					require.NoError(t, s.publish())
				}
			}
			log += fmt.Sprint(at/60_000, " ", groups, single, absentGroup, fate, "\n")
			for how, s := range scrapes {
				err := s.scrape(t.Context(), SourceFunc(func(_ context.Context, _ time.Time, to *Scrape) error {
					if single < 12 {
						to.Float(to.Series("m", "n", fmt.Sprint(single)), 7)
					}
					for i := range groups {
						g := &groups[i]
						var all []*Series
						written := false
						for _, n := range g.series {
							written = written || n == single
							all = append(all, to.Series("m", "n", fmt.Sprint(n)))
						}
						switch {
						case i == absentGroup, written: // A series is written once.
						case how == "held":
							if g.held == nil {
								var err error
								g.held, err = NewHeld(all, g.values)
								require.NoError(t, err)
							}
							to.Held(g.held)
						default:
							for k, series := range all {
								to.Float(series, g.values[k])
							}
						}
					}
					switch fate {
					case 0:
						return errors.New("failed")
					case 1:
						return ErrNoScrape
					}
					return nil
				}), at)
				require.NoError(t, err)
			}
		}
		samples := func(s *Scrape) (out []string) {
			require.NoError(t, s.publish())
			for _, f := range s.store.sorted() {
				for _, series := range f.list() {
					for i := range series.runs {
						for k := range series.runs[i].n {
							out = append(out, fmt.Sprintf("%s %d %x", series.labels, series.runs[i].at(k)/60_000, math.Float64bits(series.runs[i].v)))
						}
					}
				}
			}
			return out
		}
		require.Equal(t, samples(scrapes["one by one"]), samples(scrapes["held"]), "seed %d\n%s", seed, log)
		require.Equal(t, scrapes["one by one"].samples(), scrapes["held"].samples(), "seed %d", seed)
	}
}

func TestHeldNeedsAValueForEachSeries(t *testing.T) {
	_, err := NewHeld(make([]*Series, 2), []float64{1})
	require.EqualError(t, err, "as many values as series are wanted")
}
