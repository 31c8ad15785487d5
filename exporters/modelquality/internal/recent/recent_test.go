package recent_test

import (
	"fmt"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/recent"
)

// feed counts inferences, each of which has its number as the first code, and a text as the second.
func feed(s *recent.Sample, at int64, n int, text func(i int) string) (kept int) {
	for i := range n {
		if !s.Due() {
			continue
		}
		if row := s.Keep(at + int64(i)); row != nil {
			row[0], row[1] = uint16(i*100/n), s.Code(1, 7, text(i))
			kept++
		}
	}
	return kept
}

func one(int) string { return "x" }

func TestSampleIsUniform(t *testing.T) {
	t.Parallel()
	const rounds, n = 40, 20_000
	counts := make([]int64, 100)
	for range rounds {
		s := recent.New(recent.NewMemory(8<<20), 2, 12*time.Minute)
		s.Rotate(0, 0)
		kept := feed(s, 0, n, one)
		require.Less(t, kept, 3500, "most inferences cost one comparison")
		s.Count(0, [][]int64{counts, make([]int64, 8)})
	}
	var chi, total float64
	for _, c := range counts {
		total += float64(c)
	}
	require.Equal(t, float64(rounds*512), total)
	for _, c := range counts {
		e := total / 100
		chi += (float64(c) - e) * (float64(c) - e) / e
	}
	require.Less(t, (chi-99)/math.Sqrt(2*99), 4.0, "the first inferences and the last ones are kept alike: %v", counts)
}

func TestSamplesRotateAndExpire(t *testing.T) {
	t.Parallel()
	memory := recent.NewMemory(1 << 20)
	s := recent.New(memory, 2, 12*time.Minute)
	minute := int64(time.Minute)
	for m := range int64(60) {
		s.Rotate(m*minute, m*100)
		feed(s, m*minute, 100, func(i int) string { return fmt.Sprint("v", i%3) })
	}
	rows := s.Rows(0)
	require.Len(t, rows.Times, 25*100, "two windows, and the part that is being filled")
	require.Equal(t, 35*minute, rows.Times[0])
	require.Equal(t, int64(48*100), s.Seen(48*minute))
	codes, values := rows.Values(1, 10)
	require.Len(t, values, 3)
	require.Equal(t, recent.Value{Bin: 7, Text: "v0"}, values[codes[0]])
	require.Equal(t, int32(7), rows.Bins(1)[0])
	_, values = s.Rows(58*minute).Values(1, 1000)
	require.Equal(t, []recent.Value{{Bin: 7}}, values, "rare values are their bin")
	s.Close()
	require.Zero(t, memory.Used())
	require.False(t, s.Due())
}

func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	s := recent.New(recent.NewMemory(1<<20), 2, time.Hour)
	s.Rotate(0, 0)
	feed(s, 0, 500, func(i int) string {
		if i == 0 {
			return string(make([]byte, recent.MaxText+1))
		}
		return fmt.Sprint("user-", i)
	})
	_, values := s.Rows(0).Values(1, 0)
	require.Len(t, values, 32+1, "so many of a field in a part, and the bin of all others")
}

// However many versions there are, all samples stay within the room, and each has its share of it.
func TestTheMemoryOfAllSamplesIsBounded(t *testing.T) {
	const bytes, versions, fields = 8 << 20, 60, 40
	memory := recent.NewMemory(bytes)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	samples := make([]*recent.Sample, versions)
	for i := range samples {
		samples[i] = recent.New(memory, fields, time.Hour)
	}
	for part := range int64(40) {
		for _, s := range samples {
			at := part * int64(5*time.Minute)
			s.Rotate(at, 0)
			feed(s, at, 1500, func(i int) string { return fmt.Sprint("a value that takes some bytes ", i%40) })
		}
		require.LessOrEqual(t, memory.Used(), int64(bytes))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d versions of %d fields: %d KiB of a room of %d KiB, %d rows each; the heap grew by %d KiB", versions, fields, memory.Used()>>10, bytes>>10, len(samples[versions-1].Rows(0).Times), grown>>10)
	require.LessOrEqual(t, grown, int64(bytes)*5/4, "what is counted is what is taken")
	for _, s := range samples {
		require.NotEmpty(t, s.Rows(0).Times)
	}
	runtime.KeepAlive(samples)
}

func BenchmarkDue(b *testing.B) {
	s := recent.New(recent.NewMemory(8<<20), 20, time.Hour)
	s.Rotate(0, 0)
	for b.Loop() {
		if s.Due() {
			s.Keep(0)
		}
	}
}
