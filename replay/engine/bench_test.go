package engine_test

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/rules"
)

// BenchmarkReplay replays a healthy world of 10 datasets with 10 columns and 5 models with 10 features, under all rules.
// The bar is 30 days a minute on two cores, within 2 GiB.
func BenchmarkReplay(b *testing.B) {
	const days = 3
	var stats engine.Stats
	cpu, wall := cpuTime(), time.Now()
	for b.Loop() {
		bundle, err := engine.LoadRules(rules.FS)
		require.NoError(b, err)
		eng, err := engine.New(engine.Options{Rules: bundle})
		require.NoError(b, err)
		from := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		stats, err = eng.Run(b.Context(), engine.Replay{
			From: from, To: from.Add(days * 24 * time.Hour), Targets: healthy(issueSize, 1),
		})
		require.NoError(b, err)
		require.Empty(b, stats.Errors)
	}
	total := days * float64(b.N)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(total/time.Since(wall).Minutes(), "days/min")
	b.ReportMetric(30*(cpuTime()-cpu).Seconds()/total, "cpu-s/30days")
	b.ReportMetric(float64(mem.Sys)/(1<<20), "MiB")
	b.ReportMetric(float64(stats.MostSeries), "series")
	b.ReportMetric(float64(stats.Samples)/float64(stats.Scrapes), "samples/scrape")
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
