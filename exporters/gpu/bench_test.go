package gpu_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The most frequent complaint about GPU exporters is their memory: 400 to 500 MiB.
const (
	maxScrape   = 5 * time.Millisecond // p99
	maxResident = 40 << 20
	maxGrowth   = 4 << 20 // over all scrapes after the first thousands, which fill pools
)

// BenchmarkScrape scrapes the real binary, by HTTP, with eight simulated GPUs, of
// which one hangs. It fails where a bar of the design is missed. With -benchtime
// 100000x it is the long run of `make bench-gpu`.
func BenchmarkScrape(b *testing.B) {
	f := newFake(b, "count 8", "hang 3", "process 0 1 100").compile()
	p := f.start("interval: 5s\ntimeout: 1s\n")
	p.has(`gpu_up{gpu="3"} 0`, `gpu_up{gpu="7"} 1`)
	p.has(`gpu_sm_active_ratio{gpu="7"} 0.65`) // the second look has profiling
	text, err := p.scrape()
	require.NoError(b, err)
	series := strings.Count(text, "\n")

	warm := min(b.N, 5000)
	var before, routines int
	took := make([]time.Duration, 0, b.N)
	n := 0
	cpu := p.cpu(b)
	for b.Loop() {
		if n == warm {
			before, routines = p.resident(b), goroutinesOf(b, p)
		}
		start := time.Now()
		body, err := p.raw()
		took = append(took, time.Since(start))
		if err != nil || len(body) == 0 {
			b.Fatalf("scrape %d: %d bytes, %v", n, len(body), err)
		}
		n++
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	after := p.resident(b)
	b.ReportMetric((p.cpu(b)-cpu).Seconds()*1e3/float64(n), "cpu-ms/scrape")
	b.ReportMetric(float64(p50.Microseconds())/1e3, "p50-ms")
	b.ReportMetric(float64(p99.Microseconds())/1e3, "p99-ms")
	b.ReportMetric(float64(after)/(1<<20), "resident-MiB")
	b.ReportMetric(float64(series), "series")
	if n < 1000 {
		return // Too few to judge by.
	}
	b.Logf("p50 %s, p99 %s, max %s", p50, p99, took[len(took)-1])
	require.Less(b, after, maxResident, "resident memory")
	if before > 0 {
		b.ReportMetric(float64(after-before)/(1<<20), "growth-MiB")
		require.Less(b, after-before, maxGrowth, "growth of resident memory")
		require.LessOrEqual(b, goroutinesOf(b, p), routines+3, "goroutines leak while a GPU hangs")
	}
	// A scrape takes about 2 ms of one core. Where others want the cores too, the
	// wall clock measures them.
	if load := loadAverage(b); load > float64(runtime.NumCPU()) {
		b.Logf("p99 is not judged: the load average is %.1f on %d cores", load, runtime.NumCPU())
		return
	}
	require.Less(b, p99, maxScrape, "p99 of a scrape")
}

// loadAverage is how many processes wanted to run, over the last minute.
func loadAverage(tb testing.TB) (load float64) {
	text, err := os.ReadFile("/proc/loadavg")
	require.NoError(tb, err)
	_, err = fmt.Sscan(string(text), &load)
	require.NoError(tb, err)
	return load
}

// cpu is the time that the process has used of all cores.
func (p *process) cpu(tb testing.TB) time.Duration {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	require.NoError(tb, err)
	_, fields, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(fields)
	var ticks int64
	for _, v := range f[11:13] { // user and system time, in hundredths of a second
		n, err := strconv.ParseInt(v, 10, 64)
		require.NoError(tb, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is the memory of the process, in bytes, as the kernel counts it.
func (p *process) resident(tb testing.TB) int {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	require.NoError(tb, err)
	for line := range strings.Lines(string(text)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	tb.Fatal("no VmRSS")
	return 0
}
