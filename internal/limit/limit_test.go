package limit

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestValuesPastTheLimitFoldIntoOtherAndAreCounted(t *testing.T) {
	dropped := NewDropped()
	l := New("model", 2, dropped)
	require.Zero(t, testutil.ToFloat64(dropped.WithLabelValues("model")), "the series is there from the start")
	require.Equal(t, 1, testutil.CollectAndCount(dropped))

	require.Equal(t, "a", l.Fold("a"))
	require.Equal(t, "b", l.Fold("b"))
	require.Equal(t, "other", l.Fold("c"))
	require.Equal(t, "a", l.Fold("a"), "what was let through stays")
	require.Equal(t, "other", l.Fold("c"))
	require.InDelta(t, 2, testutil.ToFloat64(dropped.WithLabelValues("model")), 0)

	problems, err := testutil.CollectAndLint(dropped)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestEmptyValueAndOtherDoNotCountTowardsTheLimit(t *testing.T) {
	dropped := NewDropped()
	l := New("model", 1, dropped)
	require.Empty(t, l.Fold(""))
	require.Equal(t, "other", l.Fold("other"))
	require.Equal(t, "a", l.Fold("a"))
	require.Zero(t, testutil.ToFloat64(dropped))
}

func TestLimitBelowOneFoldsEverything(t *testing.T) {
	for _, most := range []int{0, -1} {
		require.Equal(t, Other, New("model", most, NewDropped()).Fold("a"))
	}
}

func TestValuesAreMadeSafeToExposeAndStayDistinct(t *testing.T) {
	long := strings.Repeat("é", MaxRunes)
	for name, pair := range map[string][2]string{
		"long values that differ at the end":    {long + "a", long + "b"},
		"invalid bytes that differ":             {"x\xff", "x\xfe"},
		"invalid and long":                      {strings.Repeat("\xff", 1000) + "a", strings.Repeat("\xff", 1000) + "b"},
		"a rune that is cut at the byte limit":  {strings.Repeat("a", MaxRunes*utf8.UTFMax-1) + "é1", strings.Repeat("a", MaxRunes*utf8.UTFMax-1) + "é2"},
		"very long ones of one, two and a half": {strings.Repeat("a", 1<<20), strings.Repeat("a", 1<<20+1)},
	} {
		t.Run(name, func(t *testing.T) {
			l := New("x", 10, NewDropped())
			a, b := l.Fold(pair[0]), l.Fold(pair[1])
			require.NotEqual(t, a, b)
			require.Equal(t, a, l.Fold(pair[0]), "the same value stays the same series")
			for _, v := range []string{a, b} {
				require.True(t, utf8.ValidString(v))
				require.LessOrEqual(t, utf8.RuneCountInString(v), MaxRunes)
			}
		})
	}
	l := New("x", 10, NewDropped())
	require.Equal(t, long, l.Fold(long), "what fits is not touched, however many bytes it has")
}

func TestLimitHoldsUnderConcurrency(t *testing.T) {
	const most, workers, values = 100, 8, 1000
	dropped := NewDropped()
	l := New("x", most, dropped)
	seen := make([]map[string]bool, workers)
	var wg sync.WaitGroup
	for w := range workers {
		seen[w] = map[string]bool{}
		wg.Go(func() {
			for i := range values {
				seen[w][l.Fold(fmt.Sprint((i*7+w*13)%values))] = true
			}
		})
	}
	wg.Wait()
	all := map[string]bool{}
	for _, s := range seen {
		for v := range s {
			all[v] = true
		}
	}
	delete(all, Other)
	require.Len(t, all, most)
}

func TestFoldingAKnownValueAllocatesNothing(t *testing.T) {
	l := New("x", 10, NewDropped())
	l.Fold("fraud-detector")
	require.Zero(t, testing.AllocsPerRun(100, func() { l.Fold("fraud-detector") }))
	for i := range 20 {
		l.Fold(fmt.Sprint(i))
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { l.Fold("past the limit") }))
}

func FuzzFold(f *testing.F) {
	for _, seed := range []string{"", "a", "\xff", strings.Repeat("é", 200), strings.Repeat("\xf0\x9f\x98\x80", 128), "\xed\xa0\x80"} {
		f.Add(seed)
	}
	desc := prometheus.NewDesc("x", "x", []string{"v"}, nil)
	f.Fuzz(func(t *testing.T, v string) {
		l := New("x", 1, NewDropped())
		out := l.Fold(v)
		require.True(t, utf8.ValidString(out))
		require.LessOrEqual(t, utf8.RuneCountInString(out), MaxRunes)
		require.Equal(t, out, l.Fold(v))
		_, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, 1, out)
		require.NoError(t, err)
	})
}

func BenchmarkFold(b *testing.B) {
	values := make([]string, 64)
	for i := range values {
		values[i] = fmt.Sprintf("model-with-a-usual-name-%d", i)
	}
	for name, most := range map[string]int{"hit": len(values), "past": 1} {
		l := New("x", most, NewDropped())
		for _, v := range values {
			l.Fold(v)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					l.Fold(values[i%len(values)])
				}
			})
		})
	}
}
